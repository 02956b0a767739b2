//! CLUE through the CUDA device, on a mock driver whose kernels are the real ones, compiled for the CPU: packing, launches, copies
//! and unpacking are those of a GPU, and so must be the results: the host's, bit for bit.
#![cfg(feature = "cuda")]

#[allow(dead_code)] // this test needs no buffers of its own
mod on_host;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron_algorithms::clue::{
    Clue, ClueConfig, ClueError, CluePoints, ClueResult, ClueStep, Point, Points, clusterize,
};
use asynchrotron_algorithms::kernels::CLUE;
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};
use asynchrotron_devices::{Columns, Device, DeviceError, Offsets};
use on_host::Kernels;
use proptest::prelude::*;

const NAMES: [&str; 10] = [
    "clue_bounds",
    "clue_histogram",
    "clue_scan",
    "clue_fill",
    "clue_sort",
    "clue_density",
    "clue_nearest",
    "clue_number",
    "clue_assign",
    "clue_small",
];

/// A GPU that runs the kernels on the CPU; `None` where they cannot be compiled for it.
fn gpu() -> Option<Arc<CudaDevice>> {
    static KERNELS: OnceLock<Option<Arc<Kernels>>> = OnceLock::new();
    let library = KERNELS.get_or_init(|| Kernels::build(CLUE.source).map(Arc::new)).as_ref()?;
    let kernels = NAMES.map(|name| {
        let library = library.clone();
        let kernel: MockKernel = Arc::new(move |launch, arguments| {
            let shape = [launch.grid[0] as usize, launch.block[0] as usize];
            let mut arguments = arguments.to_vec();
            // SAFETY: the arguments are those that the step passes to a GPU, in memory of the mock's.
            let code = unsafe { library.launch(name, shape, launch.shared_bytes as usize, &mut arguments) };
            assert_eq!(code, 0, "{name}");
        });
        (name.to_owned(), kernel)
    });
    let mock = MockConfig {
        kernels: HashMap::from(kernels),
        latency: Duration::from_micros(50),
        ..MockConfig::default()
    };
    let config = CudaConfig { lanes: 3, ..CudaConfig::default() };
    Some(Arc::new(CudaDevice::open(Arc::new(MockDriver::new(mock)), config).unwrap()))
}

fn run(
    device: &CudaDevice,
    config: ClueConfig,
    points: Points,
    events: Offsets,
) -> Result<ClueResult, DeviceError> {
    let device: &dyn Device = device;
    let step = Arc::new(ClueStep::new(config).unwrap());
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    executor.block_on(device.run(&step, CluePoints { points: vec![Arc::new(points)], events }))
}

fn point() -> impl Strategy<Value = Point> {
    // Coarse coordinates and weights: ties in distance and density are frequent.
    (0..40_i32, -20..20_i32, 0..4_u32).prop_map(|(x, y, weight)| Point {
        x: x as f32 * 0.5,
        y: y as f32 * 0.5,
        weight: weight as f32 * 0.7,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn gives_what_the_host_gives_in_any_batch(
        events in prop::collection::vec(prop::collection::vec(point(), 0..90), 1..12),
        large in prop::option::of(prop::collection::vec(point(), 513..700)),
        periodic: bool,
    ) {
        let Some(device) = gpu() else { return Ok(()) };
        // With one event that is not small, all go through the nine launches.
        let events: Vec<Points> = events.into_iter().chain(large).map(|event| Points::from_rows(&event)).collect();
        let (points, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
        let config = ClueConfig {
            density_radius: 1.5,
            seed_density: 2.0,
            y_period: periodic.then_some(20.0),
            ..ClueConfig::default()
        };
        let expected = clusterize(&config, &points, &offsets).unwrap();
        let found = run(&device, config, points, offsets).unwrap();
        prop_assert!(found.same_bits(&expected));
        prop_assert_eq!(device.memory().device.used_bytes, 0);
    }
}

#[test]
fn a_point_that_makes_no_sense_is_named_as_the_host_names_it() {
    let Some(device) = gpu() else { return };
    for len in [3, 600] {
        let mut points = Points::from_rows(&vec![Point { x: 1.0, y: 1.0, weight: 1.0 }; len]);
        points.weight_mut()[2] = -1.0;
        let offsets = Offsets::from_counts([1, len - 1]);
        let expected = clusterize(&ClueConfig::default(), &points, &offsets).unwrap_err();
        let error = run(&device, ClueConfig::default(), points, offsets).unwrap_err();
        assert_eq!(error.step_error::<ClueError>(), Some(&expected));
    }
}

#[test]
fn a_chain_gives_the_same_with_batches_of_any_size() {
    let Some(device) = gpu() else { return };
    let events: Vec<Points> = (0..60_u32)
        .map(|event| {
            let row = |i: u32| {
                let mixed = (event * 7919 + i * 104_729) % 1000;
                Point { x: (mixed % 37) as f32, y: (mixed % 23) as f32, weight: (mixed % 5) as f32 }
            };
            (0..event % 13 * 9).map(row).collect()
        })
        .collect();
    let config = ClueConfig { density_radius: 2.0, seed_density: 3.0, ..ClueConfig::default() };
    let expected: Vec<ClueResult> = events
        .iter()
        .map(|event| clusterize(&config, event, &Offsets::single(event.len())).unwrap())
        .collect();
    for policy in [BatchPolicy::Off, BatchPolicy::Size(7), BatchPolicy::default()] {
        let batches = BatchConfig::default().with_policy(policy);
        let clue = Clue::batched(config, device.clone(), batches).unwrap();
        let mut chain = Chain::new("clue");
        let points = chain.source::<Points>("points");
        let clusters = chain.offload("clusterize", (points,), clue.batcher());
        let expected = expected.clone();
        chain.sink("check", clusters, move |event: EventId, found: Arc<ClueResult>| {
            ensure!(found.same_bits(&expected[event.0 as usize]), "event {event}");
            Ok(())
        });
        let config = Config { slots: 16, threads: 2, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(events.clone())).unwrap();
        assert_eq!(report.events, 60);
    }
    assert_eq!(device.memory().device.used_bytes, 0);
}
