use super::BLOCKS;

/// What turns ADC counts into energies (conditions: constant for a run, shared by `Arc`).
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Energy per unit of integral, in GeV / (ADC · sample): [`BLOCKS`] numbers.
    pub gain_gev: Vec<f32>,
    /// What a pulse's half-amplitude time is late by, in ns: [`BLOCKS`] numbers.
    pub time_offset_ns: Vec<f32>,
    /// When signals of the triggering interaction arrive, in ns after the start of the window.
    pub trigger_time_ns: f32,
}

impl Calibration {
    /// The same gain and time offset for all blocks.
    pub fn uniform(gain_gev: f32, time_offset_ns: f32, trigger_time_ns: f32) -> Self {
        Self {
            gain_gev: vec![gain_gev; BLOCKS],
            time_offset_ns: vec![time_offset_ns; BLOCKS],
            trigger_time_ns,
        }
    }
}
