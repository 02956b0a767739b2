//! [`HostDevice`]: the processor's own cores. The reference for all other devices.
//!
//! ```text
//!                      known to be short                               ┌─▶ the output, at once
//!   run / submit ──┬──────────────────────▶ on the caller's thread ────┘
//!                  └─▶ wait for a lane ─▶ the lane's driver thread ─▶ lane back ─▶ completion
//! ```
//!
//! A step that is shorter than the way to another thread and back (two wake-ups, 2–50 µs each) runs where it is. A
//! longer one would hold up the worker, and all tasks that the worker could have polled meanwhile; it goes to the driver
//! thread of its lane. Which is which is measured per step and size of input; what is not known yet is taken to be long.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use asynchrotron::time::Clock;
use asynchrotron_sync::{Lane, LanePool};

use crate::job::Body;
use crate::threads::Threads;
use crate::{Capability, Device, DeviceKind, Drain, Inline, Job, LaneId};

/// How the host computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Driver threads for long steps, one per lane, started when first needed. 0, the default: one per core.
    pub lanes: usize,
    /// Steps shorter than this run on the caller's thread; more than half a second counts as half a second. 0: none do.
    /// Default: 50 µs, about what a hand-over to another
    /// thread and back costs on a busy machine.
    pub inline_below: Duration,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self { lanes: 0, inline_below: Duration::from_micros(50) }
    }
}

/// The processor's own cores.
///
/// Dropping it closes it. It never waits: driver threads end what they have and then themselves.
#[derive(Debug)]
pub struct HostDevice {
    capability: Capability,
    threads: Threads,
}

impl HostDevice {
    /// Opens the host. Starts no thread yet.
    pub fn new(config: HostConfig) -> Self {
        let lanes = lanes_or_cores(config.lanes);
        Self {
            capability: Capability {
                description: format!(
                    "{} processor, driver threads for {lanes} long steps",
                    std::env::consts::ARCH
                ),
                lanes,
                memory_bytes: None,
                gpu: None,
                computes_on_host: true,
            },
            threads: Threads::new("host", lanes, config.inline_below),
        }
    }

    /// The same, for a job with this clock: simulated time stands still while a driver thread works.
    #[must_use]
    pub fn in_time(mut self, clock: Clock) -> Self {
        self.threads.in_time(clock);
        self
    }
}

/// As many as configured; 0: one per core.
pub(crate) fn lanes_or_cores(lanes: usize) -> usize {
    match lanes {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        lanes => lanes,
    }
}

impl Default for HostDevice {
    fn default() -> Self {
        Self::new(HostConfig::default())
    }
}

impl Device for HostDevice {
    fn name(&self) -> &str {
        self.kind().name()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Host
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        self.threads.lanes()
    }

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        self.threads.submit(lane, job, Body::Host);
    }

    fn inline(&self, step: &str, rows: usize, _lane: Option<LaneId>) -> Option<Inline<'_>> {
        self.threads.inline(step, rows, Body::Host)
    }

    fn close(&self) {
        self.threads.close();
    }

    fn drain(&self) -> Drain {
        self.threads.drain()
    }
}
