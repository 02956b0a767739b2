//! [`Gate`]: exclusive use of one thing, for as long as it takes, also across suspensions.
//!
//! Unlike a fair asynchronous mutex, the gate is never handed over: who leaves opens it and wakes the first in line, and
//! whoever comes first gets in. A fair one makes convoys of short visits: once a task has had to queue, the thing is
//! always granted to a task that is not running yet, and those that are running queue up behind it.
//!
//! ```text
//!            get in (1)                leave (2): if the flag is up, the first in line is woken
//!   open ───────────────▶ occupied ────────────────────────────────────────────────────────────▶ open
//!     ▲  somebody else was faster (3): in line again, at its front
//!     └── woken, or new ◀── in line (flag up): woken by (2), or by one who was woken and went away (4)
//! ```
//!
//! The state (occupied, flag) is one atomic word; the line is under a mutex, and the flag changes under that mutex only. What
//! must hold is: *while the gate is open and there is a line, somebody who was woken has yet to come, or somebody who left
//! has yet to look at the line*. Who joins the line raises the flag while the gate is occupied, or else finds it open and
//! does not join; so the one inside sees the flag when leaving (2) and wakes the first. (3) keeps it: the gate is occupied
//! then. (4) passes the wake-up on.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::broken::{self, Fault};
use crate::exclusive::{Exclusive, Hold};
use crate::facade::{Mutex, MutexGuard};

/// Exclusive use of one thing, for as long as it takes, also across suspensions.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::Gate;
///
/// let gate = Gate::new(vec![1]);
/// let mut held = gate.try_take().unwrap();
/// held.push(2);
/// assert!(gate.try_take().is_none());
/// drop(held);
/// assert_eq!(*gate.try_take().unwrap(), [1, 2]);
/// ```
// Aligned: what lies beside a gate shall not travel from core to core with it.
#[repr(align(128))]
pub struct Gate<T> {
    thing: Exclusive<T>,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<(u64, Waker)>,
    /// Number of the next one to join.
    next: u64,
}

/// How often a newcomer looks again before it joins the line. A visit mostly takes some tens of nanoseconds. Once
/// under a checker, which has to explore all those looks.
const SPINS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 100 };

impl<T> Gate<T> {
    /// A gate with `thing` inside.
    #[must_use]
    pub fn new(thing: T) -> Self {
        Self { thing: Exclusive::new(thing), line: Mutex::new(Line::default()) }
    }

    /// Takes the thing if nobody has it. (1)
    #[inline]
    pub fn try_take(&self) -> Option<Held<'_, T>> {
        if self.thing.is_held() {
            return None;
        }
        self.thing.try_hold().map(|hold| Held { gate: self, hold: Some(hold) })
    }

    /// Takes the thing, once nobody has it. Not in the order of asking.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the line; a wake-up that it had got goes to the next.
    pub fn take(&self) -> TakeThing<'_, T> {
        TakeThing { gate: self, standing: Standing::New }
    }

    /// (2)
    #[cold]
    fn wake_first(&self) {
        let mut line = self.line.lock();
        let first = self.pop(&mut line);
        drop(line);
        if let Some((_, first)) = first
            && !broken::is(Fault::GateSkipsWake)
        {
            first.wake();
        }
    }

    fn pop(&self, line: &mut MutexGuard<'_, Line>) -> Option<(u64, Waker)> {
        let first = line.waiting.pop_front();
        if line.waiting.is_empty() {
            self.thing.lower_flag();
        }
        first
    }
}

impl<T> fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("occupied", &self.thing.is_held()).finish_non_exhaustive()
    }
}

/// The thing of a [`Gate`], in use. Dropping it opens the gate.
pub struct Held<'a, T> {
    gate: &'a Gate<T>,
    hold: Option<Hold<'a, T>>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.hold.as_ref().expect("held until it is dropped")
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.hold.as_mut().expect("held until it is dropped")
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.hold.take().is_some_and(Hold::release) {
            self.gate.wake_first();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&**self).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    /// Has joined the line with this number; may have been woken since.
    InLine(u64),
    Done,
}

/// Future of [`Gate::take`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct TakeThing<'a, T> {
    gate: &'a Gate<T>,
    standing: Standing,
}

impl<'a, T> Future for TakeThing<'a, T> {
    type Output = Held<'a, T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Held<'a, T>> {
        for _ in 0..SPINS {
            if let Some(held) = self.gate.try_take() {
                self.go_away();
                return Poll::Ready(held);
            }
            std::hint::spin_loop();
        }
        self.join(cx)
    }
}

impl<'a, T> TakeThing<'a, T> {
    #[cold]
    fn join(&mut self, cx: &mut Context<'_>) -> Poll<Held<'a, T>> {
        let gate = self.gate;
        let mut line = gate.line.lock();
        while !(gate.thing.raise_flag() || broken::is(Fault::GateJoinsBlindly)) {
            let Some(hold) = gate.thing.try_hold() else { continue };
            if line.waiting.is_empty() {
                gate.thing.lower_flag();
            }
            drop(line);
            self.go_away();
            return Poll::Ready(Held { gate, hold: Some(hold) }); // (1)
        }
        let previous = match self.standing {
            Standing::InLine(number) => match line.waiting.iter_mut().find(|(other, _)| *other == number) {
                Some((_, waker)) => Some(std::mem::replace(waker, cx.waker().clone())),
                None => {
                    line.waiting.push_front((number, cx.waker().clone())); // (3)
                    None
                }
            },
            _ => {
                let number = line.next;
                line.next += 1;
                line.waiting.push_back((number, cx.waker().clone()));
                self.standing = Standing::InLine(number);
                None
            }
        };
        drop(line);
        drop(previous); // foreign code, hence after unlocking
        Poll::Pending
    }

    /// Leaves the line. A wake-up that was used up for nothing goes to the next, if the gate is open. (4)
    fn go_away(&mut self) {
        let Standing::InLine(number) = std::mem::replace(&mut self.standing, Standing::Done) else { return };
        let mut line = self.gate.line.lock();
        let own = line.waiting.iter().position(|(other, _)| *other == number);
        let own = own.and_then(|index| line.waiting.remove(index));
        let next = if own.is_none() && !self.gate.thing.is_held() { self.gate.pop(&mut line) } else { None };
        if line.waiting.is_empty() {
            self.gate.thing.lower_flag();
        }
        drop(line);
        drop(own); // foreign code, hence after unlocking
        if let Some((_, next)) = next
            && !broken::is(Fault::GateForgetsLeaver)
        {
            next.wake();
        }
    }
}

impl<T> Drop for TakeThing<'_, T> {
    fn drop(&mut self) {
        self.go_away();
    }
}
