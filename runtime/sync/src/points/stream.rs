//! The line of one stream, and the claim of the thread that has it in hand.

use std::collections::VecDeque;
use std::mem;
use std::task::Poll;

use super::{BITS, Point, Points};
use crate::broken::{self, Fault};
use crate::facade::{AtomicUsize, Mutex, Ordering};

struct Entry<P> {
    point: P,
    /// That it is overdue.
    told: bool,
}

struct State<P> {
    /// While the stream is claimed: what was armed meanwhile.
    line: VecDeque<Entry<P>>,
    /// Memory for the next line, empty.
    spare: VecDeque<Entry<P>>,
    claimed: bool,
    /// That its bit is set: there are points, here or in hand.
    listed: bool,
}

// On a cache line of its own, as those who arm are on threads of their own.
#[repr(align(128))]
pub(super) struct Stream<P> {
    state: Mutex<State<P>>,
}

impl<P: Point> Stream<P> {
    pub(super) fn new() -> Self {
        let (line, spare) = (VecDeque::new(), VecDeque::new());
        Self { state: Mutex::new(State { line, spare, claimed: false, listed: false }) }
    }

    /// (1) `count` is called under the mutex, and told whether the stream is to be listed.
    pub(super) fn push<R>(&self, point: P, count: impl FnOnce(bool) -> R) -> R {
        let mut state = self.state.lock();
        state.line.push_back(Entry { point, told: false });
        let list = !mem::replace(&mut state.listed, true);
        count(list)
    }
}

/// What the visit of a stream did.
#[derive(Default)]
pub(super) struct Visit {
    pub(super) ended: usize,
    /// It found the error that ends everything, and every stream is to be visited.
    pub(super) condemned: bool,
}

/// The right to ask a stream's points and to end them. Dropped, also by a panic, it gives them back.
pub(super) struct Claim<'a, P: Point> {
    points: &'a Points<P>,
    stream: usize,
    hand: VecDeque<Entry<P>>,
    released: bool,
}

impl<'a, P: Point> Claim<'a, P> {
    /// (2) `None` where nothing is to be asked, or somebody else does.
    pub(super) fn new(points: &'a Points<P>, stream: usize) -> Option<Self> {
        let mut state = points.streams[stream].state.lock();
        if state.line.is_empty() || (state.claimed && !broken::is(Fault::PointsClaimRaces)) {
            return None;
        }
        state.claimed = true;
        let spare = mem::take(&mut state.spare);
        let hand = mem::replace(&mut state.line, spare);
        Some(Self { points, stream, hand, released: false })
    }

    pub(super) fn ask(mut self, now_ns: u64) -> Visit {
        let mut visit = Visit::default();
        loop {
            while let Some(result) = self.ask_first(&mut visit) {
                let entry = self.hand.pop_front().expect("it was asked");
                let ended = Ended::new(&self.points.outstanding);
                entry.point.end(result); // (4)
                drop(ended);
                visit.ended += 1;
            }
            self.tell_overdue(now_ns);
            if self.release(!broken::is(Fault::PointsForgetsCondemned)) {
                return visit;
            }
        }
    }

    /// The end of the first in line, if it has come.
    fn ask_first(&mut self, visit: &mut Visit) -> Option<Result<(), P::Error>> {
        let first = self.hand.front_mut()?;
        if let Some(fatal) = self.points.condemned() {
            return Some(Err(fatal));
        }
        let Poll::Ready(result) = first.point.ask() else { return None };
        if let Err(error) = &result
            && P::is_fatal(error)
        {
            visit.condemned |= self.points.fatal.set(error.clone()).is_ok(); // (5)
        }
        Some(result)
    }

    /// (6) None behind the first can be reached before it.
    fn tell_overdue(&mut self, now_ns: u64) {
        for entry in &mut self.hand {
            if !entry.told && entry.point.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
                entry.told = !broken::is(Fault::PointsTellsTwice);
                entry.point.overdue();
            }
        }
    }

    /// (3) Unless `unless_condemned` and that has happened meanwhile: then `false`, and the claim goes on, with all there is.
    fn release(&mut self, unless_condemned: bool) -> bool {
        let mut state = self.points.streams[self.stream].state.lock();
        let all_ended = self.hand.is_empty();
        self.hand.append(&mut state.line);
        let empty = if broken::is(Fault::PointsUnlistsArmed) { all_ended } else { self.hand.is_empty() };
        if unless_condemned && !empty && self.points.is_condemned() {
            return false;
        }
        if empty {
            state.listed = false;
            let bit = 1 << (self.stream % BITS);
            self.points.listed[self.stream / BITS].fetch_and(!bit, Ordering::Relaxed);
        }
        let hand = mem::take(&mut self.hand);
        state.spare = mem::replace(&mut state.line, hand);
        state.claimed = false;
        self.released = true;
        true
    }
}

impl<P: Point> Drop for Claim<'_, P> {
    fn drop(&mut self) {
        if !self.released && !broken::is(Fault::PointsKeepsClaim) {
            self.release(false);
        }
    }
}

/// Takes a point out of the count when its `end` is over, however.
struct Ended<'a> {
    outstanding: Option<&'a AtomicUsize>,
}

impl<'a> Ended<'a> {
    fn new(outstanding: &'a AtomicUsize) -> Self {
        let ended = Self { outstanding: Some(outstanding) };
        if broken::is(Fault::PointsCountsEarly) { Self { outstanding: None } } else { ended }
    }
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if let Some(outstanding) = self.outstanding {
            outstanding.fetch_sub(1, Ordering::Release);
        }
    }
}
