//! What a step hands on before the GPU is done: on mock drivers, and on a real one where there is one.
#![cfg(feature = "cuda")]

#[allow(unused_macros, unused_imports, dead_code)] // of the suite, only what ends a test that hangs
mod conformance;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, DeviceSlice, Download, Finish, KernelSource, Launch, Waiting, Work,
};
use asynchrotron_devices::{Balanced, Device, DeviceError, HostConfig, HostDevice, Step};
use asynchrotron_sync::Completion;
use conformance::{block_on, gpus, within_reason};

const LANES: usize = 4;

/// Kernels that take their time before they write: who does not wait for them reads something else.
static LATE: KernelSource = KernelSource {
    name: "late.cu",
    source: r#"
        __device__ void spin(long long ticks) {
            long long begin = clock64();
            while (clock64() - begin < ticks) {}
        }
        extern "C" __global__ void late_fill(unsigned* to, unsigned value, unsigned len, long long ticks) {
            spin(ticks);
            unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
            if (place < len) to[place] = value + place;
        }
        extern "C" __global__ void late_add(unsigned* to, const unsigned* from, unsigned len, long long ticks) {
            spin(ticks);
            unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
            if (place < len) to[place] = from[place] + 1;
        }"#,
    options: &[],
};

/// Numbers on a GPU.
type Numbers = DeviceSlice<u32>;

/// Makes numbers, from `first` on.
struct Make {
    len: usize,
    ticks: i64,
    /// So that it is enqueued call by call, as for libraries.
    at_once: bool,
    fails: bool,
}

impl Make {
    fn new(len: usize, ticks: i64) -> Self {
        Self { len, ticks, at_once: false, fails: false }
    }
}

/// Adds one to each number; ahead as well.
struct Add {
    ticks: i64,
    ahead: bool,
}

/// Copies numbers to the host.
struct Bring;

/// As a model does: keeps its input, and lets a library enqueue.
struct KeepThenLibrary;

/// Hands on a download of its own.
struct DownloadAhead;

/// Reads what another step has downloaded.
struct ReadAnothers;

macro_rules! step {
    ($step:ty, $name:literal, $input:ty => $output:ty) => {
        impl Step for $step {
            type Input = $input;
            type Output = $output;

            fn name(&self) -> &str {
                $name
            }

            fn rows(&self, _: &$input) -> usize {
                1
            }

            fn on_host(&self, _: $input) -> anyhow::Result<$output> {
                anyhow::bail!("this is a GPU's")
            }

            fn on_cuda(&self) -> Option<&dyn CudaBody<$input, $output>> {
                Some(self)
            }
        }
    };
}
step!(Make, "make", u32 => Numbers);
step!(Add, "add", Numbers => Numbers);
step!(Bring, "bring", Numbers => Vec<u32>);
step!(KeepThenLibrary, "keep then library", Numbers => ());
step!(DownloadAhead, "download ahead", u32 => Download<u32>);
step!(ReadAnothers, "read another's", Download<u32> => Vec<u32>);

impl CudaBody<u32, Numbers> for Make {
    fn enqueue(&self, first: u32, work: &mut Work<'_>) -> anyhow::Result<Finish<Numbers>> {
        let fill = work.kernel(&LATE, "late_fill")?;
        let numbers = work.allocate::<u32>(self.len)?;
        if self.at_once {
            work.stream();
        }
        let arguments = [(&numbers).into(), first.into(), (self.len as u32).into(), self.ticks.into()];
        work.launch(fill, Launch::for_each(self.len, 128), &arguments)?;
        anyhow::ensure!(!self.fails, "half way");
        Ok(Finish::ahead(numbers))
    }
}

impl CudaBody<Numbers, Numbers> for Add {
    fn enqueue(&self, numbers: Numbers, work: &mut Work<'_>) -> anyhow::Result<Finish<Numbers>> {
        let add = work.kernel(&LATE, "late_add")?;
        // Twice the same is waited for once.
        let (from, _) = (work.fetch(&numbers)?, work.keep(&numbers.part(0..0)));
        let to = work.allocate::<u32>(from.len())?;
        let arguments = [(&to).into(), (&from).into(), (from.len() as u32).into(), self.ticks.into()];
        work.launch(add, Launch::for_each(from.len(), 128), &arguments)?;
        Ok(if self.ahead { Finish::ahead(to) } else { Finish::when_done(move |_| Ok(to)) })
    }
}

impl CudaBody<Numbers, Vec<u32>> for Bring {
    fn enqueue(&self, numbers: Numbers, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<u32>>> {
        let back = work.download(&numbers)?;
        Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
    }
}

impl CudaBody<Numbers, ()> for KeepThenLibrary {
    fn enqueue(&self, numbers: Numbers, work: &mut Work<'_>) -> anyhow::Result<Finish<()>> {
        work.keep(&numbers);
        let (fill, to) = (work.kernel(&LATE, "late_fill")?, work.allocate::<u32>(numbers.len())?);
        let arguments = [(&to).into(), 0_u32.into(), (to.len() as u32).into(), 0_i64.into()];
        work.launch(fill, Launch::for_each(to.len(), 128), &arguments)?;
        work.stream();
        Ok(Finish::when_done(|_| Ok(())))
    }
}

impl CudaBody<u32, Download<u32>> for DownloadAhead {
    fn enqueue(&self, first: u32, work: &mut Work<'_>) -> anyhow::Result<Finish<Download<u32>>> {
        let numbers = work.upload(&[first])?;
        Ok(Finish::ahead(work.download(&numbers)?))
    }
}

impl CudaBody<Download<u32>, Vec<u32>> for ReadAnothers {
    fn enqueue(&self, download: Download<u32>, _: &mut Work<'_>) -> anyhow::Result<Finish<Vec<u32>>> {
        Ok(Finish::when_done(move |landed| Ok(download.read(landed).to_vec())))
    }
}

fn submit<S: Step>(device: &dyn Device, step: S, input: S::Input) -> Completion<S::Output, DeviceError> {
    device.submit(device.lanes().try_take().expect("a lane is free"), Arc::new(step), input)
}

fn numbers(first: u32, len: usize) -> Vec<u32> {
    (first..).take(len).collect()
}

fn assert_all_came_back(device: &CudaDevice) {
    block_on((device as &dyn Device).drain());
    let counts = device.memory();
    assert_eq!((counts.device.used_bytes, counts.pinned.used_bytes), (0, 0), "{counts:?}");
    assert_eq!(device.lanes().available(), device.lanes().len());
}

/// Its lane is out until the GPU is done. A thread that is not run for long may miss that, but not each time.
fn it_is_handed_on_before_the_gpu_is_done(device: &Arc<CudaDevice>, ticks: i64) {
    for at_once in [false, true] {
        let gpu: &dyn Device = &**device;
        let is_seen_on_its_way = |_| {
            let product = block_on(submit(gpu, Make { at_once, ..Make::new(1000, ticks) }, 7)).unwrap();
            let on_its_way = LANES - gpu.lanes().available();
            assert_eq!(block_on(submit(gpu, Bring, product)).unwrap(), numbers(7, 1000));
            assert_all_came_back(device);
            on_its_way == 1
        };
        assert!((0..100).any(is_seen_on_its_way), "at once: {at_once}");
    }
}

fn steps_in_a_row_wait_for_each_other_on_the_gpu(device: &Arc<CudaDevice>, ticks: i64) {
    let gpu: &dyn Device = &**device;
    for len in [1, 1000, 100_000] {
        let made = block_on(submit(gpu, Make::new(len, ticks), 1)).unwrap();
        let once = block_on(submit(gpu, Add { ticks, ahead: true }, made)).unwrap();
        let twice = block_on(submit(gpu, Add { ticks, ahead: true }, once.clone())).unwrap();
        assert_eq!(block_on(submit(gpu, Bring, twice)).unwrap(), numbers(3, len));
        // And what has long been there.
        assert_eq!(block_on(submit(gpu, Bring, once)).unwrap(), numbers(2, len));
        assert_all_came_back(device);
    }
}

fn many_tasks_come_to_right_ends(device: &Arc<CudaDevice>, ticks: i64) {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    // Any more lanes than there are would be a reserve's, which knows none of these steps.
    let reserve = HostDevice::new(HostConfig { lanes: LANES, ..HostConfig::default() });
    let all: Arc<dyn Device> = Arc::new(Balanced::new("all", vec![device.clone()], Arc::new(reserve)));
    executor.block_on(async {
        let tasks: Vec<_> = (0..3 * LANES as u32)
            .map(|task| {
                let device = all.clone();
                tokio::spawn(async move {
                    let (add, bring) = (Arc::new(Add { ticks, ahead: true }), Arc::new(Bring));
                    for n in 0..20 {
                        let (len, adds) = (1 + (task as usize * 7919 + n * 911) % 3000, 1 + n % 4);
                        let make = Arc::new(Make { at_once: n % 3 == 0, ..Make::new(len, ticks) });
                        let mut product = device.run(&make, task).await.unwrap();
                        for _ in 0..adds {
                            product = device.run(&add, product).await.unwrap();
                        }
                        let found = device.run(&bring, product).await.unwrap();
                        assert_eq!(found, numbers(task + adds as u32, len));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        all.drain().await;
    });
    assert_all_came_back(device);
}

fn who_leaves_takes_nothing_along(device: &Arc<CudaDevice>, ticks: i64) {
    let gpu: &dyn Device = &**device;
    for _ in 0..20 {
        drop(submit(gpu, Make::new(1000, ticks), 1));
        let product = block_on(submit(gpu, Make::new(1000, ticks), 2)).unwrap();
        drop(submit(gpu, Add { ticks, ahead: true }, product));
        block_on(gpu.drain());
    }
    assert_all_came_back(device);
}

fn a_step_that_fails_half_way_hands_nothing_on(device: &Arc<CudaDevice>, ticks: i64) {
    for at_once in [false, true] {
        let make = Make { at_once, fails: true, ..Make::new(1000, ticks) };
        let error = block_on(submit(&**device, make, 1)).unwrap_err().to_string();
        assert!(error.contains("make"), "{error}");
        assert_all_came_back(device);
    }
}

macro_rules! ahead {
    ($device:expr, $ticks:expr) => {
        super::ahead!(@tests $device, $ticks,
            it_is_handed_on_before_the_gpu_is_done,
            steps_in_a_row_wait_for_each_other_on_the_gpu,
            many_tasks_come_to_right_ends,
            who_leaves_takes_nothing_along,
            a_step_that_fails_half_way_hands_nothing_on,
        );
    };
    (@tests $device:expr, $ticks:expr, $($test:ident,)+) => {
        $(#[test]
        fn $test() {
            within_reason(|| {
                if let Some(device) = $device {
                    super::$test(&device, $ticks);
                }
            });
        })+
    };
}
use ahead;

fn kernels() -> HashMap<String, MockKernel> {
    let fill: MockKernel = Arc::new(|_, arguments| {
        // SAFETY: the arguments are those of `Make`.
        let (to, value, len) = unsafe {
            (*arguments[0].cast::<*mut u32>(), *arguments[1].cast::<u32>(), *arguments[2].cast::<u32>())
        };
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *to.add(place as usize) = value + place };
        }
    });
    let add: MockKernel = Arc::new(|_, arguments| {
        // SAFETY: the arguments are those of `Add`.
        let (to, from, len) = unsafe {
            (
                *arguments[0].cast::<*mut u32>(),
                *arguments[1].cast::<*const u32>(),
                *arguments[2].cast::<u32>() as usize,
            )
        };
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *to.add(place) = *from.add(place) + 1 };
        }
    });
    HashMap::from([("late_fill".to_owned(), fill), ("late_add".to_owned(), add)])
}

const HANG_AFTER: Duration = Duration::from_millis(300);

fn mock(mock: MockConfig, config: CudaConfig) -> (Arc<CudaDevice>, Arc<MockDriver>) {
    let driver = Arc::new(MockDriver::new(MockConfig { kernels: kernels(), ..mock }));
    let config = CudaConfig { lanes: LANES, hang_after: HANG_AFTER, ..config };
    (Arc::new(CudaDevice::open(driver.clone(), config).unwrap()), driver)
}

/// One that takes long enough to be found at work.
fn slow(config: CudaConfig) -> Arc<CudaDevice> {
    mock(MockConfig { latency: Duration::from_millis(3), ..MockConfig::default() }, config).0
}

macro_rules! on_mocks {
    ($($name:ident: $config:expr;)+) => {
        $(mod $name {
            use super::*;
            ahead!(Some(slow($config)), 0);
        })+
    };
}

on_mocks! {
    asked: CudaConfig { driver_above: usize::MAX, ..CudaConfig::default() };
    left_to_the_driver_thread: CudaConfig { driver_above: 0, ..CudaConfig::default() };
    called_back: CudaConfig { waiting: Waiting::CallBack, ..CudaConfig::default() };
    threads: CudaConfig { waiting: Waiting::Thread, ..CudaConfig::default() };
}

/// What GPU 0 has handed on before it was lost.
fn never_came() -> Numbers {
    let latency = Duration::from_millis(50);
    let crashing = MockConfig { crash_nth: Some(1), latency, ..MockConfig::default() };
    let (fails, _) = mock(crashing, CudaConfig::default());
    let product = block_on(submit(&*fails, Make::new(10, 0), 1)).unwrap();
    // Its end is found by looking, whoever waits.
    block_on((&*fails as &dyn Device).drain());
    assert!(fails.retired().is_some());
    product
}

#[test]
fn what_has_ended_is_not_waited_for_and_what_has_not_once() {
    within_reason(|| {
        let (device, driver) = mock(
            MockConfig { latency: Duration::from_millis(20), ..MockConfig::default() },
            CudaConfig::default(),
        );
        let gpu: &dyn Device = &*device;
        let mut waits = 0;
        // A thread that is not run for long takes it up too late, but not each time.
        while waits == 0 {
            let made = block_on(submit(gpu, Make::new(10, 0), 1)).unwrap();
            let added = block_on(submit(gpu, Add { ticks: 0, ahead: false }, made.clone())).unwrap();
            waits = driver.waits();
            block_on(gpu.drain());
            for product in [made, added] {
                block_on(submit(gpu, Add { ticks: 0, ahead: false }, product)).unwrap();
            }
        }
        assert_eq!((waits, driver.waits()), (1, 1));
    });
}

#[test]
fn kernels_that_take_up_what_others_have_left_are_launched_as_one_as_well() {
    const ROUNDS: u64 = 40;
    within_reason(|| {
        let (device, driver) = mock(
            MockConfig { latency: Duration::from_millis(5), ..MockConfig::default() },
            CudaConfig::default(),
        );
        let gpu: &dyn Device = &*device;
        for _ in 0..ROUNDS {
            // Never as a graph, so that all graphs are of those who take it up.
            let made = block_on(submit(gpu, Make { at_once: true, ..Make::new(10, 0) }, 1)).unwrap();
            block_on(submit(gpu, Add { ticks: 0, ahead: false }, made)).unwrap();
        }
        // More than those that had nothing to wait for.
        let (waits, replays) = (driver.waits(), driver.replays());
        assert!(waits > 0 && replays > ROUNDS - waits, "{waits} and {replays}");
    });
}

#[test]
fn a_product_that_never_came_fails_its_model_as_well() {
    within_reason(|| {
        let product = never_came();
        let (other, driver) = mock(MockConfig { ordinal: 1, ..MockConfig::default() }, CudaConfig::default());
        let error = block_on(submit(&*other, KeepThenLibrary, product)).unwrap_err().to_string();
        assert!(error.contains("what GPU 0 has handed on ahead has not come"), "{error}");
        assert_eq!(driver.launches(), 0);
        assert_all_came_back(&other);
    });
}

#[test]
fn what_another_gpu_hands_on_is_waited_for_on_the_gpu() {
    within_reason(|| {
        let latency = Duration::from_millis(20);
        let (from, _) = mock(MockConfig { latency, ..MockConfig::default() }, CudaConfig::default());
        let (to, driver) = mock(MockConfig { ordinal: 1, ..MockConfig::default() }, CudaConfig::default());
        // A thread that is not run for long takes it up too late, but not each time.
        while driver.waits() == 0 {
            let product = block_on(submit(&*from, Make::new(10, 0), 1)).unwrap();
            let added = block_on(submit(&*to, Add { ticks: 0, ahead: true }, product)).unwrap();
            assert_eq!(block_on(submit(&*to, Bring, added)).unwrap(), numbers(2, 10));
        }
    });
}

#[test]
fn a_download_that_was_handed_on_is_not_read_before_it_has_landed() {
    within_reason(|| {
        let device = slow(CudaConfig::default());
        let download = block_on(submit(&*device, DownloadAhead, 1)).unwrap();
        let error = block_on(submit(&*device, ReadAnothers, download)).unwrap_err().to_string();
        assert!(error.contains("a download was handed on ahead: it has not landed"), "{error}");
        assert_all_came_back(&device);
    });
}

#[test]
fn a_gpu_that_waits_for_another_that_hangs_stays() {
    within_reason(|| {
        let (hangs, _) =
            mock(MockConfig { hang_nth: Some(1), ..MockConfig::default() }, CudaConfig::default());
        let hanging = MockConfig { ordinal: 1, hang_nth: Some(1), ..MockConfig::default() };
        // That it waits is played: a mock does not know another's events.
        let (waits, _) = mock(hanging, CudaConfig::default());
        let product = block_on(submit(&*hangs, Make::new(10, 0), 1)).unwrap();
        let error =
            block_on(submit(&*waits, Add { ticks: 0, ahead: false }, product)).unwrap_err().to_string();
        assert!(error.contains("what GPU 0 has handed on ahead has not come"), "{error}");
        assert!(waits.retired().is_none());
        while hangs.retired().is_none() {
            std::thread::yield_now();
        }
        let product = block_on(submit(&*waits, Make::new(10, 0), 1)).unwrap();
        assert_eq!(block_on(submit(&*waits, Bring, product)).unwrap(), numbers(1, 10));
    });
}

#[test]
fn what_waits_for_a_hang_hangs_and_everybody_is_told() {
    within_reason(|| {
        let (device, _) =
            mock(MockConfig { hang_nth: Some(1), ..MockConfig::default() }, CudaConfig::default());
        let gpu: &dyn Device = &*device;
        let product = block_on(submit(gpu, Make::new(10, 0), 1)).unwrap();
        let error = block_on(submit(gpu, Bring, product)).unwrap_err().to_string();
        assert!(error.contains("what GPU 0 has handed on ahead has not come"), "{error}");
        while device.retired().is_none() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn who_takes_up_what_another_gpu_did_not_finish_is_told_why_and_that_goes_on() {
    within_reason(|| {
        let product = never_came();
        let (other, _) = mock(MockConfig { ordinal: 1, ..MockConfig::default() }, CudaConfig::default());
        let error = block_on(submit(&*other, Bring, product)).unwrap_err().to_string();
        assert!(
            error.contains("what GPU 0 has handed on ahead has not come: the mock's context is gone"),
            "{error}"
        );
        assert!(other.retired().is_none());
        let product = block_on(submit(&*other, Make::new(10, 0), 1)).unwrap();
        assert_eq!(block_on(submit(&*other, Bring, product)).unwrap(), numbers(1, 10));
    });
}

#[test]
fn what_was_handed_on_can_outlive_its_device_and_keeps_nothing_else_of_it() {
    within_reason(|| {
        let (device, driver) = mock(MockConfig::default(), CudaConfig::default());
        let product = block_on(submit(&*device, Make::new(10, 0), 1)).unwrap();
        let bytes = device.memory().device.used_bytes;
        block_on((&*device as &dyn Device).drain());
        drop(device);
        // Its own thread may still be at its end.
        while driver.used_bytes() > bytes {
            std::thread::yield_now();
        }
        drop(product);
        while driver.used_bytes() > 0 {
            std::thread::yield_now();
        }
    });
}

mod on_a_gpu {
    use super::*;

    fn gpu() -> Option<Arc<CudaDevice>> {
        gpus(CudaConfig { lanes: LANES, ..CudaConfig::default() }).map(|[gpu]| gpu)
    }
    // Some milliseconds: long beside what it takes to hand on, to be woken, and to enqueue.
    ahead!(gpu(), 5_000_000);
}
