//! [`Runs`]: how often a model ran, and how long that took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::ModelSource;
use crate::inference::ModelReport;

/// How often a model ran, and how long that took; without the warm-up.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: AtomicU64,
    rows: AtomicU64,
    run_ns: AtomicU64,
}

impl Runs {
    pub(super) fn count(&self, rows: usize, elapsed: Duration) {
        self.runs.fetch_add(1, Relaxed);
        self.rows.fetch_add(rows as u64, Relaxed);
        self.run_ns.fetch_add(elapsed.as_nanos() as u64, Relaxed);
    }

    /// The report of a model of this source on one thread of the host, without sessions, that took no time to load.
    pub(super) fn report(&self, source: &ModelSource) -> ModelReport {
        ModelReport {
            name: source.name().into(),
            origin: source.origin().into(),
            sha256: source.sha256().into(),
            optimized: source.is_optimized(),
            lanes: 0,
            threads: 1,
            on_gpu: false,
            load: Duration::ZERO,
            warm_up: Duration::ZERO,
            runs: self.runs.load(Relaxed),
            rows: self.rows.load(Relaxed),
            run: Duration::from_nanos(self.run_ns.load(Relaxed)),
        }
    }
}
