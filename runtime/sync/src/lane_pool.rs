//! A pool of lanes, handed out first come, first served.
//!
//! ```text
//!   of a lane:   IDLE ──(1)──▶ OUT ──(2)──▶ IDLE            of a Take:   NEW ──(1)──────────────▶ DONE
//!                  ▲            │ ──(3)──▶ GRANTED                        │──(5)──▶ IN LINE ──(3)──▶ GRANTED ──(4)──▶ DONE
//!                  │            └ ──(6)──▶ (retired)                      └──(7)──▶ DONE (Closed)     IN LINE ──(7)──▶ DONE
//!                  └──── GRANTED ──(4)──▶ OUT
//!
//!   (1) take / try_take: an idle lane, at once        (5) Take::poll: nothing idle, joins the end of the line
//!   (2) Lane::drop, nobody in line                    (6) Lane::retire; the last one also does (7)
//!   (3) Lane::drop, for the first in line; wakes it   (7) close: everybody in line is told
//!   (4) Take::poll: picks up what it was granted. A Take dropped instead passes it on as in (2) or (3).
//! ```
//!
//! Every arrow is taken under one mutex. The invariant that makes the line fair and `try_take` unable to jump it:
//! **while somebody is in line, nothing is idle.**
//!
//! How many lanes there are is asked much more often than it changes, by every worker. So there is a copy of it, which is
//! written under the mutex and read without. Whoever has changed the pool, or has heard from who did, finds it up to date.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::facade::{Arc, AtomicU64, Mutex, Ordering};

/// The pool was closed, or its last lane has retired: no lane will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lane pool is closed")
    }
}

impl Error for Closed {}

struct State<L> {
    /// The lane used last is taken first: its buffers are warm.
    idle: Vec<L>,
    /// Who waits, in order; keys rise along the line.
    line: VecDeque<(u64, Waker)>,
    /// Lanes given to somebody who was in line and has not picked them up.
    granted: Vec<(u64, L)>,
    next_key: u64,
    lanes: usize,
    closed: bool,
}

impl<L> State<L> {
    fn counts(&self) -> Counts {
        Counts { lanes: self.lanes, idle: self.idle.len(), closed: self.closed }
    }

    fn take_idle(&mut self) -> Option<L> {
        if self.closed { None } else { self.idle.pop() }
    }

    /// (2) or (3). The waker is to be woken after unlocking. Never allocates: there is room for every lane.
    #[must_use]
    fn give(&mut self, lane: L) -> Option<Waker> {
        match self.line.pop_front() {
            Some((key, waker)) => {
                self.granted.push((key, lane));
                Some(waker)
            }
            None => {
                self.idle.push(lane);
                None
            }
        }
    }

    /// (4)
    fn pick_up(&mut self, key: u64) -> Option<L> {
        let index = self.granted.iter().position(|(granted, _)| *granted == key)?;
        Some(self.granted.swap_remove(index).1)
    }

    fn place_in_line(&self, key: u64) -> Option<usize> {
        self.line.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    /// (7). The line is to be woken after unlocking.
    #[must_use]
    fn close(&mut self) -> VecDeque<(u64, Waker)> {
        self.closed = true;
        mem::take(&mut self.line)
    }
}

struct Shared<L> {
    state: Mutex<State<L>>,
    /// What the pool counts: a copy.
    counts: AtomicU64,
}

/// What a pool counts, in one word.
#[derive(Clone, Copy)]
struct Counts {
    lanes: usize,
    idle: usize,
    closed: bool,
}

impl Counts {
    const BITS: u32 = 31;

    fn pack(self) -> u64 {
        (self.lanes as u64) << (Self::BITS + 1) | (self.idle as u64) << 1 | u64::from(self.closed)
    }

    fn unpack(word: u64) -> Self {
        let idle = (word >> 1) & ((1 << Self::BITS) - 1);
        Counts { lanes: (word >> (Self::BITS + 1)) as usize, idle: idle as usize, closed: word & 1 != 0 }
    }
}

impl<L> Shared<L> {
    fn counts(&self) -> Counts {
        Counts::unpack(self.counts.load(Ordering::Acquire))
    }

    /// After each change, before unlocking.
    fn publish(&self, state: &State<L>) {
        self.counts.store(state.counts().pack(), Ordering::Release);
    }

    fn give(&self, lane: L) {
        let mut state = self.state.lock();
        let waker = state.give(lane);
        if !broken::is(Fault::PoolForgetsCount) {
            self.publish(&state);
        }
        drop(state);
        if let Some(waker) = waker
            && !broken::is(Fault::PoolSkipsWake)
        {
            waker.wake();
        }
    }
}

/// A fixed set of lanes into a device. Cloning it gives another handle to the same pool.
///
/// Waiting for a lane is the back-pressure of a device. The line holds one waker per waiting [`Take`], so it is as long as
/// the number of tasks that may submit at a time.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::LanePool;
///
/// let pool = LanePool::new(["stream 0", "stream 1"]);
/// let lane = pool.try_take().unwrap();
/// assert_eq!((pool.len(), pool.available()), (2, 1));
/// drop(lane);
/// assert_eq!(pool.available(), 2);
/// ```
pub struct LanePool<L> {
    shared: Arc<Shared<L>>,
}

impl<L> LanePool<L> {
    /// A pool of these lanes. Without any it is closed from the start.
    pub fn new(lanes: impl IntoIterator<Item = L>) -> Self {
        let mut idle: Vec<L> = lanes.into_iter().collect();
        idle.reverse(); // the first lane is taken first
        let lanes = idle.len();
        let granted = Vec::with_capacity(lanes);
        let closed = lanes == 0;
        let state = State { idle, line: VecDeque::new(), granted, next_key: 0, lanes, closed };
        let counts = AtomicU64::new(state.counts().pack());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), counts }) }
    }

    /// Waits for a lane. The place in line is that of the first poll.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the pool is closed, or is closed while waiting. A lane granted before is still delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line. If it had been granted a lane, the next in line gets it.
    pub fn take(&self) -> Take<L> {
        Take { shared: self.shared.clone(), step: Step::New }
    }

    /// A lane, if one is idle and nobody is in line for it.
    #[must_use]
    pub fn try_take(&self) -> Option<Lane<L>> {
        let mut state = self.shared.state.lock();
        let lane = state.take_idle()?; // (1)
        self.shared.publish(&state);
        drop(state);
        Some(Lane::new(lane, &self.shared))
    }

    /// Tells everybody in line, and everybody who comes later, that there are no more lanes. (7)
    ///
    /// Lanes that are out stay valid; they come back and are kept until the last handle, lane and `Take` is dropped.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        let line = state.close();
        self.shared.publish(&state);
        drop(state);
        for (_, waker) in line {
            waker.wake();
        }
    }

    /// Whether it was closed or its last lane has retired.
    pub fn is_closed(&self) -> bool {
        self.shared.counts().closed
    }

    /// How many lanes it has: idle, granted and out, but not retired.
    pub fn len(&self) -> usize {
        self.shared.counts().lanes
    }

    /// Whether all lanes have retired.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many lanes are idle.
    pub fn available(&self) -> usize {
        self.shared.counts().idle
    }

    /// [`len`](Self::len) and [`available`](Self::available), at the same moment.
    pub fn counts(&self) -> (usize, usize) {
        let Counts { lanes, idle, .. } = self.shared.counts();
        (lanes, idle)
    }

    /// Tells pools apart: handles to the same pool give the same number, and no two pools do at the same time.
    pub fn identity(&self) -> usize {
        std::ptr::from_ref::<Shared<L>>(&self.shared).addr()
    }

    /// How many are in line.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().line.len()
    }
}

impl<L> Clone for LanePool<L> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<L> fmt::Debug for LanePool<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("LanePool")
            .field("lanes", &state.lanes)
            .field("available", &state.idle.len())
            .field("waiting", &state.line.len())
            .field("closed", &state.closed)
            .finish()
    }
}

/// A lane taken out of its pool; goes back when dropped.
pub struct Lane<L> {
    /// `None` only while being dropped or retired.
    lane: Option<L>,
    shared: Arc<Shared<L>>,
}

impl<L> Lane<L> {
    fn new(lane: L, shared: &Arc<Shared<L>>) -> Self {
        Self { lane: Some(lane), shared: shared.clone() }
    }

    /// Takes a lane that died out of the pool for good. With the last one the pool closes. (6)
    #[must_use = "the retired lane is the caller's to drop"]
    pub fn retire(mut self) -> L {
        let lane = self.lane.take().expect("a lane is there until it is dropped");
        let mut state = self.shared.state.lock();
        state.lanes -= 1;
        let line = if state.lanes == 0 && !broken::is(Fault::PoolForgetsLastRetire) {
            state.close()
        } else {
            VecDeque::new()
        };
        self.shared.publish(&state);
        drop(state);
        for (_, waker) in line {
            waker.wake();
        }
        lane
    }
}

impl<L> Deref for Lane<L> {
    type Target = L;

    fn deref(&self) -> &L {
        self.lane.as_ref().expect("a lane is there until it is dropped")
    }
}

impl<L> DerefMut for Lane<L> {
    fn deref_mut(&mut self) -> &mut L {
        self.lane.as_mut().expect("a lane is there until it is dropped")
    }
}

impl<L> Drop for Lane<L> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.shared.give(lane); // (2) (3)
        }
    }
}

impl<L: fmt::Debug> fmt::Debug for Lane<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.lane).finish()
    }
}

#[derive(Clone, Copy)]
enum Step {
    New,
    /// In line, granted, or told `Closed`: the pool knows which.
    Waiting(u64),
    Done,
}

/// Future of a [`Lane`]; made by [`LanePool::take`].
///
/// # Panics
///
/// Polling it again after it returned `Ready` panics.
///
/// # Cancel safety
///
/// See [`LanePool::take`].
#[must_use = "futures do nothing unless awaited"]
pub struct Take<L> {
    shared: Arc<Shared<L>>,
    step: Step,
}

impl<L> Future for Take<L> {
    type Output = Result<Lane<L>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.shared.state.lock();
        let lane = match this.step {
            Step::New => state.take_idle(),           // (1)
            Step::Waiting(key) => state.pick_up(key), // (4)
            Step::Done => {
                drop(state);
                panic!("`Take` polled after it completed");
            }
        };
        if let Some(lane) = lane {
            this.shared.publish(&state);
            drop(state);
            this.step = Step::Done;
            return Poll::Ready(Ok(Lane::new(lane, &this.shared)));
        }
        if state.closed {
            drop(state);
            this.step = Step::Done;
            return Poll::Ready(Err(Closed)); // (7)
        }
        let mut previous = None;
        if let Step::Waiting(key) = this.step
            && let Some(place) = state.place_in_line(key)
        {
            let known = &mut state.line[place].1;
            if !known.will_wake(cx.waker()) {
                previous = Some(mem::replace(known, cx.waker().clone()));
            }
        } else {
            let key = state.next_key;
            state.line.push_back((key, cx.waker().clone())); // (5)
            state.next_key += 1;
            this.step = Step::Waiting(key);
        }
        drop(state);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }
}

impl<L> Drop for Take<L> {
    fn drop(&mut self) {
        let Step::Waiting(key) = self.step else { return };
        let mut state = self.shared.state.lock();
        let lane = state.pick_up(key);
        let left = state.place_in_line(key).and_then(|place| state.line.remove(place));
        drop(state);
        drop(left); // foreign code, hence after unlocking
        if let Some(lane) = lane {
            if broken::is(Fault::PoolForgetsDroppedGrant) {
                return;
            }
            self.shared.give(lane); // (2) (3)
        }
    }
}

impl<L> fmt::Debug for Take<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Take").finish_non_exhaustive()
    }
}
