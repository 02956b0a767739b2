//! [`SeenEvents`]: which events a file has had so far.

use std::collections::BTreeMap;

/// Which events a file has had so far, as ranges: one range, and no more memory, where a file counts its events up.
#[derive(Debug, Default)]
pub(crate) struct SeenEvents {
    /// First to last event of each range.
    ranges: BTreeMap<u64, u64>,
}

impl SeenEvents {
    /// Notes an event; false if it was there before.
    pub(crate) fn insert(&mut self, event: u64) -> bool {
        let before = self.ranges.range(..=event).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| last >= event) {
            return false;
        }
        let first = before.filter(|(_, last)| last + 1 == event).map_or(event, |(first, _)| first);
        let after = event.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(event));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_new_once() {
        let mut seen = SeenEvents::default();
        let events = [5, 6, 3, 4, 0, u64::MAX, u64::MAX - 1, 9, 1, 2];
        assert!(events.iter().all(|&event| seen.insert(event)));
        assert!(events.iter().all(|&event| !seen.insert(event)));
        assert_eq!(seen.ranges.into_iter().collect::<Vec<_>>(), [(0, 6), (9, 9), (u64::MAX - 1, u64::MAX)]);
    }
}
