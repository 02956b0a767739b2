//! GPUs on a mock driver, and a real one where there is one: the conformance suite, and what only this device promises.
#![cfg(feature = "cuda")]

mod conformance;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, Finish, KernelSource, Launch, Waiting, Work,
};
use asynchrotron_devices::{Device, DeviceError, DeviceErrorKind, Step};
use conformance::{block_on, gpus, within_reason};

static TWICE: KernelSource = KernelSource {
    name: "twice.cu",
    source: r#"
        extern "C" __global__ void twice(unsigned* numbers, unsigned len) {
            unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
            if (place < len) numbers[place] *= 2;
        }"#,
    options: &[],
};

/// Doubles numbers on a GPU; fails where it is told to.
#[derive(Default)]
struct Double {
    fails_half_way: bool,
    panics_half_way: bool,
    own_thread: bool,
}

impl Step for Double {
    type Input = Vec<u32>;
    type Output = Vec<u32>;

    fn name(&self) -> &str {
        "double"
    }

    fn rows(&self, input: &Vec<u32>) -> usize {
        input.len()
    }

    fn on_host(&self, input: Vec<u32>) -> anyhow::Result<Vec<u32>> {
        Ok(input.iter().map(|number| number * 2).collect())
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Vec<u32>, Vec<u32>>> {
        Some(self)
    }
}

impl CudaBody<Vec<u32>, Vec<u32>> for Double {
    fn enqueue(&self, input: Vec<u32>, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<u32>>> {
        let double = work.kernel(&TWICE, "twice")?;
        let numbers = work.upload(&input)?;
        let threads = Launch::for_each(numbers.len(), 128);
        work.launch(double, threads, &[(&numbers).into(), (numbers.len() as u32).into()])?;
        anyhow::ensure!(!self.fails_half_way, "half way");
        assert!(!self.panics_half_way, "half way");
        let back = work.download(&numbers)?;
        Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
    }

    fn needs_lanes_thread(&self) -> bool {
        self.own_thread
    }
}

fn kernels() -> HashMap<String, MockKernel> {
    let double: MockKernel = Arc::new(|launch, arguments| {
        // SAFETY: the arguments are those of `Double`.
        let (numbers, len) =
            unsafe { (*arguments[0].cast::<*mut u32>(), *arguments[1].cast::<u32>() as usize) };
        assert!((launch.grid[0] * launch.block[0]) as usize >= len);
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *numbers.add(place) *= 2 };
        }
    });
    HashMap::from([("twice".to_owned(), double)])
}

fn config(waiting: Waiting) -> CudaConfig {
    CudaConfig { lanes: 3, waiting, ..CudaConfig::default() }
}

/// The driver thread enqueues everything.
fn left() -> CudaConfig {
    CudaConfig { driver_above: 0, ..config(Waiting::Ask) }
}

fn gpu(mock: MockConfig, config: CudaConfig) -> (Arc<CudaDevice>, Arc<MockDriver>) {
    let driver = Arc::new(MockDriver::new(MockConfig { kernels: kernels(), ..mock }));
    let device = CudaDevice::open(driver.clone(), config).unwrap();
    (Arc::new(device), driver)
}

macro_rules! conforms {
    ($($name:ident: $config:expr, $latency_us:expr;)+) => {
        $(mod $name {
            use super::*;

            fn cuda() -> Arc<dyn Device> {
                let latency = Duration::from_micros($latency_us);
                gpu(MockConfig { latency, ..MockConfig::default() }, $config).0
            }
            super::conformance::suite!(cuda);

            #[test]
            fn a_body_for_the_gpu_computes_what_the_hosts_does() {
                within_reason(|| {
                    let device = cuda();
                    for len in [0, 1, 1000] {
                        let numbers: Vec<u32> = (0..len).collect();
                        for own_thread in [false, true] {
                            let step = Arc::new(Double { own_thread, ..Double::default() });
                            assert_eq!(
                                block_on(device.run(&step, numbers.clone())).unwrap(),
                                step.on_host(numbers.clone()).unwrap()
                            );
                        }
                    }
                });
            }

            #[test]
            fn many_submissions_at_once_come_to_their_ends() {
                within_reason(|| many(&cuda()));
            }
        })+
    };
}

conforms! {
    asked: config(Waiting::Ask), 30;
    asked_at_once: config(Waiting::Ask), 0;
    left_to_the_driver_thread: left(), 30;
    left_to_the_driver_thread_at_once: left(), 0;
    called_back: config(Waiting::CallBack), 30;
    threads: config(Waiting::Thread), 30;
    blocking: config(Waiting::Block), 30;
}

/// The same on a GPU.
mod on_a_gpu {
    use super::*;

    fn real() -> Option<Arc<CudaDevice>> {
        gpus(config(Waiting::Ask)).map(|[gpu]| gpu)
    }

    fn cuda() -> Arc<dyn Device> {
        real().unwrap()
    }
    super::conformance::suite!(cuda, || real().is_some());

    #[test]
    fn a_body_for_the_gpu_computes_what_the_hosts_does() {
        let Some(device) = real() else { return };
        within_reason(move || {
            let device: Arc<dyn Device> = device;
            for len in [0, 1, 1000, 1_000_000] {
                let numbers: Vec<u32> = (0..len).collect();
                for own_thread in [false, true] {
                    let step = Arc::new(Double { own_thread, ..Double::default() });
                    let found = block_on(device.run(&step, numbers.clone())).unwrap();
                    assert_eq!(found, step.on_host(numbers.clone()).unwrap());
                }
            }
        });
    }

    #[test]
    fn copies_of_any_size_arrive_in_order() {
        let Some(device) = real() else { return };
        within_reason(move || {
            let device: Arc<dyn Device> = device;
            pieces_come_back(&device);
        });
    }

    #[test]
    fn a_steady_state_asks_the_driver_for_no_memory() {
        let Some(device) = real() else { return };
        within_reason(move || {
            let device_dyn: Arc<dyn Device> = device.clone();
            (0..10).for_each(|_| many(&device_dyn));
            let counts = device.memory();
            // How many submissions overlap differs from run to run, up to one for each lane.
            assert!(
                counts.device.driver_allocations <= 3 && counts.pinned.driver_allocations <= 6,
                "{counts:?}"
            );
            assert_eq!((counts.device.used_bytes, counts.pinned.used_bytes), (0, 0));
        });
    }

    #[test]
    fn a_kernel_that_does_not_compile_shows_where() {
        static BROKEN: KernelSource = KernelSource {
            name: "broken.cu",
            source: "extern \"C\" __global__ void f() {\n  oops;\n}",
            options: &[],
        };
        let Some(device) = real() else { return };
        let error = device.driver().compile(&BROKEN, false).unwrap_err().to_string();
        assert!(error.contains("broken.cu(2)") && error.contains("oops"), "{error}");
    }
}

/// Every way to wait.
fn all() -> [CudaConfig; 5] {
    let [ask, call_back, thread, block] =
        [Waiting::Ask, Waiting::CallBack, Waiting::Thread, Waiting::Block].map(config);
    [ask, left(), call_back, thread, block]
}

fn many(device: &Arc<dyn Device>) {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    executor.block_on(async {
        let tasks: Vec<_> = (0..200_u32)
            .map(|number| {
                let device = device.clone();
                tokio::spawn(async move { device.run(&Arc::new(Double::default()), vec![number; 5]).await })
            })
            .collect();
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap().unwrap(), [number * 2; 5]);
        }
        device.drain().await;
    });
    assert_eq!(device.lanes().available(), 3);
}

fn double(device: &dyn Device, step: Double) -> Result<Vec<u32>, DeviceError> {
    block_on(device.run(&Arc::new(step), vec![1, 2, 3]))
}

#[test]
fn a_launch_that_fails_costs_its_own_submission() {
    for config in all() {
        within_reason(move || {
            let (device, _) = gpu(MockConfig { fail_nth: Some(2), ..MockConfig::default() }, config);
            let device: Arc<dyn Device> = device;
            assert!(double(&*device, Double::default()).is_ok());
            let error = double(&*device, Double::default()).unwrap_err();
            assert!(matches!(error.kind(), DeviceErrorKind::Failed(_)), "{error}");
            assert!(error.to_string().contains("the mock fails launch 2"), "{error}");
            assert!(double(&*device, Double::default()).is_ok());
            assert_eq!(device.lanes().available(), 3);
        });
    }
}

#[test]
fn an_error_or_panic_half_way_arrives_when_the_gpu_is_done_with_the_buffers() {
    within_reason(|| {
        let (device, driver) = gpu(
            MockConfig { latency: Duration::from_millis(2), ..MockConfig::default() },
            config(Waiting::Ask),
        );
        let steps = [
            Double { fails_half_way: true, ..Double::default() },
            Double { panics_half_way: true, ..Double::default() },
        ];
        for step in steps {
            let error = double(&*device as &dyn Device, step).unwrap_err();
            assert!(format!("{error:#} {:?}", error.kind()).contains("half way"), "{error}");
            assert_eq!(device.memory().device.used_bytes, 0);
            assert_eq!(device.lanes().available(), 3);
        }
        assert!(driver.used_bytes() > 0, "the pools keep what they have");
    });
}

#[test]
fn a_lost_context_reaches_everybody_and_retires_the_gpu() {
    for config in all() {
        within_reason(move || {
            let mock =
                MockConfig { crash_nth: Some(3), latency: Duration::from_millis(1), ..MockConfig::default() };
            let (device, _) = gpu(mock, config);
            let device_dyn: Arc<dyn Device> = device.clone();
            let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
            let errors: Vec<_> = executor.block_on(async {
                let tasks: Vec<_> = (0..20_u32)
                    .map(|number| {
                        let device = device_dyn.clone();
                        tokio::spawn(
                            async move { device.run(&Arc::new(Double::default()), vec![number]).await },
                        )
                    })
                    .collect();
                let mut errors = Vec::new();
                for task in tasks {
                    errors.extend(task.await.unwrap().err());
                }
                errors
            });
            assert!(!errors.is_empty(), "{config:?}");
            for error in &errors {
                let kind = error.kind();
                assert!(matches!(kind, DeviceErrorKind::LaneLost | DeviceErrorKind::Closed), "{error}");
            }
            assert!(device.retired().is_some());
            block_on(device.drain());
        });
    }
}

#[test]
fn a_hang_is_told_in_time_and_keeps_its_buffers() {
    for config in [config(Waiting::Ask), left(), config(Waiting::CallBack)] {
        within_reason(move || {
            let config = CudaConfig { hang_after: Duration::from_millis(20), ..config };
            let (device, driver) = gpu(MockConfig { hang_nth: Some(1), ..MockConfig::default() }, config);
            let error = double(&*device as &dyn Device, Double::default()).unwrap_err();
            assert!(error.to_string().contains("has not come to the end of it in 20ms"), "{error}");
            assert!(device.memory().device.used_bytes > 0, "the GPU may still write");
            let error = double(&*device as &dyn Device, Double::default()).unwrap_err();
            assert!(matches!(error.kind(), DeviceErrorKind::Closed), "{error}");
            drop(device);
            drop(driver);
        });
    }
}

#[test]
fn memory_that_runs_out_is_told_as_such_and_comes_back() {
    within_reason(|| {
        let (device, _) =
            gpu(MockConfig { memory_bytes: 1 << 16, ..MockConfig::default() }, config(Waiting::Ask));
        let device: Arc<dyn Device> = device;
        let step = Arc::new(Double::default());
        for _ in 0..3 {
            let error = block_on(device.run(&step, vec![1; 1 << 15])).unwrap_err();
            assert!(matches!(error.kind(), DeviceErrorKind::OutOfMemory), "{error}");
            assert_eq!(block_on(device.run(&step, vec![1; 100])).unwrap(), [2; 100]);
        }
    });
}

#[test]
fn a_steady_state_asks_the_driver_for_no_memory() {
    within_reason(|| {
        let (device, _) = gpu(MockConfig::default(), config(Waiting::Ask));
        let device_dyn: Arc<dyn Device> = device.clone();
        many(&device_dyn);
        let before = device.memory();
        for _ in 0..10 {
            many(&device_dyn);
        }
        let after = device.memory();
        assert!(after.device.requests >= before.device.requests + 2000);
        // How many submissions overlap differs from run to run, up to one for each lane.
        assert!(after.device.driver_allocations <= 3 && after.pinned.driver_allocations <= 6, "{after:?}");
        assert_eq!((after.device.used_bytes, after.pinned.used_bytes), (0, 0));
    });
}

#[test]
fn dropping_the_device_gives_everything_back() {
    within_reason(|| {
        let (device, driver) = gpu(MockConfig::default(), config(Waiting::Ask));
        let device: Arc<dyn Device> = device;
        many(&device);
        assert!(driver.used_bytes() > 0);
        drop(device);
        // The driver thread may be on its last look.
        while Arc::strong_count(&driver) > 1 {
            std::thread::yield_now();
        }
        assert_eq!(driver.used_bytes(), 0);
    });
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let driver = Arc::new(MockDriver::new(MockConfig::default()));
    let device: Arc<dyn Device> = Arc::new(CudaDevice::open(driver, config(Waiting::Ask)).unwrap());
    let error = double(&*device, Double::default()).unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("twice.cu") && error.contains("the mock has no kernel `twice`"), "{error}");
}

#[test]
fn asked_for_names_for_profilers_it_says_whether_there_are_any() {
    for nvtx in [false, true] {
        let (device, _) = gpu(MockConfig::default(), CudaConfig { nvtx, ..config(Waiting::Ask) });
        let device: Arc<dyn Device> = device;
        assert_eq!(device.capability().description.contains("NVTX"), nvtx);
        assert!(double(&*device, Double::default()).is_ok());
    }
}

/// Moves bytes to the GPU and back, in pieces, some of which are filled with zeros, or with this.
struct Pieces(u8);

impl Step for Pieces {
    type Input = Vec<u8>;
    type Output = Vec<u8>;

    fn name(&self) -> &str {
        "pieces"
    }

    fn rows(&self, bytes: &Vec<u8>) -> usize {
        bytes.len()
    }

    fn on_host(&self, bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let (third, len) = (bytes.len() / 3, bytes.len());
        let zeros = vec![0; third];
        Ok([&bytes[third..], &bytes[..third], &zeros, &vec![self.0; len - third], &bytes[..third]].concat())
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Vec<u8>, Vec<u8>>> {
        Some(self)
    }
}

impl CudaBody<Vec<u8>, Vec<u8>> for Pieces {
    fn enqueue(&self, input: Vec<u8>, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<u8>>> {
        let (third, len) = (input.len() / 3, input.len());
        let bytes = work.upload(&input)?;
        let first = work.download(&bytes.part(third..len))?;
        let second = work.download(&bytes.part(0..third))?;
        // What is overwritten was read before.
        let written = work.upload(&input)?;
        work.fill(&written.part(third..2 * third), 0)?;
        let third_piece = work.download(&written.part(third..2 * third))?;
        work.fill(&bytes.part(third..len), self.0)?;
        let fourth = work.download(&bytes.part(third..len))?;
        let fifth = work.download(&bytes.part(0..third))?;
        Ok(Finish::when_done(move |landed| {
            Ok([&first, &second, &third_piece, &fourth, &fifth].map(|piece| piece.read(landed)).concat())
        }))
    }
}

fn pieces_come_back(device: &Arc<dyn Device>) {
    let around = |len: usize| len - 2..len + 3;
    let small = (0..70).chain(around(4096)).chain(around(16 << 10)).chain(around(3 * (16 << 10)));
    for len in small.chain(around(256 << 10)).chain(around(3 * (256 << 10))) {
        let bytes: Vec<u8> = (0..len).map(|place| (place % 251) as u8).collect();
        // Zeros are a kernel's, others are the copy engines'.
        for byte in [0, 7] {
            let found = block_on(device.run(&Arc::new(Pieces(byte)), bytes.clone())).unwrap();
            assert!(found == Pieces(byte).on_host(bytes.clone()).unwrap(), "{len} bytes");
        }
    }
}

#[test]
fn copies_of_any_size_arrive_in_order() {
    for config in all() {
        within_reason(move || {
            let device: Arc<dyn Device> = gpu(MockConfig::default(), config).0;
            pieces_come_back(&device);
        });
    }
}

#[test]
fn the_same_kernels_again_are_launched_as_one() {
    for config in [config(Waiting::Ask), left()] {
        within_reason(move || {
            let config = CudaConfig { lanes: 1, ..config };
            let (device, driver) = gpu(MockConfig::default(), config);
            let of_gpu: Arc<dyn Device> = device.clone();
            for number in 0..10_u32 {
                // Other numbers, and sometimes more of them.
                let numbers = vec![number; 5 + 1000 * (number as usize / 4)];
                let found = block_on(of_gpu.run(&Arc::new(Double::default()), numbers.clone())).unwrap();
                assert_eq!(found, numbers.iter().map(|number| 2 * number).collect::<Vec<_>>());
            }
            assert_eq!((driver.replays(), driver.launches(), driver.graphs()), (9, 10, 1));
            // Other sequences have graphs of their own, but not more than a lane remembers.
            pieces_come_back(&of_gpu);
            assert!((2..=8).contains(&driver.graphs()), "{}", driver.graphs());
            drop((device, of_gpu));
            while driver.graphs() > 0 {
                std::thread::yield_now();
            }
        });
    }
}

#[test]
fn a_graph_of_which_a_launch_fails_costs_its_own_submission() {
    within_reason(|| {
        let config = CudaConfig { lanes: 1, ..config(Waiting::Ask) };
        let (device, driver) = gpu(MockConfig { fail_nth: Some(4), ..MockConfig::default() }, config);
        let device: Arc<dyn Device> = device;
        let outcomes: Vec<bool> = (0..8).map(|_| double(&*device, Double::default()).is_ok()).collect();
        assert_eq!(outcomes, [true, true, true, false, true, true, true, true]);
        assert_eq!(driver.graphs(), 1);
    });
}
