//! The queue in front of a device: many tasks push requests, one driver cuts batches, and it is known who can still come.
//!
//! ```text
//!   of a request:  QUEUED ──(2) cut──▶ CUT ──(3) end──▶ ANSWERED          of a member:  AWAY ◀──(6)──▶ COMING
//!                    │                  │ ──(5)──▶ QUEUED again                           ▲              │ (1)
//!                    └──(4)──▶ LEFT ◀───┘                                                 └─(3)(4)─ WAITING ◀┘
//!
//!   (1) push: the request joins the queue; its member can send no other before this one is answered
//!   (2) cut: the driver takes the first requests out, as late as it likes
//!   (3) Batch::end, or a dropped Batch: every waiter gets its answer, or `Lost`; its member may come again
//!   (4) Pushed dropped: the request leaves the queue, or is answered to nobody
//!   (5) Batch::put_back: the lane died; the requests stand where they stood
//!   (6) arrive / depart: the member has, or no longer has, an event that may push
//!   (7) close: whoever is queued hears `Lost`, and so does everybody who pushes later
//! ```
//!
//! A *member* is a place from which at most one event at a time can come. It is **counted** while it is `COMING` and no
//! queue of its job holds it up ([`block`](BatchQueue::block)): then, and only then, waiting for it can pay. Because a
//! member that waits in one queue is not counted in any other, no two queues can wait for each other.
//!
//! All arrows are taken under one mutex, and each returns the [`View`] that it left behind: whoever made the last change
//! sees the state that decides, so a decision taken on that view, and followed by [`poke`](BatchQueue::poke), is never
//! lost. Where nobody is there to look, because something was dropped, the driver is poked. What is decided is not this
//! module's business.
//!
//! **A poke** is a flag beside the mutex, because while the driver is on its way to a worker many find that it has something
//! to do. Who finds the flag up need not do anything: the driver lowers it *before* it looks at the queue, so either it will
//! look after this, or it has looked before, and then, as that was under the mutex, its lowering would have been seen. Who
//! raises it takes the driver's waker, under the mutex; the driver leaves that under the mutex, after it found the flag down.

mod batch;
mod earliest;
mod pushed;
mod state;

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::broken::{self, Fault};
use crate::completion;
use crate::facade::{Arc, AtomicU8, Mutex, MutexGuard, Ordering};
pub use batch::{Batch, Taken};
pub use pushed::Pushed;
use state::State;

/// What a queue knows of a request without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Requests stand in ascending order of this, and in the order in which they came where it is equal. Those that share the
    /// first two numbers are a group.
    pub order: (u64, u64, u64),
    /// Its weight.
    pub rows: usize,
    /// Its size.
    pub bytes: usize,
    /// When it was pushed, on whatever clock the caller uses.
    pub pushed_at: u64,
    /// When it should be answered; `u64::MAX` if that does not matter.
    pub deadline: u64,
}

/// What can be decided upon: a snapshot of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Requests in the queue.
    pub queued: usize,
    /// Their rows.
    pub rows: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When the oldest of them was pushed.
    pub oldest: Option<u64>,
    /// The earliest deadline among them.
    pub deadline: u64,
    /// Members that are counted: they can still come, and nothing that waits here holds them up.
    pub coming: usize,
    /// Batches that were cut and have not ended.
    pub running: usize,
    /// The group of the request in front, and how many requests it has; only where asked for.
    pub front: Option<((u64, u64), usize)>,
    /// Whether it is closed.
    pub closed: bool,
    /// After a push: for how long its member had been counted, if it was. `None` also if that began with a request that
    /// was taken back or lost, of which nobody says when it was.
    pub approach: Option<u64>,
    /// The mean of that over the last sixteen or so that had one.
    pub approach_mean: u64,
}

/// The queue in front of a device. Cloning it gives another handle to the same queue.
///
/// Its length is bounded by the number of tasks that may push at a time.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::{BatchQueue, Lost, Ticket};
///
/// let queue = BatchQueue::<u32, u32, Lost>::new();
/// (0..2).for_each(|member| { queue.arrive(member, 0); });
///
/// let ticket = Ticket { order: (0, 0, 0), rows: 1, bytes: 4, pushed_at: 0, deadline: u64::MAX };
/// let (first, view) = queue.push(Some(0), 20, ticket);
/// assert_eq!((view.queued, view.coming), (1, 1)); // worth waiting for the other
/// let (second, view) = queue.push(Some(1), 21, ticket);
/// assert_eq!((view.queued, view.coming), (2, 0)); // nobody else can come
///
/// let mut batch = queue.cut(8).unwrap();
/// let answers = batch.take_requests().into_iter().map(|taken| { let x = taken.request; (taken, Ok(2 * x)) });
/// batch.end(answers, 1);
/// assert_eq!(queue.view().coming, 2);
/// # drop((first, second));
/// ```
pub struct BatchQueue<T, R, E> {
    shared: Arc<Shared<T, R, E>>,
}

/// Aligned, so that the handles that are counted in front of it do not share a cache line with the mutex.
#[repr(align(128))]
struct Shared<T, R, E> {
    state: Mutex<State<T, R, E>>,
    /// 1 since the driver was poked, until it notices.
    poked: AtomicU8,
}

impl<T, R, E> Default for BatchQueue<T, R, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R, E> BatchQueue<T, R, E> {
    /// An empty queue without members.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::new()), poked: AtomicU8::new(0) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R, E>> {
        self.shared.state.lock()
    }

    /// (1) Queues a request, of a member if the pusher is one.
    ///
    /// In a closed queue the answer is [`Lost`](crate::Lost) at once.
    pub fn push(&self, member: Option<usize>, request: T, ticket: Ticket) -> (Pushed<T, R, E>, View) {
        Self::push_by(self.clone(), member, request, ticket)
    }

    /// The same through a reference, say: a handle of its own would cost each request two writes to what all pushers share.
    pub fn push_by<Q: Borrow<Self>>(
        queue: Q,
        member: Option<usize>,
        request: T,
        ticket: Ticket,
    ) -> (Pushed<T, R, E, Q>, View) {
        let (signaller, answer) = completion();
        let mut state = queue.borrow().lock();
        if state.closed && !broken::is(Fault::BatchOpenWhenClosed) {
            let view = state.view();
            drop(state); // first, and then the request and the signaller
            return (Pushed::new(answer, None, queue), view);
        }
        let (place, approach) = state.push(member, request, ticket, signaller);
        let view = View { approach, ..state.view() };
        drop(state);
        (Pushed::new(answer, Some(place), queue), view)
    }

    /// What can be decided upon now.
    pub fn view(&self) -> View {
        let view = self.lock().view();
        if broken::is(Fault::BatchLowersPokeLate) {
            self.shared.poked.store(0, Ordering::Relaxed);
        }
        view
    }

    /// The same, with the group in front and how many it has.
    pub fn view_front(&self) -> View {
        let state = self.lock();
        View { front: state.front(), ..state.view() }
    }

    /// (2) Takes up to `most` requests from the front; `None` if there is none, or if it is closed.
    pub fn cut(&self, most: usize) -> Option<Batch<T, R, E>> {
        let state = self.lock();
        let count = state.len().min(most);
        self.take(state, count)
    }

    /// (2) Takes what [`fits`](Self::fits) at this moment: between that call and a cut, others may come to stand in front.
    pub fn cut_fitting(&self, requests: usize, rows: usize, bytes: usize) -> Option<Batch<T, R, E>> {
        let state = self.lock();
        let count = state.fits(requests, rows, bytes);
        self.take(state, count)
    }

    /// (2) Takes what fits of a group, if that is the one in front at this moment.
    pub fn cut_group(&self, group: (u64, u64), rows: usize, bytes: usize) -> Option<Batch<T, R, E>> {
        let state = self.lock();
        let (_, requests) = state.front().filter(|(front, _)| *front == group)?;
        let count = state.fits(requests, rows, bytes);
        self.take(state, count)
    }

    fn take(&self, mut state: MutexGuard<'_, State<T, R, E>>, count: usize) -> Option<Batch<T, R, E>> {
        if count == 0 {
            return None;
        }
        let requests = state.cut(count);
        drop(state);
        Some(Batch::new(requests, self.clone()))
    }

    /// How many requests at the front together keep within a number of requests, rows and bytes. One request always does.
    pub fn fits(&self, requests: usize, rows: usize, bytes: usize) -> usize {
        self.lock().fits(requests, rows, bytes)
    }

    /// (6) The member has an event that may push.
    pub fn arrive(&self, member: usize, now: u64) -> View {
        let mut state = self.lock();
        state.member(member, Some(now), |member| member.coming = true);
        state.view()
    }

    /// (6) The member will not push before it arrives again.
    pub fn depart(&self, member: usize) -> View {
        let mut state = self.lock();
        state.member(member, None, |member| member.coming = false);
        state.view()
    }

    /// The member waits in another queue. Blocks are counted, and may come after the [`unblock`](Self::unblock) that
    /// undoes them: whoever pushes there can be overtaken by the driver that cuts.
    pub fn block(&self, member: usize) -> View {
        let mut state = self.lock();
        state.member(member, None, |member| member.blocked += 1);
        state.view()
    }

    /// Undoes one [`block`](Self::block) of each of these members.
    pub fn unblock(&self, members: &[usize], now: u64) -> View {
        let mut state = self.lock();
        for &member in members {
            state.member(member, Some(now), |member| member.blocked -= 1);
        }
        state.view()
    }

    /// Wakes the driver, or keeps it from falling asleep. To be called after a change of the queue, or a look at it.
    pub fn poke(&self) {
        if self.shared.poked.load(Ordering::Relaxed) == 1 || self.shared.poked.swap(1, Ordering::AcqRel) == 1
        {
            return;
        }
        let driver = self.lock().driver.take();
        if let Some(driver) = driver
            && !broken::is(Fault::BatchSkipsWake)
        {
            driver.wake();
        }
    }

    /// Waits until the driver is poked. There is one driver: of several, the last to poll is woken.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a poke that it has not returned is there for the next.
    /// The waker stays, for the next to replace: a poke until then wakes a driver that no longer waits.
    pub fn poked(&self) -> PokedFuture<'_, T, R, E> {
        PokedFuture { queue: self }
    }

    /// (7) Takes no more requests. What is queued hears [`Lost`](crate::Lost); batches that are cut go on.
    ///
    /// Gives the members whose requests were queued: what is [blocked](Self::block) for them elsewhere no longer is.
    pub fn close(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.closed = true;
        let queue = state.clear();
        let members = queue.iter().filter_map(|queued| queued.member).collect();
        drop(state);
        if broken::is(Fault::BatchForgetsQueued) {
            std::mem::forget(queue);
        } else {
            drop(queue); // wakes the waiters, hence after unlocking
        }
        self.poke();
        members
    }

    /// Opens a closed queue again; every member has departed. Requests that are not answered yet, and blocks that are not
    /// undone yet, still hold up their members.
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.closed = false;
        state.depart_all();
    }
}

impl<T, R, E> Clone for BatchQueue<T, R, E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T, R, E> fmt::Debug for BatchQueue<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Future of the driver's next poke; made by [`BatchQueue::poked`].
#[must_use = "futures do nothing unless awaited"]
pub struct PokedFuture<'a, T, R, E> {
    queue: &'a BatchQueue<T, R, E>,
}

impl<T, R, E> Future for PokedFuture<'_, T, R, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let poked = &self.queue.shared.poked;
        let mut state = self.queue.lock();
        // A swap: it acquires what those have changed who found the flag up.
        if poked.swap(0, Ordering::AcqRel) == 1 && !broken::is(Fault::BatchForgetsPoke) {
            return Poll::Ready(());
        }
        if state.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let previous = state.driver.replace(cx.waker().clone());
        drop(state);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }
}
