//! The τ network on the host, against ONNX Runtime, against its own model file, in any batch.

use std::path::Path;
use std::sync::Arc;

use asynchrotron_algorithms::scouting::*;
use asynchrotron_algorithms::weights::WeightsError;
use asynchrotron_devices::{BatchStep, Columns, Step};
use proptest::prelude::*;

fn model(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)).unwrap()
}

/// Rows of the 16 features and the 2 outputs of ONNX Runtime, from the independent sample of the training.
fn reference() -> Vec<Vec<f32>> {
    let text = String::from_utf8(model("tau_reference.csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let schema = [Features::SCHEMA, Scores::SCHEMA].concat();
    assert_eq!(names, schema.iter().map(|column| column.name).collect::<Vec<_>>());
    lines.map(|line| line.split(',').map(|number| number.parse().unwrap()).collect()).collect()
}

fn features(rows: &[Vec<f32>]) -> Features {
    let mut features = Features::with_packed_len(rows.len());
    let layout = features.layout();
    for index in 0..16 {
        let column = features.buffer_mut().column_mut::<f32>(layout, index);
        column.iter_mut().zip(rows).for_each(|(value, row)| *value = row[index]);
    }
    features
}

#[test]
fn the_host_agrees_with_onnx_runtime() {
    let rows = reference();
    assert_eq!(rows.len(), 100);
    let scores = TauNetwork::trained().evaluate(&features(&rows));
    for (row, score) in rows.iter().zip(scores.iter()) {
        for (expected, found) in row[16..].iter().zip([score.tau, score.log_pt_ratio]) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
        }
    }
}

#[test]
fn the_model_file_holds_the_numbers_of_the_host() {
    let (model, weights) = (model("tau.onnx"), model("tau.weights"));
    let mut at = 4;
    for values in [16 * 64, 64, 64 * 32, 32, 32 * 2, 2] {
        let dimensions = u32::from_le_bytes(weights[at..at + 4].try_into().unwrap()) as usize;
        at += 4 + 4 * dimensions;
        let bytes = &weights[at..at + 4 * values];
        assert!(model.windows(bytes.len()).any(|window| window == bytes), "{values} values at {at}");
        at += 4 * values;
    }
    assert_eq!(at, weights.len());
}

#[test]
fn weights_of_another_network_are_refused() {
    let weights = model("tau.weights");
    assert_eq!(TauNetwork::parse(&weights).unwrap(), TauNetwork::trained());
    let short = TauNetwork::parse(&weights[..weights.len() - 1]).unwrap_err();
    assert_eq!(short, WeightsError::Short { tensor: 5 });
    assert!(matches!(
        TauNetwork::parse(&model("tau.onnx")),
        Err(WeightsError::Shape { .. } | WeightsError::Short { .. })
    ));
}

proptest! {
    #[test]
    fn a_row_scores_the_same_in_any_batch(cuts in prop::collection::vec(0_usize..=100, 0..6), padding in 0_usize..5) {
        let (step, rows) = (TauStep::new(TauNetwork::trained()), reference());
        let mut cuts = [&cuts[..], &[0, 100]].concat();
        cuts.sort_unstable();
        let events: Vec<TauRequest> =
            cuts.windows(2).map(|ends| TauRequest(Arc::new(features(&rows[ends[0]..ends[1]])))).collect();
        let requests: Vec<&TauRequest> = events.iter().collect();
        let (input, parts) = step.pack(&requests, 100 + padding);
        prop_assert_eq!(step.rows(&input), 100 + padding);
        let block = input.tensor::<f32>().unwrap().shape();
        prop_assert_eq!(block, [16, 100 + padding]);
        let replies = step.unpack(step.on_host(input).unwrap(), parts);
        prop_assert_eq!(replies.len(), events.len());
        for (reply, event) in replies.iter().zip(&events) {
            prop_assert!(reply.same_bits(&step.on_host(event.0.clone()).unwrap()));
        }
    }
}

#[test]
fn the_network_beats_the_cuts_and_measures_momentum_better() {
    let (config, network) = (ClusterConfig::default(), TauNetwork::trained());
    // Neither the seed that it was trained with, nor the one of its figures.
    let generator = Generator::new(GeneratorConfig { seed: 5, ..GeneratorConfig::default() });
    let mut quality = Quality::default();
    for event in 0..2000 {
        let BunchCrossing { candidates, truths, .. } = unpack(&generator.generate(event)).unwrap();
        let points = candidate_points(&candidates);
        let offsets = asynchrotron_devices::Offsets::single(points.len());
        let groups = asynchrotron_algorithms::clue::clusterize(&config.clue(), &points, &offsets).unwrap();
        let clustering = measure_clusters(config.pt_gev_min, &candidates, groups.cluster());
        let features = compute_features(&candidates, &clustering);
        let (scores, cuts) = (network.evaluate(&features), tag_with_cuts(&CutConfig::default(), &features));
        quality.add(&truths, &clustering, &[("network", &scores), ("cuts", &cuts)]);
    }
    let report = quality.report();
    println!("{report}");
    let [network, cuts] = &report.taggers[..] else { panic!("{report}") };
    assert!(network.area > 0.92 && network.area > cuts.area + 0.1, "{report}");
    assert!(network.rejection[0] > 25.0 && network.rejection[0] > 3.0 * cuts.rejection[0], "{report}");
    assert!(network.rejection[1] > 3.0 * cuts.rejection[1], "{report}");
    assert!((report.corrected[0] - 1.0).abs() < 0.02, "{report}");
    assert!(report.corrected[1] < 0.8 * report.response[1], "{report}");
}
