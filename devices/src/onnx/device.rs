//! [`OnnxDevice`].

use std::time::Duration;

use asynchrotron::time::Clock;
use asynchrotron_sync::{Lane, LanePool};

use super::library::{LibraryMissing, library, version};
use crate::host::lanes_or_cores;
use crate::job::Body;
use crate::threads::Threads;
use crate::{Capability, Device, DeviceKind, Drain, Inline, Job, LaneId};

/// How ONNX Runtime computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxConfig {
    /// Runs at a time: each lane has a driver thread, and a session of each model. 0, the default: one per core.
    pub lanes: usize,
    /// Runs shorter than this happen on the caller's thread; 0: none do. Default: 50 µs, as on the
    /// [host](crate::HostConfig::inline_below), for the same reason: that is about what the way to the lane's thread and back
    /// costs. Between threads that are awake it is 3 µs (a run of 3 µs took 6), but with few events in flight the lane's thread
    /// sleeps, and to wake it and then a worker took 30 to 80 µs on a virtual machine: with 10 µs, a run of 40 µs had less than half
    /// of the throughput that it has on the worker (`bench onnx`, one event in flight).
    pub inline_below: Duration,
}

impl Default for OnnxConfig {
    fn default() -> Self {
        Self { lanes: 0, inline_below: Duration::from_micros(50) }
    }
}

/// ONNX Runtime.
///
/// It runs each step's [body for ONNX](crate::Step::on_onnx) on the lane's driver thread, or inline; for most steps that is the one
/// for the host. Work that has begun is never cut short; work whose waiter has left before that is skipped.
///
/// Dropping it closes it, and never waits.
#[derive(Debug)]
pub struct OnnxDevice {
    capability: Capability,
    threads: Threads,
}

impl OnnxDevice {
    /// Loads the library, if it is not yet loaded. Starts no thread.
    ///
    /// # Errors
    /// [`LibraryMissing`].
    pub fn open(config: OnnxConfig) -> Result<Self, LibraryMissing> {
        let library = library()?;
        let lanes = lanes_or_cores(config.lanes);
        Ok(Self {
            capability: Capability {
                description: format!(
                    "ONNX Runtime {}, sessions on {lanes} lanes ({}, loaded in {:.1?})",
                    version(&library.path),
                    library.path.display(),
                    library.load
                ),
                lanes,
                memory_bytes: None,
                computes_on_host: true,
            },
            threads: Threads::new("onnx", lanes, config.inline_below),
        })
    }

    /// The same, for a job with this clock: simulated time stands still while a driver thread works.
    #[must_use]
    pub fn in_time(mut self, clock: Clock) -> Self {
        self.threads.in_time(clock);
        self
    }
}

impl Device for OnnxDevice {
    fn name(&self) -> &str {
        self.kind().name()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Onnx
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        self.threads.lanes()
    }

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        let body = Body::Onnx(*lane);
        self.threads.submit(lane, job, body);
    }

    fn inline(&self, step: &str, rows: usize, lane: Option<LaneId>) -> Option<Inline<'_>> {
        self.threads.inline(step, rows, Body::Onnx(lane?))
    }

    fn close(&self) {
        self.threads.close();
    }

    fn drain(&self) -> Drain {
        self.threads.drain()
    }
}
