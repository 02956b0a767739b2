use super::{Cells, Clustering, Geometry, MeasureConfig, measure_clusters};
use crate::clue::{ClueConfig, ClueError, Point, Points, clusterize};
use asynchrotron_devices::Offsets;

/// Clustering of cells by CLUE.
///
/// # Default
/// Density radius 1.5 blocks, seed density 0.15 GeV, outlier radius 2.2 blocks; clusters from 0.3 GeV. The leakage factor
/// is the inverse of the mean E_rec / E_true of the default [`Generator`](super::Generator)'s photons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClueClusterConfig {
    /// CLUE's choices; lengths in blocks, densities in GeV.
    pub clue: ClueConfig,
    /// How groups of cells become clusters.
    pub measure: MeasureConfig,
}

impl Default for ClueClusterConfig {
    fn default() -> Self {
        let clue = ClueConfig {
            density_radius: 1.5,
            seed_density: 0.15,
            outlier_factor: 2.2 / 1.5,
            ..ClueConfig::default()
        };
        Self { clue, measure: MeasureConfig { energy_gev_min: 0.3, log_weight: 4.2, leakage_factor: 1.033 } }
    }
}

/// The cells as points for CLUE: (column, row, energy). In blocks, because small integers leave no rounding to argue about.
pub fn cell_points(geometry: &Geometry, cells: &Cells) -> Points {
    let point = |(&block, &energy_gev): (&u16, &f32)| Point {
        x: geometry.column(block) as f32,
        y: geometry.row(block) as f32,
        weight: energy_gev,
    };
    cells.block().iter().zip(cells.energy_gev()).map(point).collect()
}

/// Clusters the cells of one event with CLUE, on the host.
///
/// For many events at once, or on a device, run CLUE on the [`cell_points`] of all and hand each event's
/// `cluster` column to [`measure_clusters`].
///
/// # Errors
/// [`ClueError`] if the configuration makes no sense or if an energy is negative or not finite.
pub fn clusterize_with_clue(
    config: &ClueClusterConfig,
    geometry: &Geometry,
    cells: &Cells,
) -> Result<Clustering, ClueError> {
    let result = clusterize(&config.clue, &cell_points(geometry, cells), &Offsets::single(cells.len()))?;
    Ok(measure_clusters(&config.measure, geometry, cells, result.cluster()))
}
