//! The trained models on ONNX Runtime, in chains, against the same networks in plain Rust.
#![cfg(feature = "onnx")]

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher};
use asynchrotron::prelude::*;
use asynchrotron_algorithms::calorimeter::{self, *};
use asynchrotron_algorithms::clue::clusterize;
use asynchrotron_algorithms::scouting::{self, *};
use asynchrotron_devices::onnx::{OnnxConfig, OnnxDevice};
use asynchrotron_devices::{BatchStep, Columns, Device, HostDevice, LaneId, Offsets, OnDevice, Step};

/// A device, if ONNX Runtime is here; if not, says so past the test runner.
fn onnx(lanes: usize) -> Option<Arc<dyn Device>> {
    match OnnxDevice::open(OnnxConfig { lanes, ..OnnxConfig::default() }) {
        Ok(device) => Some(Arc::new(device)),
        Err(missing) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED a test of ONNX Runtime: {missing}");
            None
        }
    }
}

/// How batches form, with how many threads, slots and lanes.
fn compositions() -> Vec<(BatchPolicy, [usize; 3])> {
    let policies = ["off", "greedy", "size=7", "size=100", "adaptive", "fixed=5"];
    let policies = policies.into_iter().map(|policy| policy.parse().unwrap());
    policies.zip([[1, 1, 1], [2, 32, 1], [2, 32, 2], [1, 128, 2], [2, 128, 2], [2, 16, 2]]).collect()
}

/// What the step gives for each of these events, in a chain.
fn replies<S, E>(
    step: S,
    device: Arc<dyn Device>,
    policy: BatchPolicy,
    [threads, slots]: [usize; 2],
    events: &[E],
) -> Vec<Arc<S::Reply>>
where
    S: BatchStep,
    S::Reply: Sync,
    S::Request: From<(Arc<E>,)>,
    E: Clone + Send + Sync + 'static,
{
    let batcher: Batcher<_> = OnDevice::batcher(step, device, BatchConfig::default().with_policy(policy));
    let mut chain = Chain::new("model");
    let event = chain.source::<E>("event");
    let reply = chain.offload("evaluate", (event,), &batcher);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    chain.sink("keep", reply, move |_: EventId, reply: Arc<S::Reply>| {
        keep.lock().unwrap().push(reply);
        Ok(())
    });
    let config = Config { threads, slots, ordered: true, ..Config::default() };
    Scheduler::new(config).run(chain, source::from_iter(events.to_vec())).unwrap();
    std::mem::take(&mut kept.lock().unwrap())
}

#[track_caller]
fn assert_near(found: f32, expected: f32, place: &str) {
    assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found}, not {expected}: {place}");
}

/// What the tagger sees of generated events, some of which have nothing.
fn features(events: u64) -> Vec<Features> {
    let generator = scouting::Generator::new(scouting::GeneratorConfig::default());
    let config = ClusterConfig::default();
    let features = |event| {
        let BunchCrossing { candidates, .. } = unpack(&generator.generate(event)).unwrap();
        let points = candidate_points(&candidates);
        let groups = clusterize(&config.clue(), &points, &Offsets::single(points.len())).unwrap();
        let clusters = scouting::measure_clusters(config.pt_gev_min, &candidates, groups.cluster());
        compute_features(&candidates, &clusters)
    };
    (0..events).map(features).collect()
}

#[test]
fn tau_scores_of_the_model_and_of_the_host_agree_whatever_the_batch() {
    let events = features(300);
    assert!(events.iter().any(Features::is_empty) && events.iter().any(|event| event.len() > 2));
    let network = TauNetwork::trained();
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(device) = onnx(lanes) else { return };
        let step = TauStep::trained(&*device).unwrap();
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_eq!(found.len(), events.len());
        for (event, (found, features)) in found.iter().zip(&events).enumerate() {
            let expected = network.evaluate(features);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected.iter()) {
                let place = format!("event {event}, {policy}");
                assert_near(found.tau, expected.tau, &place);
                assert_near(found.log_pt_ratio, expected.log_pt_ratio, &place);
            }
        }
        let report = step.model().unwrap();
        let rows: usize = events.iter().map(Features::len).sum();
        assert_eq!((report.name.as_str(), report.rows), ("tau", rows as u64));
    }
}

#[test]
fn features_that_are_not_packed_are_scored_as_well() {
    let Some(device) = onnx(1) else { return };
    let step = TauStep::trained(&*device).unwrap();
    let features = features(20).into_iter().find(|features| features.len() > 1).unwrap();
    let padded: Features = features.iter().collect();
    assert!(features.tensor::<f32>().is_ok() && padded.tensor::<f32>().is_err());
    let scores = |features| step.on_onnx(Arc::new(features), LaneId(0)).unwrap();
    assert!(scores(features).iter().eq(scores(padded).iter()));
}

/// Cells of generated events, as the network sees them.
fn grids(events: u64) -> Vec<CellGrid> {
    let generator = calorimeter::Generator::new(calorimeter::GeneratorConfig::default());
    let calibration = generator.calibration();
    let grid = |event| {
        let CalorimeterEvent { waveforms, .. } = generator.generate(event);
        let pulses = find_pulses(&PulseConfig::default(), &waveforms);
        cell_grid(calibration.trigger_time_ns, &calibrate(&CellConfig::default(), &calibration, &pulses))
    };
    (0..events).map(grid).collect()
}

#[test]
fn condensation_of_the_model_and_of_the_host_agree_at_cells_whatever_the_batch() {
    let events = grids(60);
    let network = CondensationNetwork::trained();
    let expected: Vec<CondensationGrid> = events.iter().map(|grid| network.evaluate(grid)).collect();
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(device) = onnx(lanes) else { return };
        let step = CondensationStep::trained(&*device).unwrap();
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_eq!(found.len(), events.len());
        for (event, ((found, expected), cells)) in found.iter().zip(&expected).zip(&events).enumerate() {
            // The host computes nothing where there is no cell; nobody looks there.
            for block in (0..BLOCKS).filter(|&block| cells.0[block] != 0.0 || cells.0[BLOCKS + block] != 0.0)
            {
                for at in (0..4).map(|channel| channel * BLOCKS + block) {
                    assert_near(found.0[at], expected.0[at], &format!("event {event}, {at}, {policy}"));
                }
            }
        }
        let report = step.model().unwrap();
        assert_eq!((report.name.as_str(), report.rows), ("condensation", events.len() as u64));
    }
}

#[test]
fn on_other_devices_no_model_is_loaded() {
    let host: Arc<dyn Device> = Arc::new(HostDevice::default());
    assert_eq!(TauStep::trained(&*host).unwrap().model(), None);
    assert_eq!(CondensationStep::trained(&*host).unwrap().model(), None);
}
