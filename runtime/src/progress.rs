//! [`Progress`]: how far a running job is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How far a running job is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Events that are complete.
    pub events: u64,
    /// Events given up, for whatever reason.
    pub failed: u64,
    /// Events in flight.
    pub in_flight: usize,
    /// Events that the job will run in total, if that is known.
    pub total: Option<u64>,
    /// Time since the first event was asked for.
    pub elapsed: Duration,
}

/// Calls a function with the [`Progress`] at a fixed interval, on the thread that runs the job (no worker is disturbed),
/// and once more at the end.
#[derive(Clone)]
pub struct Ticker {
    pub(crate) interval: Duration,
    pub(crate) tick: Arc<dyn Fn(&Progress) + Send + Sync>,
}

impl Ticker {
    /// Calls `tick` every `interval`.
    pub fn new(interval: Duration, tick: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Ticker { interval, tick: Arc::new(tick) }
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticker every {:?}", self.interval)
    }
}
