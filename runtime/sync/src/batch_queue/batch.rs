//! [`Batch`], and the requests in it: from the cut to the answers.

use std::fmt;
use std::task::{Context, Poll};

use super::state::{Place, Rank};
use super::{BatchQueue, Ticket, View};
use crate::Signaller;
use crate::broken::{self, Fault};

/// A request that was cut, with the means to answer it.
pub struct Taken<T, R, E> {
    /// The request.
    pub request: T,
    /// What the queue knew of it.
    pub ticket: Ticket,
    /// The member that waits for it.
    pub member: Option<usize>,
    pub(super) rank: Rank,
    pub(super) place: Place,
    pub(super) signaller: Signaller<R, E>,
}

impl<T, R, E> Taken<T, R, E> {
    /// Whether nobody waits for it any more. `true` is final.
    pub fn is_abandoned(&self) -> bool {
        self.signaller.is_abandoned()
    }

    /// Ready when nobody waits for it any more; until then the waker of the latest poll is kept, and woken when that happens.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.signaller.poll_abandoned(cx)
    }
}

/// Requests that were cut together. Dropped before it has ended, it answers [`Lost`](crate::Lost) to all.
#[must_use = "dropping a batch tells its waiters that it was lost"]
pub struct Batch<T, R, E> {
    requests: Vec<Taken<T, R, E>>,
    queue: BatchQueue<T, R, E>,
    ended: bool,
}

impl<T, R, E> Batch<T, R, E> {
    pub(super) fn new(requests: Vec<Taken<T, R, E>>, queue: BatchQueue<T, R, E>) -> Self {
        Self { requests, queue, ended: false }
    }

    /// The requests, to be answered by [`answer`](Self::answer) or [`end`](Self::end). One that is dropped instead hears
    /// [`Lost`](crate::Lost), and so must be given to neither.
    pub fn take_requests(&mut self) -> Vec<Taken<T, R, E>> {
        std::mem::take(&mut self.requests)
    }

    /// Answers some of the requests; the batch goes on.
    pub fn answer(
        &self,
        answers: impl IntoIterator<Item = (Taken<T, R, E>, Result<R, E>)>,
        now: u64,
    ) -> View {
        self.settle(answers, now, false)
    }

    /// (3) Answers the last requests, and ends the batch. Members may come again from here: they are counted before
    /// their tasks are woken.
    pub fn end(
        mut self,
        answers: impl IntoIterator<Item = (Taken<T, R, E>, Result<R, E>)>,
        now: u64,
    ) -> View {
        self.ended = true;
        self.settle(answers, now, true)
    }

    /// (5) Puts requests back to where they stood, and ends the batch. Gives back those that could not be: their waiters
    /// have left, or the queue is closed. Dropping them is all that is left to do.
    pub fn put_back(
        mut self,
        requests: impl IntoIterator<Item = Taken<T, R, E>>,
    ) -> (Vec<Taken<T, R, E>>, View) {
        self.ended = true;
        let requests: Vec<_> = requests.into_iter().collect(); // foreign code, hence before locking
        let mut left = Vec::new();
        let mut state = self.queue.lock();
        state.running -= 1;
        for taken in requests {
            left.extend(state.put_back(taken));
        }
        let view = state.view();
        drop(state);
        (left, view)
    }

    fn settle(
        &self,
        answers: impl IntoIterator<Item = (Taken<T, R, E>, Result<R, E>)>,
        now: u64,
        last: bool,
    ) -> View {
        let answers: Vec<_> = answers.into_iter().collect();
        let mut state = self.queue.lock();
        state.running -= usize::from(last);
        for (taken, _) in &answers {
            state.settle(taken.place, Some(now));
        }
        let view = state.view();
        drop(state);
        for (taken, answer) in answers {
            // One that nobody waits for is dropped here.
            drop(taken.signaller.complete(answer));
        }
        view
    }
}

impl<T, R, E> Drop for Batch<T, R, E> {
    fn drop(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        if self.ended && requests.is_empty() {
            return;
        }
        let mut state = self.queue.lock();
        state.running -= usize::from(!self.ended);
        for taken in &requests {
            state.settle(taken.place, None);
        }
        drop(state);
        if broken::is(Fault::BatchForgetsLost) {
            std::mem::forget(requests);
        } else {
            drop(requests); // wakes the waiters, hence after unlocking
        }
        if !broken::is(Fault::BatchDropsSilently) {
            self.queue.poke();
        }
    }
}

impl<T, R, E> fmt::Debug for Batch<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("requests", &self.requests.len()).finish_non_exhaustive()
    }
}
