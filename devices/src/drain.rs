//! [`Drain`]: the wait for everything that was submitted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use asynchrotron_sync::{Completion, Lost, Signaller, completion};

/// Comes when nothing is submitted to a device; made by [`Device::drain`](crate::Device::drain).
///
/// # Cancel safety
///
/// May be dropped at any time.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Drain {
    idle: Completion<(), Lost>,
}

impl Future for Drain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.idle).poll(cx).map(|_| ())
    }
}

/// Counts what is submitted to a device. All waiting is the [`Completion`]'s.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    submitted: usize,
    drains: Vec<Signaller<(), Lost>>,
}

impl Outstanding {
    /// Counts one submission until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        lock(&self.state).submitted += 1;
        Entered { state: self.state.clone() }
    }

    pub(crate) fn drain(&self) -> Drain {
        let mut state = lock(&self.state);
        if state.submitted == 0 {
            return Drain { idle: Completion::ready(Ok(())) };
        }
        state.drains.retain(|drain| !drain.is_abandoned());
        let (signaller, idle) = completion();
        state.drains.push(signaller);
        Drain { idle }
    }
}

/// One submission that has not ended.
#[derive(Debug)]
pub(crate) struct Entered {
    state: Arc<Mutex<State>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.submitted -= 1;
        if state.submitted == 0 {
            let drains = std::mem::take(&mut state.drains);
            drop(state);
            drop(drains); // wakes them, hence after unlocking
        }
    }
}

// Nothing in here can leave the state half changed.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
