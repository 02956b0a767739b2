//! CLUE against a brute-force version, and against itself.

use asynchrotron_algorithms::clue::{
    ClueConfig, ClueError, CluePoint, ClueResult, Point, Points, clusterize,
};
use asynchrotron_devices::{Columns, Offsets};
use proptest::prelude::*;

/// CLUE without tiles: every point looks at every other, and follows its own chain.
fn brute_force(config: &ClueConfig, points: &Points) -> ClueResult {
    let n = points.len();
    let distance = |i: usize, j: usize| {
        let dx = points.x()[i] - points.x()[j];
        let mut dy = points.y()[i] - points.y()[j];
        if let Some(period) = config.y_period {
            dy -= period * (dy / period).round();
        }
        (dx * dx + dy * dy).sqrt()
    };
    let mut result = ClueResult::with_len(n);
    for i in 0..n {
        let near = (0..n).filter(|&j| distance(i, j) <= config.density_radius);
        result.rho_mut()[i] =
            near.map(|j| if i == j { points.weight()[j] } else { 0.5 * points.weight()[j] }).sum();
    }
    let mut seeds = 0;
    for i in 0..n {
        let rank = |j: usize| (result.rho()[j], j);
        let nearest = (0..n)
            .filter(|&j| rank(j) > rank(i) && distance(i, j) <= config.outlier_radius())
            .min_by(|&j, &k| {
                distance(i, j).total_cmp(&distance(i, k)).then(rank(k).partial_cmp(&rank(j)).unwrap())
            });
        let delta = nearest.map_or(f32::INFINITY, |j| distance(i, j));
        let rho = result.rho()[i];
        let is_seed = delta > config.density_radius && rho >= config.seed_density;
        let cluster = if is_seed { seeds } else { -1 };
        seeds += i32::from(is_seed);
        let nearest_higher = nearest.map_or(-1, |j| j as i32);
        result.set_row(i, CluePoint { rho, delta, nearest_higher, is_seed: is_seed.into(), cluster });
    }
    for i in 0..n {
        let mut at = i;
        while result.is_seed()[at] == 0 && result.nearest_higher()[at] >= 0 {
            at = result.nearest_higher()[at] as usize;
        }
        result.cluster_mut()[i] = result.cluster()[at];
    }
    result
}

/// Coordinates on a coarse lattice now and then (ties, identical points, distances that equal the radius), weights whose
/// sums are exact (so that no order of summation matters).
fn points(most: usize) -> impl Strategy<Value = Points> {
    let coordinate = prop_oneof![2 => -3.0..3.0_f32, 1 => (-6_i8..=6).prop_map(|i| f32::from(i) * 0.5)];
    let row = (coordinate.clone(), coordinate, 0_u8..32).prop_map(|(x, y, weight)| Point {
        x,
        y,
        weight: f32::from(weight) / 8.0,
    });
    prop::collection::vec(row, 0..most).prop_map(|rows| rows.into_iter().collect())
}

fn config() -> impl Strategy<Value = ClueConfig> {
    let radius = prop_oneof![0.05..2.0_f32, Just(0.5), Just(1.0), Just(20.0)];
    let period = prop_oneof![2 => Just(None), 1 => prop_oneof![Just(3.0), 3.0..7.0_f32].prop_map(Some)];
    (radius, 0.0..4.0_f32, 1.0..3.0_f32, period, 1_u32..12).prop_map(
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
    fn tiles_change_nothing(config in config(), points in points(120)) {
        let result = clusterize(&config, &points, &Offsets::single(points.len())).unwrap();
        let expected = brute_force(&config, &points);
        prop_assert!(result.same_bits(&expected), "{result:?}\n{expected:?}");
    }

    #[test]
    fn tiles_change_nothing_however_far_the_points_are_spread(
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
        let result = clusterize(&config, &points, &Offsets::single(points.len())).unwrap();
        prop_assert!(result.same_bits(&brute_force(&config, &points)));
    }

    #[test]
    fn an_event_does_not_see_the_others_of_its_batch(
        config in config(),
        events in prop::collection::vec((points(60), 0.1..1.7_f32), 0..6),
    ) {
        let mut events: Vec<Points> = events.into_iter().map(|(mut points, factor)| {
            points.weight_mut().iter_mut().for_each(|weight| *weight *= factor);    // sums are not exact any more
            points
        }).collect();
        events.push(Points::default());
        let (batch, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
        let together = clusterize(&config, &batch, &offsets).unwrap().split(&offsets);
        for (points, result) in events.iter().zip(together) {
            let alone = clusterize(&config, points, &Offsets::single(points.len())).unwrap();
            prop_assert!(result.same_bits(&alone));
        }
    }

    #[test]
    fn every_point_is_a_seed_a_follower_or_an_outlier(config in config(), points in points(80)) {
        let result = clusterize(&config, &points, &Offsets::single(points.len())).unwrap();
        let seeds = result.is_seed().iter().filter(|&&seed| seed == 1).count() as i32;
        for point in result.iter() {
            prop_assert!((-1..seeds).contains(&point.cluster));
            prop_assert_eq!(point.nearest_higher < 0, point.delta.is_infinite());
            if point.is_seed == 0 && point.nearest_higher >= 0 {
                prop_assert_eq!(point.cluster, result.cluster()[point.nearest_higher as usize]);
            }
        }
    }
}

fn one(points: &[Point]) -> Result<ClueResult, ClueError> {
    let config =
        ClueConfig { density_radius: 1.0, seed_density: 1.0, outlier_factor: 2.0, ..Default::default() };
    clusterize(&config, &Points::from_rows(points), &Offsets::single(points.len()))
}

#[test]
fn nothing_and_one_point_are_fine() {
    assert!(one(&[]).unwrap().is_empty());
    assert!(clusterize(&ClueConfig::default(), &Points::default(), &Offsets::default()).unwrap().is_empty());
    let single = one(&[Point { x: 7.0, y: -3.0, weight: 1.0 }]).unwrap().row(0);
    assert_eq!(
        single,
        CluePoint { rho: 1.0, delta: f32::INFINITY, nearest_higher: -1, is_seed: 1, cluster: 0 }
    );
}

#[test]
fn identical_points_form_one_cluster_seeded_by_the_last() {
    let result = one(&[Point { x: 7.0, y: -3.0, weight: 1.0 }; 1000]).unwrap();
    assert_eq!(result.rho(), [500.5; 1000]);
    assert_eq!(result.cluster(), [0; 1000]);
    assert_eq!(result.is_seed().iter().position(|&seed| seed == 1), Some(999));
    assert!(result.nearest_higher()[..999].iter().all(|&higher| higher == 999));
}

#[test]
fn a_cluster_crosses_the_end_of_the_period() {
    let period = std::f32::consts::TAU;
    let config = ClueConfig {
        density_radius: 0.2,
        seed_density: 2.0,
        y_period: Some(period),
        ..ClueConfig::default()
    };
    let at = |y| Point { x: 0.0, y, weight: 1.0 };
    let points = Points::from_rows(&[at(3.1), at(-3.1), at(3.13), at(0.0), at(-3.0)]);
    let result = clusterize(&config, &points, &Offsets::single(5)).unwrap();
    assert_eq!(result.cluster(), [0, 0, 0, -1, 0]);
}

#[test]
fn a_bad_point_is_named_by_event_and_row() {
    let good = Point { x: 1.0, y: 1.0, weight: 1.0 };
    let offsets = Offsets::from_counts([2, 0, 3]);
    let fail = |bad: Point, y_period| {
        let points = Points::from_rows(&[good, good, good, bad, good]);
        clusterize(&ClueConfig { y_period, ..ClueConfig::default() }, &points, &offsets)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(fail(Point { x: f32::NAN, ..good }, None), "event 2, row 1: x = NaN must be finite");
    assert_eq!(fail(Point { y: f32::NEG_INFINITY, ..good }, None), "event 2, row 1: y = -inf must be finite");
    assert_eq!(
        fail(Point { y: 7.0, ..good }, Some(6.0)),
        "event 2, row 1: y = 7 must lie within one period of 0"
    );
    let negative = fail(Point { weight: -1.0, ..good }, None);
    assert_eq!(negative, "event 2, row 1: weight = -1 must be finite and not negative");
    assert!(fail(Point { weight: f32::NAN, ..good }, None).contains("weight = NaN"));
}

#[test]
fn a_choice_that_makes_no_sense_is_named() {
    let fail = |config: ClueConfig| config.validate().unwrap_err().to_string();
    let good = ClueConfig::default();
    let zero = fail(ClueConfig { density_radius: 0.0, ..good });
    assert_eq!(zero, "CLUE option density_radius = 0 must lie in 1e-15..1e15");
    assert!(fail(ClueConfig { seed_density: f32::NAN, ..good }).contains("seed_density"));
    assert!(fail(ClueConfig { outlier_factor: 0.5, ..good }).contains("at least 1"));
    assert!(fail(ClueConfig { outlier_factor: f32::INFINITY, ..good }).contains("outlier radius"));
    assert!(fail(ClueConfig { y_period: Some(-1.0), ..good }).contains("y_period"));
    assert!(fail(ClueConfig { points_per_tile: 0, ..good }).contains("points_per_tile"));
}

#[test]
fn offsets_of_other_points_are_refused() {
    let error = clusterize(&ClueConfig::default(), &Points::with_len(3), &Offsets::single(2)).unwrap_err();
    assert_eq!(error, ClueError::Offsets { covered: 2, points: 3 });
}
