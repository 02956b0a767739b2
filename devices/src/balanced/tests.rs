//! Devices as one, on stubs that keep what they are given until the test says what becomes of it.

mod anything;
mod members;
mod spilling;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asynchrotron_sync::Completion;

use super::*;
use crate::{DeviceError, HostConfig, HostDevice, Step, table};

/// Keeps what it is given until the test ends it.
#[derive(Debug)]
struct Stub {
    host: HostDevice,
    capability: Capability,
    lanes: LanePool<LaneId>,
    has: Mutex<Vec<(Lane<LaneId>, Job)>>,
}

impl Stub {
    fn new(lanes: usize, gpu: Option<usize>) -> Arc<Self> {
        let host = HostDevice::new(HostConfig { lanes, ..HostConfig::default() });
        let capability = Capability { gpu, ..host.capability().clone() };
        let lanes = LanePool::new((0..lanes).map(LaneId));
        Arc::new(Self { host, capability, lanes, has: Mutex::default() })
    }

    /// The rows of what it has.
    fn rows(&self) -> Vec<usize> {
        self.has.lock().unwrap().iter().map(|(_, job)| job.rows()).collect()
    }

    /// Ends the oldest submission.
    fn end_one(&self) {
        let (lane, mut job) = self.has.lock().unwrap().remove(0);
        job.compute_on_host();
        drop(lane);
        job.complete();
    }

    /// Dies, with everything that is on it.
    fn retire(&self) {
        self.lanes.close();
        for (lane, job) in std::mem::take(&mut *self.has.lock().unwrap()) {
            let _ = lane.retire();
            job.fail(DeviceErrorKind::LaneLost);
        }
    }
}

impl Device for Stub {
    fn name(&self) -> &str {
        "stub"
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Emulated
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        &self.lanes
    }

    /// An input of 1000 rows fails at once.
    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        if job.rows() == 1000 {
            drop(lane);
            return job.fail(DeviceErrorKind::OutOfMemory);
        }
        if self.lanes.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        self.has.lock().unwrap().push((lane, job));
    }

    fn close(&self) {
        self.lanes.close();
    }

    fn drain(&self) -> Drain {
        self.host.drain()
    }
}

/// As many as it is told.
#[derive(Default)]
struct Rows {
    /// The GPU on which they lie.
    on: Option<usize>,
}

impl Step for Rows {
    type Input = usize;
    type Output = usize;

    fn name(&self) -> &str {
        "rows"
    }

    fn rows(&self, rows: &usize) -> usize {
        *rows
    }

    fn lies_on(&self, _: &usize) -> Option<usize> {
        self.on
    }

    fn on_host(&self, rows: usize) -> anyhow::Result<usize> {
        Ok(rows)
    }
}

struct Setup {
    members: Vec<Arc<Stub>>,
    reserve: Arc<Stub>,
    balanced: Arc<Balanced>,
}

type Outcome = Completion<usize, DeviceError>;

impl Setup {
    /// GPUs with as many lanes. Nothing spills.
    fn new(lanes: &[usize]) -> Self {
        Self::spilling(lanes, 0)
    }

    /// With as many additional lanes; 0: nothing spills.
    fn spilling(lanes: &[usize], additional: usize) -> Self {
        let gpu = |(gpu, lanes): (usize, &usize)| Stub::new(*lanes, Some(gpu));
        let members: Vec<Arc<Stub>> = lanes.iter().enumerate().map(gpu).collect();
        let reserve = Stub::new(lanes.iter().sum::<usize>() + additional, None);
        let devices = members.iter().map(|member| member.clone() as _).collect();
        let balanced = Balanced::new("all", devices, reserve.clone());
        let balanced = if additional > 0 { balanced.with_spill(additional) } else { balanced };
        Self { members, reserve, balanced: Arc::new(balanced) }
    }

    fn device(&self) -> &dyn Device {
        &*self.balanced
    }

    fn submit(&self, rows: usize) -> Outcome {
        self.submit_lying(None, rows)
    }

    /// Rows that lie on this GPU.
    fn submit_lying(&self, on: Option<usize>, rows: usize) -> Outcome {
        let lane = self.device().lanes().try_take().expect("a lane");
        self.device().submit(lane, Arc::new(Rows { on }), rows)
    }

    fn submit_all(&self, rows: impl IntoIterator<Item = usize>) -> Vec<Outcome> {
        rows.into_iter().map(|rows| self.submit(rows)).collect()
    }

    /// What it knows of inputs of as many rows as `like`, in milliseconds.
    fn teach(&self, like: usize, member: u64, host: u64) {
        let place = table::place("rows", like);
        // Often enough to forget what was measured.
        for _ in 0..200 {
            self.balanced.core.spill.as_ref().unwrap().teach(
                place,
                Duration::from_millis(member),
                Duration::from_millis(host),
            );
        }
    }

    /// The rows of what each member has.
    fn on_members(&self) -> Vec<Vec<usize>> {
        self.members.iter().map(|member| member.rows()).collect()
    }

    /// What there is: rows on each member, in the reserve, and how many are held.
    fn sight(&self) -> (Vec<Vec<usize>>, Vec<usize>, usize) {
        (self.on_members(), self.reserve.rows(), self.balanced.held())
    }
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn all_came(outcomes: Vec<Outcome>) -> bool {
    outcomes.into_iter().all(|outcome| matches!(poll(outcome), Poll::Ready(Ok(_))))
}
