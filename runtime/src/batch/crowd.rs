//! [`Crowd`] and [`Presence`]: what a job tells its batchers of who can still come.

use std::sync::{Arc, Mutex};

use asynchrotron_sync::View;
use tokio::runtime::Handle;

use super::policy::BatchPolicy;
use super::report::BatcherReport;
use crate::event::EventId;
use crate::lock::lock;
use crate::time::Clock;
use crate::timeline::{DeviceInfo, Recorder};

/// A batcher as a job sees it, whatever it offloads.
pub(crate) trait Crowd: Send + Sync {
    /// Tells batchers apart.
    fn identity(&self) -> usize;
    fn policy(&self) -> BatchPolicy;
    /// A job begins.
    fn open(self: Arc<Self>, job: JobSide) -> Result<(), anyhow::Error>;
    /// The job has ended.
    fn close(&self);
    /// The slot has an event that may come.
    fn arrive(&self, slot: usize, clock: &Clock);
    /// The slot has none.
    fn depart(&self, slot: usize, clock: &Clock);
    /// The slot's event waits in another batcher's queue.
    fn block(&self, slot: usize, clock: &Clock);
    /// These slots' do not any more: undoes one block of each.
    fn unblock(&self, slots: &[usize], clock: &Clock);
    /// Under `Fixed`: the event has been read, in the order of the source. All others do nothing.
    fn announce(&self, event: EventId);
    /// Under `Fixed`: the event will not come any more, from this algorithm or from any. All others do nothing.
    fn pass(&self, event: EventId, user: Option<u32>);
    /// No event will be read in this phase.
    fn drain(&self);
    /// Another phase begins; what was counted so far is forgotten.
    fn restart(&self);
    fn report(&self) -> BatcherReport;
    /// What its queue holds now.
    fn queue(&self) -> View;
    /// Where it submits to.
    fn device(&self) -> DeviceInfo;
}

/// What a batcher knows of its job.
#[derive(Clone)]
pub(crate) struct JobSide {
    pub(crate) executor: Handle,
    pub(crate) clock: Clock,
    /// All batchers of the job, and the place of this one.
    pub(crate) crowds: Arc<[Arc<dyn Crowd>]>,
    pub(crate) index: usize,
    /// The algorithms that use it.
    pub(crate) users: Vec<u32>,
    pub(crate) recorder: Option<Recorder>,
}

impl JobSide {
    pub(crate) fn others(&self) -> impl Iterator<Item = &Arc<dyn Crowd>> {
        let own = self.index;
        self.crowds.iter().enumerate().filter(move |(index, _)| *index != own).map(|(_, crowd)| crowd)
    }

    /// The requests of these slots are in the queue no more: the slots can come to the others again.
    pub(crate) fn unblock(&self, slots: impl Iterator<Item = usize>) {
        if self.crowds.len() > 1 {
            let slots: Vec<usize> = slots.collect();
            self.others().for_each(|other| other.unblock(&slots, &self.clock));
        }
    }
}

/// Where the task of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for an event, or for its event's turn: for others.
    Waiting,
    /// Its event's algorithms run.
    Algorithms,
    /// It hands products to sinks, and will then ask for the next event.
    Delivering,
}

/// What one slot has told the batchers of its job.
///
/// ```text
///               begin                  all declared uses have ended,            waits for the source,
///   (not told) ───────▶ can come ─────▶ then suspends, or no event is left ───▶ or for its turn ─────▶ (not told)
/// ```
///
/// A slot whose event is through with a batcher, but which is running, still counts until all events have been read: it is
/// about to bring the next one.
pub(crate) struct Presence {
    slot: usize,
    crowds: Arc<[Arc<dyn Crowd>]>,
    clock: Clock,
    /// Whether nobody forms batches, so that there is nothing to tell.
    is_idle: bool,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    drains: bool,
    event: EventId,
    /// For each batcher: declared uses that have not ended, and whether it has been told to expect the slot.
    uses: Box<[(usize, bool)]>,
}

impl State {
    /// Whether the slot can come to a batcher, if it does not run.
    fn may_come(&self, index: usize) -> bool {
        match self.phase {
            Phase::Waiting => false,
            Phase::Algorithms => self.uses[index].0 > 0,
            Phase::Delivering => !self.drains,
        }
    }
}

impl Presence {
    pub(crate) fn new(slot: usize, crowds: Arc<[Arc<dyn Crowd>]>, clock: Clock) -> Self {
        let uses = crowds.iter().map(|_| (0, false)).collect();
        let state = State { phase: Phase::Waiting, drains: false, event: EventId(0), uses };
        let is_idle = crowds.iter().all(|crowd| crowd.policy() == BatchPolicy::Off);
        Presence { slot, crowds, clock, is_idle, state: Mutex::new(state) }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn crowds(&self) -> &Arc<[Arc<dyn Crowd>]> {
        &self.crowds
    }

    fn tell(&self, state: &mut State, index: usize, comes: bool) {
        let told = &mut state.uses[index].1;
        if std::mem::replace(told, comes) != comes {
            let crowd = &self.crowds[index];
            if comes { crowd.arrive(self.slot, &self.clock) } else { crowd.depart(self.slot, &self.clock) }
        }
    }

    /// The slot's task is about to ask for its first event.
    pub(crate) fn expect(&self) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        state.phase = Phase::Delivering;
        for index in 0..self.crowds.len() {
            let comes = !state.drains;
            self.tell(&mut state, index, comes);
        }
    }

    /// The slot begins an event, in which so many algorithms use each batcher.
    pub(crate) fn begin(&self, event: EventId, users: &[usize]) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        let again = state.phase == Phase::Algorithms;
        state.phase = Phase::Algorithms;
        state.event = event;
        for (index, &users) in users.iter().enumerate() {
            if again {
                // An attempt has failed. Whether others still waited for it is a matter of time.
                self.crowds[index].pass(event, None);
            }
            state.uses[index].0 = users;
            self.tell(&mut state, index, users > 0);
        }
    }

    /// An algorithm that uses these batchers has ended in this event.
    pub(crate) fn used(&self, event: EventId, user: u32, batchers: &[usize]) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        if state.event != event {
            return; // it was demanded when its event was over, and the slot has gone on
        }
        for &index in batchers {
            let left = &mut state.uses[index].0;
            *left = left.saturating_sub(1);
            let is_last = *left == 0;
            self.crowds[index].pass(event, Some(user));
            if is_last && state.drains {
                self.tell(&mut state, index, false);
            }
        }
    }

    /// The event's algorithms are over, whether they have ended or not.
    pub(crate) fn over(&self, event: EventId) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        state.phase = Phase::Delivering;
        for index in 0..self.crowds.len() {
            state.uses[index].0 = 0;
            self.crowds[index].pass(event, None);
            if state.drains {
                self.tell(&mut state, index, false);
            }
        }
    }

    /// What the slot does now.
    pub(crate) fn enter(&self, phase: Phase) {
        if !self.is_idle {
            lock(&self.state).phase = phase;
        }
    }

    /// The slot's task has been polled and is suspended.
    pub(crate) fn suspended(&self) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        for index in 0..self.crowds.len() {
            let comes = state.may_come(index);
            self.tell(&mut state, index, comes);
        }
    }

    /// All events have been read, or not any more.
    pub(crate) fn set_drains(&self, drains: bool) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        state.drains = drains;
        for index in 0..self.crowds.len() {
            if drains && state.uses[index].0 == 0 {
                self.tell(&mut state, index, false);
            }
        }
    }

    /// The slot's task has ended.
    pub(crate) fn leave(&self) {
        if self.is_idle {
            return;
        }
        let mut state = lock(&self.state);
        state.phase = Phase::Waiting;
        for index in 0..self.crowds.len() {
            state.uses[index].0 = 0;
            self.tell(&mut state, index, false);
        }
    }
}
