//! [`Pushed`]: the side of the request that waits.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::state::Place;
use super::{BatchQueue, Taken, View};
use crate::broken::{self, Fault};
use crate::{Completion, Lost};

/// Future of the answer to a request; made by [`BatchQueue::push`], and by [`push_by`](BatchQueue::push_by) through a `Q`.
///
/// # Panics
///
/// Polling it again after it returned `Ready` panics.
///
/// # Cancel safety
///
/// Dropping it takes the request out of the queue, if it was not cut yet; later it is answered to nobody.
#[must_use = "dropping it takes the request back"]
pub struct Pushed<T, R, E, Q: Borrow<BatchQueue<T, R, E>> = BatchQueue<T, R, E>> {
    answer: Completion<R, E>,
    /// `None` once the queue has no note of it.
    place: Option<Place>,
    queue: Q,
    request: PhantomData<fn(T) -> R>,
}

impl<T, R, E, Q: Borrow<BatchQueue<T, R, E>>> Pushed<T, R, E, Q> {
    pub(super) fn new(answer: Completion<R, E>, place: Option<Place>, queue: Q) -> Self {
        Self { answer, place, queue, request: PhantomData }
    }

    /// (4) Leaves: what dropping it does, but says whether the request was still in the queue, and what that left behind.
    /// Who drops it does not look at that, so then the driver is poked.
    pub fn leave(mut self) -> (bool, View) {
        self.take_back()
    }

    fn take_back(&mut self) -> (bool, View) {
        let (_, removed, view) = self.settle();
        (removed.is_some(), view)
    }

    /// Gives whether that changed anything, and the request if it was queued.
    fn settle(&mut self) -> (bool, Option<Taken<T, R, E>>, View) {
        let mut state = self.queue.borrow().lock();
        let (mut changed, mut removed) = (false, None);
        if let Some(place) = self.place.take()
            && let Some(queued) = state.settle(place, None)
        {
            changed = true;
            if !broken::is(Fault::BatchKeepsLeaver) {
                removed = queued.and_then(|rank| state.remove_ranked(rank));
            }
        }
        let view = state.view();
        drop(state);
        (changed, removed, view)
    }

    /// What [`leave`](Self::leave) would leave to its caller: somebody has to look at the view.
    fn settle_and_poke(&mut self) {
        if self.place.is_some() {
            let (changed, removed, _) = self.settle();
            drop(removed);
            if changed {
                self.queue.borrow().poke();
            }
        }
    }
}

// The answer is never pinned.
impl<T, R, E, Q: Borrow<BatchQueue<T, R, E>>> Unpin for Pushed<T, R, E, Q> {}

impl<T, R, E: From<Lost>, Q: Borrow<BatchQueue<T, R, E>>> Future for Pushed<T, R, E, Q> {
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        match answer {
            // Only a batch answers, after it has settled the request.
            Poll::Ready(Ok(_)) => self.place = None,
            // It may be one whose `Taken` was dropped bare, which nobody has settled.
            Poll::Ready(Err(_)) => self.settle_and_poke(),
            Poll::Pending => {}
        }
        answer
    }
}

impl<T, R, E, Q: Borrow<BatchQueue<T, R, E>>> Drop for Pushed<T, R, E, Q> {
    fn drop(&mut self) {
        self.settle_and_poke();
    }
}

impl<T, R, E, Q: Borrow<BatchQueue<T, R, E>>> fmt::Debug for Pushed<T, R, E, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushed").finish_non_exhaustive()
    }
}
