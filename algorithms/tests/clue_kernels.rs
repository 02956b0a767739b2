//! The CUDA kernels of CLUE, on the CPU: bit for bit what `clusterize` gives, in whatever order threads run.

mod on_host;
mod published;

use asynchrotron_algorithms::clue::{ClueConfig, CluePoint, ClueResult, Point, Points, clusterize};
use asynchrotron_devices::{Columns, Offsets};
use on_host::{Buffer, Kernels};
use proptest::prelude::*;
use rand::{RngExt as _, SeedableRng as _};
use std::ffi::c_void;
use std::sync::OnceLock;

fn kernels() -> Option<&'static Kernels> {
    static KERNELS: OnceLock<Option<Kernels>> = OnceLock::new();
    KERNELS.get_or_init(|| Kernels::build("clue")).as_ref()
}

macro_rules! launch {
    ($kernels:expr, $name:ident $grid:expr; $($argument:expr),*) => {{
        // SAFETY: the types are those of the kernel's parameters; it stays within buffers of the sizes that its file says,
        // which is what the guards of the buffers check.
        let done = unsafe { $kernels.launch(stringify!($name), $grid, 0, &mut [$(std::ptr::from_mut(&mut { $argument }).cast::<c_void>()),*]) };
        assert_eq!(done, 0, stringify!($name));
    }};
}

/// The largest number whose root is at most the radius.
fn squared_limit(radius: f32) -> f32 {
    let mut limit = radius * radius;
    while limit.sqrt() > radius {
        limit = limit.next_down();
    }
    while limit.next_up().sqrt() <= radius {
        limit = limit.next_up();
    }
    limit
}

/// The nine launches. The index of the first point that makes no sense, if there is one.
fn launches(
    kernels: &Kernels,
    config: &ClueConfig,
    points: &Points,
    events: &Offsets,
    bounds_blocks: usize,
) -> Result<ClueResult, usize> {
    let (n, e) = (points.len(), events.len());
    if n == 0 {
        return Ok(ClueResult::default());
    }
    let (groups, seed_groups) = ((n / config.points_per_tile as usize + e) / 1024 + 1, n / 1024 + 1);
    let [mut x, mut y, mut weight] = [points.x(), points.y(), points.weight()].map(Buffer::of);
    let mut offsets = Buffer::of(events.as_slice());
    let [mut tiles, mut tile_sums, mut seed_sums] =
        [4096 * groups, 4 * groups, 4 * seed_groups].map(Buffer::zeroed);
    let [mut boxes, mut done, mut bad] = [16 * e, 4 * e, 4].map(Buffer::zeroed);
    // by_point and by_tile, then found; rho_sorted, then number.
    let [mut grids, mut first, mut sorted, mut second] = [32 * e, 16 * n, 16 * n, 4 * n].map(Buffer::new);
    let [mut rho, mut delta, mut nearest_higher, mut cluster] = [4 * n; 4].map(Buffer::new);
    let mut is_seed = Buffer::new(n);

    let [x, y, weight, offsets] = [x.at(), y.at(), weight.at(), offsets.at()];
    let by_tile = first.at().wrapping_add(8 * n);
    let (n32, e32) = (n as u32, e as u32);
    let [density_radius, outlier_radius] = [config.density_radius, config.outlier_radius()];
    let [density_limit, outlier_limit] = [density_radius, outlier_radius].map(squared_limit);
    let y_period = config.y_period.unwrap_or(0.0);
    let each = [n.div_ceil(256), 256];

    launch!(kernels, clue_bounds [bounds_blocks, 256]; x, y, weight, offsets, e32, n32, density_radius, y_period,
        config.points_per_tile, boxes.at(), done.at(), grids.at(), bad.at());
    launch!(kernels, clue_histogram each; x, y, offsets, e32, n32, grids.at(), first.at(), tiles.at(), tile_sums.at());
    launch!(kernels, clue_scan [groups, 256]; tile_sums.at(), tiles.at());
    launch!(kernels, clue_fill each; first.at(), tiles.at(), n32, by_tile);
    launch!(kernels, clue_sort each; x, y, weight, by_tile, tiles.at(), n32, sorted.at());
    launch!(kernels, clue_density each; sorted.at(), tiles.at(), grids.at(), offsets, e32, n32, density_radius,
        density_limit, second.at());
    launch!(kernels, clue_nearest each; sorted.at(), second.at(), tiles.at(), grids.at(), offsets, e32, n32,
        density_radius, density_limit, outlier_radius, outlier_limit, config.seed_density, first.at(), seed_sums.at());
    launch!(kernels, clue_number [seed_groups, 256]; first.at(), seed_sums.at(), n32, density_radius,
        config.seed_density, rho.at(), delta.at(), nearest_higher.at(), is_seed.at(), second.at());
    launch!(kernels, clue_assign each; first.at(), is_seed.at(), second.at(), offsets, e32, n32, cluster.at());

    // Asking for the values checks the guards.
    for buffer in [&mut tiles, &mut tile_sums, &mut seed_sums, &mut boxes, &mut done, &mut grids] {
        buffer.values::<u32>();
    }
    for buffer in [&mut first, &mut sorted, &mut second] {
        buffer.values::<u32>();
    }
    let columns = (rho.values::<f32>(), delta.values::<f32>(), nearest_higher.values::<i32>());
    let (is_seed, cluster) = (is_seed.values::<u8>(), cluster.values::<i32>());
    let row = |i: usize| CluePoint {
        rho: columns.0[i],
        delta: columns.1[i],
        nearest_higher: columns.2[i],
        is_seed: is_seed[i],
        cluster: cluster[i],
    };
    match bad.values::<u32>()[0] {
        0 => Ok((0..n).map(row).collect()),
        bad => Err(!bad as usize),
    }
}

/// Runs the kernels in several orders, and compares.
fn check(config: &ClueConfig, points: &Points, events: &Offsets, seeds: &[u64]) -> Result<(), TestCaseError> {
    let Some(kernels) = kernels() else { return Ok(()) };
    let expected = clusterize(config, points, events).unwrap();
    let blocks = points.len().div_ceil(256);
    for &seed in seeds {
        kernels.shuffle_threads(seed);
        for bounds_blocks in [blocks, 1] {
            let found = launches(kernels, config, points, events, bounds_blocks).unwrap();
            prop_assert!(found.same_bits(&expected), "order {seed}: {found:?}\n{expected:?}");
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
    for published::File { name, config, points, .. } in files {
        for points_per_tile in [1, 2, 50] {
            let config = ClueConfig { points_per_tile, ..config };
            check(&config, &points, &Offsets::single(points.len()), &[0, 1]).unwrap();
        }
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
            let found = launches(kernels, &config, &points, &offsets, 2);
            assert_eq!(found.unwrap_err(), *rows.iter().min().unwrap(), "{bad:?}");
        }
    }
}

#[test]
fn all_kernels_can_be_launched_by_name() {
    let Some(kernels) = kernels() else { return };
    let text = include_str!("../kernels/clue.cu");
    let mut names = text.split("__global__").skip(1).map(|after| {
        let name = after.split('(').map(|words| words.split_whitespace().last().unwrap());
        name.into_iter().find(|word| word.starts_with("clue_")).unwrap()
    });
    // SAFETY: a launch without blocks is refused before anything runs.
    let refused = |name: &str| unsafe { kernels.launch(name, [0, 1], 0, &mut []) };
    assert!(names.clone().count() >= 9);
    assert!(names.all(|name| refused(name) == 2));
    assert_eq!(refused("clue_nothing"), 1);
}
