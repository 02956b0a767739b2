use asynchrotron_devices::columns;

columns! {
    /// Generated photons.
    pub struct Photons, row Photon {
        /// Horizontal position on the front face, in cm.
        x_cm: f32,
        /// Vertical position on the front face, in cm.
        y_cm: f32,
        /// Energy, in GeV.
        energy_gev: f32,
        /// Arrival time after the start of the readout window, in ns.
        time_ns: f32,
    }
}

columns! {
    /// Blocks that received energy, in ascending order of blocks.
    pub struct Deposits, row Deposit {
        /// Block number, row × 30 + column.
        block: u16,
        /// The signal photon that deposited most, or -1 where background deposited more than each photon.
        photon: i32,
        /// Its share of all energy in the block, 0 to 1 (0 without a photon).
        fraction: f32,
        /// All energy in the block, in GeV.
        energy_gev: f32,
    }
}

/// What really happened in a generated event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// The signal photons.
    pub photons: Photons,
    /// Which photon each block belongs to.
    pub deposits: Deposits,
}
