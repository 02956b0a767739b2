//! What the tests of the trained models share: events, batches of many kinds, and what must agree.

use std::sync::{Arc, Mutex};

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher};
use asynchrotron::prelude::*;
use asynchrotron_algorithms::calorimeter::{self, *};
use asynchrotron_algorithms::clue::clusterize;
use asynchrotron_algorithms::scouting::{self, *};
use asynchrotron_devices::{BatchStep, Device, Offsets, OnDevice};

/// How batches form, with how many threads, slots and lanes.
pub(crate) fn compositions() -> Vec<(BatchPolicy, [usize; 3])> {
    let policies = ["off", "greedy", "size=7", "size=100", "adaptive", "fixed=5"];
    let policies = policies.into_iter().map(|policy| policy.parse().unwrap());
    policies.zip([[1, 1, 1], [2, 32, 1], [2, 32, 2], [1, 128, 2], [2, 128, 2], [2, 16, 2]]).collect()
}

/// What the step gives for each of these events, in a chain.
pub(crate) fn replies<S, E>(
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
pub(crate) fn features(events: u64) -> Vec<Features> {
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

/// Cells of generated events, as the network sees them.
pub(crate) fn grids(events: u64) -> Vec<CellGrid> {
    let generator = calorimeter::Generator::new(calorimeter::GeneratorConfig::default());
    let calibration = generator.calibration();
    let grid = |event| {
        let CalorimeterEvent { waveforms, .. } = generator.generate(event);
        let pulses = find_pulses(&PulseConfig::default(), &waveforms);
        cell_grid(calibration.trigger_time_ns, &calibrate(&CellConfig::default(), &calibration, &pulses))
    };
    (0..events).map(grid).collect()
}

/// The host's scores, and none for another event.
#[track_caller]
pub(crate) fn assert_scores(found: &[Arc<Scores>], events: &[Features], policy: BatchPolicy) {
    let network = TauNetwork::trained();
    assert_eq!(found.len(), events.len());
    for (event, (found, features)) in found.iter().zip(events).enumerate() {
        let expected = network.evaluate(features);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected.iter()) {
            let place = format!("event {event}, {policy}");
            assert_near(found.tau, expected.tau, &place);
            assert_near(found.log_pt_ratio, expected.log_pt_ratio, &place);
        }
    }
}

/// The host's grids, where there are cells.
#[track_caller]
pub(crate) fn assert_grids(found: &[Arc<CondensationGrid>], events: &[CellGrid], policy: BatchPolicy) {
    let network = CondensationNetwork::trained();
    assert_eq!(found.len(), events.len());
    for (event, (found, cells)) in found.iter().zip(events).enumerate() {
        let expected = network.evaluate(cells);
        // The host computes nothing where there is no cell; nobody looks there.
        for block in (0..BLOCKS).filter(|&block| cells.0[block] != 0.0 || cells.0[BLOCKS + block] != 0.0) {
            for at in (0..4).map(|channel| channel * BLOCKS + block) {
                assert_near(found.0[at], expected.0[at], &format!("event {event}, {at}, {policy}"));
            }
        }
    }
}
