//! How long each step takes on one core: `cargo bench -p asynchrotron-algorithms`. Prints the best of several rounds.

use asynchrotron_algorithms::AssociationMap;
use asynchrotron_algorithms::calorimeter::{
    CellConfig, Cells, ClueClusterConfig, Clustering, Generator, GeneratorConfig, LocalMaximumConfig,
    PulseConfig, Pulses, Quality, calibrate, clusterize_local_maxima, clusterize_with_clue, find_pulses,
};
use asynchrotron_algorithms::clue::{
    self, ClueConfig, Point, Points, Tiles, assign_clusters, clusterize, compute_density,
    find_nearest_higher, mark_seeds,
};
use asynchrotron_devices::{Columns, Offsets};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::hint::black_box;
use std::time::Instant;

fn best_us<T>(mut step: impl FnMut() -> T) -> f64 {
    let round = |_| {
        let start = Instant::now();
        black_box(step());
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..30).map(round).fold(f64::INFINITY, f64::min)
}

/// Blobs over a flat background in [-250, 250]², all weights 1: like the paper's toy detector.
fn toy(points: usize, seed: u64) -> Points {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let spread = Normal::new(0.0_f32, 2.0).unwrap();
    let centres: Vec<[f32; 2]> = (0..points / 10)
        .map(|_| [rng.random_range(-240.0..240.0), rng.random_range(-240.0..240.0)])
        .collect();
    let mut row = |i: usize| {
        let [x, y] = centres[i % centres.len()];
        if i.is_multiple_of(4) {
            return Point {
                x: rng.random_range(-250.0..250.0),
                y: rng.random_range(-250.0..250.0),
                weight: 1.0,
            };
        }
        Point { x: x + spread.sample(&mut rng), y: y + spread.sample(&mut rng), weight: 1.0 }
    };
    (0..points).map(&mut row).collect()
}

fn clue_steps(name: &str, config: &ClueConfig, points: &Points, events: &Offsets) {
    let n = points.len();
    let tiles = Tiles::new(config, points, events);
    let keys = clue::compute_tile_keys(tiles.grids(), events, points.x(), points.y());
    let result = clusterize(config, points, events).unwrap();
    let (mut rho, mut delta, mut nearest, mut seed, mut cluster) =
        (vec![0.0; n], vec![0.0; n], vec![0; n], vec![0; n], vec![0; n]);
    let all = best_us(|| clusterize(config, points, events));
    println!("{name}: {n} points, {} events: {all:.0} us, {:.2} M points/s", events.len(), n as f64 / all);
    let step = |step: &str, us: f64| println!("    {step:<16} {us:8.1} us");
    step("validate", best_us(|| clue::validate(config, points, events)));
    step("tiles", best_us(|| Tiles::new(config, points, events)));
    step("  plan", best_us(|| clue::plan_grids(config, points, events)));
    step("  keys", best_us(|| clue::compute_tile_keys(tiles.grids(), events, points.x(), points.y())));
    step("  association", best_us(|| AssociationMap::from_keys(&keys, tiles.map().len())));
    step("density", best_us(|| compute_density(config, &tiles, events, &mut rho)));
    step(
        "nearest higher",
        best_us(|| {
            find_nearest_higher(config, &tiles, events, result.rho(), &mut delta, &mut nearest);
        }),
    );
    step("seeds", best_us(|| mark_seeds(config, result.rho(), result.delta(), &mut seed)));
    step(
        "assign",
        best_us(|| assign_clusters(events, result.nearest_higher(), result.is_seed(), &mut cluster)),
    );
}

fn calorimeter() {
    let n = 1000;
    // Not the seed on which the leakage factors were fitted.
    let generator = Generator::new(GeneratorConfig { seed: 2, ..GeneratorConfig::default() });
    let (geometry, calibration) = (generator.geometry(), generator.calibration());
    let per_event = |name: &str, step: &mut dyn FnMut(usize)| {
        let round = |_| {
            let start = Instant::now();
            (0..n).for_each(&mut *step);
            start.elapsed().as_secs_f64() * 1e6 / n as f64
        };
        println!("    {name:<24} {:8.2} us/event", (0..5).map(round).fold(f64::INFINITY, f64::min));
    };
    println!("calorimeter, {n} events:");
    per_event("generate", &mut |i| drop(black_box(generator.generate(i as u64))));
    let events: Vec<_> = (0..n).map(|i| generator.generate(i as u64)).collect();
    let (mut pulses, mut cells) = (vec![Pulses::default(); n], vec![Cells::default(); n]);
    let (mut clue, mut maxima) = (vec![Clustering::default(); n], vec![Clustering::default(); n]);
    per_event("pulses", &mut |i| pulses[i] = find_pulses(&PulseConfig::default(), &events[i].waveforms));
    per_event("cells", &mut |i| cells[i] = calibrate(&CellConfig::default(), &calibration, &pulses[i]));
    per_event("clusters, CLUE", &mut |i| {
        clue[i] = clusterize_with_clue(&ClueClusterConfig::default(), geometry, &cells[i]).unwrap();
    });
    per_event("clusters, local maxima", &mut |i| {
        maxima[i] = clusterize_local_maxima(&LocalMaximumConfig::default(), geometry, &cells[i]);
    });
    let mean = |sum: usize| sum as f64 / n as f64;
    println!(
        "    per event: {} photons, {} waveforms, {} pulses, {} cells",
        mean(events.iter().map(|event| event.truth.photons.len()).sum()),
        mean(events.iter().map(|event| event.waveforms.len()).sum()),
        mean(pulses.iter().map(Pulses::len).sum()),
        mean(cells.iter().map(Cells::len).sum()),
    );
    for (name, clusterings) in [("CLUE", &clue), ("local maxima", &maxima)] {
        let mut quality = Quality::default();
        for ((event, cells), clustering) in events.iter().zip(&cells).zip(clusterings) {
            quality.add(&event.truth, cells, clustering);
        }
        println!("{name}: {quality}");
    }
}

fn main() {
    calorimeter();
    let config =
        ClueConfig { density_radius: 2.5, seed_density: 2.0, outlier_factor: 3.0, ..ClueConfig::default() };
    for points_per_tile in [1, 2, 8] {
        let config = ClueConfig { points_per_tile, ..config };
        clue_steps(
            &format!("toy, {points_per_tile} per tile"),
            &config,
            &toy(10_000, 1),
            &Offsets::single(10_000),
        );
    }
    let events: Vec<Points> = (0..100).map(|seed| toy(1000, seed)).collect();
    let (points, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
    clue_steps(
        "toy",
        &ClueConfig { density_radius: 4.0, seed_density: 2.5, outlier_factor: 1.0, ..config },
        &points,
        &offsets,
    );
}
