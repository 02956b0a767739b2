use super::ClueConfig;
use super::density::squared_limit;
use super::tiles::{Grid, Tiles, fold};
use asynchrotron_devices::Offsets;

/// Step 4: for each point the nearest point of higher density within the outlier radius, as an index in the event, and
/// its distance. Where there is none: -1 and infinity. See the [module](super) for ties.
///
/// # Panics
/// If `rho`, `delta` or `nearest_higher` has not one element per point.
pub fn find_nearest_higher(
    config: &ClueConfig,
    tiles: &Tiles,
    events: &Offsets,
    rho: &[f32],
    delta: &mut [f32],
    nearest_higher: &mut [i32],
) {
    match config.y_period {
        Some(_) => search::<true>(config, tiles, events, rho, delta, nearest_higher),
        None => search::<false>(config, tiles, events, rho, delta, nearest_higher),
    }
}

fn search<const PERIODIC: bool>(
    config: &ClueConfig,
    tiles: &Tiles,
    events: &Offsets,
    rho: &[f32],
    delta: &mut [f32],
    nearest_higher: &mut [i32],
) {
    let content = tiles.map.content();
    assert!([rho.len(), delta.len(), nearest_higher.len()] == [content.len(); 3], "one of each per point");
    // One integer that compares as "higher" does: densities are not negative, so they compare as their bits do.
    let rank = |&index: &u32| u64::from(rho[index as usize].to_bits()) << 32 | u64::from(index);
    let ranks: Vec<u64> = content.iter().map(rank).collect();
    // Most points find a higher one within the density radius. Nothing beyond it can be nearer, so only the others need
    // the wide search.
    let radii =
        [config.density_radius, config.outlier_radius()].map(|radius| (radius, squared_limit(radius)));
    for (grid, range) in tiles.grids.iter().zip(events.iter()) {
        let first = range.start as u32;
        for position in range {
            let nearest = radii.iter().find_map(|&(radius, limit)| {
                nearest_within::<PERIODIC>(tiles, grid, &ranks, position, radius, limit)
            });
            let index = content[position] as usize;
            delta[index] = nearest.map_or(f32::INFINITY, |(distance, _)| distance);
            nearest_higher[index] = nearest.map_or(-1, |(_, other)| (other - first) as i32);
        }
    }
}

/// Distance and index of the nearest higher point within `radius`, if there is one.
#[inline]
fn nearest_within<const PERIODIC: bool>(
    tiles: &Tiles,
    grid: &Grid,
    ranks: &[u64],
    position: usize,
    radius: f32,
    mut limit: f32,
) -> Option<(f32, u32)> {
    let (x, y, here) = (tiles.x[position], tiles.y[position], ranks[position]);
    let (mut nearest, mut best) = (f32::INFINITY, 0);
    tiles.for_each_run::<PERIODIC>(grid, (x, y), radius, |run| {
        let columns = tiles.x[run.clone()].iter().zip(&tiles.y[run.clone()]);
        for ((&x_other, &y_other), &other) in columns.zip(&ranks[run]) {
            let dx = x - x_other;
            let dy = fold::<PERIODIC>(y - y_other, grid.y_period);
            let squared = dx * dx + dy * dy;
            // One branch, and the shrinking limit makes it a rare one: which candidate is nearest cannot be predicted.
            if (squared <= limit) & (other > here) {
                let distance = squared.sqrt();
                if distance < nearest || (distance == nearest && other > best) {
                    (nearest, best) = (distance, other);
                    // A little too wide, because different squares can have the same rounded root.
                    limit = limit.min(squared * (1.0 + 4.0 * f32::EPSILON) + f32::MIN_POSITIVE);
                }
            }
        }
    });
    nearest.is_finite().then_some((nearest, best as u32))
}
