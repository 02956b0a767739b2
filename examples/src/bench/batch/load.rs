//! [`Load`]: who asks, and when.

use std::fmt;
use std::time::Duration;

use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp};

use super::device::capacity_per_s;
use super::record::window;

/// Slots where requests come by themselves: so many that no arrival waits for one, unless the device cannot keep up.
const SLOTS_OPEN: usize = 8192;
const SEED: u64 = 3;

/// Who asks, and when.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Load {
    /// So many slots; each asks again as soon as it is answered.
    Closed(usize),
    /// Requests that come by themselves, independently of each other, at this part of the capacity.
    Poisson(f64),
}

pub(super) const LOADS: [Load; 6] = [
    Load::Closed(8),
    Load::Closed(64),
    Load::Closed(512),
    Load::Poisson(0.3),
    Load::Poisson(0.7),
    Load::Poisson(0.95),
];

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Closed(slots) => write!(f, "{slots} slots"),
            Load::Poisson(part) => write!(f, "Poisson {part}"),
        }
    }
}

impl Load {
    pub(super) fn slots(self) -> usize {
        match self {
            Load::Closed(slots) => slots,
            Load::Poisson(_) => SLOTS_OPEN,
        }
    }

    /// Enough for a 99th percentile that is good to a few per cent.
    pub(super) fn requests(self) -> u64 {
        match self {
            Load::Closed(slots) => 20_000.max(100 * slots as u64),
            Load::Poisson(part) if part > 0.9 => 150_000,
            Load::Poisson(_) => 60_000,
        }
    }

    /// When each request comes; `None` if that depends on the answers.
    pub(super) fn arrivals(self, lanes: usize) -> Option<Vec<Duration>> {
        let Load::Poisson(part) = self else { return None };
        let per_ns = 1e-9 * part * capacity_per_s(lanes);
        let gaps = Exp::new(per_ns).expect("a rate above 0");
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut now_ns = 0.0;
        let arrival = |_| {
            now_ns += gaps.sample(&mut random);
            Duration::from_nanos(now_ns as u64)
        };
        Some((0..self.requests()).map(arrival).collect())
    }
}

/// Requests per second that came, counted where answers are.
pub(super) fn rate(arrivals: &[Duration]) -> f64 {
    let (begin, end) = window(arrivals.len());
    (end - begin) as f64 / (arrivals[end] - arrivals[begin]).as_secs_f64()
}

/// Delivers events when they come. Their product is that time.
pub(super) struct Arrivals {
    pub(super) clock: Clock,
    pub(super) times: std::vec::IntoIter<Duration>,
    pub(super) next: u64,
}

impl Source for Arrivals {
    type Product = Duration;

    async fn next(&mut self) -> Result<Option<Read<Duration>>> {
        let Some(time) = self.times.next() else { return Ok(None) };
        if time > self.clock.now() {
            self.clock.sleep_until(time).await;
        }
        let event = EventId(self.next);
        self.next += 1;
        Ok(Some(Read { event, product: Ok(time) }))
    }
}
