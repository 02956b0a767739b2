//! What one step leaves on a GPU and another takes from there, on two GPUs: on mock drivers, and on real ones where there are two.
#![cfg(feature = "cuda")]

#[allow(unused_macros, unused_imports, dead_code)] // of the suite, only what ends a test that hangs
mod conformance;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, DeviceColumns, DeviceSlice, Finish, KernelSource, Launch, Work,
};
use asynchrotron_devices::{Balanced, Columns, Device, HostConfig, HostDevice, Step, columns};
use conformance::{block_on, gpus, within_reason};

/// As many as there are tasks, so that nobody ever waits for a lane.
const LANES: usize = 8;

static PRODUCT: KernelSource = KernelSource {
    name: "product.cu",
    source: r#"
        extern "C" __global__ void number(unsigned* numbers, const unsigned* channels, unsigned len) {
            unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
            if (place < len) numbers[place] = 3 * channels[place] + 1;
        }
        extern "C" __global__ void sum(
            unsigned* sums, const unsigned* numbers, const unsigned* channels, unsigned len
        ) {
            unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
            if (place < len) sums[place] = numbers[place] + channels[place];
        }"#,
    options: &[],
};

columns! {
    struct Hits, row Hit { energy: f32, channel: u32 }
}

fn hits(len: usize, salt: u32) -> Hits {
    let hit =
        |place: u32| Hit { energy: place as f32 / 3.0, channel: place.wrapping_mul(2_654_435_761) ^ salt };
    (0..len as u32).map(hit).collect()
}

/// What `Take` makes of what `Leave` has left.
fn sums(hits: &Hits) -> Vec<u32> {
    hits.channel().iter().map(|channel| channel.wrapping_mul(4).wrapping_add(1)).collect()
}

/// What stays on a GPU.
#[derive(Clone)]
struct Product {
    hits: DeviceColumns<Hits>,
    numbers: DeviceSlice<u32>,
}

/// How often a step was enqueued on each GPU.
type Counts = [AtomicUsize; 2];

/// Leaves a collection on a GPU, and numbers computed from it.
#[derive(Default)]
struct Leave {
    counts: Counts,
    /// Hands them on before the GPU is done.
    ahead: bool,
}

impl Step for Leave {
    type Input = Hits;
    type Output = Product;

    fn name(&self) -> &str {
        "leave"
    }

    fn rows(&self, hits: &Hits) -> usize {
        hits.len()
    }

    fn on_host(&self, _: Hits) -> anyhow::Result<Product> {
        anyhow::bail!("nothing lies on a GPU here")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Hits, Product>> {
        Some(self)
    }
}

impl CudaBody<Hits, Product> for Leave {
    fn enqueue(&self, hits: Hits, work: &mut Work<'_>) -> anyhow::Result<Finish<Product>> {
        self.counts[work.ordinal()].fetch_add(1, Relaxed);
        let number = work.kernel(&PRODUCT, "number")?;
        let hits = work.upload_columns(&[&hits])?;
        let (numbers, channels) = (work.allocate::<u32>(hits.len())?, hits.column::<u32>(1));
        let arguments = [(&numbers).into(), (&channels).into(), (hits.len() as u32).into()];
        work.launch(number, Launch::for_each(hits.len(), 128), &arguments)?;
        let product = Product { hits, numbers };
        Ok(if self.ahead { Finish::ahead(product) } else { Finish::when_done(move |_| Ok(product)) })
    }
}

/// Computes on what was left, on whichever GPU.
#[derive(Default)]
struct Take(Counts);

struct Taken {
    hits: Hits,
    sums: Vec<u32>,
    /// Where it was computed.
    on: usize,
    /// Where what was fetched lies, and whether that is the product itself.
    fetched: [(usize, bool); 2],
}

impl Step for Take {
    type Input = Product;
    type Output = Taken;

    fn name(&self) -> &str {
        "take"
    }

    fn rows(&self, product: &Product) -> usize {
        product.hits.len()
    }

    fn lies_on(&self, product: &Product) -> Option<usize> {
        Some(product.hits.ordinal())
    }

    fn on_host(&self, _: Product) -> anyhow::Result<Taken> {
        anyhow::bail!("it lies on a GPU")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Product, Taken>> {
        Some(self)
    }
}

impl CudaBody<Product, Taken> for Take {
    fn enqueue(&self, product: Product, work: &mut Work<'_>) -> anyhow::Result<Finish<Taken>> {
        let on = work.ordinal();
        self.0[on].fetch_add(1, Relaxed);
        let sum = work.kernel(&PRODUCT, "sum")?;
        let hits = work.fetch_columns(&product.hits)?;
        let numbers = work.fetch(&product.numbers)?;
        let fetched = [
            (hits.ordinal(), hits.memory().address() == product.hits.memory().address()),
            (numbers.ordinal(), numbers.address() == product.numbers.address()),
        ];
        assert_eq!((hits.layout(), numbers.len()), (product.hits.layout(), product.numbers.len()));
        let (sums, channels) = (work.allocate::<u32>(hits.len())?, hits.column::<u32>(1));
        let arguments = [(&sums).into(), (&numbers).into(), (&channels).into(), (hits.len() as u32).into()];
        work.launch(sum, Launch::for_each(hits.len(), 128), &arguments)?;
        let (hits, sums) = (work.download_columns(&hits)?, work.download(&sums)?);
        Ok(Finish::when_done(move |landed| {
            Ok(Taken { hits: hits.read(landed), sums: sums.read(landed).to_vec(), on, fetched })
        }))
    }
}

fn kernels() -> HashMap<String, MockKernel> {
    let number: MockKernel = Arc::new(|_, arguments| {
        // SAFETY: the arguments are those of `Leave`.
        let (numbers, channels, len) = unsafe {
            (
                *arguments[0].cast::<*mut u32>(),
                *arguments[1].cast::<*const u32>(),
                *arguments[2].cast::<u32>() as usize,
            )
        };
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *numbers.add(place) = (*channels.add(place)).wrapping_mul(3).wrapping_add(1) };
        }
    });
    let sum: MockKernel = Arc::new(|_, arguments| {
        // SAFETY: the arguments are those of `Take`.
        let (sums, numbers, channels, len) = unsafe {
            (
                *arguments[0].cast::<*mut u32>(),
                *arguments[1].cast::<*const u32>(),
                *arguments[2].cast::<*const u32>(),
                *arguments[3].cast::<u32>() as usize,
            )
        };
        for place in 0..len {
            // SAFETY: as above.
            unsafe { *sums.add(place) = (*numbers.add(place)).wrapping_add(*channels.add(place)) };
        }
    });
    HashMap::from([("number".to_owned(), number), ("sum".to_owned(), sum)])
}

type Gpus = [Arc<CudaDevice>; 2];

fn both(gpus: &Gpus) -> Arc<dyn Device> {
    let reserve = HostDevice::new(HostConfig { lanes: 2 * LANES, ..HostConfig::default() });
    let members = gpus.iter().map(|gpu| gpu.clone() as _).collect();
    Arc::new(Balanced::new("both", members, Arc::new(reserve)))
}

fn assert_nothing_lies_there(gpus: &Gpus) {
    for gpu in gpus {
        block_on((&**gpu as &dyn Device).drain());
        let counts = gpu.memory();
        assert_eq!((counts.device.used_bytes, counts.pinned.used_bytes), (0, 0), "{counts:?}");
    }
}

fn what_lies_on_one_gpu_is_fetched_by_the_other(gpus: &Gpus) {
    fetched_by_the_other(gpus, false);
}

fn what_is_handed_on_ahead_is_waited_for_by_the_other(gpus: &Gpus) {
    fetched_by_the_other(gpus, true);
}

fn fetched_by_the_other(gpus: &Gpus, ahead: bool) {
    let leave = Arc::new(Leave { ahead, ..Leave::default() });
    let take = Arc::new(Take::default());
    let [from, to]: [&dyn Device; 2] = [&*gpus[0], &*gpus[1]];
    for len in [0, 1, 1000, 1_000_000] {
        let hits = hits(len, 7);
        let product = block_on(from.run(&leave, hits.clone())).unwrap();
        assert_eq!((product.hits.ordinal(), product.numbers.ordinal()), (0, 0));
        // On its own GPU it is not copied, and on the other one more than once.
        for (device, on) in [(to, 1), (from, 0), (to, 1)] {
            let taken = block_on(device.run(&take, product.clone())).unwrap();
            assert_eq!((taken.on, taken.fetched), (on, [(on, on == 0); 2]));
            assert!(taken.hits.same_bits(&hits) && taken.sums == sums(&hits), "{len} hits on GPU {on}");
        }
        assert!(gpus[0].memory().device.used_bytes > 0, "the product lies there");
        drop(product);
        assert_nothing_lies_there(gpus);
    }
}

fn with_nothing_else_going_on_it_is_taken_where_it_lies(gpus: &Gpus) {
    let (leave, take, device) = (Arc::new(Leave::default()), Arc::new(Take::default()), both(gpus));
    for on in [1, 0, 1, 1, 0] {
        let hits = hits(1000, 3);
        let product = block_on((&*gpus[on] as &dyn Device).run(&leave, hits.clone())).unwrap();
        let taken = block_on(device.run(&take, product)).unwrap();
        assert_eq!((taken.on, taken.fetched), (on, [(on, true); 2]));
        assert_eq!(taken.sums, sums(&hits));
    }
    assert_nothing_lies_there(gpus);
}

fn many_from_several_tasks_come_out_right_on_both(gpus: &Gpus) {
    many(gpus, false);
}

fn many_ahead_come_out_right_on_both(gpus: &Gpus) {
    many(gpus, true);
}

fn many(gpus: &Gpus, ahead: bool) {
    let leave = Arc::new(Leave { ahead, ..Leave::default() });
    let (take, device) = (Arc::new(Take::default()), both(gpus));
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    executor.block_on(async {
        let tasks: Vec<_> = (0..LANES as u32)
            .map(|task| {
                let (leave, take, device) = (leave.clone(), take.clone(), device.clone());
                tokio::spawn(async move {
                    for n in 0..50 {
                        let hits = hits(100 + (task as usize * 37 + n * 11) % 1000, task);
                        let product = device.run(&leave, hits.clone()).await.unwrap();
                        let taken = device.run(&take, product).await.unwrap();
                        assert!(taken.hits.same_bits(&hits));
                        assert_eq!(taken.sums, sums(&hits));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        device.drain().await;
    });
    for counts in [&leave.counts, &take.0] {
        let [first, second] = counts.each_ref().map(|count| count.load(Relaxed));
        assert!(first > 0 && second > 0 && first + second == 50 * LANES, "{first} and {second}");
    }
    assert_nothing_lies_there(gpus);
}

macro_rules! on_two {
    ($gpus:expr) => {
        super::on_two!(@tests $gpus,
            what_lies_on_one_gpu_is_fetched_by_the_other,
            what_is_handed_on_ahead_is_waited_for_by_the_other,
            with_nothing_else_going_on_it_is_taken_where_it_lies,
            many_from_several_tasks_come_out_right_on_both,
            many_ahead_come_out_right_on_both,
        );
    };
    (@tests $gpus:expr, $($test:ident,)+) => {
        $(#[test]
        fn $test() {
            within_reason(|| {
                if let Some(gpus) = $gpus() {
                    super::$test(&gpus);
                }
            });
        })+
    };
}
use on_two;

mod on_mocks {
    use super::*;

    fn gpu(mock: MockConfig) -> Arc<CudaDevice> {
        let latency = Duration::from_micros(100);
        let driver = MockDriver::new(MockConfig { latency, kernels: kernels(), ..mock });
        let hang_after = Duration::from_millis(500);
        let config = CudaConfig { lanes: LANES, hang_after, ..CudaConfig::default() };
        Arc::new(CudaDevice::open(Arc::new(driver), config).unwrap())
    }

    fn two() -> Option<Gpus> {
        Some([0, 1].map(|ordinal| gpu(MockConfig { ordinal, ..MockConfig::default() })))
    }
    on_two!(two);

    #[test]
    fn what_lies_on_a_gpu_that_has_failed_is_refused_and_the_other_goes_on() {
        within_reason(|| {
            let fails = gpu(MockConfig { crash_nth: Some(4), ..MockConfig::default() });
            let other = gpu(MockConfig { ordinal: 1, ..MockConfig::default() });
            let leave = Arc::new(Leave::default());
            let product = block_on((&*fails as &dyn Device).run(&leave, hits(1000, 0))).unwrap();
            while fails.retired().is_none() {
                let _ = block_on((&*fails as &dyn Device).run(&leave, hits(1000, 0)));
            }
            let take = |product| block_on((&*other as &dyn Device).run(&Arc::<Take>::default(), product));
            let error = take(product).err().expect("it is lost").to_string();
            assert!(error.contains("what GPU 0 has left is lost"), "{error}");
            assert!(other.retired().is_none());
            let product = block_on((&*other as &dyn Device).run(&leave, hits(1000, 5))).unwrap();
            assert_eq!(take(product).unwrap().sums, sums(&hits(1000, 5)));
        });
    }

    #[test]
    fn what_outlives_its_device_goes_back_later() {
        let driver = Arc::new(MockDriver::new(MockConfig { kernels: kernels(), ..MockConfig::default() }));
        let device = CudaDevice::open(driver.clone(), CudaConfig::default()).unwrap();
        let product = block_on((&device as &dyn Device).run(&Arc::new(Leave::default()), hits(1000, 0)));
        block_on((&device as &dyn Device).drain());
        drop(device);
        // Its own thread may still be at its end.
        within_reason(move || {
            let product = product.unwrap();
            assert!(driver.used_bytes() > 0);
            drop(product);
            while driver.used_bytes() > 0 {
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn what_a_gpu_that_hangs_may_still_read_stays() {
        within_reason(|| {
            let from = gpu(MockConfig::default());
            let hangs = gpu(MockConfig { ordinal: 1, hang_nth: Some(1), ..MockConfig::default() });
            let product = block_on((&*from as &dyn Device).run(&Arc::new(Leave::default()), hits(1000, 0)));
            let taken = block_on((&*hangs as &dyn Device).run(&Arc::<Take>::default(), product.unwrap()));
            assert!(taken.is_err());
            assert!(from.memory().device.used_bytes > 0);
        });
    }
}

mod on_a_gpu {
    use super::*;

    fn two() -> Option<Gpus> {
        gpus(CudaConfig { lanes: LANES, ..CudaConfig::default() })
    }
    on_two!(two);

    #[test]
    fn what_nobody_else_keeps_stays_until_it_was_copied() {
        let Some(gpus) = two() else { return };
        let (leave, take) = (Arc::new(Leave::default()), Arc::new(Take::default()));
        let [from, to]: [&dyn Device; 2] = [&*gpus[0], &*gpus[1]];
        for salt in 0..20 {
            let hits = hits(100_000, salt);
            let product = block_on(from.run(&leave, hits.clone())).unwrap();
            let lane = to.lanes().try_take().unwrap();
            let taken = to.submit(lane, take.clone(), product);
            // This would be written where the product lies, if that had been given back.
            block_on(from.run(&leave, Hits::with_len(100_000))).unwrap();
            let taken = block_on(taken).unwrap();
            assert!(taken.hits.same_bits(&hits) && taken.sums == sums(&hits));
            drop(taken);
            assert_nothing_lies_there(&gpus);
        }
    }
}
