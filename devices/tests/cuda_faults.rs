//! Faults at random on mock GPUs, under a chain with batches: every event has its result, the host's, or is told why not; nothing
//! hangs, and lanes and memory come back.
#![cfg(feature = "cuda")]

#[allow(dead_code)] // only its time limit is used
mod conformance;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatcherReport};
use asynchrotron::prelude::*;
use asynchrotron::{OnError, Then};
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, Finish, KernelSource, Launch, Waiting, Work,
};
use asynchrotron_devices::{
    Balanced, BatchStep, Device, DeviceError, DeviceErrorKind, HostConfig, HostDevice, Offsets, OnDevice,
    Step,
};
use conformance::{block_on, within_reason};
use proptest::prelude::*;

static ADD: KernelSource = KernelSource { name: "add.cu", source: "(the mock's)", options: &[] };

/// Adds to each of some numbers.
struct Add(u64);

struct Numbers(Arc<Vec<u64>>);

impl From<(Arc<Vec<u64>>,)> for Numbers {
    fn from((numbers,): (Arc<Vec<u64>>,)) -> Self {
        Numbers(numbers)
    }
}

impl Step for Add {
    type Input = Vec<u64>;
    type Output = Vec<u64>;

    fn name(&self) -> &str {
        "add"
    }

    fn rows(&self, numbers: &Vec<u64>) -> usize {
        numbers.len()
    }

    fn on_host(&self, numbers: Vec<u64>) -> Result<Vec<u64>> {
        Ok(numbers.into_iter().map(|number| number + self.0).collect())
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Vec<u64>, Vec<u64>>> {
        Some(self)
    }
}

impl CudaBody<Vec<u64>, Vec<u64>> for Add {
    fn enqueue(&self, numbers: Vec<u64>, work: &mut Work<'_>) -> Result<Finish<Vec<u64>>> {
        let add = work.kernel(&ADD, "add")?;
        let numbers = work.upload(&numbers)?;
        let threads = Launch::for_each(numbers.len(), 64);
        work.launch(add, threads, &[(&numbers).into(), (numbers.len() as u32).into(), self.0.into()])?;
        let back = work.download(&numbers)?;
        Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
    }
}

impl BatchStep for Add {
    type Request = Numbers;
    type Reply = Vec<u64>;
    type Parts = Offsets;

    fn request_rows(&self, request: &Numbers) -> usize {
        request.0.len()
    }

    fn pack(&self, requests: &[&Numbers], _rows: usize) -> (Vec<u64>, Offsets) {
        let together = requests.iter().flat_map(|request| request.0.iter().copied()).collect();
        (together, Offsets::from_counts(requests.iter().map(|request| request.0.len())))
    }

    fn unpack(&self, output: Vec<u64>, parts: Offsets) -> Vec<Vec<u64>> {
        parts.iter().map(|rows| output[rows].to_vec()).collect()
    }
}

fn kernels() -> HashMap<String, MockKernel> {
    let add: MockKernel = Arc::new(|_, arguments| {
        // SAFETY: the arguments are those of `Add`.
        let (numbers, len, add) = unsafe {
            (
                *arguments[0].cast::<*mut u64>(),
                *arguments[1].cast::<u32>() as usize,
                *arguments[2].cast::<u64>(),
            )
        };
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *numbers.add(place) += add };
        }
    });
    HashMap::from([("add".to_owned(), add)])
}

fn gpu(mock: MockConfig, lanes: usize, (waiting, driver_above): (Waiting, usize)) -> Arc<CudaDevice> {
    let driver = Arc::new(MockDriver::new(MockConfig { kernels: kernels(), ..mock }));
    let config = CudaConfig { lanes, waiting, driver_above, ..CudaConfig::default() };
    Arc::new(CudaDevice::open(driver, config).unwrap())
}

/// How a job is run.
#[derive(Clone, Debug)]
struct How {
    policy: &'static str,
    slots: usize,
    threads: usize,
    deadline: Option<Duration>,
}

fn how() -> impl Strategy<Value = How> {
    let policies =
        prop::sample::select(vec!["off", "greedy", "size=7", "adaptive", "fixed=5", "delay=4:200"]);
    (policies, 1..24_usize, 1..4_usize).prop_map(|(policy, slots, threads)| How {
        policy,
        slots,
        threads,
        deadline: None,
    })
}

fn events() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let numbers = prop::collection::vec(0..1000_u64, 0..30);
    prop::collection::vec(numbers, 1..100)
}

/// How ends are learnt, and with how much outstanding the driver thread enqueues.
fn waiting() -> impl Strategy<Value = (Waiting, usize)> {
    let asked = [usize::MAX, 4, 0].map(|driver_above| (Waiting::Ask, driver_above));
    let others = [Waiting::CallBack, Waiting::Thread, Waiting::Block].map(|waiting| (waiting, usize::MAX));
    prop::sample::select([asked, others].concat())
}

struct Ran {
    report: Report,
    replies: BTreeMap<u64, Vec<u64>>,
}

impl Ran {
    /// The batcher of each of the two algorithms.
    fn batchers(&self) -> impl Iterator<Item = &BatcherReport> {
        self.report.batchers.iter()
    }

    fn check(&self, events: &[Vec<u64>]) {
        assert_eq!(self.report.events + self.report.failed, events.len() as u64, "{}", self.report);
        assert_eq!(self.replies.len() as u64, self.report.events, "{}", self.report);
        for (event, reply) in &self.replies {
            // The host's result.
            let numbers = Add(10).on_host(events[*event as usize].clone()).unwrap();
            assert_eq!(*reply, Add(100).on_host(numbers).unwrap(), "event {event}");
        }
    }
}

/// Events through two steps on the device, one after the other.
fn run(device: &Arc<dyn Device>, how: How, events: &[Vec<u64>]) -> Ran {
    let batches = BatchConfig::default().with_policy(how.policy.parse().unwrap());
    let mut chain = Chain::new("adding");
    let numbers = chain.source::<Vec<u64>>("numbers");
    let first = OnDevice::batcher(Add(10), device.clone(), batches.clone());
    let second = OnDevice::batcher(Add(100), device.clone(), batches);
    let added = chain.offload("add", (numbers,), &first);
    let added = chain.offload("again", (added,), &second);
    let replies = Arc::new(Mutex::new(BTreeMap::new()));
    let here = replies.clone();
    chain.sink("keep", added, move |event: EventId, numbers: Arc<Vec<u64>>| {
        ensure!(here.lock().unwrap().insert(event.0, Vec::clone(&numbers)).is_none(), "twice");
        Ok(())
    });
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    let How { slots, threads, deadline, .. } = how;
    let config = Config { slots, threads, deadline, on_error, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(events.to_vec())).unwrap();
    let replies = std::mem::take(&mut *replies.lock().unwrap());
    Ran { report, replies }
}

/// Nothing is on the GPU any more, and it has all that it had.
fn assert_idle(gpu: &CudaDevice, lanes: usize) {
    drained(gpu);
    let memory = gpu.memory();
    assert_eq!((memory.device.used_bytes, memory.pinned.used_bytes), (0, 0));
    if gpu.retired().is_none() {
        assert_eq!(gpu.lanes().available(), lanes);
    }
}

fn drained(device: &dyn Device) {
    block_on(device.drain());
}

/// How many random cases: more with `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        default
    } else {
        ProptestConfig { cases: 48, ..default }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn launches_that_fail_cost_the_events_that_they_are_for(
        (events, how, waiting) in (events(), how(), waiting()),
        lanes in 1..4_usize,
        latency_us in 0..200_u64,
        fail_every in prop::option::of(2..30_u64),
    ) {
        within_reason(move || {
            let latency = Duration::from_micros(latency_us);
            let gpu = gpu(MockConfig { latency, fail_every, ..MockConfig::default() }, lanes, waiting);
            let device: Arc<dyn Device> = gpu.clone();
            let ran = run(&device, how, &events);
            ran.check(&events);
            for failure in &ran.report.failures {
                assert!(failure.to_string().contains("the mock fails launch"), "{failure}");
            }
            assert!(fail_every.is_some() || ran.report.failed == 0, "{}", ran.report);
            assert!(ran.batchers().all(|batcher| batcher.given_back == 0));
            assert_idle(&gpu, lanes);
        });
    }

    #[test]
    fn batches_that_find_no_memory_are_split_until_every_event_has_its_result(
        (events, how, waiting) in (events(), how(), waiting()),
        lanes in 1..4_usize,
        latency_us in 0..200_u64,
        // An event of 29 numbers needs 512 bytes: if all lanes but one have too much, it waits.
        memory_bytes in 512..4096_u64,
    ) {
        within_reason(move || {
            let latency = Duration::from_micros(latency_us);
            let gpu = gpu(MockConfig { latency, memory_bytes, ..MockConfig::default() }, lanes, waiting);
            let device: Arc<dyn Device> = gpu.clone();
            let ran = run(&device, how, &events);
            ran.check(&events);
            assert_eq!(ran.report.failed, 0, "{}", ran.report);
            assert_idle(&gpu, lanes);
        });
    }

    #[test]
    fn a_gpu_that_is_lost_costs_no_event(
        (events, how, waiting) in (events(), how(), waiting()),
        lanes in 1..4_usize,
        latency_us in 0..200_u64,
        crash_nth in prop::array::uniform2(prop::option::weighted(0.7, 1..40_u64)),
        additional in prop::option::of(1..4_usize),
    ) {
        within_reason(move || {
            let latency = Duration::from_micros(latency_us);
            let gpus = [0, 1].map(|ordinal| {
                let crash_nth = crash_nth[ordinal];
                gpu(MockConfig { ordinal, latency, crash_nth, ..MockConfig::default() }, lanes, waiting)
            });
            let members = gpus.iter().map(|gpu| gpu.clone() as _).collect();
            let most = 2 * lanes + additional.unwrap_or(0);
            let reserve = Arc::new(HostDevice::new(HostConfig { lanes: most, ..HostConfig::default() }));
            let balanced = Balanced::new("all", members, reserve.clone());
            let balanced = Arc::new(match additional {
                Some(additional) => balanced.with_spill(additional),
                None => balanced,
            });
            let device: Arc<dyn Device> = balanced.clone();
            let ran = run(&device, how, &events);
            ran.check(&events);
            assert_eq!(ran.report.failed, 0, "{}", ran.report);
            let retired = gpus.iter().filter(|gpu| gpu.retired().is_some()).count();
            let given_back: u64 = ran.batchers().map(|batcher| batcher.given_back).sum();
            assert!(given_back == 0 || retired > 0);
            drained(&*device);
            gpus.iter().for_each(|gpu| assert_idle(gpu, lanes));
            assert_eq!((reserve.lanes().available(), balanced.held()), (most, 0));
            let left = (2 - retired).max(1) * lanes + additional.unwrap_or(0);
            assert!(device.lanes().available() >= left);
            // The job goes on with what is left.
            let again = run(&device, How { policy: "greedy", slots: 8, threads: 2, deadline: None }, &events);
            again.check(&events);
            assert_eq!(again.report.failed, 0, "{}", again.report);
        });
    }

    #[test]
    fn events_that_are_given_up_leave_nothing_behind(
        (events, how, waiting) in (events(), how(), waiting()),
        lanes in 1..4_usize,
        latency_us in 0..400_u64,
        deadline_us in 50..3000_u64,
        fail_every in prop::option::of(2..30_u64),
    ) {
        within_reason(move || {
            let latency = Duration::from_micros(latency_us);
            let gpu = gpu(MockConfig { latency, fail_every, ..MockConfig::default() }, lanes, waiting);
            let device: Arc<dyn Device> = gpu.clone();
            let how = How { deadline: Some(Duration::from_micros(deadline_us)), ..how };
            run(&device, how, &events).check(&events);
            assert_idle(&gpu, lanes);
        });
    }

    #[test]
    fn waiters_may_leave_at_any_time(
        acts in prop::collection::vec((0..60_usize, 0..5_usize, 0..150_u64), 1..60),
        waiting in waiting(),
        lanes in 1..4_usize,
        latency_us in 0..200_u64,
        fault in 0..4_usize,
        nth in 1..60_u64,
    ) {
        within_reason(move || {
            let mut mock = MockConfig { latency: Duration::from_micros(latency_us), ..MockConfig::default() };
            match fault {
                1 => mock.fail_every = Some(nth),
                2 => mock.crash_nth = Some(nth),
                3 => mock.memory_bytes = 64 * nth,
                _ => {}
            }
            let gpu = gpu(mock, lanes, waiting);
            let device: Arc<dyn Device> = gpu.clone();
            let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
            let told: Vec<_> = executor.block_on(async {
                let mut tasks = Vec::new();
                for (rows, stays, pause_us) in acts {
                    let device = device.clone();
                    tasks.push(tokio::spawn(async move {
                        let numbers: Vec<u64> = (0..rows as u64).collect();
                        let run = async { device.run(&Arc::new(Add(1)), numbers).await };
                        // One in five waits to the end.
                        let leave = async {
                            if stays > 0 {
                                tokio::time::sleep(Duration::from_micros(pause_us)).await;
                            } else {
                                std::future::pending::<()>().await;
                            }
                        };
                        tokio::select! { result = run => Some((rows, result)), () = leave => None }
                    }));
                    if pause_us % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let mut told = Vec::new();
                for task in tasks {
                    told.extend(task.await.unwrap());
                }
                told
            });
            for (rows, result) in told {
                match result {
                    Ok(numbers) => assert_eq!(numbers, (1..=rows as u64).collect::<Vec<_>>()),
                    Err(error) => assert!(is_of(fault, &error), "fault {fault}: {error}"),
                }
            }
            assert_idle(&gpu, lanes);
        });
    }
}

/// Two GPUs, each with its fault, and the host in reserve.
fn two(mocks: [MockConfig; 2], hang_after: Duration) -> ([Arc<CudaDevice>; 2], Arc<dyn Device>) {
    let gpus = mocks.map(|mock| {
        let config = CudaConfig { lanes: 2, hang_after, ..CudaConfig::default() };
        Arc::new(
            CudaDevice::open(Arc::new(MockDriver::new(MockConfig { kernels: kernels(), ..mock })), config)
                .unwrap(),
        )
    });
    let members = gpus.iter().map(|gpu| gpu.clone() as _).collect();
    let reserve = Arc::new(HostDevice::new(HostConfig { lanes: 4, ..HostConfig::default() }));
    (gpus, Arc::new(Balanced::new("all", members, reserve)))
}

fn hundred() -> Vec<Vec<u64>> {
    (0..100_u64).map(|event| (0..event % 7).collect()).collect()
}

#[test]
fn gpus_that_are_lost_one_after_the_other_leave_the_host() {
    for policy in ["off", "size=4", "adaptive"] {
        within_reason(move || {
            let mock = |ordinal, crash_nth| MockConfig { ordinal, crash_nth, ..MockConfig::default() };
            let (gpus, device) = two([mock(0, Some(2)), mock(1, Some(4))], Duration::from_secs(60));
            let how = How { policy, slots: 16, threads: 2, deadline: None };
            let ran = run(&device, how, &hundred());
            ran.check(&hundred());
            assert_eq!(ran.report.failed, 0, "{}", ran.report);
            assert!(gpus.iter().all(|gpu| gpu.retired().is_some()));
            assert!(ran.batchers().any(|batcher| batcher.given_back > 0));
            assert_eq!(device.lanes().available(), 4);
        });
    }
}

#[test]
fn a_gpu_that_hangs_costs_what_hangs_at_most() {
    within_reason(|| {
        let mock = |ordinal, hang_nth| MockConfig { ordinal, hang_nth, ..MockConfig::default() };
        let (gpus, device) = two([mock(0, Some(3)), mock(1, None)], Duration::from_millis(30));
        let how = How { policy: "off", slots: 16, threads: 2, deadline: None };
        let ran = run(&device, how, &hundred());
        ran.check(&hundred());
        for failure in &ran.report.failures {
            assert!(failure.to_string().contains("has not come to the end of it"), "{failure}");
        }
        assert!(ran.report.failed <= 1, "{}", ran.report);
        assert!(gpus[0].retired().is_some() && gpus[1].retired().is_none());
    });
}

fn is_of(fault: usize, error: &DeviceError) -> bool {
    match error.kind() {
        DeviceErrorKind::Failed(_) => fault == 1,
        DeviceErrorKind::LaneLost | DeviceErrorKind::Closed => fault == 2,
        DeviceErrorKind::OutOfMemory | DeviceErrorKind::MemoryInUse => fault == 3,
        _ => false,
    }
}
