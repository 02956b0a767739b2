//! [`Moving`]: what a batcher notes of the batches on their way.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What changes with every batch. Aligned, so that it does not share cache lines with what all workers read all the time.
#[repr(align(128))]
pub(super) struct Moving {
    /// Since when there has been both a request and a free lane; 0 if there is not.
    pub(super) held_since: AtomicU64,
    /// How many requests there were then.
    pub(super) held_with: AtomicUsize,
    /// Requests in batches that were closed and have not ended.
    pub(super) on_lanes: AtomicUsize,
    /// Until when the driver sleeps, if nobody pokes it.
    pub(super) armed: AtomicU64,
    /// Whether the driver is in line for a lane.
    pub(super) in_line: AtomicBool,
}

impl Moving {
    pub(super) fn new() -> Self {
        Moving {
            held_since: AtomicU64::new(0),
            held_with: AtomicUsize::new(0),
            on_lanes: AtomicUsize::new(0),
            armed: AtomicU64::new(u64::MAX),
            in_line: AtomicBool::new(false),
        }
    }

    /// A batch is held since now, with so many requests, if it was not before.
    pub(super) fn hold(&self, now: u64, queued: usize) {
        // Read first, here and below: most who look find that nothing has changed, and need not take the line from others.
        let is_first = self.held_since.load(Relaxed) == 0
            && self.held_since.compare_exchange(0, now.max(1), Relaxed, Relaxed).is_ok();
        if is_first {
            self.held_with.store(queued, Relaxed);
        }
    }

    /// Nothing is held.
    pub(super) fn let_go(&self) {
        if self.held_since.load(Relaxed) != 0 {
            self.held_since.store(0, Relaxed);
        }
    }
}
