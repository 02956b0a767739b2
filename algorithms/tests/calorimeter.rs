//! The calorimeter's chain, from generated waveforms to clusters, against the truth.

use asynchrotron_algorithms::calorimeter::*;
use asynchrotron_algorithms::clue::{Points, clusterize};
use asynchrotron_devices::Columns;
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Chain {
    generator: Generator,
    calibration: Calibration,
}

impl Chain {
    fn new(config: GeneratorConfig) -> Self {
        let generator = Generator::new(config);
        Self { calibration: generator.calibration(), generator }
    }

    fn cells(&self, waveforms: &Waveforms) -> Cells {
        let pulses = find_pulses(&PulseConfig::default(), waveforms);
        calibrate(&CellConfig::default(), &self.calibration, &pulses)
    }

    fn clue(&self, cells: &Cells) -> Clustering {
        clusterize_with_clue(&ClueClusterConfig::default(), self.generator.geometry(), cells).unwrap()
    }

    fn local_maxima(&self, cells: &Cells) -> Clustering {
        clusterize_local_maxima(&LocalMaximumConfig::default(), self.generator.geometry(), cells)
    }
}

/// No noise, no spreads, no background: what is left is geometry and arithmetic.
fn ideal() -> GeneratorConfig {
    GeneratorConfig {
        background_mean: 0.0,
        stochastic_term: 0.0,
        constant_term: 0.0,
        gain_spread: 0.0,
        time_spread_ns: 0.0,
        noise_adc: 0.0,
        ..GeneratorConfig::default()
    }
}

fn shuffled(waveforms: &Waveforms, rng: &mut impl Rng) -> Waveforms {
    let mut rows: Vec<usize> = (0..waveforms.len()).collect();
    rows.shuffle(rng);
    let block = rows.iter().map(|&row| waveforms.block()[row]).collect();
    Waveforms::new(block, rows.iter().flat_map(|&row| *waveforms.waveform(row)).collect()).unwrap()
}

/// Cells anywhere, many of equal energy.
fn cells() -> impl Strategy<Value = Cells> {
    let cell = (1_u8..40, 0_u8..40);
    prop::collection::btree_map(0..BLOCKS as u16, cell, 0..200).prop_map(|cells| {
        let cell = |(block, (energy, time))| Cell {
            block,
            energy_gev: 0.05 * f32::from(energy),
            time_ns: 130.0 + f32::from(time),
        };
        cells.into_iter().map(cell).collect()
    })
}

proptest! {
    #[test]
    fn clusters_hold_the_energy_of_their_cells_and_nothing_else(cells in cells()) {
        let chain = Chain::new(ideal());
        for (factor, clustering) in [(1.033, chain.clue(&cells)), (1.047, chain.local_maxima(&cells))] {
            prop_assert_eq!(clustering.cluster_of_cell.len(), cells.len());
            prop_assert_eq!(clustering.cells_of_cluster.len(), clustering.clusters.len());
            for (index, (cluster, members)) in clustering.clusters.iter().zip(clustering.cells_of_cluster.iter()).enumerate() {
                let sum: f32 = members.iter().map(|&cell| cells.energy_gev()[cell as usize]).sum();
                prop_assert!((cluster.energy_gev - factor * sum).abs() <= 1e-5 * sum);
                prop_assert_eq!(usize::from(cluster.size), members.len());
                prop_assert!(members.iter().all(|&cell| clustering.cluster_of_cell[cell as usize] == index as i32));
                prop_assert!(members.iter().any(|&cell| cells.block()[cell as usize] == cluster.seed_block));
                let geometry = chain.generator.geometry();
                let extent = |of: &dyn Fn(u16) -> f32, value: f32| {
                    let at = || members.iter().map(|&cell| of(cells.block()[cell as usize]));
                    at().fold(f32::MAX, f32::min) - 1e-3 <= value && value <= at().fold(f32::MIN, f32::max) + 1e-3
                };
                prop_assert!(extent(&|block| geometry.x_cm(block), cluster.x_cm));
                prop_assert!(extent(&|block| geometry.y_cm(block), cluster.y_cm));
            }
            prop_assert!(clustering.clusters.seed_block().is_sorted_by(|a, b| a < b));
        }
    }
}

#[test]
fn the_order_of_the_waveforms_does_not_matter() {
    let chain = Chain::new(GeneratorConfig::default());
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for event in 0..20 {
        let waveforms = chain.generator.generate(event).waveforms;
        let (cells, again) = (chain.cells(&waveforms), chain.cells(&shuffled(&waveforms, &mut rng)));
        assert!(cells.same_bits(&again));
        assert_eq!(chain.clue(&cells), chain.clue(&again));
        assert_eq!(chain.local_maxima(&cells), chain.local_maxima(&again));
    }
}

#[test]
fn events_clustered_in_one_batch_are_as_alone() {
    let chain = Chain::new(GeneratorConfig::default());
    let config = ClueClusterConfig::default();
    let geometry = chain.generator.geometry();
    let cells: Vec<Cells> =
        (0..30).map(|event| chain.cells(&chain.generator.generate(event).waveforms)).collect();
    let points: Vec<Points> = cells.iter().map(|cells| cell_points(geometry, cells)).collect();
    let (batch, offsets) = Points::concat(&points.iter().collect::<Vec<_>>());
    let results = clusterize(&config.clue, &batch, &offsets).unwrap().split(&offsets);
    for (cells, result) in cells.iter().zip(results) {
        assert_eq!(measure_clusters(&config.measure, geometry, cells, result.cluster()), chain.clue(cells));
    }
}

#[test]
fn an_ideal_detector_measures_what_was_deposited() {
    let chain = Chain::new(ideal());
    let mut compared = 0;
    for event in 0..50 {
        let CalorimeterEvent { waveforms, truth } = chain.generator.generate(event);
        let cells = chain.cells(&waveforms);
        for cell in cells.iter() {
            let row = truth.deposits.block().binary_search(&cell.block).unwrap();
            let deposit = truth.deposits.row(row);
            // Samples are whole numbers, which costs up to 36 · ½ ADC · sample, and 4 MeV are 9 of those.
            let error = (cell.energy_gev - deposit.energy_gev).abs();
            assert!(error < 0.008 + 0.005 * deposit.energy_gev, "{cell:?} {deposit:?}");
            if deposit.fraction == 1.0 && deposit.energy_gev > 0.1 {
                let time = truth.photons.time_ns()[deposit.photon as usize];
                assert!((cell.time_ns - time).abs() < 1.0, "{} {time}", cell.time_ns);
                compared += 1;
            }
        }
    }
    assert!(compared > 300);
}

#[test]
fn deposits_do_not_exceed_the_photons() {
    let generator = Generator::new(ideal());
    for event in 0..50 {
        let truth = generator.generate(event).truth;
        let photons: f32 = truth.photons.energy_gev().iter().sum();
        let deposits: f32 = truth.deposits.energy_gev().iter().sum();
        assert!(deposits <= photons * 1.0001, "{deposits} of {photons}");
        assert!(truth.deposits.block().is_sorted_by(|a, b| a < b));
        for deposit in truth.deposits.iter() {
            assert!(deposit.photon < truth.photons.len() as i32 && (0.0..=1.0).contains(&deposit.fraction));
        }
    }
}

#[test]
fn an_event_depends_on_seed_and_number_only() {
    let generator = Generator::new(GeneratorConfig::default());
    let forwards: Vec<_> = (0..10).map(|event| generator.generate(event)).collect();
    let backwards: Vec<_> = (0..10).rev().map(|event| generator.clone().generate(event)).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    assert_ne!(forwards[0], forwards[1]);
    let other = Generator::new(GeneratorConfig { seed: 2, ..GeneratorConfig::default() });
    assert_ne!(forwards[0], other.generate(0));
}

/// With the C library of other platforms, `exp` and `atan` may differ in their last bit.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[test]
fn a_seed_makes_the_same_events_for_ever() {
    let generator = Generator::new(GeneratorConfig::default());
    let mut digest = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    for event in 0..20 {
        let CalorimeterEvent { waveforms, truth } = generator.generate(event);
        let numbers =
            waveforms.block().iter().chain(waveforms.samples()).flat_map(|number| number.to_le_bytes());
        for byte in numbers.chain(truth.photons.as_bytes().to_vec()).chain(truth.deposits.as_bytes().to_vec())
        {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(
        digest, 0x4d60_406c_aa50_1eda,
        "0x{digest:016x}: change the number only if the generator was meant to change"
    );
}

#[test]
fn both_clusterings_find_the_photons() {
    let chain = Chain::new(GeneratorConfig::default());
    let (mut clue, mut maxima) = (Quality::default(), Quality::default());
    for event in 0..200 {
        let CalorimeterEvent { waveforms, truth } = chain.generator.generate(event);
        let cells = chain.cells(&waveforms);
        clue.add(&truth, &cells, &chain.clue(&cells));
        maxima.add(&truth, &cells, &chain.local_maxima(&cells));
    }
    for quality in [clue, maxima] {
        let report = quality.report();
        assert!(report.efficiency > 0.92, "{report}");
        assert!(report.purity > 0.97, "{report}");
        assert!((report.response_mean - 1.0).abs() < 0.01, "{report}");
        assert!(report.response_width68 < 0.045, "{report}");
        assert!(report.x_width68_cm < 0.2 && report.y_width68_cm < 0.2, "{report}");
        assert!(report.v_measure > 0.7 && report.energy_purity > 0.95, "{report}");
    }
}

#[test]
fn quality_does_not_depend_on_the_order_of_events_or_parts() {
    let chain = Chain::new(GeneratorConfig::default());
    let part = |events: &[u64]| {
        let mut quality = Quality::default();
        for &event in events {
            let CalorimeterEvent { waveforms, truth } = chain.generator.generate(event);
            let cells = chain.cells(&waveforms);
            quality.add(&truth, &cells, &chain.clue(&cells));
        }
        quality
    };
    let all = part(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut merged = part(&[9, 2, 7]);
    merged.merge(&part(&[]));
    merged.merge(&part(&[5, 0, 1, 3, 8, 6, 4]));
    assert_eq!(merged.report(), all.report());
    assert_eq!(merged.to_string(), all.to_string());
    assert!(part(&[]).report().efficiency.is_nan());
}

#[test]
fn two_close_photons_are_told_apart_three_blocks_away_but_not_in_one_block() {
    let chain = Chain::new(ideal());
    let geometry = chain.generator.geometry();
    let shape = LateralShape::default();
    let photons = |distance_cm: f32| {
        let energy = |block: u16| {
            let share = |x_photon: f32| {
                let low = [geometry.x_cm(block) - x_photon - 1.025, geometry.y_cm(block) - 2.075];
                let [low, high] =
                    [low, low.map(|low| low + 2.05)].map(|edge| edge.map(|cm| 10.0 * f64::from(cm)));
                shape.share(low, high) as f32
            };
            2.0 * share(1.025) + 1.5 * share(1.025 + distance_cm)
        };
        let cell = |block| Cell { block, energy_gev: energy(block), time_ns: 150.0 };
        (0..BLOCKS as u16).map(cell).filter(|cell| cell.energy_gev > 0.015).collect::<Cells>()
    };
    for clusterize in [Chain::clue, Chain::local_maxima] {
        assert_eq!(clusterize(&chain, &photons(6.15)).clusters.len(), 2);
        assert_eq!(clusterize(&chain, &photons(0.5)).clusters.len(), 1);
    }
}

#[test]
fn an_empty_readout_has_no_clusters() {
    let chain = Chain::new(GeneratorConfig::default());
    let cells = chain.cells(&Waveforms::default());
    assert!(cells.is_empty());
    assert_eq!(chain.clue(&cells), Clustering::default());
    assert_eq!(chain.local_maxima(&cells), Clustering::default());
}

#[test]
fn a_readout_that_makes_no_sense_is_explained() {
    let fail = |block: &[u16], samples: usize| {
        Waveforms::new(block.to_vec(), vec![0; samples]).unwrap_err().to_string()
    };
    assert_eq!(fail(&[3, 1080], 220), "row 1: there is no block 1080 (there are 1080)");
    assert_eq!(fail(&[3, 4], 219), "2 waveforms of 110 samples do not make 219 samples");
    assert_eq!(fail(&[3, 4, 3], 330), "row 2: block 3 came before, in row 0");
}
