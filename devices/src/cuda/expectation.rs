//! [`Expectations`]: when it is worth asking. Asking the driver takes a microsecond and holds a lock that launches need too.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::LaneId;
use crate::table::PLACES;

/// The first time that it is worth asking, and how exactly ends are found at least.
const FIRST_NS: u64 = 2_000;
/// What takes no longer than this is not asked for before its end is expected: each time costs a wake-up.
const LONG_NS: u64 = 4_000_000;
/// So long before the expected end, at most, it is worth asking.
const EARLY_NS: u64 = 10_000;

/// How long submissions took lately, by step and size, and when what is on each lane is worth asking for. Two steps that share a place
/// only ask a little too often or too late.
#[derive(Debug)]
pub(super) struct Expectations {
    /// In nanoseconds; 0 where nothing is known.
    estimates: Box<[AtomicU32]>,
    /// By lane, in the engine's time. Written by whoever has the lane's submission in hand.
    next_ns: Box<[AtomicU64]>,
    /// By lane: since when what is on it is under way.
    armed_ns: Box<[AtomicU64]>,
    /// By lane, one bit each: its submission is left to the driver thread to enqueue.
    left: Box<[AtomicU64]>,
}

const BITS: usize = u64::BITS as usize;

impl Expectations {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            estimates: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            next_ns: (0..lanes).map(|_| AtomicU64::new(u64::MAX)).collect(),
            armed_ns: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            left: (0..lanes.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// When a submission that was armed at one time, and is asked for at another in vain, is worth asking for again.
    ///
    /// The estimate is of the quickest lately, so that nobody asks much before it. Where that would be a long time, it is asked for
    /// twice before: one that ends much sooner is found with a delay in proportion. From a little before the expected end on, it
    /// is asked for closely.
    pub(super) fn next_ask_ns(&self, place: usize, armed_ns: u64, now_ns: u64) -> u64 {
        let estimate = u64::from(self.estimates[place].load(Relaxed));
        let took = now_ns.saturating_sub(armed_ns);
        let early = if estimate > LONG_NS { [estimate / 4, estimate / 2] } else { [0; 2] };
        let looks = [early[0], early[1], estimate - (estimate / 16).min(EARLY_NS)];
        match looks.into_iter().find(|look| *look > took.max(FIRST_NS)) {
            Some(look) => armed_ns + look,
            None => now_ns + (took / 64).clamp(FIRST_NS / 2, 100_000),
        }
    }

    /// Remembers how long it took. Falls at once, rises slowly: who asks too early loses less than who asks too late. If it was not
    /// asked for `in_vain` first, it may have taken less: next time it is asked for a little sooner.
    pub(super) fn learn(&self, place: usize, took_ns: u64, in_vain: bool) {
        let took = u32::try_from(took_ns).unwrap_or(u32::MAX).max(1);
        let known = self.estimates[place].load(Relaxed);
        let estimate = match known {
            0 => took,
            _ if took < known => took,
            _ if in_vain => known + (took - known) / 32,
            _ => known - known / 16,
        };
        // Workers share what is not written.
        if estimate != known {
            self.estimates[place].store(estimate, Relaxed);
        }
    }

    /// What is on this lane is under way.
    pub(super) fn begin(&self, lane: LaneId, armed_ns: u64) {
        self.armed_ns[lane.0].store(armed_ns, Relaxed);
    }

    /// What is on this lane is worth asking for from then on.
    pub(super) fn expect(&self, lane: LaneId, at_ns: u64) {
        self.next_ns[lane.0].store(at_ns, Relaxed);
    }

    /// Nothing is on this lane any more.
    pub(super) fn forget(&self, lane: LaneId) {
        self.next_ns[lane.0].store(u64::MAX, Relaxed);
    }

    /// The lanes on which something is, and from when on it is worth asking for.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (LaneId, u64)> {
        let next_ns = self.next_ns.iter().map(|next_ns| next_ns.load(Relaxed));
        next_ns.enumerate().filter(|(_, next_ns)| *next_ns != u64::MAX).map(|(lane, ns)| (LaneId(lane), ns))
    }

    /// How long what is worth asking for first takes, as far as is expected. Nothing takes no time.
    pub(super) fn soonest_takes(&self) -> Duration {
        let soonest = self.lanes().min_by_key(|&(_, next_ns)| next_ns);
        let takes_ns =
            |(lane, next_ns): (LaneId, u64)| next_ns.saturating_sub(self.armed_ns[lane.0].load(Relaxed));
        Duration::from_nanos(soonest.map_or(0, takes_ns))
    }

    /// When somebody is worth asking.
    pub(super) fn soonest_ns(&self) -> u64 {
        self.lanes().map(|(_, next_ns)| next_ns).min().unwrap_or(u64::MAX)
    }

    /// What is on this lane is left to the driver thread to enqueue. Ordered with that thread's falling asleep.
    pub(super) fn leave(&self, lane: LaneId) {
        self.left[lane.0 / BITS].fetch_or(1 << (lane.0 % BITS), SeqCst);
    }

    /// It was enqueued, or never will be.
    pub(super) fn take(&self, lane: LaneId) {
        self.left[lane.0 / BITS].fetch_and(!(1 << (lane.0 % BITS)), SeqCst);
    }

    /// Whether anything is left to the driver thread.
    pub(super) fn is_any_left(&self) -> bool {
        self.left.iter().any(|bits| bits.load(SeqCst) != 0)
    }

    /// The lanes of which something is left to the driver thread.
    pub(super) fn left(&self) -> impl Iterator<Item = usize> {
        self.left.iter().enumerate().flat_map(|(word, bits)| {
            let bits = bits.load(SeqCst);
            (0..BITS).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * BITS + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn falls_at_once_and_rises_slowly() {
        let expectations = Expectations::new(1);
        let place = table::place("fit", 100);
        for (took_ns, expected_ns) in [(16_000, 15_000), (8_000, 7_500), (40_000, 9_000 - 562)] {
            expectations.learn(place, took_ns, true);
            assert_eq!(expectations.next_ask_ns(place, 0, expected_ns - 1), expected_ns);
        }
    }

    fn asks(expectations: &Expectations, place: usize) -> [u64; 5] {
        let mut now_ns = 0;
        std::array::from_fn(|_| {
            now_ns = expectations.next_ask_ns(place, 0, now_ns);
            now_ns
        })
    }

    #[test]
    fn what_is_not_known_is_asked_for_in_proportion() {
        let expectations = Expectations::new(1);
        let place = table::place("fit", 1);
        assert_eq!(expectations.next_ask_ns(place, 7, 7), 1_007);
        assert_eq!(expectations.next_ask_ns(place, 0, 640_000), 650_000);
        assert_eq!(expectations.next_ask_ns(place, 0, 1 << 40), (1 << 40) + 100_000);
    }

    #[test]
    fn asks_closely_from_a_little_before_the_expected_end() {
        let (expectations, place) = (Expectations::new(1), table::place("fit", 1));
        expectations.learn(place, 160_000, true);
        assert_eq!(asks(&expectations, place), [150_000, 152_343, 154_723, 157_140, 159_595]);
    }

    #[test]
    fn asks_twice_before_an_end_that_is_far() {
        let (expectations, place) = (Expectations::new(1), table::place("fit", 1));
        expectations.learn(place, 8_000_000, true);
        assert_eq!(asks(&expectations, place), [2_000_000, 4_000_000, 7_990_000, 8_090_000, 8_190_000]);
    }

    #[test]
    fn an_end_that_is_found_at_once_is_looked_for_sooner() {
        let (expectations, place) = (Expectations::new(1), table::place("fit", 1));
        expectations.learn(place, 160_000, true);
        // However late the look was.
        expectations.learn(place, 900_000, false);
        assert_eq!(expectations.next_ask_ns(place, 0, 0), 150_000 - 150_000 / 16);
    }

    #[test]
    fn the_soonest_of_all_lanes_counts() {
        let expectations = Expectations::new(3);
        assert_eq!(expectations.soonest_ns(), u64::MAX);
        for (lane, at_ns) in [(0, 50_000), (1, 20_000), (2, 90_000)] {
            expectations.expect(LaneId(lane), at_ns);
        }
        assert_eq!(
            (expectations.soonest_ns(), expectations.soonest_takes()),
            (20_000, Duration::from_micros(20))
        );
        expectations.begin(LaneId(1), 15_000);
        assert_eq!(expectations.soonest_takes(), Duration::from_micros(5));
        expectations.forget(LaneId(1));
        assert_eq!(expectations.soonest_ns(), 50_000);
        assert_eq!(expectations.lanes().map(|(lane, _)| lane.0).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn what_is_left_is_found_until_it_is_taken() {
        let expectations = Expectations::new(200);
        [3, 64, 199].into_iter().for_each(|lane| expectations.leave(LaneId(lane)));
        assert_eq!(expectations.left().collect::<Vec<_>>(), [3, 64, 199]);
        [3, 199].into_iter().for_each(|lane| expectations.take(LaneId(lane)));
        assert_eq!(expectations.left().collect::<Vec<_>>(), [64]);
        expectations.take(LaneId(64));
        assert!(!expectations.is_any_left());
    }
}
