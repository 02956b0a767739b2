//! The CUDA kernels of CLUE, on the CPU: bit for bit what `clusterize` gives, in whatever order threads run.

mod launches;
#[path = "../on_host/mod.rs"]
mod on_host;
#[path = "../published/mod.rs"]
mod published;

use asynchrotron_algorithms::clue::{ClueConfig, Point, Points, clusterize};
use asynchrotron_devices::{Columns, Offsets};
use launches::{MOST_IN_SMALL, run_in_nine, run_in_one};
use on_host::Kernels;
use proptest::prelude::*;
use rand::SeedableRng as _;
use std::sync::OnceLock;

const CLUE: &str = include_str!("../../kernels/clue.cu");

fn kernels() -> Option<&'static Kernels> {
    static KERNELS: OnceLock<Option<Kernels>> = OnceLock::new();
    KERNELS.get_or_init(|| Kernels::build(CLUE)).as_ref()
}

/// Runs the kernels in several orders, and compares.
fn check(config: &ClueConfig, points: &Points, events: &Offsets, seeds: &[u64]) -> Result<(), TestCaseError> {
    let Some(kernels) = kernels() else { return Ok(()) };
    let expected = clusterize(config, points, events).unwrap();
    let most = events.iter().map(|event| event.len()).max().unwrap_or(0);
    for &seed in seeds {
        kernels.shuffle_threads(seed);
        // However many blocks share the points.
        let blocks = points.len().div_ceil(256).min(1 + seed as usize % 4);
        let found = run_in_nine(kernels, config, points, events, blocks).unwrap();
        prop_assert!(found.same_bits(&expected), "order {seed}: {found:?}\n{expected:?}");
        if most <= MOST_IN_SMALL {
            let found = run_in_one(kernels, config, points, events).unwrap();
            prop_assert!(found.same_bits(&expected), "small, order {seed}: {found:?}\n{expected:?}");
        }
    }
    Ok(())
}

/// Coordinates on a coarse lattice now and then (ties, identical points, distances that equal the radius); weights of which
/// many are equal, and whose sums are not exact.
fn points(most: usize) -> impl Strategy<Value = Points> {
    let coordinate = prop_oneof![2 => -3.0..3.0_f32, 1 => (-6_i8..=6).prop_map(|i| f32::from(i) * 0.5)];
    let row = (coordinate.clone(), coordinate, 0_u8..8).prop_map(|(x, y, weight)| Point {
        x,
        y,
        weight: f32::from(weight) * 0.37,
    });
    let rows = prop::collection::vec(row, 0..most);
    let in_one_place = (0..most).prop_map(|n| vec![Point { x: 0.3, y: -0.7, weight: 0.1 }; n]);
    prop_oneof![6 => rows, 1 => in_one_place].prop_map(|rows| rows.into_iter().collect())
}

fn config() -> impl Strategy<Value = ClueConfig> {
    let radius = prop_oneof![0.05..2.0_f32, Just(0.5), Just(1.0), Just(20.0)];
    let period = prop_oneof![1 => Just(None), 1 => prop_oneof![Just(3.0), 3.0..7.0_f32].prop_map(Some)];
    (radius, 0.0..4.0_f32, prop_oneof![Just(1.0), 1.0..3.0_f32], period, 1_u32..12).prop_map(
        |(density_radius, seed_density, outlier_factor, y_period, points_per_tile)| ClueConfig {
            density_radius,
            seed_density,
            outlier_factor,
            y_period,
            points_per_tile,
        },
    )
}

proptest! {
    #[test]
    fn kernels_give_what_the_host_gives_in_any_batch(
        config in config(),
        events in prop::collection::vec(points(90), 1..9),
        seed in any::<u64>(),
    ) {
        let (batch, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
        check(&config, &batch, &offsets, &[0, seed])?;
    }

    #[test]
    fn however_far_the_points_are_spread(
        config in config().prop_map(|config| ClueConfig { y_period: None, ..config }),
        points in points(60),
        scale in prop_oneof![Just(1e-20_f32), Just(1e3), Just(1e18), Just(1e38)],
        shift in prop_oneof![Just(0.0_f32), Just(1e4), Just(-1e30)],
        every in 1_usize..7,
    ) {
        let mut points = points;
        for i in (0..points.len()).step_by(every) {
            points.x_mut()[i] = points.x()[i] * scale + shift;
            points.y_mut()[i] *= scale;
        }
        check(&config, &points, &Offsets::single(points.len()), &[1])?;
    }
}

#[test]
fn published_results_are_reproduced() {
    let (Some(_), Some(files)) = (kernels(), published::files()) else { return };
    for published::File { name, config, points, rows } in files {
        for points_per_tile in [1, 2, 50] {
            let config = ClueConfig { points_per_tile, ..config };
            check(&config, &points, &Offsets::single(points.len()), &[0, 1]).unwrap();
        }
        let found =
            run_in_nine(kernels().unwrap(), &config, &points, &Offsets::single(points.len()), 1).unwrap();
        rows.iter()
            .zip(found.iter())
            .enumerate()
            .for_each(|(i, (row, found))| row.assert_same(&found, &name, i));
        println!("{name}: {} points identical", points.len());
    }
}

/// Points whose densities are sums of many unequal weights.
fn spread(rng: &mut rand_chacha::ChaCha8Rng, n: usize, width: f32) -> Points {
    let mut number = |most: f32| rng.random_range(0.0..most);
    (0..n).map(|_| Point { x: number(width), y: number(width), weight: number(1.0) }).collect()
}

#[test]
fn events_of_all_sizes_over_many_blocks() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let sizes = [0, 3000, 1, 0, 0, 700, 5, 31, 32, 33, 2048, 0, 1023, 1025]
        .into_iter()
        .chain((0..100).map(|i| i % 7));
    let events: Vec<Points> = sizes.map(|n| spread(&mut rng, n, 30.0)).collect();
    let (batch, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
    for y_period in [None, Some(30.0)] {
        let config = ClueConfig {
            density_radius: 0.6,
            seed_density: 0.5,
            y_period,
            points_per_tile: 1,
            ..ClueConfig::default()
        };
        check(&config, &batch, &offsets, &[0, 1, 2, 3]).unwrap();
    }
}

#[test]
fn a_chain_of_thousands_of_points_ends_at_its_seed() {
    // In an order in which no one's neighbour is near by, each heavier than the one before.
    let n = 3001;
    let row = |i: usize| ((i * 1709) % n) as f32;
    let points: Points = (0..n).map(|i| Point { x: row(i), y: 0.0, weight: 1.0 + row(i) / 4096.0 }).collect();
    let config =
        ClueConfig { density_radius: 1.0, seed_density: 2.0, outlier_factor: 1.0, ..ClueConfig::default() };
    check(&config, &points, &Offsets::single(n), &[0, 1, 2]).unwrap();
}

#[test]
fn of_two_higher_points_at_the_same_rounded_distance_the_higher_is_taken() {
    let config = ClueConfig { density_radius: 4.0, ..ClueConfig::default() };
    let mut pairs = 0;
    for step in 0..400_u16 {
        let (a, b) = (1.0 + f32::from(step) / 512.0, 1.3);
        let squared = a * a + b * b;
        // b, a little larger, so that the square is another, and its rounded root is not.
        let grown = (1..9).map(|ulps| f32::from_bits(b.to_bits() + ulps)).find(|&c| a * a + c * c > squared);
        let Some(c) = grown.filter(|&c| (a * a + c * c).sqrt() == squared.sqrt()) else { continue };
        pairs += 1;
        let at = |x, y| Point { x, y, weight: 1.0 };
        // The farther one has the larger index, and is met first or last.
        for points in [
            [at(0.0, 0.0), at(a, b), at(a, -c)],
            [at(0.0, 0.0), at(-a, b), at(a, c)],
            [at(0.0, 0.0), at(a, b), at(-a, c)],
        ] {
            check(&config, &Points::from_rows(&points), &Offsets::single(3), &[0]).unwrap();
        }
    }
    assert!(pairs > 20, "{pairs}");
}

#[test]
fn identical_points_are_no_trouble() {
    let points = Points::from_rows(&[Point { x: 7.0, y: -3.0, weight: 0.1 }; 1000]);
    check(&ClueConfig::default(), &points, &Offsets::from_counts([400, 0, 600]), &[0, 1]).unwrap();
}

#[test]
fn the_first_point_that_makes_no_sense_is_named() {
    let Some(kernels) = kernels() else { return };
    let good = Point { x: 1.0, y: 1.0, weight: 1.0 };
    let bad = [
        Point { x: f32::NAN, ..good },
        Point { x: f32::NEG_INFINITY, ..good },
        Point { y: f32::NAN, ..good },
        Point { y: f32::INFINITY, ..good },
        Point { y: -7.5, ..good },
        Point { weight: f32::NAN, ..good },
        Point { weight: -1.0, ..good },
        Point { weight: f32::INFINITY, ..good },
    ];
    let offsets = Offsets::from_counts([0, 2, 150, 148]);
    for bad in bad {
        let config = ClueConfig { y_period: Some(7.0), points_per_tile: 1, ..ClueConfig::default() };
        for rows in [vec![0, 1], vec![299], vec![5, 270, 37], (0..300).collect()] {
            let mut points = Points::from_rows(&[good; 300]);
            rows.iter().for_each(|&row| points.set_row(row, bad));
            kernels.shuffle_threads(rows[0] as u64);
            let first = *rows.iter().min().unwrap();
            assert_eq!(run_in_nine(kernels, &config, &points, &offsets, 2).unwrap_err(), first, "{bad:?}");
            assert_eq!(run_in_one(kernels, &config, &points, &offsets).unwrap_err(), first, "{bad:?}");
        }
    }
}

#[test]
fn all_kernels_can_be_launched_by_name() {
    let Some(kernels) = kernels() else { return };
    let mut names = CLUE.split("__global__").skip(1).map(|after| {
        let name = after.split('(').map(|words| words.split_whitespace().last().unwrap());
        name.into_iter().find(|word| word.starts_with("clue_")).unwrap()
    });
    // SAFETY: a launch without blocks is refused before anything runs.
    let refused = |name: &str| unsafe { kernels.launch(name, [0, 1], 0, &mut []) };
    assert!(names.clone().count() >= 10);
    assert!(names.all(|name| refused(name) == 2));
    assert_eq!(refused("clue_nothing"), 1);
}
