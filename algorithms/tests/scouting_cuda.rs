//! Candidates → clusters → features → scores as one step of a GPU: on a mock driver whose kernels are the real ones, compiled for the
//! CPU, and, where there is one, on a GPU. What comes back is what the host's algorithms give one by one.
#![cfg(all(feature = "cuda", feature = "onnx"))]

mod crossings;
#[allow(dead_code)] // this test needs no events of the calorimeter
mod models;
#[allow(dead_code)] // this test needs no buffers of its own
mod on_host;
mod on_mock;

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;

use asynchrotron_algorithms::clue::{ClueError, clusterize};
use asynchrotron_algorithms::scouting::*;
use asynchrotron_devices::cuda::CudaDevice;
use asynchrotron_devices::inference::ModelError;
use asynchrotron_devices::onnx::{OnnxConfig, OnnxDevice};
use asynchrotron_devices::{
    Balanced, BatchStep as _, Columns, Device, DeviceConfig, DeviceError, Devices, HostConfig, HostDevice,
    Offsets, Step as _,
};
use crossings::{crossing, generated};
use models::{compositions, replies};
use on_mock::{gpu, real_gpu};
use proptest::prelude::*;

/// The step with a network on the GPU; where there is no ONNX Runtime for that, without, and says so past the test runner.
fn step(config: &ClusterConfig, device: &dyn Device) -> ReconstructionStep {
    let step = ReconstructionStep::new(config).unwrap();
    let without = |why: &dyn Display| {
        let _ = writeln!(std::io::stderr(), "SKIPPED the network of a test: {why}");
        step.clone()
    };
    if let Err(missing) = OnnxDevice::open(OnnxConfig { lanes: 1, ..OnnxConfig::default() }) {
        return without(&missing);
    }
    let tau = TauStep::trained(device).unwrap();
    match tau.not_on_gpu() {
        // Mocks need no provider.
        Some(why @ ModelError::NoProvider { .. }) => without(why),
        Some(why) => panic!("{why}"),
        None => step.with_network(tau),
    }
}

fn run(
    gpu: &CudaDevice,
    step: &ReconstructionStep,
    crossings: &[Arc<BunchCrossing>],
) -> Result<Vec<Reconstructed>, DeviceError> {
    let device: &dyn Device = gpu;
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let input = ReconstructionInput::new(crossings.to_vec());
    let output = executor.block_on(device.run(&Arc::new(step.clone()), input))?;
    Ok(step.unpack(output, ()))
}

/// The algorithms one by one.
fn expected(config: &ClusterConfig, crossing: &BunchCrossing) -> Reconstructed {
    let points = candidate_points(&crossing.candidates);
    let groups = clusterize(&config.clue(), &points, &Offsets::single(points.len())).unwrap();
    let clustering = measure_clusters(config.pt_gev_min, &crossing.candidates, groups.cluster());
    let features = compute_features(&crossing.candidates, &clustering);
    let scores = TauNetwork::trained().evaluate(&features);
    Reconstructed { clustering, features: features.into(), scores }
}

/// What need not be the same to the bit.
#[derive(Clone, Copy)]
struct Tolerance {
    /// On a GPU the mass is another, because its functions are.
    mass: bool,
    /// Of scores, over their size, or 1: the library adds in another order.
    scores: f32,
}

/// On a mock, for events like those that the network was trained with.
const MOCK: Tolerance = Tolerance { mass: false, scores: 1e-5 };

#[track_caller]
fn assert_same(found: &Reconstructed, expected: &Reconstructed, scored: bool, tolerance: Tolerance) {
    assert!(found.clustering.clusters.same_bits(&expected.clustering.clusters), "{found:?}\n{expected:?}");
    assert_eq!(found.clustering.candidates_of_cluster, expected.clustering.candidates_of_cluster);
    let mut features = Features::clone(&found.features);
    if tolerance.mass {
        let pt = expected.clustering.clusters.pt_gev();
        for ((found, &expected), pt) in
            features.mass_gev_mut().iter_mut().zip(expected.features.mass_gev()).zip(pt)
        {
            assert!((*found - expected).abs() <= 1e-6 * (pt + expected), "{found}, not {expected}");
            *found = expected;
        }
    }
    assert!(features.same_bits(&expected.features), "{features:?}\n{:?}", expected.features);
    assert!(found.features.tensor::<f32>().is_ok(), "not packed");
    if !scored {
        return assert_eq!(found.scores.len(), 0);
    }
    assert_eq!(found.scores.len(), expected.scores.len());
    for (found, expected) in found.scores.iter().zip(expected.scores.iter()) {
        for (found, expected) in [(found.tau, expected.tau), (found.log_pt_ratio, expected.log_pt_ratio)] {
            assert!(
                (found - expected).abs() <= tolerance.scores * expected.abs().max(1.0),
                "{found}, not {expected}"
            );
        }
    }
}

fn shared(crossings: Vec<BunchCrossing>) -> Vec<Arc<BunchCrossing>> {
    crossings.into_iter().map(Arc::new).collect()
}

/// Batches of these sizes, one after the other; with the last event of each also in the next one.
fn check(
    gpu: &CudaDevice,
    config: &ClusterConfig,
    events: &[Arc<BunchCrossing>],
    sizes: &[usize],
    tolerance: Tolerance,
) {
    let step = step(config, gpu);
    let scored = step.network().is_some();
    let expected: Vec<Reconstructed> = events.iter().map(|event| expected(config, event)).collect();
    let mut first = 0;
    for &size in sizes.iter().cycle() {
        let batch = first..(first + size).min(events.len());
        let found = run(gpu, &step, &events[batch.clone()]).unwrap();
        assert_eq!(found.len(), batch.len());
        for (found, event) in found.iter().zip(batch.clone()) {
            assert_same(found, &expected[event], scored, tolerance);
        }
        if batch.end == events.len() {
            break;
        }
        first = (batch.end - 1).max(first + 1);
    }
    let memory = gpu.memory();
    assert_eq!((memory.device.used_bytes, memory.pinned.used_bytes), (0, 0));
}

#[test]
fn generated_events_give_what_the_host_gives_whatever_the_batch() {
    let Some(gpu) = gpu(2, 0) else { return };
    let events = shared(generated(0..150));
    check(&gpu, &ClusterConfig::default(), &events, &[1, 64, 3, 17], MOCK);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_events_give_what_the_host_gives(
        events in prop::collection::vec(crossing(80), 1..9),
        pt_gev_min in prop_oneof![Just(0.0_f32), Just(2.5), Just(5.0)],
        sizes in prop::collection::vec(1_usize..6, 1..4),
    ) {
        let Some(gpu) = gpu(1, 0) else { return Ok(()) };
        let config = ClusterConfig { pt_gev_min, density_radius: 0.3, seed_density_gev: 1.0, ..ClusterConfig::default() };
        // Sums are larger where features are of another kind than those that the network knows.
        check(&gpu, &config, &shared(events), &sizes, Tolerance { scores: 1e-4, ..MOCK });
    }
}

#[test]
fn events_of_any_size_share_a_batch() {
    let Some(gpu) = gpu(1, 0) else { return };
    let mut events = generated(0..40);
    let all: Vec<&Candidates> = events.iter().map(|event| &event.candidates).collect();
    let (candidates, _) = Candidates::concat(&all);
    // More than CLUE's small kernel takes, also with empty neighbours and alone.
    assert!(candidates.len() > 1000);
    events.insert(1, BunchCrossing { candidates, ..BunchCrossing::default() });
    events.insert(1, BunchCrossing::default());
    events.truncate(6);
    check(&gpu, &ClusterConfig::default(), &shared(events), &[6, 3, 1], MOCK);
}

#[test]
fn events_without_candidates_or_clusters_give_nothing() {
    let Some(gpu) = gpu(1, 0) else { return };
    let soft = Candidate { pt_gev: 0.5, weight: 1.0, ..Candidate::default() };
    let soft = BunchCrossing { candidates: [soft; 8].into_iter().collect(), ..BunchCrossing::default() };
    let step = step(&ClusterConfig::default(), &*gpu);
    let empty = BunchCrossing::default();
    for events in [vec![], vec![empty.clone()], vec![empty.clone(); 3], vec![soft.clone()], vec![soft, empty]]
    {
        let found = run(&gpu, &step, &shared(events.clone())).unwrap();
        assert_eq!(found.len(), events.len());
        for found in found {
            assert_eq!(
                (found.clustering.clusters.len(), found.features.len(), found.scores.len()),
                (0, 0, 0)
            );
            assert_eq!(found.clustering.candidates_of_cluster.len(), 0);
        }
    }
    assert_eq!(gpu.memory().device.used_bytes, 0);
}

#[test]
fn a_candidate_that_makes_no_sense_is_named_as_the_host_names_it() {
    let Some(gpu) = gpu(1, 0) else { return };
    let config = ClusterConfig::default();
    let step = step(&config, &*gpu);
    for (pt_gev, phi_step) in [(f32::NAN, 0), (-1.0, 0), (f32::INFINITY, 0), (1.0, 1500)] {
        let mut events = generated(0..5);
        events[3].candidates.pt_gev_mut()[2] = pt_gev;
        events[3].candidates.phi_step_mut()[2] = phi_step;
        let events = shared(events);
        let error = run(&gpu, &step, &events).unwrap_err();
        let on_host = step.on_host(ReconstructionInput::new(events)).unwrap_err();
        let why = error.step_error::<ClueError>().unwrap();
        assert_eq!(why.to_string(), on_host.to_string());
        assert!(why.to_string().starts_with("event 3, row 2: "), "{why}");
    }
    assert_eq!(gpu.memory().device.used_bytes, 0);
}

#[test]
fn one_copy_there_and_one_back_for_each_that_comes() {
    let Some(gpu) = gpu(1, 0) else { return };
    let step = step(&ClusterConfig::default(), &*gpu);
    let events = shared(generated(0..30));
    run(&gpu, &step, &events).unwrap();
    let before = gpu.memory();
    run(&gpu, &step, &events).unwrap();
    let after = gpu.memory();
    // The candidates; the results, and the scores, if there is a network.
    let copies = if step.network().is_some() { 3 } else { 2 };
    assert_eq!(after.pinned.requests - before.pinned.requests, copies);
}

#[test]
fn a_chain_gives_the_same_whatever_the_batch_on_gpus_and_on_the_host() {
    let config = ClusterConfig::default();
    let events = generated(0..120);
    let expected: Vec<Reconstructed> = events.iter().map(|event| expected(&config, event)).collect();
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(members) = (0..lanes).map(|ordinal| gpu(lanes, ordinal)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let members = members.into_iter().map(|gpu| gpu as Arc<dyn Device>).collect();
        let reserve = Arc::new(HostDevice::new(HostConfig { lanes: 4, ..HostConfig::default() }));
        let device: Arc<dyn Device> = Arc::new(Balanced::new("cuda:all", members, reserve));
        let step = step(&config, &*device);
        let scored = step.network().is_some();
        assert_eq!(step.on_cuda().unwrap().needs_lanes_thread(), scored);
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_eq!(found.len(), events.len());
        found.iter().zip(&expected).for_each(|(found, expected)| assert_same(found, expected, scored, MOCK));
        if let Some(report) = step.network().and_then(TauStep::model) {
            assert!(report.on_gpu && report.runs > 0, "{report}");
            // Few different numbers of rows.
            assert_eq!(report.rows % 32, 0, "{report}");
        }
    }
    let host = Devices::discover(&DeviceConfig::default()).select("host").unwrap();
    let step = ReconstructionStep::new(&config).unwrap().with_network(TauStep::new(TauNetwork::trained()));
    let found = replies(step, host, "size=7".parse().unwrap(), [2, 32], &events);
    found.iter().zip(&expected).for_each(|(found, expected)| assert_eq!(**found, *expected));
}

#[test]
fn a_network_that_is_not_on_the_gpu_leaves_the_step_to_the_host() {
    let Some(gpu) = gpu(1, 0) else { return };
    let config = ClusterConfig::default();
    let step = ReconstructionStep::new(&config).unwrap();
    assert!(!step.on_cuda().unwrap().needs_lanes_thread());
    let step = step.with_network(TauStep::new(TauNetwork::trained()));
    assert!(step.on_cuda().is_none());
    let events = shared(generated(0..10));
    let found = run(&gpu, &step, &events).unwrap();
    found.iter().zip(&events).for_each(|(found, event)| assert_eq!(*found, expected(&config, event)));
}

#[test]
fn on_a_gpu_generated_events_give_what_the_host_gives() {
    let Some(gpu) = real_gpu() else { return };
    let mut events = generated(0..2000);
    events.insert(100, BunchCrossing::default());
    let all: Vec<&Candidates> = events[..40].iter().map(|event| &event.candidates).collect();
    let (candidates, _) = Candidates::concat(&all);
    events.push(BunchCrossing { candidates, ..BunchCrossing::default() });
    check(
        &gpu,
        &ClusterConfig::default(),
        &shared(events),
        &[64, 1, 8, 33],
        Tolerance { mass: true, ..MOCK },
    );
}
