//! How many are inside, and who waits for nobody to be.
//!
//! ```text
//!              enter (1)                             enter (1)
//!   EMPTY ◀───────────────▶ INSIDE: 1 ◀────────────────────────────▶ INSIDE: 2, …
//!          leave (2): hands out whoever waits          leave (2)
//! ```
//!
//! The count is an atomic, so that those who come and go while others are inside touch nothing else; who waits is under a mutex.
//! **Nobody waits for ever:** who wants to wait looks at the count with the lock held, and stays only if it is not 0. Whoever brings
//! it to 0 takes the lock after that, and so finds everybody who has seen another count. **Nobody is told too early:** with the
//! lock held, whoever brought the count to 0 looks at it again. If somebody has entered meanwhile, somebody may also have come to
//! wait for that one, whose leaving then tells all.

use std::fmt;

use crate::broken::{self, Fault};
use crate::facade::{AtomicUsize, Mutex, Ordering};

/// How many are inside, and who waits for nobody to be: anything that tells a waiter when it is dropped, a
/// [`Signaller`](crate::Signaller) usually.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::Headcount;
///
/// let headcount = Headcount::new();
/// headcount.enter();
/// headcount.enter();
/// assert!(headcount.wait("waiter").is_none());
/// assert!(headcount.leave().is_empty());
/// assert_eq!(headcount.leave(), ["waiter"]);
/// assert_eq!(headcount.wait("another"), Some("another")); // there is nobody to wait for
/// ```
pub struct Headcount<W> {
    inside: AtomicUsize,
    waiting: Mutex<Vec<W>>,
}

impl<W> Headcount<W> {
    /// Nobody is inside.
    #[must_use]
    pub fn new() -> Self {
        Self { inside: AtomicUsize::new(0), waiting: Mutex::new(Vec::new()) }
    }

    /// One more is inside. (1)
    #[inline]
    pub fn enter(&self) {
        self.inside.fetch_add(1, Ordering::Relaxed);
    }

    /// One who had entered is not inside any more. (2) Returns those who have waited for that, for the caller to tell, with nothing
    /// locked. What was done inside is visible to them.
    #[inline]
    #[must_use = "who waits is to be told"]
    pub fn leave(&self) -> Vec<W> {
        let order =
            if broken::is(Fault::HeadcountRelaxedLeave) { Ordering::Relaxed } else { Ordering::AcqRel };
        if self.inside.fetch_sub(1, order) == 1 { self.empty() } else { Vec::new() }
    }

    fn empty(&self) -> Vec<W> {
        let mut waiting = self.waiting.lock();
        if self.is_empty() || broken::is(Fault::HeadcountTellsBlindly) {
            std::mem::take(&mut *waiting)
        } else {
            Vec::new()
        }
    }

    /// Waits until nobody is inside; gives the waiter back if that is so now.
    pub fn wait(&self, waiter: W) -> Option<W> {
        let glimpse = broken::is(Fault::HeadcountLooksEarly).then(|| self.is_empty());
        let mut waiting = self.waiting.lock();
        if glimpse.unwrap_or_else(|| self.is_empty()) {
            return Some(waiter);
        }
        waiting.push(waiter);
        None
    }

    /// Forgets those who wait for whom this is not true.
    pub fn retain(&self, stays: impl FnMut(&W) -> bool) {
        let mut waiting = self.waiting.lock();
        let (stay, gone): (Vec<W>, Vec<W>) = std::mem::take(&mut *waiting).into_iter().partition(stays);
        *waiting = stay;
        drop(waiting);
        drop(gone); // foreign code, hence after unlocking
    }

    fn is_empty(&self) -> bool {
        self.inside.load(Ordering::Acquire) == 0
    }
}

impl<W> Default for Headcount<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> fmt::Debug for Headcount<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headcount")
            .field("inside", &self.inside.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
