//! [`Balanced`]: several devices as one, with another in reserve.
//!
//! ```text
//!                                     ┌─▶ the GPU on which the input lies, unless it has much more to do
//!   submit ──▶ a lane of all ─────────┼─▶ the member with the least outstanding rows
//!                                     └─▶ none has a lane left: the reserve
//! ```
//!
//! An input that [lies on a GPU](crate::Step::lies_on) goes there while that member has a free lane and no more outstanding rows than
//! the least busy one has plus the input's own. Elsewhere it is copied first, which costs less than the step itself; so with more than
//! one such step before it, it would wait longer than the copy takes, for a GPU with much to do beside one with little. The least busy
//! one is that of those with a free lane: one that has retired has nothing to do, and takes nothing.
//!
//! As many submissions are out as the members have lanes together, so a member with a lane is found at once. A member that retires
//! takes its lanes with it: what was on it fails with [`LaneLost`](crate::DeviceErrorKind::LaneLost), which a batcher answers by
//! giving the requests back to its queue, and another member takes them. What finds no lane then goes to the reserve, once for each
//! lane: the reserve may be much slower than the members that are left. When the last one is gone, the reserve takes all.
//!
//! With [`with_spill`](Balanced::with_spill) there are more lanes than the members have. What finds no lane of a member then goes to
//! the reserve if it is expected to end there first, and else to the member whose lane is free first: see `balanced/spill.rs`.

mod core;
mod forecast;
mod spill;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};

use asynchrotron_sync::{Lane, LanePool};

use self::core::{Core, Member, Submission, To};
use self::spill::Spill;
use crate::drain::Outstanding;
use crate::host::lanes_or_cores;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

/// Several devices as one, with another in reserve.
///
/// A submission goes to the GPU on which its input [lies](crate::Step::lies_on), unless that has no free lane, or much more to do than
/// the least busy member with one; then, and where the input lies on the host, that one takes it.
pub struct Balanced {
    name: String,
    capability: Capability,
    core: Arc<Core>,
    outstanding: Outstanding,
}

impl Balanced {
    /// These devices under one name. The reserve should have as many lanes as all of them.
    ///
    /// # Panics
    /// Without a member.
    pub fn new(name: &str, members: Vec<Arc<dyn Device>>, reserve: Arc<dyn Device>) -> Self {
        let first = members.first().expect("at least one device to balance").capability();
        let lanes = members.iter().map(|member| member.capability().lanes).sum();
        let memory = |member: &Arc<dyn Device>| member.capability().memory_bytes;
        let description = match members.len() {
            1 => first.description.clone(),
            several => format!("{several} × {}", first.description),
        };
        Self {
            name: name.into(),
            capability: Capability {
                description,
                lanes,
                memory_bytes: members.iter().map(memory).sum(),
                gpu: None,
                computes_on_host: true,
            },
            core: Arc::new(Core {
                members: members.into_iter().map(|device| Member { device, rows: Arc::default() }).collect(),
                lanes: LanePool::new((0..lanes).map(LaneId)),
                reserve,
                parked: Mutex::default(),
                spill: None,
            }),
            outstanding: Outstanding::default(),
        }
    }

    /// The same with as many additional lanes; 0: one per core. What finds no lane of a member goes to the reserve if it is
    /// expected to end there before it would on a member, its wait for a lane included; else it is held for the member whose lane is
    /// free first. Nothing is known of a step and a size before it was tried on the reserve, once, and, if that was slower, once
    /// again when waiting has cost many times as much.
    ///
    /// What is held has left its batcher's queue, and is never more than the additional lanes. The reserve should have as many
    /// lanes as all members and these.
    ///
    /// # Default
    /// No batch spills: without this call, what finds no lane of a member waits for one.
    ///
    /// # Panics
    /// If it has work already.
    #[must_use]
    pub fn with_spill(mut self, additional_lanes: usize) -> Self {
        let additional = lanes_or_cores(additional_lanes);
        let core = Arc::get_mut(&mut self.core).expect("a device that has no work yet");
        let lanes =
            core.members.iter().map(|member| member.device.capability().lanes).sum::<usize>() + additional;
        core.lanes = LanePool::new((0..lanes).map(LaneId));
        core.spill = Some(Spill::new(additional));
        self.capability.lanes = lanes;
        self
    }

    /// How many submissions went to the reserve because they were expected to end there first, or to find out. Those that
    /// [no member is left](Self) for do not count.
    pub fn spilled(&self) -> u64 {
        self.core.spill.as_ref().map_or(0, Spill::spilled)
    }

    /// How many submissions wait in here for a lane of a member: none, unless it [spills](Self::with_spill).
    pub fn held(&self) -> usize {
        self.core.spill.as_ref().map_or(0, Spill::held)
    }
}

impl Device for Balanced {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> DeviceKind {
        self.core.members[0].device.kind()
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        &self.core.lanes
    }

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        if self.core.lanes.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let submission = Submission { lane, job, entered: self.outstanding.enter() };
        match &self.core.spill {
            Some(spill) => spill.submit(&self.core, submission),
            None => {
                let to = self.core.place(&submission.job).unwrap_or(To::Reserve);
                self.core.send(submission, to, None);
            }
        }
    }

    fn inline(&self, step: &str, rows: usize, lane: Option<LaneId>) -> Option<Inline<'_>> {
        // Steps that GPUs have no body for run on the host beside them.
        let lane = lane.map(|_| LaneId(0));
        self.core.members.iter().find_map(|member| member.device.inline(step, rows, lane))
    }

    #[cfg(feature = "cuda")]
    fn prepare(&self, kernels: &'static [&'static crate::cuda::KernelSource]) {
        self.core.members.iter().for_each(|member| member.device.prepare(kernels));
    }

    fn close(&self) {
        self.core.lanes.close();
        if let Some(spill) = &self.core.spill {
            spill.close(&self.core); // while the others still take what was submitted before
        }
        self.core.members.iter().for_each(|member| member.device.close());
        self.core.reserve.close();
    }

    fn drain(&self) -> Drain {
        self.outstanding.drain()
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        // Who waits for a lane is told; members may have other users.
        self.core.lanes.close();
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced")
            .field("name", &self.name)
            .field("lanes", &self.core.lanes)
            .field("spilled", &self.spilled())
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
