//! One producer, many waiters, a value that is computed once.
//!
//! ```text
//!                 ┌───────────────(4)────────────────┐
//!                 ▼                                  │
//!               EMPTY ──(1)──▶ RUNNING ──(2)──▶ READY ┘
//!
//!   beside it a flag:  HAS_WAITERS, raised by (3), down only after (4)
//!
//!   (1) claim:     fetch_or(CLAIMED); the one caller who raised it produces
//!   (2) complete:  the value, then fetch_or(SET); takes the waiters' lock only if HAS_WAITERS was up
//!   (3) poll_wait: under the waiters' lock raises HAS_WAITERS, then leaves its waker
//!   (4) reset:     needs &mut self
//! ```
//!
//! **No lost wake-up.** (2) and (3) are read-modify-writes of one word, so one comes first. If (3) does, (2) sees the flag
//! and asks for the lock, which the waiter holds until its waker is in the list. If (2) does, (3) sees `SET` and returns
//! the value instead. A waiter that finds the flag already up skips (3): it holds the lock, so either the completer has
//! not had it yet and will find this waker, or it has, and then `SET` is visible behind the lock.
//!
//! **The value** is published by (2) with release and read behind an acquire load; see `write_once.rs`.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::facade::Mutex;
use crate::write_once::WriteOnce;

const CLAIMED: u8 = 0b0100;
const HAS_WAITERS: u8 = 0b1000;

/// What [`ProductCell::claim`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever is told `Mine` has to produce, or all waiters hang"]
pub enum Claim {
    /// The cell was empty: the caller is the producer now, and has to [`complete`](ProductCell::complete) it.
    Mine,
    /// Somebody else produces.
    Running,
    /// The value is there.
    Ready,
}

struct Waiters {
    /// Counts resets, so that a [`Waiter`] from before a reset cannot touch a place that is another's now.
    epoch: u32,
    vacant: u32,
    places: Vec<Option<Waker>>,
}

/// A memoised value: claimed once, completed once, read by anyone.
///
/// Reading a value that is there costs one load and the clone. A claim costs one read-modify-write, a completion two
/// (one elects the writer, one publishes); a lock is taken only where somebody has to wait.
///
/// Failure is a value like any other: use a `Result` for `T`, or an enum. A producer that panics must still
/// [`complete`](Self::complete), because waiters wait for nothing else.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::{Claim, ProductCell};
/// use std::sync::Arc;
///
/// let cell = ProductCell::new();
/// assert_eq!(cell.claim(), Claim::Mine);
/// assert_eq!(cell.claim(), Claim::Running);
/// assert_eq!(cell.complete(Arc::new([1, 2, 3])), Ok(()));
/// assert_eq!(cell.claim(), Claim::Ready);
/// assert_eq!(cell.try_get(), Some(Arc::new([1, 2, 3])));
/// ```
pub struct ProductCell<T> {
    slot: WriteOnce<T>,
    waiters: Mutex<Waiters>,
}

/// One waiter's place in the line of a [`ProductCell`]; empty until the first `Pending`.
///
/// Belongs to the cell that it was first polled with. Using it with another cell is safe, but may cost that cell's waiters
/// a wake-up.
#[derive(Debug, Default)]
pub struct Waiter {
    place: Option<(u32, usize)>,
}

impl<T: Clone> ProductCell<T> {
    /// An empty cell.
    #[must_use]
    pub fn new() -> Self {
        let waiters = Waiters { epoch: 0, vacant: 0, places: Vec::new() };
        Self { slot: WriteOnce::new(), waiters: Mutex::new(waiters) }
    }

    /// Asks to be the producer. (1)
    #[inline]
    pub fn claim(&self) -> Claim {
        let mut seen = self.slot.seen();
        if !seen.has(CLAIMED) {
            let found = self.slot.flag(CLAIMED);
            if !found.has(CLAIMED) || broken::is(Fault::ProductClaimRaces) {
                return Claim::Mine;
            }
            seen = found;
        }
        if seen.is_set() { Claim::Ready } else { Claim::Running }
    }

    /// The value, if it is there: one load and a clone.
    #[inline]
    pub fn try_get(&self) -> Option<T> {
        self.slot.with(T::clone)
    }

    /// Looks at the value, if it is there, without cloning it: one load.
    #[inline]
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.slot.with(look)
    }

    /// Whether the value is there.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.slot.seen().is_set()
    }

    /// Whether a producer was found, also if it is done.
    #[inline]
    pub fn is_claimed(&self) -> bool {
        self.slot.seen().has(CLAIMED)
    }

    /// Stores the value and wakes all waiters. (2)
    ///
    /// # Errors
    ///
    /// Gives the value back if nobody has claimed the cell, or if it is complete.
    #[inline]
    pub fn complete(&self, value: T) -> Result<(), T> {
        if !self.is_claimed() {
            return Err(value);
        }
        if self.slot.set(value)?.has(HAS_WAITERS) && !broken::is(Fault::ProductSkipsWake) {
            self.wake_all();
        }
        Ok(())
    }

    #[cold]
    fn wake_all(&self) {
        let mut places = {
            let mut waiters = self.waiters.lock();
            waiters.vacant = 0;
            mem::take(&mut waiters.places)
        };
        for waker in places.drain(..).flatten() {
            waker.wake();
        }
        // Nobody registers once the value is there, so the list is still empty and can have its memory back.
        self.waiters.lock().places = places;
    }

    /// Returns the value, or leaves the waker of `cx` to be woken when it comes. (3)
    ///
    /// Does not claim: somebody has to. A later call with the same `waiter` replaces its waker.
    ///
    /// # Cancel safety
    ///
    /// A waiter that stops polling should [`leave`](Self::leave). If it does not, its task gets one spurious wake-up.
    pub fn poll_wait(&self, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.try_get() {
            waiter.place = None;
            return Poll::Ready(value);
        }
        let mut waiters = self.waiters.lock();
        let mut seen = self.slot.seen();
        if !seen.has(HAS_WAITERS) {
            seen = self.slot.flag(HAS_WAITERS);
        }
        if seen.is_set() && !broken::is(Fault::ProductRegistersBlindly) {
            drop(waiters);
            waiter.place = None;
            return Poll::Ready(self.try_get().expect("a value seen is there until reset"));
        }
        let previous = waiters.register(waiter, cx.waker());
        drop(waiters);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }

    /// Forgets the waker of a waiter that stops waiting. Does nothing for one that is not registered.
    pub fn leave(&self, waiter: &mut Waiter) {
        let Some((epoch, index)) = waiter.place.take() else { return };
        // Once the value is there, the completer has the wakers or is about to: nothing to forget.
        if self.is_ready() {
            return;
        }
        let mut waiters = self.waiters.lock();
        if waiters.epoch != epoch {
            return;
        }
        let left = waiters.places.get_mut(index).and_then(Option::take);
        waiters.vacant += u32::from(left.is_some());
        drop(waiters);
        drop(left); // foreign code, hence after unlocking
    }

    /// Waits for the value. Does not claim: somebody has to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the line; the value, the producer and the other waiters do not notice.
    pub fn wait(&self) -> Wait<'_, T> {
        Wait { cell: self, waiter: Waiter::default() }
    }

    /// Makes the cell ready from the start, without a producer: as if claimed and completed, at the price of a store.
    ///
    /// # Errors
    ///
    /// Gives the value back if the cell has been claimed.
    pub fn preset(&mut self, value: T) -> Result<(), T> {
        self.slot.preset(CLAIMED, value)
    }

    /// Empties the cell for its next use; keeps the memory of the waiters' list. (4)
    pub fn reset(&mut self) {
        self.slot.reset();
        let waiters = self.waiters.get_mut();
        waiters.epoch = waiters.epoch.wrapping_add(1);
        waiters.vacant = 0;
        waiters.places.clear();
    }
}

impl Waiters {
    /// Puts `waker` into the waiter's place, found on its first call; returns the waker that was there.
    fn register(&mut self, waiter: &mut Waiter, waker: &Waker) -> Option<Waker> {
        if let Some((epoch, index)) = waiter.place
            && epoch == self.epoch
            && let Some(Some(known)) = self.places.get_mut(index)
        {
            if known.will_wake(waker) {
                return None;
            }
            return Some(mem::replace(known, waker.clone()));
        }
        let waker = Some(waker.clone());
        let free = if self.vacant > 0 { self.places.iter().position(Option::is_none) } else { None };
        let index = if let Some(index) = free {
            self.vacant -= 1;
            self.places[index] = waker;
            index
        } else {
            self.places.push(waker);
            self.places.len() - 1
        };
        waiter.place = Some((self.epoch, index));
        None
    }
}

impl<T: Clone> Default for ProductCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for ProductCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.slot.seen();
        let state = match (seen.is_set(), seen.has(CLAIMED)) {
            (true, _) => "Ready",
            (false, true) => "Running",
            (false, false) => "Empty",
        };
        f.debug_struct("ProductCell").field("state", &state).finish_non_exhaustive()
    }
}

/// Future of a [`ProductCell`]'s value; made by [`ProductCell::wait`]. Polled again after `Ready`, it gives the value again.
///
/// # Cancel safety
///
/// See [`ProductCell::wait`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Wait<'a, T: Clone> {
    cell: &'a ProductCell<T>,
    waiter: Waiter,
}

impl<T: Clone> Future for Wait<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        this.cell.poll_wait(&mut this.waiter, cx)
    }
}

impl<T: Clone> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.cell.leave(&mut self.waiter);
    }
}
