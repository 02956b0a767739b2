//! The device of the benchmark, and requests that ask for nothing.

use std::sync::Arc;
use std::time::Duration;

use asynchrotron::Result;
use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher};
use asynchrotron::time::Clock;
use asynchrotron_devices::{BatchStep, EmulatedConfig, EmulatedDevice, OnDevice, Step};

/// What a submission takes, whatever its size.
const SUBMISSION: Duration = Duration::from_micros(50);
/// What each request adds.
const REQUEST: Duration = Duration::from_micros(1);
/// Requests in a batch at most, for all policies.
pub(super) const REQUESTS_MAX: usize = 256;

/// What a batch takes.
pub(super) fn cost(requests: usize) -> Duration {
    SUBMISSION + REQUEST * requests as u32
}

/// Requests per second, if all batches are as large as they may be.
pub(super) fn capacity_per_s(lanes: usize) -> f64 {
    (lanes * REQUESTS_MAX) as f64 / cost(REQUESTS_MAX).as_secs_f64()
}

/// Requests of one row each that compute nothing.
pub(super) struct Nothing;

/// What one event asks for.
pub(super) struct Ask;

impl Step for Nothing {
    type Input = usize;
    type Output = usize;

    fn name(&self) -> &str {
        "nothing"
    }

    fn rows(&self, requests: &usize) -> usize {
        *requests
    }

    fn placeholder(&self, requests: &usize) -> Option<usize> {
        Some(*requests)
    }

    fn on_host(&self, requests: usize) -> Result<usize> {
        Ok(requests)
    }
}

impl BatchStep for Nothing {
    type Request = Ask;
    type Reply = ();
    type Parts = ();

    fn request_rows(&self, _: &Ask) -> usize {
        1
    }

    fn pack(&self, requests: &[&Ask], _rows: usize) -> (usize, ()) {
        (requests.len(), ())
    }

    fn unpack(&self, requests: usize, (): ()) -> Vec<()> {
        vec![(); requests]
    }
}

/// The device, with a batcher.
pub(super) fn batcher(lanes: usize, policy: BatchPolicy, clock: Clock) -> Batcher<OnDevice<Nothing>> {
    let device = EmulatedDevice::new(EmulatedConfig {
        lanes,
        submission: SUBMISSION,
        per_row_ns: REQUEST.as_nanos() as f64,
        compute: false,
        clock,
        ..EmulatedConfig::default()
    });
    let config = BatchConfig { policy, requests_max: REQUESTS_MAX, ..BatchConfig::default() };
    OnDevice::batcher(Nothing, Arc::new(device), config)
}
