//! [`Flight`]: a submission on its way through a GPU.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use asynchrotron::time::Hold;
use asynchrotron_sync::{Lane, Point};

use super::driver::{CudaEvent, Pinned};
use super::engine::is_called_back;
use super::memory::Landed;
use super::ready::Ready;
use super::recording::{Interrupted, Recording};
use super::shared::Shared;
use super::work::Held;
use super::{Fault, Severity};
use crate::drain::Entered;
use crate::{DeviceErrorKind, Job, LaneId, table};

/// A submission on its way through a GPU. Owns all that the GPU may still read or write.
pub(super) struct Flight {
    pub(super) shared: Arc<Shared>,
    pub(super) course: Course,
    /// What the waiter is told, if enqueueing failed half way.
    pub(super) verdict: Option<DeviceErrorKind>,
    /// `None` once the waiter was told of a failure before the end.
    pub(super) job: Option<Job>,
    pub(super) held: Held,
    /// If the output is to be handed on ahead.
    pub(super) ready: Option<Arc<Ready>>,
    pub(super) lane: Lane<LaneId>,
    pub(super) schedule: Schedule,
    pub(super) hang_after: Duration,
    /// Set by the driver's callback, where that is how ends are learnt.
    pub(super) called_back: Option<Arc<AtomicBool>>,
    pub(super) entered: Entered,
    pub(super) hold: Hold,
}

/// How far a submission has come.
///
/// ```text
///   RECORDED ──────────enqueued─▶ SIGNALS ─▶ (the end)
///       └──▶ LEFT ───────┴─half of it─▶ EVENT ─▲
/// ```
pub(super) enum Course {
    /// Nothing of it is on the stream.
    Recorded(Recording),
    /// The same. It is left to the driver thread, which asks for it.
    Left(Recording),
    /// This word is set behind everything that was enqueued.
    Signals(Pinned),
    /// This is behind everything that was enqueued.
    Event(CudaEvent),
}

/// When a flight is asked for, in the engine's time.
pub(super) struct Schedule {
    place: usize,
    armed_ns: u64,
    ask_ns: u64,
    /// Whether it was asked for when it might have ended.
    in_vain: bool,
    /// When it counts as hung.
    due_ns: u64,
    /// When the driver is asked whether the GPU is well. A signal does not say.
    check_ns: u64,
}

/// How late a failure of the GPU is found.
const CHECK_EVERY_NS: u64 = 1_000_000;

impl Schedule {
    pub(super) fn new(shared: &Shared, job: &Job, hang_after: Duration) -> Self {
        let place = table::place(job.step(), job.rows());
        let armed_ns = shared.now_ns();
        Self {
            place,
            armed_ns,
            ask_ns: armed_ns,
            in_vain: false,
            due_ns: armed_ns.saturating_add(hang_after.as_nanos() as u64),
            check_ns: armed_ns + CHECK_EVERY_NS,
        }
    }

    /// It is under way now.
    fn begin(&mut self, shared: &Shared, lane: LaneId) {
        self.armed_ns = shared.now_ns();
        self.ask_ns = shared.expectations.next_ask_ns(self.place, self.armed_ns, self.armed_ns);
        self.check_ns = self.armed_ns + CHECK_EVERY_NS;
        shared.expectations.begin(lane, self.armed_ns);
        self.expect(shared, lane);
    }

    /// It was asked for in vain.
    fn postpone(&mut self, shared: &Shared, lane: LaneId, now_ns: u64) {
        if now_ns >= self.ask_ns {
            self.in_vain = true;
            self.ask_ns = shared.expectations.next_ask_ns(self.place, self.armed_ns, now_ns);
        }
        self.expect(shared, lane);
    }

    fn expect(&self, shared: &Shared, lane: LaneId) {
        shared.expectations.expect(lane, self.ask_ns.min(self.check_ns));
    }
}

impl Flight {
    /// Whether nothing of it is on the stream.
    pub(super) fn is_recorded(&self) -> bool {
        matches!(self.course, Course::Recorded(_))
    }

    /// Leaves it to the driver thread to enqueue what was recorded.
    pub(super) fn leave(&mut self) {
        if let Course::Recorded(recording) = &mut self.course {
            self.course = Course::Left(std::mem::take(recording));
            self.shared.expectations.leave(*self.lane);
        }
    }

    /// Enqueues what was recorded, if it is not yet: then it is under way. A fault is the end of it: nothing is on the stream, or nothing ever ends there.
    pub(super) fn enqueue(&mut self) -> Result<(), Fault> {
        let shared = &self.shared;
        let (driver, lane, stream) = (&*shared.driver, *self.lane, shared.streams[self.lane.0]);
        let signal = shared.signal(lane);
        let recording = match std::mem::replace(&mut self.course, Course::Signals(signal)) {
            Course::Recorded(recording) => recording,
            Course::Left(recording) => {
                shared.expectations.take(lane);
                recording
            }
            other => {
                self.course = other;
                self.schedule.begin(shared, lane);
                return Ok(());
            }
        };
        driver.bind()?;
        let enqueued = shared.replays(lane).enqueue(driver, stream, recording);
        if let Err(Interrupted { fault, under_way }) = enqueued {
            if !under_way || fault.is_fatal() {
                return Err(fault);
            }
            // What is on the stream still uses the buffers.
            let event = shared.events.take()?;
            self.course = Course::Event(event);
            driver.record(event, stream)?;
            self.verdict = Some(kind_of(&fault));
        }
        self.schedule.begin(shared, lane);
        self.hand_on();
        Ok(())
    }

    /// Everything is on the stream: hands the output on, if that is to be ahead. If the ready event cannot be recorded, it is handed on
    /// at the end.
    pub(super) fn hand_on(&mut self) {
        let Some(ready) = self.ready.take_if(|_| self.verdict.is_none()) else { return };
        if ready.record(self.shared.streams[self.lane.0]).is_ok() {
            self.held.hand_on(&ready);
            // Who is woken is foreign, as at the end.
            let job = &mut self.job;
            let _ = catch_unwind(AssertUnwindSafe(|| job.iter_mut().for_each(Job::hand_on)));
            self.ready = Some(ready);
        }
    }
}

impl Point for Flight {
    type Error = Fault;

    fn ask(&mut self) -> Poll<Result<(), Fault>> {
        if let Some(called_back) = &self.called_back {
            if called_back.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
            if is_called_back() {
                return Poll::Pending;
            }
        }
        if let Course::Recorded(_) | Course::Left(_) = self.course {
            return self.enqueue().map_or_else(|fault| Poll::Ready(Err(fault)), |()| Poll::Pending);
        }
        let (shared, schedule) = (&*self.shared, &mut self.schedule);
        let (driver, now_ns) = (&shared.driver, shared.now_ns());
        let reached = match self.course {
            // Looking costs little, so it need not be worth while.
            Course::Signals(signal) if driver.is_signalled(signal) => Ok(true),
            Course::Signals(_) if now_ns < schedule.check_ns => Ok(false),
            Course::Signals(_) => {
                schedule.check_ns = now_ns + CHECK_EVERY_NS;
                driver.is_idle(shared.streams[self.lane.0])
            }
            Course::Event(_) if now_ns < schedule.ask_ns.min(schedule.check_ns) => Ok(false),
            Course::Event(event) => {
                schedule.check_ns = now_ns + CHECK_EVERY_NS;
                driver.is_reached(event)
            }
            Course::Recorded(_) | Course::Left(_) => Ok(false),
        };
        match reached {
            Ok(true) => {
                // Clocks of two cores may differ a little.
                let took_ns = now_ns.saturating_sub(schedule.armed_ns);
                shared.expectations.learn(schedule.place, took_ns, schedule.in_vain);
                Poll::Ready(Ok(()))
            }
            Ok(false) => {
                schedule.postpone(shared, *self.lane, now_ns);
                Poll::Pending
            }
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    fn end(self, result: Result<(), Fault>) {
        let Self { shared, course, verdict, job, held, ready, lane, entered, hold, .. } = self;
        // The lane's next submission finds nothing of this one.
        shared.expectations.forget(*lane);
        match course {
            Course::Left(_) => shared.expectations.take(*lane),
            Course::Signals(signal) => shared.driver.reset_signal(signal),
            Course::Recorded(_) | Course::Event(_) => {}
        }
        let verdict = match &result {
            Ok(()) => verdict,
            Err(fault) => {
                if fault.is_fatal() {
                    shared.retirement.retire(fault);
                }
                Some(kind_of(fault))
            }
        };
        if let Some(ready) = ready {
            ready.end(result);
        }
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
                if let Course::Event(event) = course {
                    shared.events.give(event);
                }
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
        // Who still waits for what was handed on ahead does not hang itself: its GPU stays, without the lane.
        let fault = self.held.is_late().unwrap_or_else(|| {
            let text = format!("the GPU has not come to the end of it in {:?}", self.hang_after);
            self.shared.retirement.retire(&Fault::new(Severity::Fatal, text.as_str()));
            Fault::new(Severity::Ordinary, text)
        });
        if let Some(ready) = &self.ready {
            ready.end(Err(fault.clone()));
        }
        if let Some(job) = self.job.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| job.fail(kind_of(&fault))));
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
