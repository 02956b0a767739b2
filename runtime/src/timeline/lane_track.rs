//! [`LaneTrack`]: the track of a device's lane, on which batches follow each other.

use std::collections::BTreeMap;

use super::item::Track;

/// Batches of a lane that are remembered: one may be noticed after others that began later.
const KEPT: usize = 64;

pub(super) struct LaneTrack {
    pub(super) track: Track,
    /// When batches began, and when they ended, if that is known: else the same.
    taken: BTreeMap<u64, u64>,
}

impl LaneTrack {
    pub(super) fn new(track: Track) -> Self {
        LaneTrack { track, taken: BTreeMap::new() }
    }

    /// A batch begins: the one before has ended, whenever that will be noticed.
    pub(super) fn begin(&mut self, at: u64) {
        self.keep(at, at);
    }

    /// Makes room for a batch: gives where it can be.
    ///
    /// A lane is free before it is known that its batch has ended, so the next may begin before that, and may even end. When a
    /// batch began is known well.
    pub(super) fn place(&mut self, begin: u64, end: u64) -> (u64, u64) {
        let next = self.taken.range(begin.saturating_add(1)..).next().map(|(&begin, _)| begin);
        let before = self.taken.range(..begin).next_back().map_or(0, |(_, &end)| end);
        let end = end.min(next.unwrap_or(u64::MAX)).max(begin);
        self.keep(begin, end);
        (begin.max(before).min(end), end)
    }

    fn keep(&mut self, begin: u64, end: u64) {
        let until = self.taken.entry(begin).or_insert(end);
        *until = end.max(*until);
        if self.taken.len() > KEPT {
            self.taken.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_do_not_overlap_in_whatever_order_it_is_known_that_they_have_ended() {
        let mut lane = LaneTrack::new(Track { pid: 3, tid: 10 });
        [10, 20, 32, 40, 60].into_iter().for_each(|at| lane.begin(at));
        assert_eq!(lane.place(10, 25), (10, 20), "the next began before it was known that the lane is free");
        assert_eq!(lane.place(20, 30), (20, 30));
        assert_eq!(lane.place(40, 50), (40, 50));
        assert_eq!(lane.place(32, 45), (32, 40), "it was noticed after the one that came next");
        assert_eq!(lane.place(60, 60), (60, 60), "its waiter had left");
        assert_eq!(lane.place(60, 70), (60, 70));
        assert_eq!(lane.place(65, 80), (70, 80), "that it began was lost");
        assert_eq!(lane.place(52, 65), (52, 60));
    }
}
