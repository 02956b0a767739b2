use asynchrotron_devices::columns;

columns! {
    /// Calibrated energy deposits, at most one per block, in ascending order of blocks.
    pub struct Cells, row Cell {
        /// Block number, row × 30 + column.
        block: u16,
        /// Energy, in GeV.
        energy_gev: f32,
        /// Time after the start of the readout window, in ns.
        time_ns: f32,
    }
}
