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
//! file's business.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::earliest::Earliest;
use crate::facade::{Arc, Mutex, MutexGuard};
use crate::{Completion, Lost, Signaller, completion};

/// What a queue knows of a request without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Requests stand in ascending order of this, and in the order in which they came where it is equal.
    pub order: (u64, u64),
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
    /// The order of the request in front, and how many requests in front share it; only where asked for.
    pub front: Option<((u64, u64), usize)>,
    /// Whether it is closed.
    pub closed: bool,
    /// After a push: for how long its member had been counted, if it was.
    pub approach: Option<u64>,
}

/// A request that was cut, with the means to answer it.
pub struct Taken<T, R, E> {
    /// The request.
    pub request: T,
    /// What the queue knew of it.
    pub ticket: Ticket,
    /// The member that waits for it.
    pub member: Option<usize>,
    rank: Rank,
    place: Place,
    signaller: Signaller<R, E>,
}

impl<T, R, E> Taken<T, R, E> {
    /// Whether nobody waits for it any more. `true` is final.
    pub fn is_abandoned(&self) -> bool {
        self.signaller.is_abandoned()
    }
}

/// Where a request is noted; reused, hence the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: usize,
    generation: u64,
}

struct Note {
    generation: u64,
    member: Option<usize>,
    /// Its rank in the queue; `None` once it is cut.
    queued: Option<Rank>,
}

/// Order, then arrival.
type Rank = ((u64, u64), u64);

#[derive(Default)]
struct Member {
    coming: bool,
    /// Requests of it that are not answered.
    waiting: usize,
    /// Requests of it in other queues. Negative while the end of a block has overtaken its start.
    blocked: isize,
    /// Since when it is counted, or was last.
    since: u64,
}

impl Member {
    fn is_counted(&self) -> bool {
        self.coming && self.waiting == 0 && (self.blocked <= 0 || broken::is(Fault::BatchCountsBlocked))
    }
}

struct State<T, R, E> {
    queue: VecDeque<Taken<T, R, E>>,
    /// Wide enough for any sum, so that what is added can be taken off again.
    rows: u128,
    bytes: u128,
    pushes: Earliest<Place>,
    oldest: Option<u64>,
    /// Without those that do not matter.
    deadlines: Earliest<Place>,
    deadline: u64,
    arrivals: u64,
    notes: Vec<Note>,
    free: Vec<usize>,
    members: Vec<Member>,
    coming: usize,
    running: usize,
    driver: Option<Waker>,
    poked: bool,
    closed: bool,
}

impl<T, R, E> State<T, R, E> {
    fn view(&self) -> View {
        View {
            queued: self.queue.len(),
            rows: usize::try_from(self.rows).unwrap_or(usize::MAX),
            bytes: usize::try_from(self.bytes).unwrap_or(usize::MAX),
            oldest: self.oldest,
            deadline: self.deadline,
            coming: self.coming,
            running: self.running,
            front: None,
            closed: self.closed,
            approach: None,
        }
    }

    /// Changes a member; says since when it was counted, if it was.
    fn member(&mut self, index: usize, now: u64, change: impl FnOnce(&mut Member)) -> Option<u64> {
        if index >= self.members.len() {
            self.members.resize_with(index + 1, Member::default);
        }
        let member = &mut self.members[index];
        let before = member.is_counted();
        change(member);
        let after = member.is_counted();
        let since = before.then_some(member.since);
        if after && !before {
            member.since = now;
        }
        self.coming = self.coming + usize::from(after) - usize::from(before);
        since
    }

    fn note(&mut self, member: Option<usize>, rank: Rank) -> Place {
        let index = self.free.pop().unwrap_or_else(|| {
            self.notes.push(Note { generation: 0, member: None, queued: None });
            self.notes.len() - 1
        });
        let note = &mut self.notes[index];
        note.member = member;
        note.queued = Some(rank);
        Place { index, generation: note.generation }
    }

    /// The request is answered, or its waiter has left; whoever comes first. Gives where it was in the queue.
    fn settle(&mut self, place: Place, now: u64) -> Option<Option<Rank>> {
        let note = &mut self.notes[place.index];
        if note.generation != place.generation {
            return None;
        }
        note.generation += 1;
        let (member, queued) = (note.member, note.queued.take());
        self.free.push(place.index);
        if let Some(member) = member
            && !broken::is(Fault::BatchForgetsWaiter)
        {
            self.member(member, now, |member| member.waiting -= 1);
        }
        Some(queued)
    }

    fn insert(&mut self, taken: Taken<T, R, E>) {
        self.rows += taken.ticket.rows as u128;
        self.bytes += taken.ticket.bytes as u128;
        self.oldest = Some(self.oldest.map_or(taken.ticket.pushed_at, |at| at.min(taken.ticket.pushed_at)));
        self.pushes.add(taken.ticket.pushed_at, taken.place);
        if taken.ticket.deadline != u64::MAX {
            self.deadline = self.deadline.min(taken.ticket.deadline);
            self.deadlines.add(taken.ticket.deadline, taken.place);
        }
        // Nearly always at the end.
        let index = match self.queue.back() {
            Some(last) if last.rank > taken.rank => {
                self.queue.partition_point(|queued| queued.rank < taken.rank)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(index, taken);
        if self.pushes.is_mostly_gone(self.queue.len()) {
            self.pushes.rebuild(self.queue.iter().map(|queued| (queued.ticket.pushed_at, queued.place)));
        }
        if self.deadlines.is_mostly_gone(self.queue.len()) {
            let urgent = self.queue.iter().filter(|queued| queued.ticket.deadline != u64::MAX);
            self.deadlines.rebuild(urgent.map(|queued| (queued.ticket.deadline, queued.place)));
        }
    }

    fn remove(&mut self, index: usize) -> Option<Taken<T, R, E>> {
        let taken = self.queue.remove(index)?;
        self.rows -= taken.ticket.rows as u128;
        self.bytes -= taken.ticket.bytes as u128;
        Some(taken)
    }

    fn fits(&self, requests: usize, rows: usize, bytes: usize) -> usize {
        let (mut rows_so_far, mut bytes_so_far) = (0_usize, 0_usize);
        let within = self.queue.iter().take(requests).take_while(|queued| {
            rows_so_far = rows_so_far.saturating_add(queued.ticket.rows);
            bytes_so_far = bytes_so_far.saturating_add(queued.ticket.bytes);
            rows_so_far <= rows && bytes_so_far <= bytes
        });
        within.count().max(self.queue.len().min(1))
    }

    fn remove_ranked(&mut self, rank: Rank) -> Option<Taken<T, R, E>> {
        let index = self.queue.binary_search_by_key(&rank, |queued| queued.rank).ok()?;
        let taken = self.remove(index);
        self.recount();
        taken
    }

    /// After removals.
    fn recount(&mut self) {
        if self.queue.is_empty() {
            // Most cuts take all.
            self.pushes.clear();
            self.deadlines.clear();
        }
        let notes = &self.notes;
        let is_queued = |place: &Place| {
            let note = &notes[place.index];
            note.generation == place.generation && note.queued.is_some()
        };
        self.oldest = self.pushes.first(is_queued);
        self.deadline = self.deadlines.first(is_queued).unwrap_or(u64::MAX);
    }

    /// The driver's waker, to be woken after unlocking.
    #[must_use]
    fn poke(&mut self) -> Option<Waker> {
        self.poked = true;
        self.driver.take()
    }
}

struct Shared<T, R, E> {
    state: Mutex<State<T, R, E>>,
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
/// let ticket = Ticket { order: (0, 0), rows: 1, bytes: 4, pushed_at: 0, deadline: u64::MAX };
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

impl<T, R, E> Default for BatchQueue<T, R, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R, E> BatchQueue<T, R, E> {
    /// An empty queue without members.
    pub fn new() -> Self {
        let state = State {
            queue: VecDeque::new(),
            rows: 0,
            bytes: 0,
            pushes: Earliest::new(),
            oldest: None,
            deadlines: Earliest::new(),
            deadline: u64::MAX,
            arrivals: 0,
            notes: Vec::new(),
            free: Vec::new(),
            members: Vec::new(),
            coming: 0,
            running: 0,
            driver: None,
            poked: false,
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R, E>> {
        self.shared.state.lock()
    }

    /// (1) Queues a request, of a member if the pusher is one.
    ///
    /// In a closed queue the answer is [`Lost`] at once.
    pub fn push(&self, member: Option<usize>, request: T, ticket: Ticket) -> (Pushed<T, R, E>, View) {
        let (signaller, answer) = completion();
        let mut state = self.lock();
        if state.closed && !broken::is(Fault::BatchOpenWhenClosed) {
            let view = state.view();
            drop(state); // and with it the signaller
            return (Pushed { answer, place: None, queue: self.clone() }, view);
        }
        let rank = (ticket.order, state.arrivals);
        state.arrivals += 1;
        let place = state.note(member, rank);
        state.insert(Taken { request, ticket, member, rank, place, signaller });
        let since =
            member.and_then(|member| state.member(member, ticket.pushed_at, |member| member.waiting += 1));
        let approach = since.map(|since| ticket.pushed_at.saturating_sub(since));
        let view = View { approach, ..state.view() };
        drop(state);
        (Pushed { answer, place: Some(place), queue: self.clone() }, view)
    }

    /// What can be decided upon now.
    pub fn view(&self) -> View {
        self.lock().view()
    }

    /// The same, with the request in front and how many share its order.
    pub fn view_front(&self) -> View {
        let state = self.lock();
        let front = state.queue.front().map(|first| first.rank.0);
        let len = |order| state.queue.iter().take_while(|queued| queued.rank.0 == order).count();
        View { front: front.map(|order| (order, len(order))), ..state.view() }
    }

    /// (2) Takes up to `most` requests from the front; `None` if there is none, or if it is closed.
    pub fn cut(&self, most: usize) -> Option<Batch<T, R, E>> {
        let state = self.lock();
        let count = state.queue.len().min(most);
        self.take(state, count)
    }

    /// (2) Takes what [`fits`](Self::fits) at this moment: between that call and a cut, others may come to stand in front.
    pub fn cut_fitting(&self, requests: usize, rows: usize, bytes: usize) -> Option<Batch<T, R, E>> {
        let state = self.lock();
        let count = state.fits(requests, rows, bytes);
        self.take(state, count)
    }

    fn take(&self, mut state: MutexGuard<'_, State<T, R, E>>, count: usize) -> Option<Batch<T, R, E>> {
        if count == 0 {
            return None;
        }
        let count = if broken::is(Fault::BatchCutsShort) { 1 } else { count };
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(taken) = state.remove(0) else { break };
            state.notes[taken.place.index].queued = None;
            requests.push(taken);
        }
        state.recount();
        state.running += 1;
        drop(state);
        Some(Batch { requests, queue: self.clone(), ended: false })
    }

    /// How many requests at the front together keep within a number of requests, rows and bytes. One request always does.
    pub fn fits(&self, requests: usize, rows: usize, bytes: usize) -> usize {
        self.lock().fits(requests, rows, bytes)
    }

    /// (6) The member has an event that may push.
    pub fn arrive(&self, member: usize, now: u64) -> View {
        let mut state = self.lock();
        state.member(member, now, |member| member.coming = true);
        state.view()
    }

    /// (6) The member will not push before it arrives again.
    pub fn depart(&self, member: usize) -> View {
        let mut state = self.lock();
        state.member(member, 0, |member| member.coming = false);
        state.view()
    }

    /// The member waits in another queue. Blocks are counted, and may come after the [`unblock`](Self::unblock) that
    /// undoes them: whoever pushes there can be overtaken by the driver that cuts.
    pub fn block(&self, member: usize) -> View {
        let mut state = self.lock();
        state.member(member, 0, |member| member.blocked += 1);
        state.view()
    }

    /// Undoes one [`block`](Self::block).
    pub fn unblock(&self, member: usize, now: u64) -> View {
        let mut state = self.lock();
        state.member(member, now, |member| member.blocked -= 1);
        state.view()
    }

    /// Wakes the driver, or keeps it from falling asleep.
    pub fn poke(&self) {
        let driver = self.lock().poke();
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

    /// (7) Takes no more requests. What is queued hears [`Lost`]; batches that are cut go on.
    ///
    /// Gives the members whose requests were queued: what is [blocked](Self::block) for them elsewhere no longer is.
    pub fn close(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        let members = queue.iter().filter_map(|queued| queued.member).collect();
        for queued in &queue {
            state.settle(queued.place, 0);
        }
        (state.rows, state.bytes) = (0, 0);
        state.recount();
        let driver = state.poke();
        drop(state);
        if broken::is(Fault::BatchForgetsQueued) {
            std::mem::forget(queue);
        } else {
            drop(queue); // wakes the waiters, hence after unlocking
        }
        if let Some(driver) = driver {
            driver.wake();
        }
        members
    }

    /// Opens a closed queue again; every member has departed. Requests that are not answered yet, and blocks that are not
    /// undone yet, still hold up their members.
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.closed = false;
        state.members.iter_mut().for_each(|member| member.coming = false);
        state.coming = 0;
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
        let mut state = self.queue.lock();
        if std::mem::take(&mut state.poked) && !broken::is(Fault::BatchForgetsPoke) {
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

/// Requests that were cut together. Dropped before it has ended, it answers [`Lost`] to all.
#[must_use = "dropping a batch tells its waiters that it was lost"]
pub struct Batch<T, R, E> {
    requests: Vec<Taken<T, R, E>>,
    queue: BatchQueue<T, R, E>,
    ended: bool,
}

impl<T, R, E> Batch<T, R, E> {
    /// The requests, to be answered by [`answer`](Self::answer) or [`end`](Self::end). One that is dropped instead hears
    /// [`Lost`], and so must be given to neither.
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
            let stays = state.notes[taken.place.index].generation == taken.place.generation
                || broken::is(Fault::BatchPutsBackLeaver);
            if stays && (!state.closed || broken::is(Fault::BatchOpenWhenClosed)) {
                state.notes[taken.place.index].queued = Some(taken.rank);
                state.insert(taken);
            } else {
                state.settle(taken.place, 0);
                left.push(taken);
            }
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
            state.settle(taken.place, now);
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
            state.settle(taken.place, 0);
        }
        let driver = state.poke();
        drop(state);
        if broken::is(Fault::BatchForgetsLost) {
            std::mem::forget(requests);
        } else {
            drop(requests); // wakes the waiters, hence after unlocking
        }
        if let Some(driver) = driver
            && !broken::is(Fault::BatchDropsSilently)
        {
            driver.wake();
        }
    }
}

impl<T, R, E> fmt::Debug for Batch<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("requests", &self.requests.len()).finish_non_exhaustive()
    }
}

/// Future of the answer to a request; made by [`BatchQueue::push`].
///
/// # Panics
///
/// Polling it again after it returned `Ready` panics.
///
/// # Cancel safety
///
/// Dropping it takes the request out of the queue, if it was not cut yet; later it is answered to nobody.
#[must_use = "dropping it takes the request back"]
pub struct Pushed<T, R, E> {
    answer: Completion<R, E>,
    /// `None` once the queue has no note of it.
    place: Option<Place>,
    queue: BatchQueue<T, R, E>,
}

impl<T, R, E> Pushed<T, R, E> {
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
        let mut state = self.queue.lock();
        let (mut changed, mut removed) = (false, None);
        if let Some(place) = self.place.take()
            && let Some(queued) = state.settle(place, 0)
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
                self.queue.poke();
            }
        }
    }
}

// The answer is never pinned.
impl<T, R, E> Unpin for Pushed<T, R, E> {}

impl<T, R, E: From<Lost>> Future for Pushed<T, R, E> {
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

impl<T, R, E> Drop for Pushed<T, R, E> {
    fn drop(&mut self) {
        self.settle_and_poke();
    }
}

impl<T, R, E> fmt::Debug for Pushed<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushed").finish_non_exhaustive()
    }
}
