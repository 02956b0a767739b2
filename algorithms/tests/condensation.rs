//! Object condensation on the calorimeter: the network against ONNX Runtime, condensation against its definition, clusters against
//! the truth.

use std::path::Path;

use asynchrotron_algorithms::calorimeter::*;
use asynchrotron_algorithms::weights::WeightsError;
use proptest::prelude::*;

fn model(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)).unwrap()
}

fn cells(generator: &Generator, event: u64) -> (Cells, Truth) {
    let CalorimeterEvent { waveforms, truth } = generator.generate(event);
    let pulses = find_pulses(&PulseConfig::default(), &waveforms);
    (calibrate(&CellConfig::default(), &generator.calibration(), &pulses), truth)
}

fn trigger() -> f32 {
    Generator::new(GeneratorConfig::default()).calibration().trigger_time_ns
}

#[test]
fn the_host_agrees_with_onnx_runtime_where_there_are_cells() {
    let bytes = model("condensation_reference.f32");
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let (input, expected) = values.split_at(2 * BLOCKS);
    let found = CondensationNetwork::trained().evaluate(&CellGrid(input.to_vec())).0;
    assert_eq!(found.len(), expected.len());
    let mut compared = 0;
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        if input[at % BLOCKS] == 0.0 {
            assert_eq!(*found, 0.0);
        } else {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{at}: {found} {expected}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn the_inputs_of_the_training_are_those_of_a_job() {
    // The first event of the sample with the figures: `generate calorimeter-cells --seed 202`.
    let generator = Generator::new(GeneratorConfig { seed: 202, ..GeneratorConfig::default() });
    let detector = Generator::new(GeneratorConfig { seed: 0, ..GeneratorConfig::default() });
    let pulses = find_pulses(&PulseConfig::default(), &generator.generate(0).waveforms);
    let cells = calibrate(&CellConfig::default(), &detector.calibration(), &pulses);
    let bytes = model("condensation_reference.f32");
    let expected = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
    for (found, expected) in cell_grid(trigger(), &cells).0.into_iter().zip(expected) {
        assert!((found - expected).abs() <= 2e-6 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn the_model_file_holds_the_numbers_of_the_host() {
    let (model, weights) = (model("condensation.onnx"), model("condensation.weights"));
    let mut at = 4;
    for values in [2 * 16 * 9, 16, 16 * 32 * 9, 32, 32 * 32 * 9, 32, 32 * 4, 4] {
        let dimensions = u32::from_le_bytes(weights[at..at + 4].try_into().unwrap()) as usize;
        at += 4 + 4 * dimensions;
        let bytes = &weights[at..at + 4 * values];
        assert!(model.windows(bytes.len()).any(|window| window == bytes), "{values} values at {at}");
        at += 4 * values;
    }
    assert_eq!(at, weights.len());
    assert_eq!(CondensationNetwork::parse(&weights[..at - 4]), Err(WeightsError::Short { tensor: 7 }));
}

#[test]
fn a_shower_elsewhere_on_the_face_looks_the_same() {
    let network = CondensationNetwork::trained();
    let shower = [(0, 0, 1.5), (1, 0, 0.2), (0, 1, 0.3), (2, 2, 0.02)];
    let evaluate = |column: usize, row: usize| {
        let cell = |&(dx, dy, energy_gev)| Cell {
            block: ((row + dy) * COLUMNS + column + dx) as u16,
            energy_gev,
            time_ns: 151.0,
        };
        let cells: Cells = shower.iter().map(cell).collect();
        let grid = network.evaluate(&cell_grid(150.0, &cells)).0;
        let at =
            |&block: &u16| grid[usize::from(block)..].iter().step_by(BLOCKS).copied().collect::<Vec<f32>>();
        cells.block().iter().map(at).collect::<Vec<_>>()
    };
    let here = evaluate(12, 20);
    assert!(here.iter().any(|block| block[0] > 0.5), "{here:?}");
    for (column, row) in [(3, 3), (24, 30), (7, 11)] {
        assert_eq!(evaluate(column, row), here);
    }
}

/// Cells anywhere, and a grid for them, many values of which are equal.
fn event() -> impl Strategy<Value = (Cells, CondensationGrid)> {
    let number = (0_u8..8, 0_i8..6, 0_i8..6, -2_i8..3);
    prop::collection::btree_map(0_u16..400, (1_u8..40, number), 0..60).prop_map(|found| {
        let mut grid = vec![0.0; 4 * BLOCKS];
        let mut cells = Vec::new();
        for (block, (energy, (beta, dx, dy, ratio))) in found {
            let at = usize::from(block);
            grid[at] = f32::from(beta) / 8.0;
            grid[BLOCKS + at] = 0.5 * f32::from(dx);
            grid[2 * BLOCKS + at] = 0.5 * f32::from(dy);
            grid[3 * BLOCKS + at] = 0.1 * f32::from(ratio);
            cells.push(Cell { block, energy_gev: 0.05 * f32::from(energy), time_ns: 150.0 });
        }
        (Cells::from_rows(&cells), CondensationGrid(grid))
    })
}

proptest! {
    #[test]
    fn condensation_does_what_its_definition_says((cells, grid) in event(), distance in 0.3..2.5_f32, beta_min in 0.0..1.0_f32) {
        let mut config = CondensationConfig { beta_min, distance_max: distance, ..CondensationConfig::default() };
        config.measure.energy_gev_min = 0.0;
        let found = condense(&config, &Geometry::default(), &cells, &grid);
        let value = |cell: usize, channel: usize| grid.0[channel * BLOCKS + usize::from(cells.block()[cell])];
        let place = |cell: usize| {
            let block = usize::from(cells.block()[cell]);
            [(block % COLUMNS) as f32 + value(cell, 1), (block / COLUMNS) as f32 + value(cell, 2)]
        };
        let mut left: Vec<usize> = (0..cells.len()).collect();
        let mut groups = Vec::new();
        while let Some(&point) = left.iter().max_by(|&&a, &&b| value(a, 0).total_cmp(&value(b, 0)).then(b.cmp(&a))) {
            if value(point, 0) < beta_min {
                break;
            }
            let [x, y] = place(point);
            let (near, far): (Vec<_>, Vec<_>) = left.into_iter().partition(|&cell| {
                let [dx, dy] = [place(cell)[0] - x, place(cell)[1] - y];
                dx * dx + dy * dy < distance * distance
            });
            let sum: f32 = near.iter().map(|&cell| cells.energy_gev()[cell]).sum();
            groups.push((near, sum * value(point, 3).exp()));
            left = far;
        }
        prop_assert_eq!(found.clusters.len(), groups.len());
        prop_assert!(left.iter().all(|&cell| found.cluster_of_cell[cell] == -1));
        for (members, energy) in groups {
            let cluster = found.cluster_of_cell[members[0]];
            prop_assert!(cluster >= 0 && members.iter().all(|&cell| found.cluster_of_cell[cell] == cluster));
            prop_assert_eq!(found.cells_of_cluster.elements(cluster as usize).len(), members.len());
            let found = found.clusters.energy_gev()[cluster as usize];
            prop_assert!((found - energy).abs() <= 1e-5 * energy);
        }
    }
}

#[test]
fn photons_are_found_and_measured_better_than_by_clue() {
    let (network, config) = (CondensationNetwork::trained(), CondensationConfig::default());
    // None of the seeds of the training.
    let generator = Generator::new(GeneratorConfig { seed: 1, ..GeneratorConfig::default() });
    let geometry = generator.geometry();
    let (mut condensed, mut clue) = (Quality::default(), Quality::default());
    for event in 0..200 {
        let (cells, truth) = cells(&generator, event);
        let grid = network.evaluate(&cell_grid(trigger(), &cells));
        condensed.add(&truth, &cells, &condense(&config, geometry, &cells, &grid));
        clue.add(
            &truth,
            &cells,
            &clusterize_with_clue(&ClueClusterConfig::default(), geometry, &cells).unwrap(),
        );
    }
    let (condensed, clue) = (condensed.report(), clue.report());
    println!("{condensed}\n{clue}");
    assert!(condensed.efficiency > clue.efficiency, "{condensed}");
    assert!(condensed.purity > 0.97 && condensed.split_rate < 0.01, "{condensed}");
    assert!((condensed.response_median - 1.0).abs() < 0.01, "{condensed}");
    assert!(condensed.response_width68 < clue.response_width68, "{condensed}");
    assert!(condensed.x_width68_cm < 0.2 && condensed.y_width68_cm < 0.2, "{condensed}");
    assert!(condensed.v_measure > 0.7 && condensed.energy_purity > 0.95, "{condensed}");
}

#[test]
fn an_empty_event_has_no_clusters() {
    let grid = CondensationNetwork::trained().evaluate(&cell_grid(150.0, &Cells::default()));
    let found = condense(&CondensationConfig::default(), &Geometry::default(), &Cells::default(), &grid);
    assert_eq!(found, Clustering::default());
}
