//! [`Expectations`]: when it is worth asking. Asking the driver takes a microsecond and holds a lock that launches need too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::table::PLACES;

/// Nobody is left unasked for longer, whatever was expected: how late a failure of the GPU may be found.
const ASK_EVERY_NS: u64 = 2_000_000;
/// The first time that it is worth asking, and how exactly ends are found at least.
const FIRST_NS: u64 = 2_000;

/// How long submissions took lately, by step and size, and when the next one is worth asking for. Two steps that share a place only
/// ask a little too often or too late.
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

    /// When a submission that was armed at one time, and is asked for at another in vain, is worth asking for again.
    ///
    /// Steps vary, so it is asked for twice before its end is expected: one that ends much sooner is found with a delay in
    /// proportion. From a little before the expected end on, it is asked for closely.
    pub(super) fn next_ask_ns(&self, place: usize, armed_ns: u64, now_ns: u64) -> u64 {
        let estimate = u64::from(self.estimates[place].load(Relaxed));
        let took = now_ns.saturating_sub(armed_ns);
        let looks = [estimate / 4, estimate / 2, estimate - estimate / 16];
        match looks.into_iter().find(|look| *look > took.max(FIRST_NS)) {
            Some(look) => armed_ns + look,
            None => now_ns + (took / 64).clamp(FIRST_NS / 2, 100_000),
        }
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
    use crate::table;

    #[test]
    fn falls_at_once_and_rises_slowly() {
        let expectations = Expectations::new();
        let place = table::place("fit", 100);
        for (took_ns, expected_ns) in [(16_000, 15_000), (8_000, 7_500), (40_000, 9_000 - 562)] {
            expectations.learn(place, took_ns);
            assert_eq!(expectations.next_ask_ns(place, 0, expected_ns - 1), expected_ns);
        }
    }

    #[test]
    fn asks_twice_before_the_expected_end_and_closely_after_it() {
        let expectations = Expectations::new();
        let place = table::place("fit", 1);
        assert_eq!(expectations.next_ask_ns(place, 7, 7), 1_007);
        assert_eq!(expectations.next_ask_ns(place, 0, 640_000), 650_000);
        assert_eq!(expectations.next_ask_ns(place, 0, 1 << 40), (1 << 40) + 100_000);
        expectations.learn(place, 160_000);
        let mut asks = vec![0];
        while asks.len() < 6 {
            asks.push(expectations.next_ask_ns(place, 0, asks[asks.len() - 1]));
        }
        assert_eq!(asks, [0, 40_000, 80_000, 150_000, 152_343, 154_723]);
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
