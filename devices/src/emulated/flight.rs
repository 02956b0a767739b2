//! [`Flight`]: a submission on its way to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use asynchrotron::time::Clock;
use asynchrotron_sync::Lane;

use super::faults::Verdict;
use crate::drain::Entered;
use crate::{DeviceErrorKind, Job, LaneId};

/// What a submission brings to its end.
pub(super) struct Cargo {
    pub(super) job: Job,
    pub(super) lane: Lane<LaneId>,
    pub(super) entered: Entered,
    pub(super) verdict: Verdict,
}

/// A submission on its way to its end. Its waker lands it: the clock's alarm wakes it, or, if it hangs, its waiter that leaves.
pub(super) struct Flight {
    /// `None` once landed.
    cargo: Mutex<Option<Cargo>>,
}

impl Flight {
    fn new(cargo: Cargo) -> Arc<Self> {
        Arc::new(Self { cargo: Mutex::new(Some(cargo)) })
    }

    /// Lands by itself when it is due.
    pub(super) fn begin(cargo: Cargo, clock: &Clock, due: Duration) {
        clock.alarm(due, Self::new(cargo).into()).detach();
    }

    /// Lands when its waiter has left, or when the caller says so.
    pub(super) fn hang(cargo: Cargo) -> Arc<Self> {
        let flight = Self::new(cargo);
        let waker = Waker::from(flight.clone());
        let cargo = flight.cargo.lock().unwrap_or_else(PoisonError::into_inner);
        let left = cargo
            .as_ref()
            .is_some_and(|cargo| cargo.job.poll_abandoned(&mut Context::from_waker(&waker)).is_ready());
        drop(cargo);
        if left {
            flight.land();
        }
        flight
    }

    /// Ends it, if it has not ended.
    pub(super) fn land(&self) {
        let cargo = self.cargo.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Cargo { job, lane, entered, verdict }) = cargo else { return };
        // The lane goes before the completion, so that who is woken finds it free.
        let end = || match verdict {
            Verdict::Fine => {
                drop(lane);
                job.complete();
            }
            Verdict::LosesLane => {
                let _ = lane.retire();
                job.fail(DeviceErrorKind::LaneLost);
            }
            Verdict::Fails(why) => {
                drop(lane);
                job.fail(DeviceErrorKind::Failed(why.into()));
            }
            Verdict::OutOfMemory => {
                drop(lane);
                job.fail(DeviceErrorKind::OutOfMemory);
            }
            Verdict::Hangs => {
                drop(lane);
                job.fail(DeviceErrorKind::Lost);
            }
        };
        // What is foreign in here (wakers, drops of buffers) must not harm whoever rings.
        let _ = catch_unwind(AssertUnwindSafe(end));
        drop(entered);
    }
}

impl Wake for Flight {
    fn wake(self: Arc<Self>) {
        self.land();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.land();
    }
}
