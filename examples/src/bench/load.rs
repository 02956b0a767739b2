//! What benchmarks of waiting are made of: a fixed amount of CPU work, and an offload that computes nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron_devices::{Device, EmulatedConfig, EmulatedDevice, Step};

/// A fixed amount of CPU work. Not a time: a thread that loses its core while it spins for a time would be credited with work
/// that it has not done.
#[derive(Clone, Copy)]
pub(super) struct Work(u64);

impl Work {
    pub(super) const NONE: Work = Work(0);

    /// The work that takes so long on a core that does nothing else.
    pub(super) fn of(duration: Duration) -> Self {
        const TRIAL: Work = Work(20_000);
        // The fastest of many was not disturbed.
        let fastest = (0..300).map(|_| TRIAL.time()).min().unwrap_or(Duration::MAX);
        Work((TRIAL.0 as f64 * duration.as_secs_f64() / fastest.as_secs_f64()) as u64)
    }

    fn time(self) -> Duration {
        let begin = Instant::now();
        self.run();
        begin.elapsed()
    }

    pub(super) fn run(self) {
        let mut x = black_box(1_u64);
        for _ in 0..self.0 {
            // Each needs the one before: no compiler and no processor does two at a time.
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        }
        black_box(x);
    }
}

/// An offload that takes its time and does nothing.
pub(super) struct Wait;

impl Step for Wait {
    type Input = ();
    type Output = ();

    fn name(&self) -> &str {
        "wait"
    }

    fn rows(&self, (): &()) -> usize {
        1
    }

    fn placeholder(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn on_host(&self, (): ()) -> Result<()> {
        Ok(())
    }
}

/// A device on which each offload takes `offload`, with so many lanes.
pub(super) fn waiting_device(lanes: usize, offload: Duration, clock: Clock) -> Arc<dyn Device> {
    Arc::new(EmulatedDevice::new(EmulatedConfig {
        lanes,
        submission: offload,
        per_row_ns: 0.0,
        compute: false,
        clock,
        ..EmulatedConfig::default()
    }))
}
