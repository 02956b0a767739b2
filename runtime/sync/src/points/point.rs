//! What is asked for, and what asking did.

use std::task::Poll;

/// Something enqueued on an in-order stream whose end is found by asking.
///
/// All of this is called with nothing locked, by one thread at a time for all points of a stream, so it may
/// [`arm`](crate::Points::arm) and [`harvest`](crate::Points::harvest); a harvest from in here skips the stream that is in hand.
///
/// # Panics
///
/// A panic goes to whoever harvests, arms or condemns; the others of the stream stay, in order, for the next harvest. A point
/// whose `end` panics has ended; one that panics elsewhere stays.
pub trait Point: Send {
    /// Why a point cannot be reached. Every point gets its own clone of a fatal one.
    type Error: Clone + Send + Sync;

    /// Whether the device has got there; an error if it has failed. Only the first in line is asked, and not again after
    /// it was `Ready`.
    fn ask(&mut self) -> Poll<Result<(), Self::Error>>;

    /// The end: everything that it held is free to go. Called once, unless the whole of [`Points`](crate::Points) is dropped first.
    fn end(self, result: Result<(), Self::Error>);

    /// It is due and was not reached: tell the waiter, keep the buffers. Called at most once; the point stays until it ends.
    fn overdue(&mut self);

    /// When it is overdue, on the clock of those who harvest; `None` for never.
    fn due_ns(&self) -> Option<u64>;

    /// Whether no point of any stream will ever be reached after this error: then all are ended with it.
    fn is_fatal(error: &Self::Error) -> bool;
}

/// What a [harvest](crate::Points::harvest) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harvested {
    /// The points that it ended.
    pub ended: usize,
    /// The points that were outstanding after it: those not reached, those in other hands, those armed meanwhile.
    pub outstanding: usize,
}
