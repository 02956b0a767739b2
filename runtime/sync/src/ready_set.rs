//! Which children of one parent task want to be polled.
//!
//! ```text
//!              ┌───────────(1)──────────▶ POLLING ──(2)──▶ SIGNALLED
//!            IDLE ◀──────────(4)────────────┘ ▲               │
//!              │                              └──(5)──(1)─────┤
//!              └───────────(3): wakes the parent──────────────▶
//!
//!   (1) start:  the parent's poll begins                     (4) finish: nothing came; the waker is left before
//!   (2) mark, while the parent polls: it will look anyway    (5) finish: a mark came; go on taking
//!   (3) mark, while the parent sleeps: wakes it
//! ```
//!
//! **No lost mark.** A mark sets the child's bit (a), then swaps the state to SIGNALLED (b). The parent swaps or exchanges
//! the state (c) in `start` and `finish`, and looks for bits after. (b) and (c) are read-modify-writes of one word. If (b)
//! comes first, (c) acquires it, or a later one that continues its release sequence, and the parent then sees (a). If
//! (c) does: where it was (4), the mark finds IDLE and wakes; else the parent is polling and (c) of its `finish` is
//! still to come, after (b).
//!
//! **A waker is there to be found.** `finish` leaves it before (4) releases, and a mark takes it after (3) acquires. A mark may
//! find it gone, because a slower mark of an earlier sleep took it: then that one wakes the parent, and it does so
//! after `finish` left the waker, so the poll that follows sees both marks.
//!
//! **Bits.** A mark that finds its bit set leaves the rest to the mark that set it and is on its way to (b). With more than one
//! word there is a summary, one bit per word: set by the mark that finds the word empty, after the word; cleared by
//! `take` before it empties the word. So a bit in a word has its bit in the summary, or a mark on its way to set it.

use std::fmt;
use std::task::Waker;

use crate::broken::{self, Fault};
use crate::facade::{AtomicU8, AtomicU64, AtomicUsize, Mutex, Ordering};

const IDLE: u8 = 0;
const POLLING: u8 = 1;
const SIGNALLED: u8 = 2;

const BITS: usize = u64::BITS as usize;

/// How a parent's poll may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a parent that returns `Pending` on `More` loses wake-ups"]
pub enum Finish {
    /// Nothing is marked: the parent may return `Pending`, the next mark wakes it.
    Idle,
    /// Marks came meanwhile: go on taking, or wake yourself before returning `Pending`.
    More,
}

/// The wake-up set of children that are polled by one parent task.
///
/// Children are numbers below the capacity. Any thread may [`mark`](Self::mark); only the parent calls `start`, `take` and
/// `finish`, one call at a time (calls from two threads at once are safe, but lose marks). The parent's waker is
/// cloned only when it goes to sleep, so a parent that never suspends pays nothing for it.
///
/// Children marked at the same time are taken in rising order. A child that marks itself again comes after those.
///
/// # Examples
///
/// The poll of a parent:
///
/// ```
/// use asynchrotron_sync::{Finish, ReadySet};
/// use std::task::Waker;
///
/// let set = ReadySet::new(3);
/// set.mark(2); // by a waker, on any thread
///
/// let mut polled = Vec::new();
/// set.start();
/// loop {
///     while let Some(child) = set.take() {
///         polled.push(child); // poll the child here
///     }
///     match set.finish(Waker::noop()) {
///         Finish::Idle => break, // return Poll::Pending
///         Finish::More => continue,
///     }
/// }
/// assert_eq!(polled, [2]);
/// ```
pub struct ReadySet {
    state: AtomicU8,
    words: Box<[AtomicU64]>,
    /// One bit per word; empty when there is one word, which is then its own summary.
    summary: Box<[AtomicU64]>,
    capacity: usize,
    parent: Mutex<Option<Waker>>,
    /// What `take` has taken out of word `from` and not yet returned. Only the parent touches these.
    taken: AtomicU64,
    from: AtomicUsize,
}

impl ReadySet {
    /// A set for the children `0..capacity`, none of them marked.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let zeros = |bits: usize| (0..bits.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect::<Box<[_]>>();
        let words = zeros(capacity.max(1));
        let summary = if words.len() > 1 { zeros(words.len()) } else { Box::default() };
        Self {
            state: AtomicU8::new(IDLE),
            words,
            summary,
            capacity,
            parent: Mutex::new(None),
            taken: AtomicU64::new(0),
            from: AtomicUsize::new(0),
        }
    }

    /// How many children it was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Says that child `index` wants to be polled, and wakes the parent if it sleeps. (2) (3)
    ///
    /// What the caller wrote before is visible to the parent once it has taken the mark.
    ///
    /// # Panics
    ///
    /// If `index` is not below the capacity.
    pub fn mark(&self, index: usize) {
        assert!(index < self.capacity, "child {index} of {}", self.capacity);
        let (word, bit) = (index / BITS, 1 << (index % BITS));
        let before = self.words[word].fetch_or(bit, Ordering::AcqRel); // (a)
        if before & bit != 0 {
            return;
        }
        if before == 0 && !self.summary.is_empty() && !broken::is(Fault::ReadySkipsSummary) {
            self.summary[word / BITS].fetch_or(1 << (word % BITS), Ordering::AcqRel);
        }
        // (b)
        if self.state.swap(SIGNALLED, Ordering::AcqRel) == IDLE {
            let parent = self.parent.lock().take();
            if let Some(parent) = parent {
                parent.wake();
            }
        }
    }

    /// The parent's poll begins. (1)
    pub fn start(&self) {
        self.state.swap(POLLING, Ordering::AcqRel); // (c)
    }

    /// The next marked child, its mark cleared; one load when there is none.
    #[must_use]
    pub fn take(&self) -> Option<usize> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        let mut from = self.from.load(Ordering::Relaxed);
        if taken == 0 {
            (from, taken) = self.take_word(from)?;
            self.from.store(from, Ordering::Relaxed);
        }
        self.taken.store(taken & (taken - 1), Ordering::Relaxed);
        Some(from * BITS + taken.trailing_zeros() as usize)
    }

    /// Empties the next word that has marks, going round, so that no child waits more than one round.
    fn take_word(&self, last: usize) -> Option<(usize, u64)> {
        if self.summary.is_empty() {
            let marks = self.words[0].load(Ordering::Relaxed);
            return (marks != 0).then(|| (0, self.words[0].swap(0, Ordering::AcqRel)));
        }
        loop {
            let word = self.next_word(last)?;
            // First the summary, then the word: a mark that comes between finds the word full or sets the summary again.
            self.summary[word / BITS].fetch_and(!(1 << (word % BITS)), Ordering::AcqRel);
            let marks = self.words[word].swap(0, Ordering::AcqRel);
            if marks != 0 {
                return Some((word, marks));
            }
        }
    }

    /// The first word after `last`, going round, that the summary names.
    fn next_word(&self, last: usize) -> Option<usize> {
        let (start, beyond) = (last / BITS, !0 << (last % BITS) << 1);
        let count = self.summary.len();
        (0..=count).find_map(|step| {
            let index = (start + step) % count;
            let mask = if step == 0 { beyond } else { !0 };
            let named = self.summary[index].load(Ordering::Relaxed) & mask;
            (named != 0).then(|| index * BITS + named.trailing_zeros() as usize)
        })
    }

    /// The parent wants to return `Pending`: leaves its waker and goes idle, unless marks are there. (4) (5)
    ///
    /// # Cancel safety
    ///
    /// A parent may be dropped in any state; later marks wake a waker that has nothing to poll.
    pub fn finish(&self, waker: &Waker) -> Finish {
        if self.state.load(Ordering::Relaxed) == SIGNALLED && !broken::is(Fault::ReadyForgetsRecheck) {
            self.lower_signal(); // (5), or nothing if the marks have been taken already
        }
        if self.taken.load(Ordering::Relaxed) != 0 || self.is_marked() {
            return Finish::More;
        }
        if broken::is(Fault::ReadyForgetsRecheck) || broken::is(Fault::ReadyRegistersLate) {
            return self.finish_broken(waker);
        }
        self.register(waker);
        match self.state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Finish::Idle, // (4)
            Err(_) => {
                self.lower_signal(); // (5)
                Finish::More
            }
        }
    }

    /// Back to POLLING. A swap, not a store: it has to acquire the marks whose signal it overwrites.
    fn lower_signal(&self) {
        self.state.swap(POLLING, Ordering::AcqRel); // (c)
    }

    fn is_marked(&self) -> bool {
        let summary = if self.summary.is_empty() { &self.words } else { &self.summary };
        summary.iter().any(|bits| bits.load(Ordering::Relaxed) != 0)
    }

    fn register(&self, waker: &Waker) {
        let mut parent = self.parent.lock();
        if parent.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let previous = parent.replace(waker.clone());
        drop(parent);
        drop(previous); // foreign code, hence after unlocking
    }

    fn finish_broken(&self, waker: &Waker) -> Finish {
        if broken::is(Fault::ReadyForgetsRecheck) {
            self.register(waker);
            self.state.swap(IDLE, Ordering::AcqRel);
            return Finish::Idle;
        }
        let slept = self.state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Relaxed);
        self.register(waker);
        if slept.is_err() {
            self.lower_signal();
            return Finish::More;
        }
        Finish::Idle
    }
}

impl fmt::Debug for ReadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadySet").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
