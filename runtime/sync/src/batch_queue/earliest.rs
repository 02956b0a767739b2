//! The least of many times, some of which are crossed out. Plain data, under its owner's lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A heap of times, each with a key that says whether it still counts.
///
/// What is crossed out stays until it comes to the top, so crossing out costs nothing and [`first`](Self::first) pays. Times
/// that come in ascending order, as they nearly do, are added in constant time.
pub(super) struct Earliest<K> {
    heap: BinaryHeap<Reverse<(u64, K)>>,
}

impl<K: Ord> Earliest<K> {
    /// Of at most this many, a rebuild is not worth its while.
    const FEW: usize = 64;

    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, at: u64, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }

    /// The least time that counts.
    pub(super) fn first(&mut self, counts: impl Fn(&K) -> bool) -> Option<u64> {
        while let Some(Reverse((at, key))) = self.heap.peek() {
            if counts(key) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// Whether most of it is crossed out, where `live` are not: then it should be [rebuilt](Self::rebuild).
    pub(super) fn is_mostly_gone(&self, live: usize) -> bool {
        self.heap.len() > 2 * live + Self::FEW
    }

    pub(super) fn rebuild(&mut self, times: impl Iterator<Item = (u64, K)>) {
        // Into a new one: the old may be much too large.
        self.heap = times.map(Reverse).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::Earliest;

    #[test]
    fn times_crossed_out_are_passed_over() {
        let mut times = Earliest::new();
        (0..10).rev().for_each(|at| times.add(at, at));
        assert_eq!(times.first(|_| true), Some(0));
        assert_eq!(times.first(|key| *key >= 3 && *key != 4), Some(3));
        assert_eq!(times.first(|key| *key > 4), Some(5));
        assert_eq!(times.first(|_| false), None);
    }

    #[test]
    fn it_is_rebuilt_before_what_is_crossed_out_piles_up() {
        let mut times = Earliest::new();
        times.add(0, 0); // stays, and hides all that follow
        for at in 1..1000 {
            times.add(at, at);
            if times.is_mostly_gone(1) {
                times.rebuild([(0, 0)].into_iter());
            }
            assert!(times.heap.len() <= 67);
            assert_eq!(times.first(|key| *key == 0), Some(0));
        }
    }
}
