//! Several devices as one: the conformance suite, and what only this device promises.

mod conformance;

use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};

use asynchrotron_devices::{
    Balanced, Capability, Completion, Device, DeviceError, DeviceErrorKind, DeviceKind, Drain, HostConfig,
    HostDevice, Inline, Job, Lane, LaneId, LanePool, Step,
};
use proptest::prelude::*;

fn host(lanes: usize) -> Arc<dyn Device> {
    Arc::new(HostDevice::new(HostConfig { lanes, ..HostConfig::default() }))
}

/// One lane more than the members have. With more of them, what this suite submits first, never seen before, would not all run: one
/// is tried on the host, the others are held.
mod spilling_hosts {
    use super::*;

    fn balanced() -> Arc<dyn Device> {
        Arc::new(Balanced::new("both", vec![host(1), host(2)], host(4)).with_spill(1))
    }
    super::conformance::suite!(balanced);
}

mod of_hosts {
    use super::*;

    fn balanced() -> Arc<dyn Device> {
        Arc::new(Balanced::new("both", vec![host(1), host(2)], host(3)))
    }
    super::conformance::suite!(balanced);
}

#[cfg(feature = "cuda")]
mod of_gpus {
    use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver};
    use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};

    use super::*;

    fn both(reserve: usize) -> Balanced {
        let gpu = |ordinal| {
            let driver = MockDriver::new(MockConfig { ordinal, ..MockConfig::default() });
            let config = CudaConfig { lanes: 2, ..CudaConfig::default() };
            Arc::new(CudaDevice::open(Arc::new(driver), config).unwrap()) as _
        };
        Balanced::new("both", vec![gpu(0), gpu(1)], host(reserve))
    }

    fn balanced() -> Arc<dyn Device> {
        Arc::new(both(4))
    }
    super::conformance::suite!(balanced);

    mod spilling {
        use super::*;

        fn balanced() -> Arc<dyn Device> {
            Arc::new(both(5).with_spill(1))
        }
        crate::conformance::suite!(balanced);
    }
}

/// Keeps what it is given until the test says what becomes of it.
#[derive(Debug)]
struct Stub {
    capability: Capability,
    lanes: LanePool<LaneId>,
    held: Mutex<Vec<(Lane<LaneId>, Job)>>,
    /// For what cannot be made outside of the crate.
    host: HostDevice,
}

impl Stub {
    fn new(lanes: usize) -> Arc<Self> {
        let host = HostDevice::new(HostConfig { lanes, ..HostConfig::default() });
        Arc::new(Self {
            capability: host.capability().clone(),
            lanes: LanePool::new((0..lanes).map(LaneId)),
            held: Mutex::default(),
            host,
        })
    }

    /// The rows of what it has.
    fn rows(&self) -> Vec<usize> {
        self.held.lock().unwrap().iter().map(|(_, job)| job.rows()).collect()
    }

    /// Ends the oldest submission.
    fn end_one(&self) {
        let (lane, mut job) = self.held.lock().unwrap().remove(0);
        job.compute_on_host();
        drop(lane);
        job.complete();
    }

    /// Dies, with everything that is on it.
    fn retire(&self) {
        self.lanes.close();
        for (lane, job) in std::mem::take(&mut *self.held.lock().unwrap()) {
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

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        self.held.lock().unwrap().push((lane, job));
    }

    fn inline(&self, _step: &str, _rows: usize, _lane: Option<LaneId>) -> Option<Inline<'_>> {
        None
    }

    fn close(&self) {
        self.lanes.close();
    }

    fn drain(&self) -> Drain {
        self.host.drain()
    }
}

/// As many as it is told.
struct Rows;

impl Step for Rows {
    type Input = usize;
    type Output = usize;

    fn name(&self) -> &str {
        "rows"
    }

    fn rows(&self, rows: &usize) -> usize {
        *rows
    }

    fn on_host(&self, rows: usize) -> anyhow::Result<usize> {
        Ok(rows)
    }
}

struct Setup {
    members: Vec<Arc<Stub>>,
    reserve: Arc<Stub>,
    device: Arc<dyn Device>,
}

fn stubs(lanes: &[usize]) -> Setup {
    spilling_stubs(lanes, 0)
}

/// With as many additional lanes; 0: nothing spills.
fn spilling_stubs(lanes: &[usize], additional: usize) -> Setup {
    let members: Vec<Arc<Stub>> = lanes.iter().map(|&lanes| Stub::new(lanes)).collect();
    let reserve = Stub::new(lanes.iter().sum::<usize>() + additional);
    let device =
        Balanced::new("all", members.iter().map(|member| member.clone() as _).collect(), reserve.clone());
    let device = if additional > 0 { device.with_spill(additional) } else { device };
    Setup { members, reserve, device: Arc::new(device) }
}

impl Setup {
    fn submit(&self, rows: usize) -> Completion<usize, DeviceError> {
        let lane = self.device.lanes().try_take().expect("a lane");
        self.device.submit(lane, Arc::new(Rows), rows)
    }
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_member_with_the_fewest_rows_takes_the_next() {
    let all = stubs(&[3, 3]);
    let kept: Vec<_> = [10, 3, 4, 0].map(|rows| all.submit(rows)).into();
    assert_eq!((all.members[0].rows(), all.members[1].rows()), (vec![10], vec![3, 4, 0]));
    // It would be the second one's turn, which has no lane left.
    let more = all.submit(5);
    assert_eq!(all.members[0].rows(), [10, 5]);
    all.members[0].end_one();
    all.members[1].end_one();
    // 5 rows against 4, and the one that nothing weighs.
    let again = all.submit(2);
    assert_eq!((all.members[0].rows(), all.members[1].rows()), (vec![5, 2], vec![4, 0]));
    assert!(all.reserve.rows().is_empty());
    drop((kept, more, again));
}

#[test]
fn what_was_on_a_member_that_dies_is_told_and_the_others_take_what_comes() {
    let all = stubs(&[2, 2]);
    let first = all.submit(1);
    let second = all.submit(1);
    all.members[0].retire();
    let Poll::Ready(Err(error)) = poll(first) else { panic!("the lane was lost") };
    assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{error}");
    assert_eq!(error.device(), "all");

    // One more fits on the other member. Two do not, and go to the reserve, for the only time.
    let more: Vec<_> = (0..3).map(|_| all.submit(1)).collect();
    assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (2, 2));
    all.reserve.end_one();
    all.reserve.end_one();
    assert_eq!(all.device.lanes().available(), 0);
    all.members[1].end_one();
    all.members[1].end_one();
    assert_eq!(all.device.lanes().available(), 2);
    for completion in more.into_iter().chain([second]) {
        assert!(matches!(poll(completion), Poll::Ready(Ok(1))));
    }

    // From now on, everything is on the member that is left.
    let kept: Vec<_> = (0..2).map(|_| all.submit(1)).collect();
    assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (2, 0));
    assert_eq!(all.device.lanes().available(), 0);

    // Until that one is gone as well: then the reserve has as many as all had.
    all.members[1].retire();
    drop(kept);
    let mut kept = vec![all.submit(1)];
    assert_eq!(all.device.lanes().available(), 3);
    kept.extend((0..3).map(|_| all.submit(1)));
    assert_eq!(all.reserve.rows().len(), 4);
    drop(kept);
}

#[test]
fn when_the_last_member_is_gone_the_reserve_takes_all() {
    let all = stubs(&[1, 2]);
    all.members.iter().for_each(|member| member.retire());
    for _ in 0..3 {
        let completions: Vec<_> = (0..3).map(|_| all.submit(1)).collect();
        assert_eq!((all.reserve.rows().len(), all.device.lanes().available()), (3, 0));
        (0..3).for_each(|_| all.reserve.end_one());
        assert!(completions.into_iter().all(|completion| matches!(poll(completion), Poll::Ready(Ok(1)))));
        assert_eq!((all.device.lanes().len(), all.device.lanes().available()), (3, 3));
    }
}

#[test]
fn closed_it_takes_no_more_and_drains() {
    let all = stubs(&[1, 1]);
    let lanes: Vec<_> = std::iter::from_fn(|| all.device.lanes().try_take()).collect();
    let [first, second]: [Lane<LaneId>; 2] = lanes.try_into().unwrap();
    let before = all.device.submit(first, Arc::new(Rows), 1);
    let mut drain = pin!(all.device.drain());
    assert!(poll(drain.as_mut()).is_pending());
    all.device.close();
    assert!(all.members.iter().all(|member| member.lanes.is_closed()) && all.reserve.lanes.is_closed());
    let Poll::Ready(Err(error)) = poll(all.device.submit(second, Arc::new(Rows), 1)) else {
        panic!("closed")
    };
    assert!(matches!(error.kind(), DeviceErrorKind::Closed), "{error}");
    all.members[0].end_one();
    assert!(poll(drain).is_ready());
    assert!(matches!(poll(before), Poll::Ready(Ok(1))));
}

#[test]
fn many_at_once_park_no_lane_too_many() {
    for _ in 0..50 {
        let all = stubs(&[7, 1]);
        let lanes: Vec<_> = std::iter::from_fn(|| all.device.lanes().try_take()).collect();
        all.members[0].retire();
        let begin = Barrier::new(lanes.len());
        std::thread::scope(|scope| {
            for lane in lanes {
                scope.spawn(|| {
                    begin.wait();
                    drop(all.device.submit(lane, Arc::new(Rows), 1));
                });
            }
        });
        assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (1, 7));
        assert_eq!(all.device.lanes().available(), 0);
        all.members[1].end_one();
        (0..7).for_each(|_| all.reserve.end_one());
        assert_eq!(all.device.lanes().available(), 1);
    }
}

/// Short ones and long ones, some given up, from several threads, on members and a host that are all the same: whatever spills and
/// is held, it all ends.
#[test]
fn many_threads_lose_nothing_where_batches_spill() {
    struct Spin;

    impl Step for Spin {
        type Input = usize;
        type Output = usize;

        fn name(&self) -> &str {
            "spin"
        }

        fn rows(&self, rows: &usize) -> usize {
            *rows
        }

        fn on_host(&self, rows: usize) -> anyhow::Result<usize> {
            Ok((0..rows).fold(0, |sum, row| std::hint::black_box(sum + row)))
        }
    }

    conformance::within_reason(|| {
        let host = |lanes| {
            let inline_below = std::time::Duration::ZERO;
            Arc::new(HostDevice::new(HostConfig { lanes, inline_below })) as Arc<dyn Device>
        };
        let balanced = Arc::new(Balanced::new("all", vec![host(1), host(1)], host(6)).with_spill(4));
        let device: Arc<dyn Device> = balanced.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..16_usize)
                .map(|task| {
                    let device = device.clone();
                    tokio::spawn(async move {
                        for n in 0..200 {
                            let rows = 1 << ((task * 7 + n * 3) % 12);
                            let lane = device.lanes().take().await.unwrap();
                            let completion = device.submit(lane, Arc::new(Spin), rows);
                            if (task + n) % 5 != 0 {
                                completion.await.unwrap();
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            device.drain().await;
        });
        assert_eq!((balanced.held(), device.lanes().available()), (0, 6));
        assert!(balanced.spilled() > 0); // at least to find out
    });
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Submit(usize),
    End(usize),
    Retire(usize),
    Leave,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..20_usize).prop_map(Act::Submit),
        6 => (0..4_usize).prop_map(Act::End),
        1 => (0..3_usize).prop_map(Act::Retire),
        2 => Just(Act::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, everything that was submitted is told once, and what it took comes back.
    #[test]
    fn nothing_is_lost(
        lanes in prop::collection::vec(1..4_usize, 3),
        additional in 0..4_usize,
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let all = spilling_stubs(&lanes, additional);
        let mut waiting = Vec::new();
        let mut alive: Vec<bool> = vec![true; 3];
        for act in acts {
            match act {
                Act::Submit(rows) => {
                    if let Some(lane) = all.device.lanes().try_take() {
                        waiting.push(all.device.submit(lane, Arc::new(Rows), rows));
                    }
                }
                Act::End(which) => {
                    let device = all.members.get(which).unwrap_or(&all.reserve);
                    if !device.rows().is_empty() {
                        device.end_one();
                    }
                }
                Act::Retire(which) => {
                    alive[which] = false;
                    all.members[which].retire();
                }
                Act::Leave => drop(waiting.pop()),
            }
            prop_assert!(!all.device.lanes().is_closed());
        }
        let devices: Vec<_> = all.members.iter().chain([&all.reserve]).collect();
        // What one of them ends makes place on it for what is held.
        while let Some(busy) = devices.iter().find(|device| !device.rows().is_empty()) {
            busy.end_one();
        }
        for completion in waiting {
            match poll(completion) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => prop_assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{}", error),
                Poll::Pending => prop_assert!(false, "it was not told"),
            }
        }
        let of = |which: &[bool]| (0..3).filter(|member| which[*member]).map(|member| lanes[member]).sum::<usize>();
        let (available, left) = (all.device.lanes().available(), of(&alive));
        prop_assert!(available >= (left + additional).max(1), "{} of {}", available, left);
        prop_assert!(available <= of(&[true; 3]) + additional, "{} of {}", available, left);
        prop_assert!(poll(all.device.drain()).is_ready());
    }
}
