//! [`Expectations`]: when it is worth asking. Asking the driver takes a microsecond and holds a lock that launches need too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Places for estimates; two steps that share one only ask a little too often or too late.
const PLACES: usize = 1024;
/// Nobody is left unasked for longer, whatever was expected: how late a failure of the GPU may be found.
const ASK_EVERY_NS: u64 = 2_000_000;
/// The first time that it is worth asking, and how exactly ends are found at least.
const FIRST_NS: u64 = 2_000;

/// How long submissions took lately, by step and size, and when the next one is worth asking for.
#[derive(Debug)]
pub(super) struct Expectations {
    /// In nanoseconds; 0 where nothing is known.
    estimates: Box<[AtomicU32]>,
    /// In the engine's time.
    soonest_ns: AtomicU64,
}

impl Expectations {
    pub(super) fn new() -> Self {
        let estimates = (0..PLACES).map(|_| AtomicU32::new(0)).collect();
        Self { estimates, soonest_ns: AtomicU64::new(0) }
    }

    /// Where the estimate for such a submission is: by name and power of two of its rows.
    pub(super) fn place(step: &str, rows: usize) -> usize {
        let size = rows.checked_ilog2().map_or(0, |log| log as u64 + 1);
        // FNV-1a: names are a few bytes long and chosen by the programmer.
        let hash = step.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ (size << 32), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash ^ (hash >> 32)) as usize % PLACES
    }

    /// When a submission that was armed at one time, and is asked for at another in vain, is worth asking for again.
    ///
    /// Before its end is expected, each time when it has taken half as long again: steps vary, and one that ends much sooner is
    /// found with a delay in proportion. From a little before that on, it is asked for closely.
    pub(super) fn next_ask_ns(&self, place: usize, armed_ns: u64, now_ns: u64) -> u64 {
        let estimate = u64::from(self.estimates[place].load(Relaxed));
        let (expected, took) = (estimate - estimate / 16, now_ns.saturating_sub(armed_ns));
        if took < expected {
            return armed_ns + (took + took / 2).max(FIRST_NS).min(expected);
        }
        now_ns + (took / 16).clamp(FIRST_NS / 2, 100_000)
    }

    /// Remembers how long it took. Falls at once, rises slowly: who asks too early loses less than who asks too late.
    pub(super) fn learn(&self, place: usize, took_ns: u64) {
        let took = u32::try_from(took_ns).unwrap_or(u32::MAX).max(1);
        let known = self.estimates[place].load(Relaxed);
        let estimate = if known == 0 || took < known { took } else { known + (took - known) / 32 };
        // Workers share what is not written.
        if estimate != known {
            self.estimates[place].store(estimate, Relaxed);
        }
    }

    /// Somebody is worth asking from then on.
    pub(super) fn expect(&self, at_ns: u64) {
        if at_ns < self.soonest_ns.load(Relaxed) {
            self.soonest_ns.fetch_min(at_ns, Relaxed);
        }
    }

    /// All that is outstanding is about to be asked, and will say when to ask next.
    pub(super) fn begin(&self, now_ns: u64) {
        self.soonest_ns.store(now_ns + ASK_EVERY_NS, Relaxed);
    }

    /// When somebody is worth asking.
    pub(super) fn soonest_ns(&self) -> u64 {
        self.soonest_ns.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_at_once_and_rises_slowly() {
        let expectations = Expectations::new();
        let place = Expectations::place("fit", 100);
        let closely_from =
            |expectations: &Expectations| expectations.next_ask_ns(place, 0, 1 << 30) > 1 << 30;
        assert!(closely_from(&expectations));
        for (took_ns, expected_ns) in [(16_000, 15_000), (8_000, 7_500), (40_000, 9_000 - 562)] {
            expectations.learn(place, took_ns);
            assert_eq!(expectations.next_ask_ns(place, 0, expected_ns - 1), expected_ns);
        }
        assert_ne!(Expectations::place("fit", 1000), place);
    }

    #[test]
    fn asks_in_proportion_before_the_expected_end_and_closely_after_it() {
        let expectations = Expectations::new();
        let place = Expectations::place("fit", 1);
        assert_eq!(expectations.next_ask_ns(place, 7, 7), 1_007);
        assert_eq!(expectations.next_ask_ns(place, 0, 160_000), 170_000);
        assert_eq!(expectations.next_ask_ns(place, 0, 1 << 40), (1 << 40) + 100_000);
        expectations.learn(place, 160_000);
        let mut asks = vec![0];
        while asks.len() < 14 {
            asks.push(expectations.next_ask_ns(place, 0, asks[asks.len() - 1]));
        }
        let before = asks.iter().filter(|ask| **ask < 150_000).count();
        assert!(before < 13 && asks.contains(&150_000), "{asks:?}");
    }

    #[test]
    fn the_soonest_counts_until_all_are_asked() {
        let expectations = Expectations::new();
        expectations.begin(1_000);
        for at_ns in [50_000, 20_000, 90_000] {
            expectations.expect(at_ns);
        }
        assert_eq!(expectations.soonest_ns(), 20_000);
        expectations.begin(30_000);
        assert_eq!(expectations.soonest_ns(), 30_000 + ASK_EVERY_NS);
    }
}
