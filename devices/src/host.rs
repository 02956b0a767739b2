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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use asynchrotron_sync::{Lane, LanePool};

use crate::drain::{Entered, Outstanding};
use crate::inline::Durations;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

/// How the host computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Driver threads for long steps, one per lane, started when first needed. 0, the default: one per core.
    pub lanes: usize,
    /// Steps shorter than this run on the caller's thread. 0: none do. Default: 50 µs, about what a hand-over to another
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
    drivers: Box<[Driver]>,
    durations: Arc<Durations>,
    outstanding: Outstanding,
    closed: AtomicBool,
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
            drivers: (0..lanes).map(|_| Driver::default()).collect(),
            durations: Arc::new(Durations::new(config.inline_below)),
            outstanding: Outstanding::default(),
            closed: AtomicBool::new(false),
        }
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
        let task = Task { job, lane, entered: self.outstanding.enter() };
        match self.drivers.get(index) {
            Some(driver) => driver.send(index, task, &self.durations),
            None => task.refuse("the lane belongs to another device"),
        }
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

/// The driver thread of one lane. A lane carries one task at a time, so a channel for one never fills.
#[derive(Default)]
struct Driver {
    /// `None` until first needed. Locked by the holder of the lane only.
    tasks: Mutex<Option<SyncSender<Task>>>,
}

impl Driver {
    fn send(&self, index: usize, task: Task, durations: &Arc<Durations>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_none() {
            let (sender, receiver) = sync_channel(1);
            let durations = durations.clone();
            let name = format!("host lane {index}");
            match thread::Builder::new().name(name).spawn(move || drive(&receiver, &durations)) {
                Ok(_runs_until_the_sender_is_dropped) => *tasks = Some(sender),
                Err(error) => {
                    drop(tasks);
                    return task.refuse(&format!("no driver thread: {error}"));
                }
            }
        }
        let sent = tasks.as_ref().map(|tasks| tasks.try_send(task));
        drop(tasks);
        if let Some(Err(TrySendError::Full(task) | TrySendError::Disconnected(task))) = sent {
            task.refuse("the lane belongs to another device");
        }
    }
}

/// What is sent to a driver thread.
struct Task {
    job: Job,
    lane: Lane<LaneId>,
    entered: Entered,
}

impl Task {
    fn run(self, durations: &Durations) {
        let Self { mut job, lane, entered } = self;
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
    }

    fn refuse(self, why: &str) {
        drop(self.lane);
        self.job.fail(DeviceErrorKind::Refused(why.into()));
    }
}

fn drive(tasks: &Receiver<Task>, durations: &Durations) {
    for task in tasks {
        // Panics of steps are caught closer to them. This is for what else is foreign: wakers, and drops of buffers.
        let _ = catch_unwind(AssertUnwindSafe(|| task.run(durations)));
    }
}
