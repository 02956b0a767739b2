use super::ClueConfig;
use super::density::squared_limit;
use super::tiles::{Tiles, fold};
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
    let radius = config.outlier_radius();
    let limit = squared_limit(radius);
    let content = tiles.map.content();
    assert!([rho.len(), delta.len(), nearest_higher.len()] == [content.len(); 3], "one of each per point");
    let rho: Vec<f32> = content.iter().map(|&index| rho[index as usize]).collect();
    for (grid, range) in tiles.grids.iter().zip(events.iter()) {
        let first = range.start as u32;
        for position in range {
            let (x, y, here) = (tiles.x[position], tiles.y[position], (rho[position], content[position]));
            let mut best = (f32::INFINITY, here.0, None);
            for run in tiles.runs(grid, x, y, radius) {
                let columns = tiles.x[run.clone()].iter().zip(&tiles.y[run.clone()]);
                let ranks = rho[run.clone()].iter().zip(&content[run]);
                for ((&x_other, &y_other), (&rho_other, &other)) in columns.zip(ranks) {
                    let dx = x - x_other;
                    let dy = fold::<PERIODIC>(y - y_other, grid.y_period);
                    let squared = dx * dx + dy * dy;
                    // Tuples of (density, index) compare as "higher" does.
                    if squared <= limit && (rho_other, other) > here {
                        let distance = squared.sqrt();
                        let nearer = distance < best.0;
                        if nearer || (distance == best.0 && (rho_other, Some(other)) > (best.1, best.2)) {
                            best = (distance, rho_other, Some(other));
                        }
                    }
                }
            }
            let index = here.1 as usize;
            delta[index] = best.0;
            nearest_higher[index] = best.2.map_or(-1, |other| (other - first) as i32);
        }
    }
}
