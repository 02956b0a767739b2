//! [`Clock`]: real time, precise to tens of microseconds, or simulated time, in which a job of hours takes seconds.
//!
//! | | real | simulated |
//! |---|---|---|
//! | moves | by itself | when nothing can run, straight to the next alarm |
//! | computing takes | as long as it takes | no time |
//! | alarms are rung by | workers between two polls and before they park; one thread of the process | the worker, before it parks |
//! | the same job takes | about as long | exactly as long |
//! | workers | any number | one |
//!
//! # Who rings on time
//!
//! A task that is due while all workers are busy could not run before one of them is free, so nobody needs to be exact
//! then: workers look between two polls, which costs a load if nothing is due. Only while a worker is parked, or where there are
//! no workers, does the alarm thread wake up for each alarm; else it comes a millisecond late, to find that everything was rung
//! long ago. A thread that is exact always, or spins, would take from the workers what it gives.

mod real;
mod simulated;
mod sleep;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

pub use asynchrotron_sync::Alarm;
pub use sleep::Sleep;

use crate::clock::Ticks;
use real::Real;
pub(crate) use simulated::AtWork;
use simulated::Simulated;

/// Real or simulated time. Clones are the same clock.
///
/// # Default
///
/// [`Clock::real`].
#[derive(Clone, Debug, Default)]
pub struct Clock {
    kind: Kind,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Real,
    Simulated(Arc<Simulated>),
}

/// While one is held, [simulated](Clock::simulated) time stands still. Real time does not mind.
#[must_use = "time goes on when the hold is dropped"]
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "kept for its drop")] Option<asynchrotron_sync::Hold>);

/// Whether both are the same clock.
impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Real, Kind::Real) => true,
            (Kind::Simulated(this), Kind::Simulated(other)) => Arc::ptr_eq(this, other),
            _ => false,
        }
    }
}

impl Eq for Clock {}

impl Clock {
    /// The real time; there is one in a process. Its alarm thread is started by the first alarm.
    pub fn real() -> Self {
        Clock { kind: Kind::Real }
    }

    /// A clock of its own that begins at 0 and takes part in one job at a time.
    ///
    /// It moves only while a [`Scheduler`](crate::Scheduler) runs a job with it, [configured](crate::Config::clock) as the
    /// job's clock: whenever nothing can run, it goes straight to the next alarm. Work on other threads, of which the
    /// worker knows nothing, must [hold](Self::hold) it.
    pub fn simulated() -> Self {
        Clock { kind: Kind::Simulated(Arc::default()) }
    }

    /// Whether time is simulated.
    pub fn is_simulated(&self) -> bool {
        matches!(self.kind, Kind::Simulated(_))
    }

    /// The time since the clock's origin: never less than the time that was read before on this thread.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    /// The same in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        match &self.kind {
            Kind::Real => Real::get().now(),
            Kind::Simulated(clock) => clock.now(),
        }
    }

    /// What it stood at when the meters' clock stood at `ticks`, in nanoseconds.
    pub(crate) fn at_ns(&self, ticks: Ticks) -> u64 {
        match &self.kind {
            Kind::Real => Real::get().at(ticks),
            // To meters 0 is none, so theirs begins at 1.
            Kind::Simulated(_) => ticks.saturating_sub(1),
        }
    }

    /// Comes at `at`, or at once if that is over.
    ///
    /// # Panics
    /// As [`alarm`](Self::alarm), when first polled.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    ///
    /// # Examples
    /// ```
    /// use asynchrotron::prelude::*;
    /// use asynchrotron::time::Clock;
    /// use std::time::Duration;
    ///
    /// let clock = Clock::simulated();
    /// let mut chain = Chain::new("patience");
    /// let hours = chain.source::<u64>("hours");
    /// let waiting = clock.clone();
    /// let waited = chain.algorithm("wait", (hours,), move |hours: std::sync::Arc<u64>| {
    ///     let sleep = waiting.sleep(Duration::from_secs(3600 * *hours));
    ///     async move {
    ///         sleep.await;
    ///         Ok::<_, Error>(())
    ///     }
    /// });
    /// chain.sink("drop", waited, |_, _| Ok(()));
    ///
    /// let config = Config { clock, slots: 4, ..Config::default() };
    /// let report = Scheduler::new(config).run(chain, source::from_iter([1_u64, 2, 3, 4]))?;
    /// assert_eq!(report.elapsed, Duration::from_secs(4 * 3600));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sleep_until(&self, at: Duration) -> Sleep {
        Sleep::new(self.clone(), nanoseconds(at))
    }

    /// Comes after `duration`, counted from this call.
    ///
    /// # Panics
    /// As [`alarm`](Self::alarm), when first polled.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.clone(), self.now_ns().saturating_add(nanoseconds(duration)))
    }

    /// Wakes `waker` once, at `at`; before this returns, if that is over. Dropping the alarm cancels it.
    ///
    /// The waker is woken on a worker or on the alarm thread, so what it does should be short.
    ///
    /// # Panics
    /// If the alarm thread cannot be started.
    pub fn alarm(&self, at: Duration, waker: Waker) -> Alarm {
        self.alarm_ns(nanoseconds(at), waker)
    }

    fn alarm_ns(&self, at: u64, waker: Waker) -> Alarm {
        let alarms = match &self.kind {
            Kind::Real => Real::get().watched(),
            Kind::Simulated(clock) => &clock.alarms,
        };
        if at > self.now_ns() {
            return alarms.set(at, waker);
        }
        waker.wake();
        alarms.rung(at)
    }

    /// Stops simulated time while work is done that the worker does not see: on another thread, by a real device. When the
    /// work is done, first wake who waits for it, then drop the hold.
    pub fn hold(&self) -> Hold {
        match &self.kind {
            Kind::Real => Hold(None),
            Kind::Simulated(clock) => Hold(Some(clock.pace.hold())),
        }
    }

    /// Rings what is due, and says whether anything was. Called by workers in passing.
    #[inline]
    pub(crate) fn ring_due(&self) -> bool {
        match &self.kind {
            Kind::Real => Real::get().ring_due(),
            // Nothing is ever due: time moves, and everything is rung, in `park`.
            Kind::Simulated(_) => false,
        }
    }

    /// A worker has nothing to run.
    pub(crate) fn park(&self) {
        match &self.kind {
            Kind::Real => Real::get().park(),
            Kind::Simulated(clock) => clock.go_on(),
        }
    }

    /// A worker is back.
    pub(crate) fn unpark(&self) {
        if let Kind::Real = &self.kind {
            Real::get().unpark();
        }
    }

    /// A job begins on this thread: its executor has `threads` workers.
    pub(crate) fn begin(&self, threads: usize) -> Result<AtWork, anyhow::Error> {
        match &self.kind {
            Kind::Real => Ok(AtWork::Real(Real::get().employ(threads))),
            Kind::Simulated(clock) => simulated::begin(clock, threads).map(AtWork::Simulated),
        }
    }

    /// Makes this thread read simulated time wherever it measures.
    pub(crate) fn enter_thread(&self) {
        if let Kind::Simulated(clock) = &self.kind {
            clock.enter_thread();
        }
    }

    /// Runs behind all other tasks of the worker; see [`asynchrotron_sync::Pace`].
    pub(crate) async fn keep_pace(self) {
        if let Kind::Simulated(clock) = &self.kind {
            clock.keep_pace().await;
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
