//! [`Core`]: the members, the reserve and the lanes of all, and how a submission gets to one of them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron_sync::{Lane, LanePool};

use super::spill::{Out, Spill};
use crate::drain::Entered;
use crate::job::Attached;
use crate::{Device, DeviceErrorKind, Job, LaneId};

/// How often a submission looks for a lane of a member where there should be one.
const LOOKS_IN_VAIN: usize = 100;

pub(super) struct Core {
    pub(super) members: Box<[Member]>,
    pub(super) reserve: Arc<dyn Device>,
    pub(super) lanes: LanePool<LaneId>,
    /// As many as the members that have retired had, while others are left.
    pub(super) parked: Mutex<Vec<Lane<LaneId>>>,
    pub(super) spill: Option<Spill>,
}

pub(super) struct Member {
    pub(super) device: Arc<dyn Device>,
    pub(super) rows: Arc<AtomicUsize>,
}

impl Member {
    fn has_free_lane(&self) -> bool {
        let lanes = self.device.lanes();
        !lanes.is_closed() && lanes.available() > 0
    }
}

/// What a job adds to the outstanding rows. One without any takes a lane as well.
fn weight(job: &Job) -> usize {
    job.rows().max(1)
}

/// A job with all that it holds here.
pub(super) struct Submission {
    pub(super) lane: Lane<LaneId>,
    pub(super) job: Job,
    pub(super) entered: Entered,
}

/// Where a submission goes.
pub(super) enum To<'a> {
    /// With a lane of its own.
    Member(&'a Member, Lane<LaneId>),
    Reserve,
}

/// What goes with a submission: its lane and its rows are free before its completion (unless that is ahead of the device), and it is out
/// until after.
struct Place {
    lane: Option<Lane<LaneId>>,
    with: With,
    rows: usize,
    /// If batches spill. Dropped before `_entered`, for a drain to see what was held.
    out: Option<Out>,
    _entered: Entered,
}

enum With {
    Member(Arc<AtomicUsize>),
    Reserve(Arc<Core>),
}

impl Attached for Place {
    fn release(&mut self, has_output: bool) {
        if let Some(out) = &mut self.out {
            out.end(has_output);
        }
        let Some(lane) = self.lane.take() else { return };
        match &self.with {
            With::Member(rows) => {
                rows.fetch_sub(self.rows, Relaxed);
                drop(lane);
            }
            With::Reserve(core) => core.park(lane),
        }
    }
}

impl Core {
    /// A lane of the member that should take the job: see the [module](super) for which that is.
    pub(super) fn place(&self, job: &Job) -> Option<To<'_>> {
        let mut in_vain = 0;
        while in_vain < LOOKS_IN_VAIN {
            match self.best_for(job) {
                // If there is none, somebody was quicker, or it has just retired: what it has now is another matter.
                Some(member) => {
                    if let Some(lane) = member.device.lanes().try_take() {
                        return Some(To::Member(member, lane));
                    }
                }
                // Who has a lane of all finds one of a member, if all members are here and nobody else uses them: while it looked at
                // one, another's came free.
                None if self.lanes_left() >= self.lanes.len() => {
                    in_vain += 1;
                    std::hint::spin_loop();
                }
                None => return None,
            }
        }
        None
    }

    /// Of the members with a free lane, the one on which the input lies, or the least busy one.
    fn best_for(&self, job: &Job) -> Option<&Member> {
        let free = || self.members.iter().filter(|member| member.has_free_lane());
        let least = free().min_by_key(|member| member.rows.load(Relaxed))?;
        let Some(gpu) = job.lies_on() else { return Some(least) };
        let rows_max = least.rows.load(Relaxed).saturating_add(weight(job));
        let beside_input = free().find(|member| member.device.capability().gpu == Some(gpu));
        let beside_input = beside_input.filter(|member| member.rows.load(Relaxed) <= rows_max);
        Some(beside_input.unwrap_or(least))
    }

    /// Sends it there. Whatever happens, its waiter hears of it.
    pub(super) fn send(self: &Arc<Self>, submission: Submission, to: To<'_>, out: Option<Out>) {
        let Submission { lane, mut job, entered } = submission;
        let rows = weight(&job);
        let attach = |with| job.attach(Place { lane: Some(lane), with, rows, out, _entered: entered });
        match to {
            To::Member(member, member_lane) => {
                member.rows.fetch_add(rows, Relaxed);
                attach(With::Member(member.rows.clone()));
                member.device.submit_job(member_lane, job);
            }
            To::Reserve => {
                self.unpark();
                attach(With::Reserve(self.clone()));
                match self.reserve.lanes().try_take() {
                    Some(lane) => self.reserve.submit_job(lane, job),
                    None if self.lanes.is_closed() => job.fail(DeviceErrorKind::Closed),
                    None => job.fail(DeviceErrorKind::Refused("no device has a lane left".into())),
                }
            }
        }
    }

    /// Lanes of members that have not retired.
    fn lanes_left(&self) -> usize {
        let of = |member: &Member| {
            let lanes = member.device.lanes();
            if lanes.is_closed() { 0 } else { lanes.len() }
        };
        self.members.iter().map(of).sum()
    }

    /// The reserve is done with what was on this lane. If that went there because a member has retired, and others are left, which
    /// have a lane each for all that should be out (but what spills), it stays here.
    fn park(&self, lane: Lane<LaneId>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.lanes_left();
        let additional = self.spill.as_ref().map_or(0, Spill::limit);
        if left > 0 && self.lanes.len() - parked.len() > left + additional {
            return parked.push(lane);
        }
        drop(parked);
        drop(lane); // wakes who waits for it, hence after unlocking
    }

    /// When no member is left, the reserve has use for all lanes.
    fn unpark(&self) {
        if self.lanes_left() == 0 {
            let back = std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
            drop(back); // after unlocking, as above
        }
    }
}
