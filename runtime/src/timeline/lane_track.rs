//! [`LaneTrack`]: the track of a device's lane, on which batches follow each other.

use std::collections::BTreeMap;

use super::item::Track;

/// Batches of a lane that are remembered: one may be noticed after others that began later.
const KEPT: usize = 64;

pub(super) struct LaneTrack {
    pub(super) track: Track,
    /// From when to when there are batches on it already.
    taken: BTreeMap<u64, u64>,
}

impl LaneTrack {
    pub(super) fn new(track: Track) -> Self {
        LaneTrack { track, taken: BTreeMap::new() }
    }

    /// Makes room for a batch: gives where it can be.
    ///
    /// A lane is free before it is known that its batch has ended, so the next may begin before that, and may even end. When a
    /// batch began is known well.
    pub(super) fn place(&mut self, begin: u64, end: u64) -> (u64, u64) {
        let next = self.taken.range(begin.saturating_add(1)..).next().map(|(&begin, _)| begin);
        let before = self.taken.range(..=begin).next_back().map_or(0, |(_, &end)| end);
        let end = end.min(next.unwrap_or(u64::MAX)).max(begin);
        let begin = begin.max(before).min(end);
        if before <= begin {
            let until = self.taken.entry(begin).or_insert(end);
            *until = end.max(*until);
        }
        if self.taken.len() > KEPT {
            self.taken.pop_first();
        }
        (begin, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_do_not_overlap_in_whatever_order_it_is_known_that_they_have_ended() {
        let mut lane = LaneTrack::new(Track { pid: 3, tid: 10 });
        assert_eq!(lane.place(10, 25), (10, 25));
        assert_eq!(lane.place(20, 30), (25, 30), "it began before it was known that the lane is free");
        assert_eq!(lane.place(40, 50), (40, 50));
        assert_eq!(lane.place(32, 45), (32, 40), "it was noticed after the one that came next");
        assert_eq!(lane.place(22, 24), (24, 24), "there is no room for it");
        assert_eq!(lane.place(33, 60), (40, 40));
        assert_eq!(lane.place(60, 60), (60, 60));
        assert_eq!(lane.place(60, 70), (60, 70));
        assert_eq!(lane.place(52, 65), (52, 60));
        assert_eq!(lane.place(75, 75), (75, 75), "its waiter had left");
        assert_eq!(lane.place(72, 80), (72, 75));
    }
}
