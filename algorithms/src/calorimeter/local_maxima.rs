use super::{BLOCKS, Cells, Clustering, Geometry, MeasureConfig, measure_clusters};

/// Clustering of cells around local maxima, as a trigger does it in 3 × 3 blocks.
///
/// # Default
/// Seeds from 0.15 GeV, cells within 20 ns of their seed, clusters from 0.3 GeV. The leakage factor is the inverse of the
/// mean E_rec / E_true of the default [`Generator`](super::Generator)'s photons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalMaximumConfig {
    /// The least energy of a seed, in GeV.
    pub seed_energy_gev_min: f32,
    /// A cell joins a seed if their times differ by less, in ns.
    pub coincidence_ns: f32,
    /// How groups of cells become clusters.
    pub measure: MeasureConfig,
}

impl Default for LocalMaximumConfig {
    fn default() -> Self {
        let measure = MeasureConfig { energy_gev_min: 0.3, log_weight: 4.2, leakage_factor: 1.047 };
        Self { seed_energy_gev_min: 0.15, coincidence_ns: 20.0, measure }
    }
}

/// Clusters the cells of one event: a seed is a cell with more energy than its eight neighbours in time with it (of
/// equal ones the lower block), and takes the neighbours in time with it. A cell between two seeds goes to the one of
/// higher energy (of equal ones the lower block).
///
/// # Panics
/// If a block number is not below [`BLOCKS`].
pub fn clusterize_local_maxima(
    config: &LocalMaximumConfig,
    geometry: &Geometry,
    cells: &Cells,
) -> Clustering {
    let (block, energy, time) = cells.columns();
    let mut cell_of_block = [u32::MAX; BLOCKS];
    for (cell, &block) in block.iter().enumerate() {
        cell_of_block[usize::from(block)] = cell as u32;
    }
    let around = |cell: usize| {
        let neighbours = geometry.neighbours(block[cell]).map(|other| cell_of_block[usize::from(other)]);
        neighbours
            .filter(|&other| other != u32::MAX)
            .map(|other| other as usize)
            .filter(move |&other| (time[other] - time[cell]).abs() < config.coincidence_ns)
    };
    let beats = |a: usize, b: usize| energy[a] > energy[b] || (energy[a] == energy[b] && block[a] < block[b]);
    let is_seed: Vec<bool> = (0..cells.len())
        .map(|cell| {
            energy[cell] >= config.seed_energy_gev_min && around(cell).all(|other| beats(cell, other))
        })
        .collect();
    // The group of a cell is, for now, the number of its seed's cell.
    let group_of_cell: Vec<i32> = (0..cells.len())
        .map(|cell| {
            let seeds = around(cell).filter(|&other| is_seed[other]);
            let seed =
                if is_seed[cell] { Some(cell) } else { seeds.reduce(|a, b| if beats(b, a) { b } else { a }) };
            seed.map_or(-1, |seed| seed as i32)
        })
        .collect();
    measure_clusters(&config.measure, geometry, cells, &group_of_cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calorimeter::Cell;

    fn clusterize(cells: &[(usize, usize, f32, f32)]) -> Clustering {
        let geometry = Geometry::default();
        let cell = |&(column, row, energy_gev, time_ns)| Cell {
            block: geometry.block(column, row).unwrap(),
            energy_gev,
            time_ns,
        };
        clusterize_local_maxima(&LocalMaximumConfig::default(), &geometry, &cells.iter().map(cell).collect())
    }

    #[test]
    fn a_cell_between_two_seeds_goes_to_the_stronger() {
        let found = clusterize(&[(4, 4, 1.0, 0.0), (5, 4, 0.2, 0.0), (6, 4, 2.0, 0.0)]);
        assert_eq!(found.cluster_of_cell, [0, 1, 1]);
        assert_eq!(found.cells_of_cluster.elements(1), [1, 2]);
    }

    #[test]
    fn of_equal_neighbours_the_lower_block_is_the_seed() {
        let found = clusterize(&[(4, 4, 1.0, 0.0), (5, 4, 1.0, 0.0)]);
        assert_eq!((found.clusters.len(), found.clusters.seed_block()[0]), (1, 4 * 30 + 4));
    }

    #[test]
    fn cells_out_of_time_do_not_join() {
        let found = clusterize(&[(4, 4, 1.0, 0.0), (5, 4, 0.9, 25.0)]);
        assert_eq!(found.cluster_of_cell, [0, 1]);
    }
}
