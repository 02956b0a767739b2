//! A slot that is written at most once, with its state word; the value slot of a [`ProductCell`](crate::ProductCell), and
//! the error of [`Points`](crate::Points).
//!
//! One of two files of the crate with unsafe code. Its interface is safe: whatever is called from whichever thread, the
//! value is written by one thread, before anyone reads it, and not again until [`WriteOnce::reset`] has it exclusively.
//!
//! ```text
//!   (vacant) ──(1)──▶ WRITING ──(2)──▶ WRITING|SET ──(3)──▶ (vacant)
//!
//!   (1) set:   fetch_or(WRITING). Whoever sets the bit first owns the slot for writing; all others give up.
//!   (2) set:   fetch_or(SET, Release), after the value is in place.
//!   (3) reset: needs &mut self, hence no reader and no writer.
//! ```
//!
//! Ordering: (2) is a release and every read of the value is behind an acquire load that saw `SET`, so the write happens
//! before the read. Changes between (2) and that load are read-modify-writes (`flag`) and continue the release sequence.
//! (1) needs no ordering: it elects one thread and publishes nothing.
//!
//! The other bits of the word belong to the owner. They share the word because the owner needs a total order between
//! "the value is there" and its own flags, and because one word costs one cache line and one load.

use crate::broken::{self, Fault};
use crate::facade::{AtomicU8, Ordering, UnsafeCell};

const WRITING: u8 = 0b01;
const SET: u8 = 0b10;

/// Bits of the state word that belong to the owner.
pub(crate) const OWNER: u8 = !(WRITING | SET);

pub(crate) struct WriteOnce<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: shared access reads the value from many threads at once (T: Sync) and moves it in from one thread to be
// dropped in another (T: Send). The protocol above keeps the one write apart from all reads.
unsafe impl<T: Send + Sync> Sync for WriteOnce<T> {}

/// One reading of the state word.
#[derive(Clone, Copy)]
pub(crate) struct Seen(u8);

impl Seen {
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.0 & SET != 0
    }

    #[inline]
    pub(crate) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

impl<T> WriteOnce<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(0), value: UnsafeCell::new(None) }
    }

    #[inline]
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.state.load(Ordering::Acquire))
    }

    /// Sets one of the owner's flags; returns what was there before.
    #[inline]
    pub(crate) fn flag(&self, flag: u8) -> Seen {
        debug_assert!(flag & !OWNER == 0, "flag {flag:#b} is not the owner's");
        // The mask, not the assertion, is what soundness rests on.
        Seen(self.state.fetch_or(flag & OWNER, Ordering::AcqRel))
    }

    /// Writes the value; `Ok` holds the flags that were up when it became visible.
    ///
    /// # Errors
    ///
    /// Gives the value back when another call has written, or is writing, one.
    #[inline]
    pub(crate) fn set(&self, value: T) -> Result<Seen, T> {
        // (1)
        if self.state.fetch_or(WRITING, Ordering::Relaxed) & WRITING != 0 {
            return Err(value);
        }
        // SAFETY: this thread alone turned WRITING on, and readers wait for SET, so nobody else touches the slot.
        self.value.with_mut(|slot| unsafe { *slot = Some(value) });
        // (2)
        let publish =
            if broken::is(Fault::ProductRelaxedPublish) { Ordering::Relaxed } else { Ordering::Release };
        Ok(Seen(self.state.fetch_or(SET, publish)))
    }

    /// Reads the value if it is there: one load.
    #[inline]
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        if !self.seen().is_set() {
            return None;
        }
        // SAFETY: SET was seen with acquire, so the write happened before, and nobody writes again while &self lives.
        self.value.with(|slot| unsafe { (*slot).as_ref() }.map(read))
    }

    /// Writes the value and one of the owner's flags, with no other access to be kept apart.
    ///
    /// # Errors
    ///
    /// Gives the value back if the slot is not vacant.
    pub(crate) fn preset(&mut self, flag: u8, value: T) -> Result<(), T> {
        if self.seen().0 != 0 {
            return Err(value);
        }
        // SAFETY: &mut self: no other access exists.
        self.value.with_mut(|slot| unsafe { *slot = Some(value) });
        // Whoever shares the slot from here on was handed it by this thread, and sees the write.
        self.state.store(WRITING | SET | (flag & OWNER), Ordering::Relaxed);
        Ok(())
    }

    /// Back to vacant, all flags down. (3)
    pub(crate) fn reset(&mut self) {
        self.state.store(0, Ordering::Relaxed);
        // SAFETY: &mut self: no other access exists.
        drop(self.value.with_mut(|slot| unsafe { (*slot).take() }));
    }
}
