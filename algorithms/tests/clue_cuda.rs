//! CLUE through the CUDA device, on a mock driver whose kernels are the real ones, compiled for the CPU: packing, launches, copies
//! and unpacking are those of a GPU, and so must be the results: the host's, bit for bit.
#![cfg(feature = "cuda")]

#[allow(dead_code)] // this test needs no buffers of its own
mod on_host;
mod on_mock;

use std::sync::Arc;

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron_algorithms::clue::{
    Clue, ClueConfig, ClueError, CluePoints, ClueResult, ClueStep, Point, Points, clusterize,
};
use asynchrotron_devices::cuda::CudaDevice;
use asynchrotron_devices::{Columns, Device, DeviceError, Offsets};
use on_mock::gpu;
use proptest::prelude::*;

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
        let Some(device) = gpu(3, 0) else { return Ok(()) };
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
    let Some(device) = gpu(3, 0) else { return };
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
    let Some(device) = gpu(3, 0) else { return };
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
