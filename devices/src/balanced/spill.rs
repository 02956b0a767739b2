//! [`Spill`]: more submissions than the members have lanes, some of which the host takes.
//!
//! ```text
//!            ┌─(1)─────────────────────────────▶ ON A MEMBER ──(4)──▶ ended
//!   submit ──┼─(2)──▶ HELD ──(3)────────────────────▲
//!            │          ├────(5)──▶ dropped
//!            │          └────(6)──▼
//!            └─(7)─────────────▶ ON THE RESERVE ──▶ ended
//!
//!   (1) a lane of a member is free, and nothing is held        (5) its waiter has left
//!   (2) none is, and it is expected to end on a member first   (6) nothing is on a member any more, or the device closes
//!   (3) a lane of a member is free: the oldest goes            (7) it is expected to end on the host first, or as (6),
//!   (4) `Out` is dropped, which goes for (3), (5) and (6)          or as many are held as there are additional lanes
//! ```
//!
//! Nobody waits in here: who finds no lane of the device waits in its pool. What is held is a list that is looked at when a submission
//! on a member ends, and when another comes.
//!
//! # Why nothing is held for ever
//!
//! While something is held, something is on a member: (2) sees that under the lock, and who takes the last one off by (4) goes on to (6)
//! under the same lock, unless another thread is already at it, which looks again after each that it sends. What is on a member ends:
//! every device promises that, also when it retires or is closed. With each end the member's lane was free before (4), and what is
//! held goes to lanes before what comes: (1) is for nobody while something is held. So each end moves the oldest on, or
//! somebody else has taken the lane, who uses the member besides this device; then (6) comes at the latest.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::core::{Core, Submission, To};
use super::forecast::Forecast;
use crate::table;

pub(super) struct Spill {
    /// Lanes beyond the members': as many are held at most.
    limit: usize,
    state: Mutex<State>,
}

struct State {
    forecast: Forecast,
    held: VecDeque<Held>,
    on_members: usize,
    /// What all that is on members is expected to take.
    on_members_ns: u64,
    /// A thread is sending what is held, and will see what has become free meanwhile.
    sending: bool,
    closing: bool,
    spilled: u64,
}

struct Held {
    submission: Submission,
    place: usize,
}

/// Where one submission is until it has ended.
pub(super) struct Out {
    core: Arc<Core>,
    place: usize,
    on: On,
    begin: Instant,
    took: Option<Duration>,
}

#[derive(Clone, Copy)]
enum On {
    Member { expected_ns: u64 },
    Reserve,
}

impl Spill {
    pub(super) fn new(limit: usize) -> Self {
        let state = State {
            forecast: Forecast::new(),
            held: VecDeque::with_capacity(limit),
            on_members: 0,
            on_members_ns: 0,
            sending: false,
            closing: false,
            spilled: 0,
        };
        Self { limit, state: Mutex::new(state) }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many went to the host because it was expected to end them first, or to find out.
    pub(super) fn spilled(&self) -> u64 {
        self.lock().spilled
    }

    /// How many wait for a lane of a member.
    pub(super) fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Takes a submission.
    pub(super) fn submit(&self, core: &Arc<Core>, submission: Submission) {
        self.send_held(core); // who came before goes first
        let place = table::place(submission.job.step(), submission.job.rows());
        let mut state = self.lock();
        let free = if state.held.is_empty() { core.place(&submission.job) } else { None };
        let (to, on) = match free {
            Some(to) => (to, state.enter_member(place)), // (1)
            None if state.is_to_hold(self.limit, place) => {
                return state.held.push_back(Held { submission, place }); // (2)
            }
            None => (To::Reserve, On::Reserve), // (7)
        };
        drop(state);
        core.send(submission, to, Some(Out::new(core, place, on)));
    }

    /// Sends what is held to where there is a lane.
    ///
    /// Runs inside of what ends, and what it sends may end at once: then that one leaves the rest to this loop.
    fn send_held(&self, core: &Arc<Core>) {
        let mut mine = false;
        loop {
            let mut state = self.lock();
            if state.sending && !mine {
                return;
            }
            let next = state.next(core);
            mine = next.is_some();
            state.sending = mine;
            drop(state);
            let Some((Held { submission, place }, next)) = next else { return };
            // A step whose input panics when dropped, or a waker, must not cost the others, nor who has ended.
            let _ = catch_unwind(AssertUnwindSafe(|| match next {
                Some((to, on)) => core.send(submission, to, Some(Out::new(core, place, on))),
                None => {
                    let Submission { lane, job, entered } = submission;
                    drop(lane); // before what goes with the job
                    drop(job);
                    drop(entered);
                }
            }));
        }
    }

    /// Holds nothing from now on.
    pub(super) fn close(&self, core: &Arc<Core>) {
        self.lock().closing = true;
        self.send_held(core);
    }

    #[cfg(test)]
    pub(super) fn teach(&self, place: usize, member: Duration, host: Duration) {
        let mut state = self.lock();
        state.forecast.learn_member(place, member);
        state.forecast.learn_host(place, Some(host));
    }

    // Nothing in here can leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_to_hold(&mut self, limit: usize, place: usize) -> bool {
        if self.closing || self.on_members == 0 || self.held.len() >= limit {
            return false;
        }
        let spills = self.forecast.choose_host(place, self.wait_ns());
        self.spilled += u64::from(spills);
        !spills
    }

    /// When there will be a lane of a member for what comes now: those that are out end evenly distributed over the time that
    /// they take, and as many lanes work off what is held.
    fn wait_ns(&self) -> u64 {
        let lanes = self.on_members.max(1) as u64;
        let held_ns = self.held.iter().map(|held| self.forecast.on_member_ns(held.place));
        held_ns.fold(self.on_members_ns / lanes, u64::saturating_add) / lanes
    }

    fn enter_member(&mut self, place: usize) -> On {
        let expected_ns = self.forecast.on_member_ns(place);
        self.on_members += 1;
        self.on_members_ns += expected_ns;
        On::Member { expected_ns }
    }

    /// The next of what is held that can go, and where to; nowhere if nobody waits for it.
    fn next<'a>(&mut self, core: &'a Core) -> Option<(Held, Option<(To<'a>, On)>)> {
        if let Some(left) = self.held.iter().position(|held| held.submission.job.is_abandoned()) {
            return Some((self.held.remove(left)?, None)); // (5)
        }
        let Held { submission, place } = self.held.front()?;
        let place = *place;
        let (to, on) = match core.place(&submission.job) {
            Some(to) => (to, self.enter_member(place)), // (3)
            None if self.closing || self.on_members == 0 => (To::Reserve, On::Reserve), // (6)
            None => return None,
        };
        Some((self.held.pop_front()?, Some((to, on))))
    }
}

impl Out {
    fn new(core: &Arc<Core>, place: usize, on: On) -> Self {
        Self { core: core.clone(), place, on, begin: Instant::now(), took: None }
    }

    /// What came to nothing says nothing about the time it takes.
    pub(super) fn end(&mut self, has_output: bool) {
        self.took = has_output.then(|| self.begin.elapsed());
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let Some(spill) = &self.core.spill else { return };
        let mut state = spill.lock();
        match self.on {
            On::Reserve => state.forecast.learn_host(self.place, self.took),
            On::Member { expected_ns } => {
                state.on_members -= 1; // (4)
                state.on_members_ns -= expected_ns;
                if let Some(took) = self.took {
                    state.forecast.learn_member(self.place, took);
                }
                drop(state);
                spill.send_held(&self.core);
            }
        }
    }
}
