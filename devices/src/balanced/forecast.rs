//! [`Forecast`]: where a submission is expected to end first.

use std::time::Duration;

use crate::table::PLACES;

/// When waiting has cost this many times what a trial on the host would take, it is tried there again: it may have become quicker.
const TRY_AGAIN_AFTER: u64 = 16;

/// How long submissions took lately, on members and on the host, by step and size. Two steps that share a place may end up on the
/// slower side.
#[derive(Debug)]
pub(super) struct Forecast {
    estimates: Box<[Estimate]>,
}

/// In nanoseconds; 0 where nothing is known.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    on_member_ns: u64,
    on_host_ns: u64,
    /// Expected of all that was not sent to the host since it was last tried.
    waited_ns: u64,
    /// One is on the host to find out.
    trying: bool,
}

impl Forecast {
    pub(super) fn new() -> Self {
        Self { estimates: vec![Estimate::default(); PLACES].into() }
    }

    /// How long a member takes for it; 0 if that is not known.
    pub(super) fn on_member_ns(&self, place: usize) -> u64 {
        self.estimates[place].on_member_ns
    }

    /// Whether it should go to the host, because it is expected to end there before it would on a member, where a lane is free in
    /// `wait_ns`; or for trial, one at a time.
    pub(super) fn choose_host(&mut self, place: usize, wait_ns: u64) -> bool {
        let Estimate { on_member_ns, on_host_ns, waited_ns, trying } = &mut self.estimates[place];
        let on_member_ns = wait_ns.saturating_add(*on_member_ns);
        let known = *on_host_ns > 0;
        if known && *on_host_ns < on_member_ns {
            return true;
        }
        *waited_ns = waited_ns.saturating_add(on_member_ns);
        let tries = !*trying && (!known || *waited_ns / TRY_AGAIN_AFTER >= *on_host_ns);
        if tries {
            (*trying, *waited_ns) = (true, 0);
        }
        tries
    }

    /// Remembers how long a member took.
    pub(super) fn learn_member(&mut self, place: usize, took: Duration) {
        learn(&mut self.estimates[place].on_member_ns, took);
    }

    /// Remembers how long the host took; `None`: it came to nothing.
    pub(super) fn learn_host(&mut self, place: usize, took: Option<Duration>) {
        let estimate = &mut self.estimates[place];
        estimate.trying = false;
        if let Some(took) = took {
            learn(&mut estimate.on_host_ns, took);
        }
    }
}

/// A moving average: a quarter of the newest, three of what was known.
fn learn(estimate_ns: &mut u64, took: Duration) {
    // Hours are as good as for ever, and sums of them are still numbers.
    let took_ns = took.as_nanos().clamp(1, 1 << 44) as u64;
    *estimate_ns = match *estimate_ns {
        0 => took_ns,
        known_ns => (known_ns * 3 + took_ns).div_ceil(4),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn the_host_is_chosen_only_if_it_is_expected_to_end_first() {
        let mut forecast = Forecast::new();
        forecast.learn_member(3, 20 * US);
        forecast.learn_host(3, Some(100 * US));
        assert!(!forecast.choose_host(3, 80_000)); // 100 µs on either
        assert!(forecast.choose_host(3, 80_001));
        // It becomes slower, and quicker again.
        forecast.learn_host(3, Some(500 * US));
        assert!(!forecast.choose_host(3, 180_000));
        (0..20).for_each(|_| forecast.learn_host(3, Some(10 * US)));
        assert!(forecast.choose_host(3, 0));
    }

    #[test]
    fn an_unknown_host_is_tried_one_at_a_time() {
        let mut forecast = Forecast::new();
        forecast.learn_member(3, 20 * US);
        assert!(forecast.choose_host(3, 0) && !forecast.choose_host(3, 1 << 40));
        assert!(forecast.choose_host(4, 0));
        forecast.learn_host(3, None);
        assert!(forecast.choose_host(3, 0) && !forecast.choose_host(3, 0));
    }

    #[test]
    fn a_slow_host_is_tried_again_now_and_then() {
        let mut forecast = Forecast::new();
        forecast.learn_member(3, 10 * US);
        forecast.learn_host(3, Some(1000 * US));
        // Waiting 20 µs each, 16 times the host's 1000 µs are over after 800.
        let tried: Vec<u32> = (1..=2000).filter(|_| forecast.choose_host(3, 10_000)).collect();
        assert_eq!(tried, [800]); // and no second time while that one is out
        forecast.learn_host(3, Some(1000 * US));
        assert!(forecast.choose_host(3, 10_000));
    }
}
