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
        /// Block number of the seed, row × 30 + column.
        seed_block: u16,
        /// The number of cells.
        size: u16,
    }
}
