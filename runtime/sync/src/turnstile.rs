//! Passage in ticket order.
//!
//! ```text
//!   of one ticket:   AHEAD ──(1)──▶ WAITING ──(2)──▶ NEXT ──(3)──▶ PASSED
//!                      │               │
//!                      └──────(4)──────┴──▶ SKIPPED ──(5)──▶ PASSED
//!
//!   (1) WaitTurn::poll: leaves its waker           (3) Turn::drop, or skip of the ticket that is next
//!   (2) the ticket before it passed; wakes         (4) skip of a ticket still ahead; wakes its waiter, if any
//!   (5) the ticket before it passed: goes along with (2), until a ticket that is not skipped is next
//! ```
//!
//! `next` changes only under the mutex, and a waiter that registers looks at it again under the mutex: either it sees its
//! turn, or whoever makes it next finds its waker. The lock-free look in `poll` acquires what `move_on` released, so what was
//! done in the turn before is visible in this one.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::facade::{AtomicU64, Mutex, Ordering};

/// The ticket was skipped, or has had its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Passed;

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ticket has passed the turnstile or was skipped")
    }
}

impl Error for Passed {}

enum Ahead {
    Waiting(Waker),
    Skipped,
}

/// Lets tickets through one at a time, in order.
///
/// # The contract
///
/// Whoever holds a ticket either takes its turn or [`skip`](Self::skip)s it: then every job drains. Nothing else is needed. A
/// [`Turn`] passes when it is dropped, also by a panic; a [`WaitTurn`] dropped before its turn leaves the ticket as it was, to be
/// waited for again or skipped; a skip comes in any order, as often as one likes, and a waiter whose ticket is
/// skipped gets [`Passed`]. One future at a time may wait for a ticket.
///
/// It remembers one entry per ticket that waits or was skipped ahead of its turn, so the tickets in flight are its bound.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::Turnstile;
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let turnstile = Turnstile::new(0);
/// let mut cx = Context::from_waker(Waker::noop());
/// let mut third = pin!(turnstile.wait(2));
///
/// assert!(third.as_mut().poll(&mut cx).is_pending());
/// turnstile.skip(1); // event 1 failed
/// turnstile.skip(0);
/// let Poll::Ready(Ok(turn)) = third.as_mut().poll(&mut cx) else { panic!() };
/// drop(turn); // written
/// assert_eq!(turnstile.next(), 3);
/// ```
pub struct Turnstile {
    next: AtomicU64,
    ahead: Mutex<BTreeMap<u64, Ahead>>,
}

impl Turnstile {
    /// A turnstile whose first ticket is `first`.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self { next: AtomicU64::new(first), ahead: Mutex::new(BTreeMap::new()) }
    }

    /// The ticket whose turn it is.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// How many tickets wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ahead.lock().values().filter(|ahead| matches!(ahead, Ahead::Waiting(_))).count()
    }

    /// Waits until `ticket` is next: one load if it is.
    ///
    /// # Errors
    ///
    /// [`Passed`] if the ticket was skipped, or has had its turn.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps the ticket: wait again, or [`skip`](Self::skip) it, or those behind wait for ever.
    pub fn wait(&self, ticket: u64) -> WaitTurn<'_> {
        WaitTurn { turnstile: self, ticket, registered: false }
    }

    /// Gives up a ticket: it passes when it would be next, without anybody taking its turn. (3) (4)
    ///
    /// Does nothing for a ticket that has passed. Skipping a ticket whose [`Turn`] is being held lets the next one in beside it.
    pub fn skip(&self, ticket: u64) {
        let mut ahead = self.ahead.lock();
        let next = self.next.load(Ordering::Relaxed);
        if ticket < next {
            return;
        }
        let mut woken = [None, None];
        if let Some(Ahead::Waiting(waker)) = ahead.insert(ticket, Ahead::Skipped) {
            woken[0] = Some(waker);
        }
        if ticket == next {
            woken[1] = self.move_on(&mut ahead, next);
        }
        drop(ahead);
        if !broken::is(Fault::TurnstileSkipsWake) {
            woken.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// (2) (5). The waker is to be woken after unlocking.
    #[must_use]
    fn move_on(&self, ahead: &mut BTreeMap<u64, Ahead>, mut next: u64) -> Option<Waker> {
        let woken = loop {
            match ahead.remove(&next) {
                Some(Ahead::Skipped) => next += 1,
                Some(Ahead::Waiting(waker)) => break Some(waker),
                None => break None,
            }
        };
        let publish =
            if broken::is(Fault::TurnstileRelaxedPublish) { Ordering::Relaxed } else { Ordering::Release };
        self.next.store(next, publish);
        woken
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turnstile").field("next", &self.next()).finish_non_exhaustive()
    }
}

/// A ticket's turn. Dropping it lets the next ticket pass. (3)
#[must_use = "dropping the turn ends it at once"]
#[derive(Debug)]
pub struct Turn<'a> {
    turnstile: &'a Turnstile,
    ticket: u64,
}

impl Turn<'_> {
    /// Ends the turn. The same as dropping it, for places where that should be seen.
    pub fn pass(self) {}

    /// The ticket whose turn it is.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turnstile.skip(self.ticket);
    }
}

/// Future of a [`Turn`]; made by [`Turnstile::wait`].
///
/// # Cancel safety
///
/// See [`Turnstile::wait`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct WaitTurn<'a> {
    turnstile: &'a Turnstile,
    ticket: u64,
    /// Whether the turnstile may hold a waker of this future.
    registered: bool,
}

impl<'a> WaitTurn<'a> {
    fn arrive(&mut self, next: u64) -> Option<Result<Turn<'a>, Passed>> {
        if next < self.ticket {
            return None;
        }
        self.registered = false;
        Some(if next == self.ticket {
            Ok(Turn { turnstile: self.turnstile, ticket: self.ticket })
        } else {
            Err(Passed)
        })
    }
}

impl<'a> Future for WaitTurn<'a> {
    type Output = Result<Turn<'a>, Passed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let turnstile = this.turnstile;
        if let Some(arrived) = this.arrive(turnstile.next()) {
            return Poll::Ready(arrived);
        }
        let mut ahead = turnstile.ahead.lock();
        if !broken::is(Fault::TurnstileRegistersBlindly)
            && let Some(arrived) = this.arrive(turnstile.next())
        {
            drop(ahead); // a turn locks when it is dropped
            return Poll::Ready(arrived);
        }
        let previous = match ahead.get(&this.ticket) {
            Some(Ahead::Skipped) => {
                this.registered = false;
                return Poll::Ready(Err(Passed));
            }
            Some(Ahead::Waiting(known)) if known.will_wake(cx.waker()) => return Poll::Pending,
            _ => ahead.insert(this.ticket, Ahead::Waiting(cx.waker().clone())), // (1)
        };
        this.registered = true;
        drop(ahead);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }
}

impl Drop for WaitTurn<'_> {
    fn drop(&mut self) {
        if !self.registered {
            return;
        }
        let mut ahead = self.turnstile.ahead.lock();
        let waiting = matches!(ahead.get(&self.ticket), Some(Ahead::Waiting(_)));
        let left = if waiting { ahead.remove(&self.ticket) } else { None };
        drop(ahead);
        drop(left); // foreign code, hence after unlocking
    }
}
