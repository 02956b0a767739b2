//! [`Real`]: the process's time, its alarms, and the thread that rings those that no worker rings.

use std::cell::Cell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, Once};
use std::time::Duration;

use asynchrotron_sync::{Alarms, Watch};

use crate::clock::{self, Ticks};
use crate::harvest;
use crate::lock::lock;

/// How late the alarm thread may be while no worker is parked: for those who wait outside the workers, and for workers
/// that do not come to the end of a poll. Shorter costs wake-ups, which take from the workers.
const GRACE: Duration = Duration::from_millis(1);

/// The alarm thread is to wake up when it asked to; the system's default is 50 µs later.
const TIMER_SLACK_NS: NonZero<u64> = NonZero::<u64>::MIN;

static REAL: LazyLock<Real> = LazyLock::new(|| Real {
    origin: clock::counter(),
    alarms: Alarms::new(),
    watch: Once::new(),
    staff: Mutex::new(Staff { workers: 0, parked: 0 }),
});

/// The real time of this process.
pub(super) struct Real {
    origin: Ticks,
    alarms: Alarms,
    watch: Once,
    staff: Mutex<Staff>,
}

/// The workers of all jobs.
struct Staff {
    workers: usize,
    parked: usize,
}

impl Staff {
    fn employ(&mut self, more: isize) {
        self.workers = self.workers.strict_add_signed(more);
        harvest::employs(self.workers);
    }

    fn slack(&self) -> u64 {
        let all_busy = self.workers > 0 && self.parked == 0;
        if all_busy { GRACE.as_nanos() as u64 } else { 0 }
    }
}

thread_local! {
    /// Whether this worker counts as parked.
    static PARKED: Cell<bool> = const { Cell::new(false) };
}

impl Real {
    pub(super) fn get() -> &'static Self {
        &REAL
    }

    /// Nanoseconds since the first use of the clock.
    pub(super) fn now(&self) -> u64 {
        self.at(clock::counter())
    }

    /// What it stood at when the counter stood at `ticks`.
    pub(super) fn at(&self, ticks: Ticks) -> u64 {
        clock::counted_nanoseconds(ticks.saturating_sub(self.origin))
    }

    /// The alarms, with the thread that rings them.
    pub(super) fn watched(&'static self) -> &'static Alarms {
        self.watch.call_once(|| {
            let thread = std::thread::Builder::new().name("alarms".into());
            thread.spawn(|| self.keep_watch()).expect("a thread for the alarms can be started");
        });
        &self.alarms
    }

    fn keep_watch(&self) {
        // Where it cannot be set, alarms ring a little later.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        loop {
            // A waker that panics must not cost others their alarms.
            let _ = catch_unwind(AssertUnwindSafe(|| self.alarms.ring_due(self.now())));
            match self.alarms.wait(self.now()) {
                Watch::Look => {}
                Watch::Closed => return,
            }
        }
    }

    #[inline]
    pub(super) fn ring_due(&self) -> bool {
        !self.alarms.is_quiet() && self.alarms.ring_due(self.now()) > 0
    }

    pub(super) fn park(&self) {
        // Whoever was woken by that runs next, perhaps here.
        if !self.ring_due() {
            PARKED.set(true);
            self.change(|staff| staff.parked += 1);
        }
    }

    pub(super) fn unpark(&self) {
        if PARKED.replace(false) {
            self.change(|staff| staff.parked -= 1);
        }
    }

    /// Counts the workers of a job until the guard is dropped.
    pub(super) fn employ(&'static self, workers: usize) -> Employed {
        self.change(|staff| staff.employ(workers as isize));
        Employed { workers }
    }

    fn change(&self, change: impl FnOnce(&mut Staff)) {
        let mut staff = lock(&self.staff);
        let before = staff.slack();
        change(&mut staff);
        if staff.slack() != before {
            self.alarms.set_slack(staff.slack());
        }
    }
}

/// The workers of one job.
pub(crate) struct Employed {
    workers: usize,
}

impl Drop for Employed {
    fn drop(&mut self) {
        Real::get().change(|staff| staff.employ(-(self.workers as isize)));
    }
}
