//! When simulated time may go on: not while somebody works outside of it.
//!
//! ```text
//!              (1)                    (1) (2)
//!   FREE ─────────────▶ HELD by n ───────────▶ HELD by n ± 1
//!    ▲                     │ (2), the last one
//!    └───────(3)────────── NUDGED
//!
//!   (1) hold    (2) Hold::drop; the last one wakes the pacer    (3) run_once: the pacer is polled, on the worker
//! ```
//!
//! The one worker asks [`Pace::is_free`] when it has nothing to run, and lets time go on if so. Work outside the worker
//! wakes what it has to wake first and drops its hold after. The worker may be about to ask at that moment, without having
//! seen what was woken: hence NUDGED. It ends only when the pacer, a task that was woken *after* all that, has been polled,
//! so that by then the worker has everything else in its queue. All arrows are taken under one mutex.

use std::fmt;
use std::task::Waker;

use crate::broken::{self, Fault};
use crate::facade::{Arc, Mutex};

#[derive(Default)]
struct State {
    holds: usize,
    nudged: bool,
    /// Of the task that is polled behind everything that was woken before it.
    pacer: Option<Waker>,
}

/// Whether simulated time may go on. Clones are handles of the same.
#[derive(Clone)]
pub struct Pace {
    state: Arc<Mutex<State>>,
}

impl Pace {
    /// Nobody holds it.
    pub fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::default())) }
    }

    /// Stops time until the hold is dropped. (1)
    pub fn hold(&self) -> Hold {
        self.state.lock().holds += 1;
        Hold { pace: self.clone() }
    }

    /// Whether time may go on, as far as this goes: for a worker that has nothing to run.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let state = self.state.lock();
        state.holds == 0 && (!state.nudged || broken::is(Fault::PaceForgetsNudge))
    }

    /// Wakes the pacer: the worker that is about to fall asleep asks again, whether or not what else is woken now has a task
    /// to run.
    pub fn ask_again(&self) {
        let pacer = self.state.lock().pacer.take();
        if let Some(pacer) = pacer {
            pacer.wake();
        }
    }

    /// What the pacer does when it is polled. (3) It never ends.
    pub fn run_once(&self, waker: &Waker) {
        let mut state = self.state.lock();
        state.nudged = false;
        let previous = state.pacer.replace(waker.clone());
        drop(state);
        drop(previous); // foreign code, hence after unlocking
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Pace")
            .field("holds", &state.holds)
            .field("nudged", &state.nudged)
            .finish_non_exhaustive()
    }
}

/// Time stands still while this is there. Wake who has to be woken before dropping it.
#[must_use = "time goes on when the hold is dropped"]
pub struct Hold {
    pace: Pace,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.pace.state.lock();
        state.holds -= 1; // (2)
        if state.holds > 0 {
            return;
        }
        let pacer = state.pacer.take();
        // Without a pacer here it is on its way already, or nobody runs, and nobody asks.
        state.nudged |= pacer.is_some();
        drop(state);
        if let Some(pacer) = pacer
            && !broken::is(Fault::PaceSkipsNudge)
        {
            pacer.wake();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
