use super::{Cells, Geometry};
use crate::AssociationMap;
use asynchrotron_devices::columns;

columns! {
    /// Reconstructed showers, in ascending order of their seed blocks.
    pub struct Clusters, row Cluster {
        /// Horizontal position on the front face, in cm.
        x_cm: f32,
        /// Vertical position on the front face, in cm.
        y_cm: f32,
        /// Energy, in GeV.
        energy_gev: f32,
        /// Time of the seed cell, in ns.
        time_ns: f32,
        /// Block number of the seed, the cell of highest energy: row × 30 + column.
        seed_block: u16,
        /// The number of cells.
        size: u16,
    }
}

/// The clusters of one event, and which cells they are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clustering {
    /// The clusters.
    pub clusters: Clusters,
    /// The cluster of each cell, or -1.
    pub cluster_of_cell: Vec<i32>,
    /// The cells of each cluster.
    pub cells_of_cluster: AssociationMap,
}

/// How a group of cells becomes a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasureConfig {
    /// The least energy of a cluster, in GeV; the cells of lesser ones belong to no cluster.
    pub energy_gev_min: f32,
    /// The constant w0 of the logarithmic position weights: a cell counts if it holds more than exp(-w0) of the energy.
    pub log_weight: f32,
    /// What the sum of the cells is multiplied with, to make up for energy lost at the sides and below threshold.
    pub leakage_factor: f32,
}

/// Measures groups of cells: energy = leakage factor · Σ E, position = Σ w x / Σ w with w = max(0, w0 + ln(E / Σ E))
/// (T. C. Awes et al., Nucl. Instrum. Meth. A 311 (1992) 130), time and seed from the cell of highest energy (the lowest
/// block of several equal ones).
///
/// `group_of_cell` has a number from 0 on, or -1, for each cell. Clusters are numbered anew, by seed block.
///
/// # Panics
/// If `group_of_cell` has not one element per cell.
pub fn measure_clusters(
    config: &MeasureConfig,
    geometry: &Geometry,
    cells: &Cells,
    group_of_cell: &[i32],
) -> Clustering {
    assert_eq!(group_of_cell.len(), cells.len(), "one group per cell");
    let (block, energy, time) = cells.columns();
    let n_groups = group_of_cell.iter().max().map_or(0, |&last| (last + 1) as usize);
    let groups = AssociationMap::from_keys(group_of_cell, n_groups);

    let mut measured: Vec<(Cluster, usize)> = Vec::with_capacity(n_groups);
    for (group, members) in groups.iter().enumerate() {
        let members = || members.iter().map(|&cell| cell as usize);
        let total: f32 = members().map(|cell| energy[cell]).sum();
        let better =
            |a: usize, b: usize| energy[a] > energy[b] || (energy[a] == energy[b] && block[a] < block[b]);
        let Some(seed) = members().reduce(|best, cell| if better(cell, best) { cell } else { best }) else {
            continue;
        };
        let energy_gev = config.leakage_factor * total;
        if energy_gev < config.energy_gev_min {
            continue;
        }
        // Relative to the seed, which keeps the sums small and the rounding with them.
        let (x_seed, y_seed) = (geometry.x_cm(block[seed]), geometry.y_cm(block[seed]));
        let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
        for cell in members() {
            let weight = (config.log_weight + (energy[cell] / total).ln()).max(0.0);
            sum += weight;
            x += weight * (geometry.x_cm(block[cell]) - x_seed);
            y += weight * (geometry.y_cm(block[cell]) - y_seed);
        }
        let (x_cm, y_cm) = if sum > 0.0 { (x_seed + x / sum, y_seed + y / sum) } else { (x_seed, y_seed) };
        let size = members().len() as u16;
        measured.push((
            Cluster { x_cm, y_cm, energy_gev, time_ns: time[seed], seed_block: block[seed], size },
            group,
        ));
    }
    measured.sort_by_key(|(cluster, _)| cluster.seed_block);

    let mut cluster_of_group = vec![-1; n_groups];
    for (cluster, &(_, group)) in measured.iter().enumerate() {
        cluster_of_group[group] = cluster as i32;
    }
    let renumber = |&group: &i32| if group < 0 { -1 } else { cluster_of_group[group as usize] };
    let cluster_of_cell: Vec<i32> = group_of_cell.iter().map(renumber).collect();
    let cells_of_cluster = AssociationMap::from_keys(&cluster_of_cell, measured.len());
    Clustering {
        clusters: measured.into_iter().map(|(cluster, _)| cluster).collect(),
        cluster_of_cell,
        cells_of_cluster,
    }
}
