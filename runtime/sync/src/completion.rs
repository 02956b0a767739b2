//! The awaitable end of one submission.
//!
//! ```text
//!            ┌──(1)──┐
//!            ▼       │
//!          WAITING ──┘ ──(2)──▶ DONE ──(5)──▶ TAKEN
//!             │  └───────(3)──▶ LOST ──(5)──▶ TAKEN
//!             └──────────(4)──▶ ABANDONED
//!
//!   (1) Completion::poll: keeps the waker of the latest poll
//!   (2) Signaller::complete: stores the result, wakes
//!   (3) Signaller::drop without complete: wakes
//!   (4) Completion::drop (also from DONE and LOST): wakes the driver, if it asked for that with poll_abandoned
//!   (5) Completion::poll: takes the result
//! ```
//!
//! Every arrow is taken under one mutex, so there is no ordering to argue: either the poll comes first and the
//! signaller finds its waker, or the signaller comes first and the poll finds the result.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::facade::{Arc, Mutex};

/// The device dropped the work without completing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device dropped the work without completing it")
    }
}

impl Error for Lost {}

enum State<T, E> {
    Waiting(Waiting),
    Done(Result<T, E>),
    Lost,
    Taken,
    Abandoned,
}

#[derive(Default)]
struct Waiting {
    waiter: Option<Waker>,
    /// Who wants to know that the waiter has left.
    driver: Option<Waker>,
}

struct Shared<T, E> {
    state: Mutex<State<T, E>>,
}

/// Makes the two ends of one submission, with one allocation.
///
/// The driver keeps the [`Signaller`], the task awaits the [`Completion`]. Either end may be dropped at any time, on
/// any thread.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::{Lost, completion};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let (signaller, completion) = completion::<u32, Lost>();
/// let mut completion = pin!(completion);
/// let mut cx = Context::from_waker(Waker::noop());
///
/// assert_eq!(completion.as_mut().poll(&mut cx), Poll::Pending);
/// std::thread::spawn(move || signaller.complete(Ok(42))).join().unwrap().unwrap();
/// assert_eq!(completion.as_mut().poll(&mut cx), Poll::Ready(Ok(42)));
/// ```
pub fn completion<T, E>() -> (Signaller<T, E>, Completion<T, E>) {
    let shared = Arc::new(Shared { state: Mutex::new(State::Waiting(Waiting::default())) });
    (Signaller { shared: Some(shared.clone()) }, Completion { inner: Inner::Shared(shared) })
}

/// The driver's end of a submission. Dropped without [`complete`](Self::complete), it completes with [`Lost`].
#[must_use = "dropping the signaller tells the waiter that its work was lost"]
pub struct Signaller<T, E> {
    /// `None` once completed.
    shared: Option<Arc<Shared<T, E>>>,
}

impl<T, E> Signaller<T, E> {
    /// Delivers the result and wakes the waiter.
    ///
    /// # Errors
    ///
    /// Gives the result back when the waiter has left, so that the driver drops its buffers on its own thread.
    pub fn complete(mut self, result: Result<T, E>) -> Result<(), Result<T, E>> {
        let Some(shared) = self.shared.take() else { return Err(result) };
        let mut state = shared.state.lock();
        match &mut *state {
            State::Waiting(waiting) => {
                let Waiting { waiter, driver } = mem::take(waiting);
                *state = State::Done(result); // (2)
                drop(state);
                drop(driver); // foreign code, hence after unlocking
                wake(waiter, Fault::CompletionSkipsWake);
                Ok(())
            }
            // Only this end leads to the other states, and it has not.
            _ => Err(result),
        }
    }

    /// Whether the waiter has left: the work can be skipped before it costs anything.
    ///
    /// `true` is final; `false` may be out of date when it is read.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| matches!(*shared.state.lock(), State::Abandoned))
    }

    /// Ready when the waiter has left; until then the waker of the latest poll is kept, and woken when that happens.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = &self.shared else { return Poll::Ready(()) };
        let mut state = shared.state.lock();
        let State::Waiting(waiting) = &mut *state else { return Poll::Ready(()) };
        let previous = waiting.driver.replace(cx.waker().clone());
        drop(state);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }
}

impl<T, E> Drop for Signaller<T, E> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let mut state = shared.state.lock();
        if let State::Waiting(waiting) = &mut *state {
            let Waiting { waiter, driver } = mem::take(waiting);
            *state = State::Lost; // (3)
            drop(state);
            drop(driver);
            wake(waiter, Fault::CompletionForgetsLost);
        }
    }
}

impl<T, E> fmt::Debug for Signaller<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signaller").finish_non_exhaustive()
    }
}

fn wake(waker: Option<Waker>, unless: Fault) {
    if let Some(waker) = waker
        && !broken::is(unless)
    {
        waker.wake();
    }
}

enum Inner<T, E> {
    Ready(Result<T, E>),
    Shared(Arc<Shared<T, E>>),
    Finished,
}

/// The waiter's end of a submission: a future of its result.
///
/// A result always comes: the driver's, or [`Lost`] when the [`Signaller`] was dropped.
///
/// # Panics
///
/// Polling it again after it returned `Ready` panics.
///
/// # Cancel safety
///
/// May be dropped at any time, and never waits for the device. A result that arrived but was not awaited is dropped with
/// it, on this thread; one that arrives later goes back to the driver.
#[must_use = "futures do nothing unless awaited"]
pub struct Completion<T, E> {
    inner: Inner<T, E>,
}

impl<T, E> Completion<T, E> {
    /// A completion of work that was done inline. Allocates nothing.
    pub fn ready(result: Result<T, E>) -> Self {
        Self { inner: Inner::Ready(result) }
    }
}

// Nothing in here is ever pinned: a result is moved out, never polled.
impl<T, E> Unpin for Completion<T, E> {}

impl<T, E: From<Lost>> Future for Completion<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Inner::Shared(shared) = &this.inner else {
            return match mem::replace(&mut this.inner, Inner::Finished) {
                Inner::Ready(result) => Poll::Ready(result),
                _ => panic!("`Completion` polled after it completed"),
            };
        };
        let mut state = shared.state.lock();
        if let State::Waiting(Waiting { waiter, .. }) = &mut *state {
            // (1)
            if waiter.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            let previous = waiter.replace(cx.waker().clone());
            drop(state);
            drop(previous); // may run foreign code, hence after unlocking
            return Poll::Pending;
        }
        let found = mem::replace(&mut *state, State::Taken); // (5)
        drop(state);
        this.inner = Inner::Finished;
        match found {
            State::Done(result) => Poll::Ready(result),
            State::Lost => Poll::Ready(Err(Lost.into())),
            State::Waiting(_) | State::Taken | State::Abandoned => {
                unreachable!("the waiter's end is still here")
            }
        }
    }
}

impl<T, E> Drop for Completion<T, E> {
    fn drop(&mut self) {
        let Inner::Shared(shared) = &self.inner else { return };
        let mut left_over = mem::replace(&mut *shared.state.lock(), State::Abandoned); // (4)
        if let State::Waiting(Waiting { driver, .. }) = &mut left_over {
            wake(driver.take(), Fault::CompletionLeavesSilently);
        }
        drop(left_over); // a waker or a result: foreign code, hence after unlocking
    }
}

impl<T, E> fmt::Debug for Completion<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").finish_non_exhaustive()
    }
}
