//! [`Simulated`]: time that moves when nothing can run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use anyhow::ensure;
use asynchrotron_sync::{Alarms, Pace};

use super::real::Employed;
use crate::clock;

#[derive(Debug, Default)]
pub(super) struct Simulated {
    /// In nanoseconds. Also read, as ticks of that length, by whatever measures on the threads of the job.
    now: Arc<AtomicU64>,
    pub(super) alarms: Alarms,
    pub(super) pace: Pace,
    /// Whether a job has it.
    taken: AtomicBool,
}

impl Simulated {
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn enter_thread(&self) {
        clock::simulate(Some(self.now.clone()));
    }

    /// The worker has nothing to run: straight to the next alarm, unless somebody works elsewhere. Who is woken by that
    /// unparks the worker at once.
    pub(super) fn go_on(&self) {
        if !self.pace.is_free() {
            return;
        }
        if let Some(at) = self.alarms.earliest() {
            // Not every alarm wakes a task: some are those of algorithms whose event is over, and waits for its turn.
            self.pace.ask_again();
            let now = self.now.fetch_max(at, Ordering::AcqRel).max(at);
            self.alarms.ring_due(now);
        }
    }

    pub(super) async fn keep_pace(&self) {
        std::future::poll_fn(|cx| {
            self.pace.run_once(cx.waker());
            Poll::<()>::Pending
        })
        .await;
    }
}

pub(super) fn begin(clock: &Arc<Simulated>, threads: usize) -> Result<Taken, anyhow::Error> {
    ensure!(threads == 1, "a simulated clock needs one thread, not {threads}: else no two runs are equal");
    ensure!(
        !clock.taken.swap(true, Ordering::AcqRel),
        "the simulated clock belongs to another job that is running"
    );
    clock.enter_thread();
    Ok(Taken(clock.clone()))
}

/// The clock while a job has it; for the thread that runs the job.
pub(crate) struct Taken(Arc<Simulated>);

impl Drop for Taken {
    fn drop(&mut self) {
        clock::simulate(None);
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A clock at work in a job.
#[allow(dead_code, reason = "kept for their drops")]
pub(crate) enum AtWork {
    Real(Employed),
    Simulated(Taken),
}
