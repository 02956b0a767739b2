//! [`Threads`]: what devices that compute on this machine's processor have in common: lanes, each with a driver thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asynchrotron::time::{Clock, Hold};
use asynchrotron_sync::{Lane, LanePool};

use crate::drain::{Entered, Outstanding};
use crate::drivers::{Drivers, Errand};
use crate::inline::Durations;
use crate::job::Body;
use crate::{DeviceErrorKind, Drain, Inline, Job, LaneId};

/// Lanes, each with a driver thread that is started when first needed.
///
/// Dropping it closes it. It never waits: driver threads end what they have and then themselves.
pub(crate) struct Threads {
    lanes: LanePool<LaneId>,
    drivers: Drivers<Task>,
    durations: Arc<Durations>,
    outstanding: Outstanding,
    closed: AtomicBool,
    clock: Clock,
}

impl Threads {
    /// Steps shorter than `inline_below` may run on the caller's thread.
    pub(crate) fn new(device: &'static str, lanes: usize, inline_below: Duration) -> Self {
        Self {
            lanes: LanePool::new((0..lanes).map(LaneId)),
            drivers: Drivers::new(device, lanes),
            durations: Arc::new(Durations::new(inline_below)),
            outstanding: Outstanding::default(),
            closed: AtomicBool::new(false),
            clock: Clock::real(),
        }
    }

    /// Simulated time stands still while a driver thread works.
    pub(crate) fn in_time(&mut self, clock: Clock) {
        self.clock = clock;
    }

    pub(crate) fn lanes(&self) -> &LanePool<LaneId> {
        &self.lanes
    }

    pub(crate) fn submit(&self, lane: Lane<LaneId>, job: Job, body: Body) {
        if self.closed.load(Ordering::Relaxed) {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let index = lane.0;
        let (entered, durations) = (self.outstanding.enter(), self.durations.clone());
        let hold = self.clock.hold();
        self.drivers.send(index, Task { job, body, lane, entered, durations, hold });
    }

    pub(crate) fn inline(&self, step: &str, rows: usize, body: Body) -> Option<Inline<'_>> {
        let inline = self.durations.inline(step, rows, body)?;
        if self.closed.load(Ordering::Relaxed) { None } else { Some(inline) }
    }

    /// Counts a submission that these threads do not run.
    #[cfg(feature = "cuda")]
    pub(crate) fn enter(&self) -> Entered {
        self.outstanding.enter()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lanes.close();
    }

    pub(crate) fn drain(&self) -> Drain {
        self.outstanding.drain()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The drivers' senders go with it, and so do the threads when they have done what they have. They are not joined:
        // that would block for as long as the longest step, for ever if that step waits for this thread.
        self.close();
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// What is sent to a driver thread.
struct Task {
    job: Job,
    body: Body,
    lane: Lane<LaneId>,
    entered: Entered,
    durations: Arc<Durations>,
    hold: Hold,
}

impl Errand for Task {
    fn run(self) {
        let Self { mut job, body, lane, entered, durations, hold } = self;
        if job.is_abandoned() {
            drop(lane); // before what goes with the job
            drop(job);
        } else {
            let begin = Instant::now();
            job.compute(body);
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
