use super::{
    ClueConfig, ClueError, ClueResult, Points, Tiles, assign_clusters, compute_density, find_nearest_higher,
    mark_seeds,
};
use asynchrotron_devices::Offsets;

/// Clusters the points of one or many events. The result has one row per point, in the order of the points; indices and
/// cluster numbers are local to each event.
///
/// # Errors
/// Those of [`validate`].
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::clue::{ClueConfig, Point, Points, clusterize};
/// use asynchrotron_devices::Offsets;
///
/// let at = |x| Point { x, y: 0.0, weight: 1.0 };
/// let points = Points::from_rows(&[at(0.0), at(0.5), at(5.0), at(5.5), at(50.0)]);
/// let config = ClueConfig { density_radius: 1.0, seed_density: 1.5, outlier_factor: 2.0, ..Default::default() };
///
/// let one_event = clusterize(&config, &points, &Offsets::single(5))?;
/// assert_eq!(one_event.rho(), [1.5, 1.5, 1.5, 1.5, 1.0]);
/// assert_eq!(one_event.cluster(), [0, 0, 1, 1, -1]);
///
/// let two_events = clusterize(&config, &points, &Offsets::from_counts([2, 3]))?;
/// assert_eq!(two_events.cluster(), [0, 0, 0, 0, -1]);
/// # Ok::<(), asynchrotron_algorithms::clue::ClueError>(())
/// ```
pub fn clusterize(config: &ClueConfig, points: &Points, events: &Offsets) -> Result<ClueResult, ClueError> {
    validate(config, points, events)?;
    let tiles = Tiles::new(config, points, events);
    let mut result = ClueResult::with_len(points.len());
    let (rho, delta, nearest_higher, is_seed, cluster) = result.columns_mut();
    compute_density(config, &tiles, events, rho);
    find_nearest_higher(config, &tiles, events, rho, delta, nearest_higher);
    mark_seeds(config, rho, delta, is_seed);
    assign_clusters(events, nearest_higher, is_seed, cluster);
    Ok(result)
}

/// Checks everything that [`clusterize`] relies on.
///
/// # Errors
/// [`ClueError`]: a choice that makes no sense, offsets that do not cover the points, or the first point (named by event
/// and row) whose coordinates are not finite (or beyond the period) or whose weight is negative or not finite.
pub fn validate(config: &ClueConfig, points: &Points, events: &Offsets) -> Result<(), ClueError> {
    config.validate()?;
    if events.rows() != points.len() {
        return Err(ClueError::Offsets { covered: events.rows(), points: points.len() });
    }
    let y_most = config.y_period.unwrap_or(f32::MAX);
    let good = |(&x, &y, &weight): (&f32, &f32, &f32)| {
        x.is_finite() & (y.abs() <= y_most) & (0.0..=f32::MAX).contains(&weight)
    };
    let (x, y, weight) = points.columns();
    let rows = || x.iter().zip(y).zip(weight).map(|((x, y), weight)| (x, y, weight));
    match rows().position(|row| !good(row)) {
        None => Ok(()),
        Some(index) => Err(explain(points, events, index, y_most)),
    }
}

fn explain(points: &Points, events: &Offsets, index: usize, y_most: f32) -> ClueError {
    let event = events.iter().position(|range| range.contains(&index)).unwrap_or_default();
    let row = index - events.range(event).start;
    let point = points.row(index);
    let (column, value, rule) = if !point.x.is_finite() {
        ("x", point.x, "be finite")
    } else if !point.y.is_finite() {
        ("y", point.y, "be finite")
    } else if point.y.abs() > y_most {
        ("y", point.y, "lie within one period of 0")
    } else {
        ("weight", point.weight, "be finite and not negative")
    };
    ClueError::Point { event, row, column, value, rule }
}
