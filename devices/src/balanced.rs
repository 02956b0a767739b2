//! [`Balanced`]: several devices as one, with another in reserve.
//!
//! ```text
//!                                     ┌─▶ the member with the least outstanding rows
//!   submit ──▶ a lane of all ─────────┤
//!                                     └─▶ none has a lane left: the reserve
//! ```
//!
//! As many submissions are out as the members have lanes together, so a member with a lane is found at once. A member that retires
//! takes its lanes with it: what was on it fails with [`LaneLost`](crate::DeviceErrorKind::LaneLost), which a batcher answers by
//! giving the requests back to its queue, and another member takes them. What finds no lane then goes to the reserve, once for each
//! lane: the reserve may be much slower than the members that are left. When the last one is gone, the reserve takes all.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron_sync::{Lane, LanePool};

use crate::drain::{Entered, Outstanding};
use crate::job::Attached;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

/// Several devices as one, with another in reserve.
pub struct Balanced {
    name: String,
    capability: Capability,
    core: Arc<Core>,
    reserve: Arc<dyn Device>,
    outstanding: Outstanding,
}

struct Core {
    members: Box<[Member]>,
    lanes: LanePool<LaneId>,
    /// As many as the members that have retired had, while others are left.
    parked: Mutex<Vec<Lane<LaneId>>>,
}

struct Member {
    device: Arc<dyn Device>,
    rows: Arc<AtomicUsize>,
}

/// What goes with a submission: its lane and its rows are free before its completion, and it is out until after.
struct Place {
    lane: Option<Lane<LaneId>>,
    with: With,
    rows: usize,
    _entered: Entered,
}

enum With {
    Member(Arc<AtomicUsize>),
    Reserve(Arc<Core>),
}

impl Attached for Place {
    fn release(&mut self) {
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
    /// A lane of the member that has the least to do.
    fn place(&self) -> Option<(&Member, Lane<LaneId>)> {
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| member.rows.load(Relaxed));
        members.into_iter().find_map(|member| Some((member, member.device.lanes().try_take()?)))
    }

    /// Lanes of members that have not retired.
    fn lanes_left(&self) -> usize {
        let of = |member: &Member| {
            let lanes = member.device.lanes();
            if lanes.is_closed() { 0 } else { lanes.len() }
        };
        self.members.iter().map(of).sum()
    }

    /// The reserve is done with what was on this lane, because a member has retired. While others are left, which have a lane each
    /// for all that should be out, it stays here.
    fn park(&self, lane: Lane<LaneId>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.lanes_left();
        if left > 0 && self.lanes.len() - parked.len() > left {
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
                computes_on_host: true,
            },
            core: Arc::new(Core {
                members: members.into_iter().map(|device| Member { device, rows: Arc::default() }).collect(),
                lanes: LanePool::new((0..lanes).map(LaneId)),
                parked: Mutex::default(),
            }),
            reserve,
            outstanding: Outstanding::default(),
        }
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

    fn submit_job(&self, lane: Lane<LaneId>, mut job: Job) {
        if self.core.lanes.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let (entered, rows) = (self.outstanding.enter(), job.rows().max(1));
        if let Some((member, member_lane)) = self.core.place() {
            member.rows.fetch_add(rows, Relaxed);
            let with = With::Member(member.rows.clone());
            job.attach(Place { lane: Some(lane), with, rows, _entered: entered });
            return member.device.submit_job(member_lane, job);
        }
        self.core.unpark();
        let with = With::Reserve(self.core.clone());
        job.attach(Place { lane: Some(lane), with, rows, _entered: entered });
        match self.reserve.lanes().try_take() {
            Some(lane) => self.reserve.submit_job(lane, job),
            None if self.core.lanes.is_closed() => job.fail(DeviceErrorKind::Closed),
            None => job.fail(DeviceErrorKind::Refused("no device has a lane left".into())),
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
        self.core.members.iter().for_each(|member| member.device.close());
        self.reserve.close();
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
            .finish_non_exhaustive()
    }
}
