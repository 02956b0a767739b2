//! [`Anchors`]: from the clock of records to that of the file.
//!
//! `tracing-chrome` reads the operating system's clock, records are in the cycle counter's time, and the two drift apart by some
//! microseconds a second. Arrows must end within slices that take not much longer, so the clocks are compared again and again.

use std::collections::VecDeque;

/// Anchors that are kept. Times before the first are moved with it.
const KEPT: usize = 4096;

/// A continuous line through points (time of records, time of the file), in nanoseconds.
pub(super) struct Anchors {
    points: VecDeque<(u64, u64)>,
}

impl Anchors {
    pub(super) fn new() -> Self {
        Anchors { points: VecDeque::new() }
    }

    /// The two clocks, read at one time. Both must have gone on since the last.
    pub(super) fn add(&mut self, record: u64, file: u64) {
        let goes_on = self.points.back().is_none_or(|&(before, then)| record > before && file > then);
        if goes_on {
            if self.points.len() == KEPT {
                self.points.pop_front();
            }
            self.points.push_back((record, file));
        }
    }

    /// The time in the file. Never decreases with `at`.
    pub(super) fn file(&self, at: u64) -> u64 {
        let after = self.points.partition_point(|&(record, _)| record <= at);
        let point = |index: usize| self.points.get(index).copied();
        match (after.checked_sub(1).and_then(point), point(after)) {
            (Some((record, file)), Some((next_record, next_file))) => {
                let part = (at - record) as f64 / (next_record - record) as f64;
                file + ((next_file - file) as f64 * part) as u64
            }
            (Some((record, file)), None) => file + (at - record),
            (None, Some((record, file))) => file.saturating_sub(record - at),
            (None, None) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn between_anchors_time_goes_evenly_and_outside_it_goes_on() {
        let mut anchors = Anchors::new();
        anchors.add(1000, 100);
        anchors.add(2000, 1200);
        let times = [500, 1000, 1500, 2000, 2500, 0].map(|at| anchors.file(at));
        assert_eq!(times, [0, 100, 650, 1200, 1700, 0]);
    }

    proptest! {
        #[test]
        fn what_comes_later_is_never_earlier_in_the_file(
            steps in proptest::collection::vec((0..1000_u64, 0..1000_u64), 0..20), mut times in proptest::collection::vec(0..20_000_u64, 2..20),
        ) {
            let mut anchors = Anchors::new();
            let (mut record, mut file) = (5000, 100);
            for (more, further) in steps {
                (record, file) = (record + more, file + further);
                anchors.add(record, file);
            }
            times.sort_unstable();
            let written: Vec<u64> = times.iter().map(|&at| anchors.file(at)).collect();
            prop_assert!(written.is_sorted(), "{:?}", written);
        }
    }
}
