//! [`Flight`]: a submission on its way through a GPU.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use asynchrotron::time::Hold;
use asynchrotron_sync::{Lane, Point};

use super::driver::CudaEvent;
use super::engine::{Retirement, asks_flags_only};
use super::expectation::Expectations;
use super::memory::Landed;
use super::shared::Shared;
use super::work::Held;
use super::{Fault, Severity};
use crate::drain::Entered;
use crate::{DeviceErrorKind, Job, LaneId, table};

/// A submission on its way through a GPU. Owns all that the GPU may still read or write.
pub(super) struct Flight {
    pub(super) shared: Arc<Shared>,
    pub(super) retirement: Arc<Retirement>,
    /// Behind everything that was enqueued.
    pub(super) event: CudaEvent,
    /// What the waiter is told, if enqueueing failed half way.
    pub(super) verdict: Option<DeviceErrorKind>,
    /// `None` once the waiter was told.
    pub(super) job: Option<Job>,
    pub(super) held: Held,
    pub(super) lane: Lane<LaneId>,
    pub(super) schedule: Schedule,
    pub(super) hang_after: Duration,
    /// Set by the driver's callback, where that is how ends are learnt.
    pub(super) called_back: Option<Arc<AtomicBool>>,
    pub(super) entered: Entered,
    pub(super) hold: Hold,
}

/// When a flight is asked for, in the engine's time.
pub(super) struct Schedule {
    pub(super) expectations: Arc<Expectations>,
    pub(super) origin: Instant,
    pub(super) place: usize,
    pub(super) armed_ns: u64,
    pub(super) ask_ns: u64,
    /// When it counts as hung.
    pub(super) due_ns: u64,
}

impl Schedule {
    pub(super) fn new(
        expectations: &Arc<Expectations>,
        origin: Instant,
        job: &Job,
        hang_after: Duration,
    ) -> Self {
        let place = table::place(job.step(), job.rows());
        let armed_ns = origin.elapsed().as_nanos() as u64;
        Self {
            expectations: expectations.clone(),
            origin,
            place,
            armed_ns,
            ask_ns: expectations.next_ask_ns(place, armed_ns, armed_ns),
            due_ns: armed_ns.saturating_add(hang_after.as_nanos() as u64),
        }
    }

    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

impl Point for Flight {
    type Error = Fault;

    fn ask(&mut self) -> Poll<Result<(), Fault>> {
        if let Some(called_back) = &self.called_back {
            if called_back.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
            if asks_flags_only() {
                return Poll::Pending;
            }
        }
        let schedule = &mut self.schedule;
        let now_ns = schedule.now_ns();
        if now_ns < schedule.ask_ns {
            schedule.expectations.expect(schedule.ask_ns);
            return Poll::Pending;
        }
        match self.shared.driver.is_reached(self.event) {
            Ok(true) => {
                schedule.expectations.learn(schedule.place, now_ns - schedule.armed_ns);
                Poll::Ready(Ok(()))
            }
            Ok(false) => {
                schedule.ask_ns =
                    schedule.expectations.next_ask_ns(schedule.place, schedule.armed_ns, now_ns);
                schedule.expectations.expect(schedule.ask_ns);
                Poll::Pending
            }
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    fn end(self, result: Result<(), Fault>) {
        let Self { shared, retirement, event, verdict, job, held, lane, entered, hold, .. } = self;
        let verdict = match &result {
            Ok(()) => verdict,
            Err(fault) => {
                if fault.is_fatal() {
                    retirement.retire(fault);
                }
                Some(kind_of(fault))
            }
        };
        let end = move || {
            let mut job = job;
            if let (Some(job), None) = (&mut job, &verdict) {
                job.land(&Landed::new());
            }
            // Buffers and lane go before the completion, so that who is woken finds them free.
            drop(held);
            if matches!(verdict, Some(DeviceErrorKind::LaneLost)) {
                let _ = lane.retire();
            } else {
                shared.give_event(event);
                drop(lane);
            }
            match (job, verdict) {
                (Some(job), None) => job.complete(),
                (Some(job), Some(kind)) => job.fail(kind),
                (None, _) => {}
            }
        };
        // What is foreign in here (wakers, drops of buffers) must not harm whoever found the end.
        let _ = catch_unwind(AssertUnwindSafe(end));
        drop(entered);
        drop(hold);
    }

    fn overdue(&mut self) {
        let text = format!("the GPU has not come to the end of it in {:?}", self.hang_after);
        self.retirement.retire(&Fault::new(Severity::Fatal, text.as_str()));
        if let Some(job) = self.job.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| job.fail(DeviceErrorKind::Failed(text.into()))));
        }
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.schedule.due_ns)
    }

    fn is_fatal(fault: &Fault) -> bool {
        fault.is_fatal()
    }
}

/// What a fault is to the waiter.
pub(super) fn kind_of(fault: &Fault) -> DeviceErrorKind {
    match fault.severity {
        Severity::OutOfMemory => DeviceErrorKind::OutOfMemory,
        Severity::MemoryInUse => DeviceErrorKind::MemoryInUse,
        Severity::Ordinary => DeviceErrorKind::Failed(fault.text().clone()),
        Severity::Fatal => DeviceErrorKind::LaneLost,
    }
}
