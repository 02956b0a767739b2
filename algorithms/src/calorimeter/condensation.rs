use super::{BLOCKS, COLUMNS, Cells, Clustering, Geometry, MeasureConfig, measure_clusters};

/// The energy that the first channel of [`cell_grid`] is logarithmic above, in GeV.
const ENERGY_GEV: f32 = 0.1;
/// Where the second channel of [`cell_grid`] is 0, in ns from the trigger.
const TIME_NS: f32 = 30.0;

/// Channels of the network's input and output.
pub(super) const INPUTS: usize = 2;
pub(super) const OUTPUTS: usize = 4;

/// The cells of one event as an image: `[channel][row][column]`, 2 × 36 × 30 numbers. The channels are ln(1 + E / 0.1 GeV) and
/// 1 - |t - trigger| / 30 ns; both are 0 where there is no cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellGrid(pub Vec<f32>);

/// What the network says of each block: `[channel][row][column]`, 4 × 36 × 30 numbers, of which only those of cells count. The
/// channels are β (0 to 1, how good a block stands for its shower), the offsets of its latent coordinates from its own column
/// and row (in blocks), and ln(true energy of its shower / energy of the shower's cells).
#[derive(Clone, Debug, PartialEq)]
pub struct CondensationGrid(pub Vec<f32>);

/// Clustering of cells by object condensation (J. Kieseler, Eur. Phys. J. C 80 (2020) 886).
///
/// # Default
/// Condensation points from β = 0.3, cells within 0.8 blocks in latent space; clusters from 0.3 GeV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CondensationConfig {
    /// The least β of a condensation point.
    pub beta_min: f32,
    /// A cell joins a condensation point that is nearer than this in latent space, in blocks.
    pub distance_max: f32,
    /// How groups of cells become clusters. The leakage factor comes on top of the network's.
    pub measure: MeasureConfig,
}

impl Default for CondensationConfig {
    fn default() -> Self {
        let measure = MeasureConfig { energy_gev_min: 0.3, log_weight: 4.2, leakage_factor: 1.0 };
        Self { beta_min: 0.3, distance_max: 0.8, measure }
    }
}

/// The network's input.
///
/// # Panics
/// If a block number is not below [`BLOCKS`].
pub fn cell_grid(trigger_time_ns: f32, cells: &Cells) -> CellGrid {
    let mut grid = vec![0.0; INPUTS * BLOCKS];
    for cell in cells.iter() {
        let block = usize::from(cell.block);
        assert!(block < BLOCKS, "block {block} of {BLOCKS}");
        grid[block] = (1.0 + cell.energy_gev / ENERGY_GEV).ln();
        grid[BLOCKS + block] = 1.0 - (cell.time_ns - trigger_time_ns).abs() / TIME_NS;
    }
    CellGrid(grid)
}

/// Greedy condensation: of the cells that are left, the one of highest β (of equal ones the lowest block) takes all those
/// nearer than `distance_max` in latent space, and so on, down to `beta_min`. What is left then belongs to no cluster.
///
/// Energies are multiplied with what the network says at the condensation point.
///
/// # Panics
/// If the grid has not 4 × 36 × 30 numbers, or a block number is not below [`BLOCKS`].
pub fn condense(
    config: &CondensationConfig,
    geometry: &Geometry,
    cells: &Cells,
    grid: &CondensationGrid,
) -> Clustering {
    assert_eq!(grid.0.len(), OUTPUTS * BLOCKS, "four numbers per block");
    let [beta, d_column, d_row, log_ratio] =
        std::array::from_fn(|channel| &grid.0[channel * BLOCKS..][..BLOCKS]);
    let block: Vec<usize> = cells.block().iter().map(|&block| block.into()).collect();
    let latent = |cell: usize| {
        let block = block[cell];
        [(block % COLUMNS) as f32 + d_column[block], (block / COLUMNS) as f32 + d_row[block]]
    };
    let latent: Vec<[f32; 2]> = (0..cells.len()).map(latent).collect();
    let mut order: Vec<usize> =
        (0..cells.len()).filter(|&cell| beta[block[cell]] >= config.beta_min).collect();
    order.sort_by(|&a, &b| beta[block[b]].total_cmp(&beta[block[a]]).then(block[a].cmp(&block[b])));
    let squared_max = config.distance_max * config.distance_max;
    // The group of a cell is, for now, the number of its condensation point's cell.
    let mut point_of_cell = vec![-1; cells.len()];
    for point in order {
        if point_of_cell[point] >= 0 {
            continue;
        }
        point_of_cell[point] = point as i32;
        for (cell, taken) in point_of_cell.iter_mut().enumerate().filter(|(_, taken)| **taken < 0) {
            let [dx, dy] = [0, 1].map(|axis| latent[cell][axis] - latent[point][axis]);
            if dx * dx + dy * dy < squared_max {
                *taken = point as i32;
            }
        }
    }
    // What the cells of each group are multiplied with, and what they are worth then.
    let factor: Vec<f32> =
        block.iter().map(|&block| config.measure.leakage_factor * log_ratio[block].exp()).collect();
    let mut energy_gev = vec![0.0; cells.len()];
    for (&point, energy) in point_of_cell.iter().zip(cells.energy_gev()) {
        if let Ok(point) = usize::try_from(point) {
            energy_gev[point] += energy * factor[point];
        }
    }
    for point in &mut point_of_cell {
        if usize::try_from(*point).is_ok_and(|point| energy_gev[point] < config.measure.energy_gev_min) {
            *point = -1;
        }
    }
    let measure = MeasureConfig { energy_gev_min: 0.0, leakage_factor: 1.0, ..config.measure };
    let mut clustering = measure_clusters(&measure, geometry, cells, &point_of_cell);
    let Clustering { clusters, cells_of_cluster, .. } = &mut clustering;
    for (energy, members) in clusters.energy_gev_mut().iter_mut().zip(cells_of_cluster.iter()) {
        *energy *= factor[point_of_cell[members[0] as usize] as usize];
    }
    clustering
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calorimeter::Cell;

    /// Cells in a row, with (β, offset along the row, energy).
    fn condensed(cells: &[(f32, f32, f32)]) -> Clustering {
        let (mut grid, first) = (vec![0.0; OUTPUTS * BLOCKS], 5 * COLUMNS + 3);
        let mut row = Vec::new();
        for (i, &(beta, offset, energy_gev)) in cells.iter().enumerate() {
            let block = first + i;
            grid[block] = beta;
            grid[BLOCKS + block] = offset;
            grid[3 * BLOCKS + block] = 2.0_f32.ln();
            row.push(Cell { block: block as u16, energy_gev, time_ns: 150.0 });
        }
        let config = CondensationConfig::default();
        condense(&config, &Geometry::default(), &Cells::from_rows(&row), &CondensationGrid(grid))
    }

    #[test]
    fn the_highest_beta_takes_what_is_near_and_the_rest_goes_on() {
        // Latent columns 1, 1, 1.6, 2.2, 2.2, 9: the second takes the first three, the fifth the fourth.
        let found = condensed(&[
            (0.8, 1.0, 1.0),
            (0.9, 0.0, 1.0),
            (0.7, -0.4, 1.0),
            (0.5, -0.8, 1.0),
            (0.6, -1.8, 1.0),
            (0.2, 4.0, 1.0),
        ]);
        assert_eq!(found.cluster_of_cell, [0, 0, 0, 1, 1, -1]);
        assert_eq!(found.clusters.energy_gev(), [6.0, 4.0]);
    }

    #[test]
    fn of_equal_betas_the_lower_block_condenses_and_small_clusters_are_left_out() {
        let found = condensed(&[(0.9, 0.5, 0.1), (0.9, -0.5, 0.06), (0.4, 9.0, 0.14)]);
        assert_eq!(found.cluster_of_cell, [0, 0, -1]);
        assert_eq!(condensed(&[(0.29, 0.0, 5.0)]), condensed_nothing(1));
        assert_eq!(condensed(&[]), Clustering::default());
    }

    fn condensed_nothing(cells: usize) -> Clustering {
        Clustering { cluster_of_cell: vec![-1; cells], ..Clustering::default() }
    }
}
