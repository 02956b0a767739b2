use super::ClueConfig;
use super::tiles::{Tiles, fold};
use asynchrotron_devices::Offsets;

/// Step 3: the local density rho_i = w_i + ½ Σ w_j over the other points j of the event with d(i, j) ≤ density radius.
///
/// `rho` is filled in the order of the points. See the [module](super) for the order of summation.
///
/// # Panics
/// If `rho` has not one element per point.
pub fn compute_density(config: &ClueConfig, tiles: &Tiles, events: &Offsets, rho: &mut [f32]) {
    match config.y_period {
        Some(_) => density::<true>(config, tiles, events, rho),
        None => density::<false>(config, tiles, events, rho),
    }
}

fn density<const PERIODIC: bool>(config: &ClueConfig, tiles: &Tiles, events: &Offsets, rho: &mut [f32]) {
    let limit = squared_limit(config.density_radius);
    let content = tiles.map.content();
    assert_eq!(rho.len(), content.len(), "one density per point");
    for (grid, range) in tiles.grids.iter().zip(events.iter()) {
        for position in range {
            let (x, y) = (tiles.x[position], tiles.y[position]);
            let mut sum = 0.0;
            tiles.for_each_run::<PERIODIC>(grid, (x, y), config.density_radius, |run| {
                let columns =
                    tiles.x[run.clone()].iter().zip(&tiles.y[run.clone()]).zip(&tiles.weight[run.clone()]);
                for (other, ((&x_other, &y_other), &weight)) in run.zip(columns) {
                    let dx = x - x_other;
                    let dy = fold::<PERIODIC>(y - y_other, grid.y_period);
                    let share = if other == position { weight } else { 0.5 * weight };
                    sum += if dx * dx + dy * dy <= limit { share } else { 0.0 };
                }
            });
            rho[content[position] as usize] = sum;
        }
    }
}

/// The largest `f32` whose square root is at most `radius`: comparing with it gives the same answer as comparing the
/// square root, for less. (A correctly rounded root never descends, so there is such a number.)
pub(super) fn squared_limit(radius: f32) -> f32 {
    let mut limit = radius * radius;
    while limit.sqrt() > radius {
        limit = limit.next_down();
    }
    while limit.next_up().sqrt() <= radius {
        limit = limit.next_up();
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_squared_limit_decides_as_the_root_does(radius in 1e-15..1e15_f32, ulps in -40_i32..40) {
            let squared = f32::from_bits(((radius * radius).to_bits() as i32 + ulps) as u32);
            prop_assert_eq!(squared <= squared_limit(radius), squared.sqrt() <= radius);
        }
    }
}
