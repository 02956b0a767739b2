//! [`Exclusive`]: a value that one holder at a time may use, and a flag to be seen on release. Never waits.
//!
//! ```text
//!            try_hold (1)              raise_flag (2)
//!   free ───────────────▶ HELD ────────────────────────▶ HELD + FLAG
//!    ▲                      │ release (3): no flag            │ release (3): tells that the flag is up, and leaves it up
//!    └──────────────────────┴─────────────────────────────────┘  until lower_flag (4)
//! ```
//!
//! Ordering: (1) acquires what the last (3) released, so each holder sees what the one before it wrote. (2) and (3) are
//! AcqRel: of the two, the second sees the first, and what its thread did before.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::broken::{self, Fault};
use crate::facade::{AtomicU8, Ordering, UnsafeCell};

const HELD: u8 = 1;
const FLAG: u8 = 2;

pub(crate) struct Exclusive<T> {
    state: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only used by the one thread that turned HELD on, and handed on with release and acquire. That is
// the same as sending it from thread to thread, hence T: Send; it is never shared.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { state: AtomicU8::new(0), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.state.load(Ordering::Relaxed) & HELD != 0
    }

    /// Becomes the holder, if there is none. (1)
    #[inline]
    pub(crate) fn try_hold(&self) -> Option<Hold<'_, T>> {
        let acquire = if broken::is(Fault::GateRelaxedTake) { Ordering::Relaxed } else { Ordering::Acquire };
        let was_held = self.state.fetch_or(HELD, acquire) & HELD != 0;
        // Only the holder may have a Hold, even for a moment: dropping it releases.
        if was_held { None } else { Some(Hold { of: self, value: PhantomData }) }
    }

    /// Puts the flag up, for the next release to tell. (2) Returns whether the value is held.
    #[must_use]
    pub(crate) fn raise_flag(&self) -> bool {
        self.state.fetch_or(FLAG, Ordering::AcqRel) & HELD != 0
    }

    /// (4)
    pub(crate) fn lower_flag(&self) {
        self.state.fetch_and(!FLAG, Ordering::AcqRel);
    }
}

/// The right to use the value of an [`Exclusive`].
pub(crate) struct Hold<'a, T> {
    of: &'a Exclusive<T>,
    /// It lends the value out, so it can be shared or sent where a `&mut T` could be.
    value: PhantomData<&'a mut T>,
}

impl<T> Hold<'_, T> {
    /// Returns whether the flag is up. (3)
    #[inline]
    #[must_use]
    pub(crate) fn release(self) -> bool {
        let of = self.of;
        std::mem::forget(self);
        of.state.fetch_and(!HELD, Ordering::AcqRel) & FLAG != 0
    }
}

impl<T> Drop for Hold<'_, T> {
    fn drop(&mut self) {
        self.of.state.fetch_and(!HELD, Ordering::AcqRel);
    }
}

impl<T> Deref for Hold<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the only hold there is, and it is borrowed for as long as the value is.
        self.of.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Hold<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only hold there is, and it is borrowed mutably for as long as the value is.
        self.of.value.with_mut(|value| unsafe { &mut *value })
    }
}
