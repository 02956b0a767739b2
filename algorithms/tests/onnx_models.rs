//! The trained models on ONNX Runtime, in chains, against the same networks in plain Rust.
#![cfg(feature = "onnx")]

mod models;

use std::io::Write as _;
use std::sync::Arc;

use asynchrotron_algorithms::calorimeter::*;
use asynchrotron_algorithms::scouting::*;
use asynchrotron_devices::onnx::{OnnxConfig, OnnxDevice};
use asynchrotron_devices::{Columns, Device, HostDevice, LaneId, Step};
use models::{assert_grids, assert_scores, compositions, features, grids, replies};

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

#[test]
fn tau_scores_of_the_model_and_of_the_host_agree_whatever_the_batch() {
    let events = features(300);
    assert!(events.iter().any(Features::is_empty) && events.iter().any(|event| event.len() > 2));
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(device) = onnx(lanes) else { return };
        let step = TauStep::trained(&*device).unwrap();
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_scores(&found, &events, policy);
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

#[test]
fn condensation_of_the_model_and_of_the_host_agree_at_cells_whatever_the_batch() {
    let events = grids(60);
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(device) = onnx(lanes) else { return };
        let step = CondensationStep::trained(&*device).unwrap();
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_grids(&found, &events, policy);
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
