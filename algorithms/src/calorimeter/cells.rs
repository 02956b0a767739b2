use super::{Calibration, Pulses};
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

/// Which pulses become cells.
///
/// # Default
/// At least 15 MeV, within 30 ns of the trigger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellConfig {
    /// The least energy of a cell, in GeV.
    pub energy_gev_min: f32,
    /// The greatest distance from the trigger time, in ns.
    pub time_window_ns: f32,
}

impl Default for CellConfig {
    fn default() -> Self {
        Self { energy_gev_min: 0.015, time_window_ns: 30.0 }
    }
}

/// Turns pulses into energies and times. Of several pulses in one block the one nearest to the trigger time counts (the
/// earlier of two equally near). The order of the pulses of different blocks does not matter.
///
/// # Panics
/// If a pulse's block is beyond the calibration's.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::calorimeter::{Calibration, CellConfig, Pulse, Pulses, calibrate};
/// let calibration = Calibration::uniform(1.0 / 1024.0, 5.0, 150.0);    // GeV / (ADC · sample), ns, ns
/// let pulse = |block, integral, time_ns| Pulse { block, integral, amplitude: 0.3 * integral, time_ns };
/// let pulses = [pulse(8, 1024.0, 155.0), pulse(4, 90.0, 20.0), pulse(4, 64.0, 157.0), pulse(5, 3.0, 155.0)];
/// let pulses = Pulses::from_rows(&pulses);
/// let cells = calibrate(&CellConfig::default(), &calibration, &pulses);
/// assert_eq!(cells.block(), [4, 8]);
/// assert_eq!(cells.energy_gev(), [0.0625, 1.0]);
/// assert_eq!(cells.time_ns(), [152.0, 150.0]);
/// ```
pub fn calibrate(config: &CellConfig, calibration: &Calibration, pulses: &Pulses) -> Cells {
    let late = |cell: &Cell| (cell.time_ns - calibration.trigger_time_ns).abs();
    let mut cells: Vec<Cell> = pulses
        .iter()
        .map(|pulse| Cell {
            block: pulse.block,
            energy_gev: pulse.integral * calibration.gain_gev[usize::from(pulse.block)],
            time_ns: pulse.time_ns - calibration.time_offset_ns[usize::from(pulse.block)],
        })
        .collect();
    cells.sort_by(|a, b| {
        a.block.cmp(&b.block).then(late(a).total_cmp(&late(b))).then(a.time_ns.total_cmp(&b.time_ns))
    });
    cells.dedup_by_key(|cell| cell.block);
    cells.retain(|cell| cell.energy_gev >= config.energy_gev_min && late(cell) <= config.time_window_ns);
    Cells::from_rows(&cells)
}
