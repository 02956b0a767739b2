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
    /// Runs shorter than this happen on the caller's thread; 0: none do; more than half a second counts as half a second.
    ///
    /// Default: 1 ms. A run is work of the processor's, like an algorithm's own, and a worker that does it holds up others no more
    /// than that would; they are taken over by other workers meanwhile. On the lane's thread it would take a core from the
    /// workers all the same, and the way there and back: 3 µs between threads that are awake, but 30 to 80 µs on a virtual machine
    /// where the lane's thread has to be woken, and then a worker. With 50 µs instead, a run of 50 µs had 0.6 of the throughput that it has on
    /// the worker with one event in flight, and with 64 in flight as well (`bench onnx`).
    pub inline_below: Duration,
}

impl Default for OnnxConfig {
    fn default() -> Self {
        Self { lanes: 0, inline_below: Duration::from_millis(1) }
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
                gpu: None,
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
