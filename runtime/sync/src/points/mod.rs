//! The ends of work on in-order queues that have to be asked: points on a device's streams.
//!
//! ```text
//!   of a point:                ┌───────(3)──────┐
//!                              ▼                │
//!              ──(1)──▶ ARMED ──(2)──▶ IN HAND ──(4)──▶ ENDED
//!
//!   of a stream:               ┌───────(3)──────┐
//!                              ▼                │
//!                EMPTY ──(1)──▶ LISTED ──(2)──▶ CLAIMED
//!                  ▲                            │
//!                  └────(3), all have ended ────┘
//!
//!   (1) arm: the end of the line of its stream            (4) end: it was reached, or nothing ever will be; in line
//!   (2) claim: a harvester takes the line in its hand         order, by the claimant, with nothing locked
//!       and asks the first; all others skip the stream    (5) condemn: from now on every claimant ends all that it has
//!   (3) release: what was not reached goes back, before       in hand without asking, and releases nothing else
//!       what was armed meanwhile                          (6) overdue: told once, in hand; the point stays
//! ```
//!
//! (1), (2) and (3) are taken under the stream's mutex, and nothing foreign runs there. A claim is not a lock: nobody
//! waits for it. So a point is ended once (one hand has it), in order (one hand at a time), and an `end` that arms,
//! harvests or panics finds nothing locked and leaves nothing claimed.
//!
//! **What is outstanding is found.** Under the mutex, (1) first lists the stream and then counts the point, with release; a
//! count drops, with release, only after `end` has returned. All changes of the count are read-modify-writes, so whoever
//! reads one with acquire sees the listing of every point counted before it, however the listing itself is read. And a
//! count of 0 says that nothing is armed, in hand, or being ended.
//!
//! **None stays behind (5).** Who condemns does so first, and then claims *every* stream, listed or not. At each one, its
//! critical section comes before or after those of others. Before (1): whoever arms sees (5) after, and claims the stream itself.
//! After (1): it finds the point. Before (3): the claimant sees (5) under the mutex, and does not release but goes on. After (3): it
//! claims what was released. An `arm` that finds the stream claimed leaves its point to (3), in the same way.
//!
//! **The driver's sleep** is in `standby.rs`.

mod point;
mod standby;
mod stream;

use std::fmt;
use std::time::Duration;

use crate::broken::{self, Fault};
use crate::facade::{AtomicU64, AtomicUsize, Ordering};
use crate::write_once::WriteOnce;
pub use point::{Harvested, Point};
pub use standby::Drive;
use standby::Standby;
use stream::{Claim, Stream, Visit};

const BITS: usize = u64::BITS as usize;

/// The points outstanding on a fixed number of streams. Armed by anybody, and harvested by anybody: by workers in passing, and by
/// one *driver* thread when they are busy or asleep.
///
/// With nothing outstanding a harvest is one load; else it visits the streams that have points, and asks the first of each.
/// Arming takes its stream's lock, and wakes the driver only where nothing was outstanding before.
///
/// It holds what it was given: a line is as long as the submissions that share a stream (one, where a lane carries one at a
/// time), and its memory is kept for the next.
///
/// Dropping it drops what is outstanding *without* ending it: a point whose buffers a device may still write to must see to that
/// in its own `drop`. To see everything to its end, [`close`](Self::close) and let the driver go on until it is told so.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::{Point, Points};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::task::Poll;
///
/// struct Flag(Arc<AtomicBool>);
///
/// impl Point for Flag {
///     type Error = &'static str;
///     fn ask(&mut self) -> Poll<Result<(), Self::Error>> {
///         if self.0.load(Ordering::Acquire) { Poll::Ready(Ok(())) } else { Poll::Pending }
///     }
///     fn end(self, result: Result<(), Self::Error>) {
///         assert_eq!(result, Ok(())); // wake the waiter here
///     }
///     fn overdue(&mut self) {}
///     fn due_ns(&self) -> Option<u64> {
///         None
///     }
///     fn is_fatal(_: &Self::Error) -> bool {
///         false
///     }
/// }
///
/// let (points, flag) = (Points::new(4), Arc::new(AtomicBool::new(false)));
/// points.arm(2, Flag(flag.clone()));
/// assert_eq!(points.harvest(0).ended, 0);
/// flag.store(true, Ordering::Release);
/// assert_eq!(points.harvest(0).ended, 1);
/// assert_eq!(points.outstanding(), 0);
/// ```
///
/// The driver:
///
/// ```
/// # use asynchrotron_sync::{Drive, Point, Points};
/// # use std::time::{Duration, Instant};
/// fn drive<P: Point>(points: &Points<P>, start: Instant) {
///     while points.wait_armed() == Drive::Ask {
///         let now_ns = start.elapsed().as_nanos() as u64;
///         let harvested = points.harvest(now_ns);
///         if harvested.ended == 0 && harvested.outstanding > 0 {
///             points.park(Duration::from_micros(50)); // or spin, or yield, first
///         }
///     }
/// }
/// ```
pub struct Points<P: Point> {
    streams: Box<[Stream<P>]>,
    /// One bit per stream that has points, also while it is claimed. Written under the stream's mutex.
    listed: Box<[AtomicU64]>,
    outstanding: AtomicUsize,
    fatal: WriteOnce<P::Error>,
    standby: Standby,
}

impl<P: Point> Points<P> {
    /// No points, on `streams` streams.
    #[must_use]
    pub fn new(streams: usize) -> Self {
        Self {
            streams: (0..streams).map(|_| Stream::new()).collect(),
            listed: (0..streams.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect(),
            outstanding: AtomicUsize::new(0),
            fatal: WriteOnce::new(),
            standby: Standby::new(),
        }
    }

    /// How many streams there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Adds a point to the end of a stream's line. (1) The caller has enqueued it on the device, behind those armed before.
    ///
    /// After [`condemn`](Self::condemn), or a fatal error, it ends with that error at once: in this call, or, where another thread
    /// is ending those before it, in that thread. After [`close`](Self::close) it is taken, but perhaps no driver is there to ask.
    ///
    /// # Panics
    ///
    /// If there is no such stream. The point is dropped.
    pub fn arm(&self, stream: usize, point: P) {
        assert!(stream < self.streams.len(), "stream {stream} of {}", self.streams.len());
        let first = self.streams[stream].push(point, |list| {
            if list {
                self.listed[stream / BITS].fetch_or(1 << (stream % BITS), Ordering::Relaxed);
            }
            let counted =
                if broken::is(Fault::PointsRelaxedArm) { Ordering::Relaxed } else { Ordering::Release };
            self.outstanding.fetch_add(1, counted) == 0
        });
        if first {
            self.standby.armed();
        }
        if self.is_condemned() && !broken::is(Fault::PointsArmsCondemned) {
            self.visit(stream, 0);
        }
    }

    /// How many points have not ended: one load, for those who ask in passing whether a harvest is worth while. Once it is 0,
    /// everything that their ends did is visible.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// Asks the first point of every stream that has any, and ends those that were reached, with all that were reached
    /// behind them. (2) (3) (4)
    ///
    /// Any number of threads may harvest: a stream that one of them has in hand is skipped by the others. What is armed to a
    /// stream while it is in hand is for the next harvest. A fatal error ends everything, see [`condemn`](Self::condemn).
    #[inline]
    pub fn harvest(&self, now_ns: u64) -> Harvested {
        if self.outstanding() == 0 {
            return Harvested::default();
        }
        self.ask_listed(now_ns)
    }

    fn ask_listed(&self, now_ns: u64) -> Harvested {
        let listed = self.listed.iter().enumerate().flat_map(|(word, listed)| {
            let mut bits = listed.load(Ordering::Relaxed);
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * BITS + bit)
            })
        });
        self.harvest_of(listed, now_ns)
    }

    /// The same for these streams only, for those who know where it is worth while. What is not named is not found, so somebody must
    /// [harvest](Self::harvest), or name it, in the end; and a stream that is in another hand is skipped.
    ///
    /// # Panics
    ///
    /// If there is no such stream.
    pub fn harvest_of(&self, streams: impl IntoIterator<Item = usize>, now_ns: u64) -> Harvested {
        let (mut ended, mut condemned) = (0, false);
        for stream in streams {
            if let Some(visit) = self.visit(stream, now_ns) {
                ended += visit.ended;
                condemned |= visit.condemned;
            }
        }
        if condemned && !broken::is(Fault::PointsSkipsSweep) {
            ended += self.end_all();
        }
        Harvested { ended, outstanding: self.outstanding() }
    }

    fn visit(&self, stream: usize, now_ns: u64) -> Option<Visit> {
        Some(Claim::new(self, stream)?.ask(now_ns))
    }

    /// Says that no point will ever be reached, because of an error learnt elsewhere: every outstanding and every later point
    /// ends with it, without being asked. (5) Only the first error counts, wherever it came from.
    ///
    /// When this returns every point armed before has ended, or is in the hand of a thread that is ending its stream; if
    /// an `end` panicked, the next harvest ends the rest.
    pub fn condemn(&self, error: P::Error) {
        if self.fatal.set(error).is_ok() {
            self.end_all();
        }
    }

    /// The error that ended everything.
    #[must_use]
    pub fn condemned(&self) -> Option<P::Error> {
        self.fatal.with(Clone::clone)
    }

    fn is_condemned(&self) -> bool {
        self.fatal.seen().is_set()
    }

    /// After it was condemned.
    fn end_all(&self) -> usize {
        let ended =
            (0..self.streams.len()).filter_map(|stream| self.visit(stream, 0)).map(|visit| visit.ended).sum();
        self.standby.call();
        ended
    }

    /// Blocks the driver until something is outstanding, or until it was closed and nothing is. For one thread at a time.
    pub fn wait_armed(&self) -> Drive {
        self.standby.wait_armed(|| self.outstanding() > 0)
    }

    /// Blocks the driver for a time, while something is outstanding. For the thread that calls [`wait_armed`](Self::wait_armed).
    ///
    /// Ends early when [called](Self::call), closed or condemned, be it just before; and now and then without reason. Arming
    /// does not end it, so `at_most` is how late a point may be found that nobody else asks.
    pub fn park(&self, at_most: Duration) {
        self.standby.park(at_most, || self.outstanding() > 0);
    }

    /// The same, whether or not something is outstanding: for a driver that expects something to be armed soon, and would rather
    /// not have to be woken for it.
    pub fn rest(&self, at_most: Duration) {
        self.standby.park(at_most, || true);
    }

    /// Ends the driver's [`park`](Self::park), or else its next one: for those who will not harvest for a while and leave
    /// something outstanding.
    pub fn call(&self) {
        self.standby.call();
    }

    /// Says that no more points are expected: the driver is told [`Drive::Closed`] as soon as nothing is outstanding.
    pub fn close(&self) {
        self.standby.close();
    }
}

impl<P: Point> fmt::Debug for Points<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Points")
            .field("streams", &self.streams.len())
            .field("outstanding", &self.outstanding())
            .field("condemned", &self.is_condemned())
            .finish_non_exhaustive()
    }
}
