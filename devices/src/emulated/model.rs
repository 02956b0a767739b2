//! [`Model`]: when a submission will be done.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::EmulatedConfig;
use super::faults::{Fate, Verdict};

/// The cost of everything, and what is busy until when.
pub(super) struct Model {
    config: EmulatedConfig,
    fate: Fate,
    /// Whether engines are fewer than lanes.
    has_engines: bool,
    busy: Mutex<Busy>,
}

/// Until when, in nanoseconds of the clock.
struct Busy {
    copy_engine: u64,
    /// The first one is free first. Empty: there are enough.
    engines: BinaryHeap<Reverse<u64>>,
}

/// An even random number between 0 and 1: the same for the same seed, submission and purpose.
fn random(seed: u64, number: u64, purpose: u64) -> f64 {
    // SplitMix64, whose outputs for consecutive states are independent.
    let mut x = seed
        .wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(number.wrapping_mul(2).wrapping_add(purpose).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Model {
    pub(super) fn new(config: EmulatedConfig) -> Self {
        let engines = if config.engines < config.lanes { config.engines } else { 0 };
        let busy = Busy { copy_engine: 0, engines: (0..engines).map(|_| Reverse(0)).collect() };
        Self {
            fate: Fate::new(config.faults.clone()),
            has_engines: engines > 0,
            busy: Mutex::new(busy),
            config,
        }
    }

    pub(super) fn config(&self) -> &EmulatedConfig {
        &self.config
    }

    /// How submission `number` ends, and when.
    pub(super) fn submit(&self, number: u64, rows: usize, bytes: usize) -> (Verdict, Duration) {
        let config = &self.config;
        let mut verdict = self.fate.decide(number, rows, random(config.seed, number, 0));
        if verdict == Verdict::Fine && config.memory_bytes.is_some_and(|most| bytes as u64 > most) {
            verdict = Verdict::OutOfMemory;
        }
        let now = config.clock.now();
        if verdict == Verdict::OutOfMemory {
            return (verdict, now);
        }
        let now = now.as_nanos() as u64;
        let copy = match config.bytes_per_s {
            bandwidth if bandwidth > 0.0 => (1e9 * bytes as f64 / bandwidth) as u64,
            _ => 0,
        };
        let jitter = 1.0 + config.jitter * (2.0 * random(config.seed, number, 1) - 1.0);
        let cost_ns = config.submission.as_nanos() as f64 + config.per_row_ns * rows as f64;
        let cost = (cost_ns * jitter).max(0.0) as u64;
        if copy == 0 && !self.has_engines {
            return (verdict, Duration::from_nanos(now.saturating_add(cost)));
        }
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copied = now;
        if copy > 0 {
            copied = busy.copy_engine.max(now).saturating_add(copy);
            busy.copy_engine = copied;
        }
        let mut end = copied.saturating_add(cost);
        if let Some(mut engine) = busy.engines.peek_mut() {
            end = engine.0.max(copied).saturating_add(cost);
            engine.0 = end;
        }
        (verdict, Duration::from_nanos(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asynchrotron::time::Clock;

    fn model(change: impl FnOnce(&mut EmulatedConfig)) -> Model {
        let mut config = EmulatedConfig {
            lanes: 8,
            submission: Duration::from_micros(50),
            per_row_ns: 0.25,
            clock: Clock::simulated(),
            ..EmulatedConfig::default()
        };
        change(&mut config);
        Model::new(config)
    }

    fn ends_ns(model: &Model, submissions: &[(usize, usize)]) -> Vec<u64> {
        let end = |(&(rows, bytes), number)| model.submit(number, rows, bytes).1.as_nanos() as u64;
        submissions.iter().zip(1..).map(end).collect()
    }

    #[test]
    fn the_cost_is_linear_in_rows_below_a_nanosecond_each() {
        let model = model(|_| {});
        assert_eq!(ends_ns(&model, &[(0, 9), (4, 0), (1000, 0)]), [50_000, 50_001, 50_250]);
    }

    #[test]
    fn copies_go_one_after_the_other_while_others_compute() {
        let model = model(|config| config.bytes_per_s = 1e9);
        assert_eq!(ends_ns(&model, &[(0, 10_000), (0, 10_000), (0, 0)]), [60_000, 70_000, 50_000]);
    }

    #[test]
    fn computations_wait_for_the_engine_that_is_free_first() {
        let model = model(|config| config.engines = 2);
        let ends = ends_ns(&model, &[(0, 0), (400_000, 0), (0, 0), (0, 0)]);
        assert_eq!(ends, [50_000, 150_000, 100_000, 150_000]);
    }

    #[test]
    fn jitter_is_the_same_for_the_same_seed_and_stays_within_its_bounds() {
        let ends = |seed| {
            let model = model(|config| (config.jitter, config.seed) = (0.2, seed));
            ends_ns(&model, &[(0, 0); 1000])
        };
        assert_eq!(ends(1), ends(1));
        assert_ne!(ends(1), ends(2));
        let (ends, mean) = (ends(1), ends(1).iter().sum::<u64>() as f64 / 1000.0);
        assert!(ends.iter().all(|end| (40_000..=60_000).contains(end)));
        assert!((mean - 50_000.0).abs() < 1_000.0 && ends.iter().any(|&end| end < 42_000), "{mean}");
    }

    #[test]
    fn random_failures_come_as_often_as_they_should() {
        let model = model(|config| config.faults.fail_probability = 0.1);
        let fails = (1..=10_000).filter(|&n| matches!(model.submit(n, 1, 0).0, Verdict::Fails(_))).count();
        assert!((900..1100).contains(&fails), "{fails}");
    }

    #[test]
    fn what_does_not_fit_is_told_at_once_and_occupies_nothing() {
        let model = model(|config| {
            config.memory_bytes = Some(100);
            config.faults.out_of_memory_above_rows = Some(10);
            config.engines = 1;
        });
        for (rows, bytes) in [(11, 0), (0, 101)] {
            assert_eq!(model.submit(1, rows, bytes), (Verdict::OutOfMemory, Duration::ZERO));
        }
        assert_eq!(model.submit(1, 0, 100), (Verdict::Fine, Duration::from_micros(50)));
    }
}
