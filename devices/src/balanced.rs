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
//! giving the requests back to its queue, and another member takes them. When the last one is gone, the reserve takes all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use asynchrotron_sync::{Lane, LanePool};

use crate::drain::Outstanding;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

/// Several devices as one, with another in reserve.
pub struct Balanced {
    name: String,
    capability: Capability,
    members: Box<[Member]>,
    reserve: Arc<dyn Device>,
    lanes: LanePool<LaneId>,
    outstanding: Outstanding,
}

struct Member {
    device: Arc<dyn Device>,
    rows: Arc<AtomicUsize>,
}

/// What a submission gives back before its completion.
struct Place {
    lane: Option<Lane<LaneId>>,
    member_rows: Arc<AtomicUsize>,
    rows: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member_rows.fetch_sub(self.rows, Relaxed);
        drop(self.lane.take());
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
            members: members.into_iter().map(|device| Member { device, rows: Arc::default() }).collect(),
            reserve,
            lanes: LanePool::new((0..lanes).map(LaneId)),
            outstanding: Outstanding::default(),
        }
    }

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
}

impl Device for Balanced {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> DeviceKind {
        self.members[0].device.kind()
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        &self.lanes
    }

    fn submit_job(&self, lane: Lane<LaneId>, mut job: Job) {
        if self.lanes.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let entered = self.outstanding.enter();
        let rows = job.rows().max(1);
        if let Some((member, member_lane)) = self.place() {
            member.rows.fetch_add(rows, Relaxed);
            job.attach((Place { lane: Some(lane), member_rows: member.rows.clone(), rows }, entered));
            return member.device.submit_job(member_lane, job);
        }
        // A member has retired. Its lanes go one by one, each with one submission for the reserve; the last ones stay.
        let spare = self.lanes_left().max(self.reserve.capability().lanes.min(self.lanes.len()));
        let lane = if self.lanes.len() > spare {
            let _ = lane.retire();
            None
        } else {
            Some(lane)
        };
        job.attach((Place { lane, member_rows: Arc::new(AtomicUsize::new(rows)), rows }, entered));
        match self.reserve.lanes().try_take() {
            Some(lane) => self.reserve.submit_job(lane, job),
            None => job.fail(DeviceErrorKind::Refused("no device has a lane left".into())),
        }
    }

    fn inline(&self, step: &str, rows: usize, lane: Option<LaneId>) -> Option<Inline<'_>> {
        // Steps that GPUs have no body for run on the host beside them.
        let lane = lane.map(|_| LaneId(0));
        self.members.iter().find_map(|member| member.device.inline(step, rows, lane))
    }

    fn close(&self) {
        self.lanes.close();
        self.members.iter().for_each(|member| member.device.close());
        self.reserve.close();
    }

    fn drain(&self) -> Drain {
        self.outstanding.drain()
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        // Who waits for a lane is told; members may have other users.
        self.lanes.close();
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced")
            .field("name", &self.name)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}
