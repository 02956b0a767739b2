//! [`Timetable`]: values in the order of their times.

use std::collections::{BTreeMap, VecDeque};

/// A time, and a number that tells equal times apart and rises from one insertion to the next.
pub(crate) type Key = (u64, u64);

/// Values in the order of their times.
///
/// Nearly all come in that order already (a device is done with them in turn), and then go through a queue: one place in
/// memory to write and one to read, where a tree has many, which other cores have just written. What comes out of turn is in
/// the tree. Values that were removed from the middle of the queue leave a gap; there are never more gaps than values, and a few.
pub(crate) struct Timetable<T> {
    queue: VecDeque<(Key, Option<T>)>,
    gaps: usize,
    tree: BTreeMap<Key, T>,
}

const GAPS_MIN: usize = 32;

impl<T> Timetable<T> {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new(), gaps: 0, tree: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len() - self.gaps + self.tree.len()
    }

    pub(crate) fn insert(&mut self, key: Key, value: T) {
        if self.queue.back().is_none_or(|(last, _)| *last < key) {
            self.queue.push_back((key, Some(value)));
        } else {
            self.tree.insert(key, value);
        }
    }

    /// The time of the first. The front of the queue is no gap.
    pub(crate) fn first(&self) -> Option<u64> {
        let queued = self.queue.front().map(|((at, _), _)| *at);
        let other = self.tree.first_key_value().map(|((at, _), _)| *at);
        match (queued, other) {
            (Some(queued), Some(other)) => Some(queued.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes the first out, if its time is `until` or earlier.
    pub(crate) fn pop(&mut self, until: u64) -> Option<T> {
        let queued = self.queue.front().map(|(key, _)| *key).filter(|key| key.0 <= until);
        let other = self.tree.first_key_value().map(|(key, _)| *key).filter(|key| key.0 <= until);
        match (queued, other) {
            (None, None) => None,
            (Some(queued), other) if other.is_none_or(|other| queued < other) => {
                let first = self.queue.pop_front().and_then(|(_, value)| value);
                self.trim();
                first
            }
            _ => self.tree.pop_first().map(|(_, value)| value),
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.place(key) {
            Some(place) => self.queue[place].1.as_mut(),
            None => self.tree.get_mut(&key),
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let Some(place) = self.place(key) else { return self.tree.remove(&key) };
        let removed = self.queue[place].1.take()?;
        self.gaps += 1;
        self.trim();
        if self.gaps > GAPS_MIN.max(self.queue.len() / 2) {
            self.queue.retain(|(_, value)| value.is_some());
            self.gaps = 0;
        }
        Some(removed)
    }

    fn place(&self, key: Key) -> Option<usize> {
        self.queue.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    /// No gaps at the front.
    fn trim(&mut self) {
        while let Some((_, None)) = self.queue.front() {
            self.queue.pop_front();
            self.gaps -= 1;
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_tree_whatever_is_done_in_whatever_order() {
        let (mut table, mut tree) = (Timetable::new(), BTreeMap::new());
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut keys, mut now) = (Vec::new(), 0);
        for number in 0..200_000 {
            match random(8) {
                0..4 => {
                    let key = (now + if random(4) == 0 { random(1000) } else { 500 }, number);
                    table.insert(key, number);
                    tree.insert(key, number);
                    keys.push(key);
                }
                4..6 if !keys.is_empty() => {
                    let key = keys.swap_remove(random(keys.len() as u64) as usize);
                    assert_eq!(table.get_mut(key).copied(), tree.get(&key).copied());
                    assert_eq!(table.remove(key), tree.remove(&key));
                }
                _ => {
                    now += random(20);
                    let due = tree.first_key_value().is_some_and(|((at, _), _)| *at <= now);
                    let first = if due { tree.pop_first().map(|(_, value)| value) } else { None };
                    assert_eq!(table.pop(now), first);
                }
            }
            assert_eq!(table.len(), tree.len());
            assert_eq!(table.first(), tree.first_key_value().map(|((at, _), _)| *at));
            assert!(table.gaps <= GAPS_MIN.max(table.queue.len() / 2));
        }
    }
}
