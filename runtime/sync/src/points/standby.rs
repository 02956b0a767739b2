//! The sleep of the driver.
//!
//! ```text
//!     ┌──────────(4)───────────┐  ┌───────(2), (3)──────────┐
//!     ▼                        │  ▼                         │
//!   PARKED ◀──────(5)──────── AWAKE ────────(1)────────▶ UNARMED
//!
//!   (1) wait_armed: nothing is outstanding         (4) call, close, or its time has come
//!   (2) armed: something is, and nothing was       (5) park: something is outstanding, and it was not called
//!   (3) close
//! ```
//!
//! All arrows are taken under one mutex. **No lost wake-up:** who arms counts first and locks after; the driver looks at the count
//! with the lock held, and sleeps if it is 0. Whoever raises it from there looks for the sleeper after that. Those who
//! raise it further leave that to the first, which is on its way. A call that finds nobody asleep is kept for the next park.

use std::mem;
use std::time::Duration;

use crate::broken::{self, Fault};
use crate::facade::{Condvar, Mutex};

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Drive {
    /// Something is outstanding: harvest, and wait again.
    Ask,
    /// Nothing is, and no more is expected: the driver ends.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    Unarmed,
    Parked,
}

struct State {
    sleep: Sleep,
    called: bool,
    closed: bool,
}

pub(super) struct Standby {
    state: Mutex<State>,
    woken: Condvar,
}

impl Standby {
    pub(super) fn new() -> Self {
        let state = State { sleep: Sleep::Awake, called: false, closed: false };
        Self { state: Mutex::new(state), woken: Condvar::new() }
    }

    pub(super) fn wait_armed(&self, is_armed: impl Fn() -> bool) -> Drive {
        let mut glimpse = broken::is(Fault::PointsSleepsBlindly).then(&is_armed);
        let mut state = self.state.lock();
        loop {
            if glimpse.take().unwrap_or_else(&is_armed) {
                return Drive::Ask;
            }
            if state.closed {
                return Drive::Closed;
            }
            state.sleep = Sleep::Unarmed; // (1)
            state = self.woken.wait(state, None);
            state.sleep = Sleep::Awake;
        }
    }

    pub(super) fn park(&self, at_most: Duration, is_armed: impl Fn() -> bool) {
        let mut state = self.state.lock();
        if !mem::take(&mut state.called) && is_armed() {
            state.sleep = Sleep::Parked; // (5)
            state = self.woken.wait(state, Some(at_most));
            state.sleep = Sleep::Awake;
            state.called = false;
        }
    }

    /// (2)
    pub(super) fn armed(&self) {
        let mut state = self.state.lock();
        let wake = state.sleep == Sleep::Unarmed;
        if wake {
            state.sleep = Sleep::Awake; // once is enough
        }
        drop(state);
        if wake && !broken::is(Fault::PointsSkipsWake) {
            self.woken.notify_one();
        }
    }

    /// (4)
    pub(super) fn call(&self) {
        let mut state = self.state.lock();
        state.called = !broken::is(Fault::PointsForgetsCall);
        let wake = state.sleep == Sleep::Parked;
        drop(state);
        if wake {
            self.woken.notify_one();
        }
    }

    /// (3) (4)
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.called = true;
        drop(state);
        if !broken::is(Fault::PointsCloseSkipsWake) {
            self.woken.notify_one();
        }
    }
}
