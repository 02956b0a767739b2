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

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use asynchrotron::time::{Clock, Hold};
use asynchrotron_sync::{Lane, LanePool};

use crate::drain::{Entered, Outstanding};
use crate::drivers::{Drivers, Errand};
use crate::inline::Durations;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

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
pub struct HostDevice {
    capability: Capability,
    lanes: LanePool<LaneId>,
    drivers: Drivers<Task>,
    durations: Arc<Durations>,
    outstanding: Outstanding,
    closed: AtomicBool,
    clock: Clock,
}

impl HostDevice {
    /// Opens the host. Starts no thread yet.
    pub fn new(config: HostConfig) -> Self {
        let lanes = match config.lanes {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            lanes => lanes,
        };
        Self {
            capability: Capability {
                description: format!(
                    "{} processor, driver threads for {lanes} long steps",
                    std::env::consts::ARCH
                ),
                lanes,
                memory_bytes: None,
                computes_on_host: true,
            },
            lanes: LanePool::new((0..lanes).map(LaneId)),
            drivers: Drivers::new("host", lanes),
            durations: Arc::new(Durations::new(config.inline_below)),
            outstanding: Outstanding::default(),
            closed: AtomicBool::new(false),
            clock: Clock::real(),
        }
    }

    /// The same, for a job with this clock: simulated time stands still while a driver thread works.
    #[must_use]
    pub fn in_time(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
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
        &self.lanes
    }

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        if self.closed.load(Ordering::Relaxed) {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let index = lane.0;
        let (entered, durations) = (self.outstanding.enter(), self.durations.clone());
        let hold = self.clock.hold();
        self.drivers.send(index, Task { job, lane, entered, durations, hold });
    }

    fn inline(&self, step: &str, rows: usize) -> Option<Inline<'_>> {
        let inline = self.durations.inline(step, rows)?;
        if self.closed.load(Ordering::Relaxed) { None } else { Some(inline) }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lanes.close();
    }

    fn drain(&self) -> Drain {
        self.outstanding.drain()
    }
}

impl Drop for HostDevice {
    fn drop(&mut self) {
        // The drivers' senders go with it, and so do the threads when they have done what they have. They are not joined:
        // that would block for as long as the longest step, for ever if that step waits for this thread.
        self.close();
    }
}

impl fmt::Debug for HostDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostDevice").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// What is sent to a driver thread.
struct Task {
    job: Job,
    lane: Lane<LaneId>,
    entered: Entered,
    durations: Arc<Durations>,
    hold: Hold,
}

impl Errand for Task {
    fn run(self) {
        let Self { mut job, lane, entered, durations, hold } = self;
        if job.is_abandoned() {
            drop(job);
            drop(lane);
        } else {
            let begin = Instant::now();
            job.compute_on_host();
            durations.learn(job.step(), job.rows(), begin.elapsed());
            drop(lane); // before the completion, so that who is woken finds it free
            job.complete();
        }
        drop(entered);
        drop(hold);
    }

    fn refuse(self, why: &str) {
        drop(self.lane);
        self.job.fail(DeviceErrorKind::Refused(why.into()));
    }
}
