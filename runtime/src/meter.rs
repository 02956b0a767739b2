//! [`Meter`]: where the time of one algorithm goes, in one slot.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::clock::{self, Ticks};

/// What an algorithm that has not ended yet is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// It does not run.
    Idle = 0,
    /// It waits for the products that it reads.
    Inputs = 1,
    /// It runs, or waits for something of its own: a device, a timer, `ctx.get`.
    Working = 2,
}

/// Where a request of an algorithm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wait {
    /// Nowhere: it has none, or it is answered.
    Elsewhere = 0,
    Queued = 1,
    AwaitingLane = 2,
    OnDevice = 3,
}

/// What an algorithm does that has begun and not ended, as a look from outside finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It is being polled, or one that it demanded is, within its own poll.
    Running,
    /// It could go on, and waits for a worker.
    Ready,
    /// It is suspended until its inputs are there.
    Inputs,
    /// It is suspended in something of its own.
    Waiting(Wait),
}

/// Counters of one algorithm in one slot. Each is written by one thread at a time (whoever polls the algorithm, or,
/// for `woken`, wakes it) and read by the reports, so relaxed loads and stores are enough.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) polls: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) inputs: AtomicU64,
    pub(crate) suspended: AtomicU64,
    pub(crate) ready: AtomicU64,
    /// When the last poll ended in a suspension; 0 if the algorithm does not wait.
    paused: AtomicU64,
    /// When the suspended algorithm was woken; 0 if it was not yet.
    woken: AtomicU64,
    /// When it could go on before its last poll; 0 if it did not wait before it.
    resumed: AtomicU64,
    /// When its last poll began.
    polled: AtomicU64,
    stage: AtomicU8,
    wait: AtomicU8,
    /// Nanoseconds in the queues of batchers, and on devices: parts of `suspended`. Several requests can be on their way.
    pub(crate) queued_ns: AtomicU64,
    pub(crate) device_ns: AtomicU64,
}

thread_local! {
    /// Ticks that algorithms polled inside the current poll took: theirs, not their consumer's.
    static NESTED: Cell<Ticks> = const { Cell::new(0) };
}

fn add(counter: &AtomicU64, ticks: Ticks) {
    counter.store(counter.load(Relaxed).wrapping_add(ticks), Relaxed);
}

impl Meter {
    /// Measures one poll: `poll` returns whether the algorithm is suspended.
    pub(crate) fn poll<R>(&self, poll: impl FnOnce() -> R, is_pending: impl FnOnce(&R) -> bool) -> R {
        let begin = clock::now();
        self.polled.store(begin, Relaxed);
        let paused = self.paused.load(Relaxed);
        if paused != 0 {
            self.resume(paused, begin);
        }
        let outer = NESTED.replace(0);
        let polled = poll();
        let end = clock::now();
        let taken = end.saturating_sub(begin);
        add(&self.polls, 1);
        add(&self.running, taken.saturating_sub(NESTED.replace(outer + taken)));
        if is_pending(&polled) {
            self.paused.store(end, Relaxed);
        }
        polled
    }

    fn resume(&self, paused: Ticks, begin: Ticks) {
        self.paused.store(0, Relaxed);
        // Clocks of two cores may differ a little: clamp.
        let woken = match self.woken.swap(0, Relaxed) {
            0 => begin,
            woken => woken.clamp(paused, begin.max(paused)),
        };
        let waited = if self.stage() == Stage::Inputs { &self.inputs } else { &self.suspended };
        self.resumed.store(woken, Relaxed);
        add(waited, woken - paused);
        add(&self.ready, begin.saturating_sub(woken));
    }

    /// The algorithm can go on; from here to its next poll it waits for a worker.
    pub(crate) fn wake(&self) {
        if self.paused.load(Relaxed) != 0 && self.woken.load(Relaxed) == 0 {
            self.woken.store(clock::now(), Relaxed);
        }
    }

    /// When it could go on before its last poll; 0 if it did not wait before it.
    pub(crate) fn resumed(&self) -> Ticks {
        self.resumed.load(Relaxed)
    }

    /// Its request is there now.
    pub(crate) fn wait_in(&self, place: Wait) {
        self.wait.store(place as u8, Relaxed);
    }

    pub(crate) fn begin(&self) {
        add(&self.calls, 1);
        self.resumed.store(0, Relaxed);
        self.wait_in(Wait::Elsewhere);
        self.enter(Stage::Inputs);
    }

    /// It has been handed to the executor: from here to its first poll it waits for a worker.
    pub(crate) fn queue(&self) {
        let now = clock::now();
        self.paused.store(now, Relaxed);
        self.woken.store(now, Relaxed);
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    pub(crate) fn end(&self, failed: bool) {
        if failed {
            self.fail();
        }
        self.enter(Stage::Idle);
    }

    /// An algorithm was dropped where it was suspended: its wait counts, and it is over.
    pub(crate) fn abandon(&self) {
        let paused = self.paused.load(Relaxed);
        if paused != 0 {
            self.resume(paused, clock::now());
        }
        self.woken.store(0, Relaxed);
        self.enter(Stage::Idle);
    }

    /// It is what its event failed at, though it did not end.
    pub(crate) fn fail(&self) {
        add(&self.failures, 1);
    }

    /// Forgets everything counted so far.
    pub(crate) fn restart(&self) {
        let counters = [
            &self.calls,
            &self.failures,
            &self.polls,
            &self.running,
            &self.inputs,
            &self.suspended,
            &self.ready,
            &self.queued_ns,
            &self.device_ns,
        ];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Idle,
            1 => Stage::Inputs,
            _ => Stage::Working,
        }
    }

    fn wait(&self) -> Wait {
        match self.wait.load(Relaxed) {
            1 => Wait::Queued,
            2 => Wait::AwaitingLane,
            3 => Wait::OnDevice,
            _ => Wait::Elsewhere,
        }
    }

    /// What it does, and since when; `None` if it has not begun or has ended. May be asked from any thread: the counters are
    /// read one after the other, so while they change the answer may mix two moments.
    pub(crate) fn doing(&self) -> Option<(Doing, Ticks)> {
        let stage = self.stage();
        if stage == Stage::Idle {
            return None;
        }
        Some(match (self.paused.load(Relaxed), self.woken.load(Relaxed)) {
            (0, _) => (Doing::Running, self.polled.load(Relaxed)),
            (paused, 0) if stage == Stage::Inputs => (Doing::Inputs, paused),
            (paused, 0) => (Doing::Waiting(self.wait()), paused),
            (_, woken) => (Doing::Ready, woken),
        })
    }

    /// How long the algorithm has been suspended; zero if it is not.
    pub(crate) fn suspended_for(&self) -> Ticks {
        match self.paused.load(Relaxed) {
            0 => 0,
            paused => clock::now().saturating_sub(paused),
        }
    }
}
