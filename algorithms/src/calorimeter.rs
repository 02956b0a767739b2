//! An electromagnetic calorimeter of 30 × 36 lead-tungstate blocks, read out as waveforms (modelled on the NPS, the
//! Neutral Particle Spectrometer of Jefferson Lab's Hall C).

mod cells;
mod clusters;
mod geometry;
mod pulses;
mod truth;
mod waveform;

pub use cells::{Cell, Cells};
pub use clusters::{Cluster, Clusters};
pub use geometry::{BLOCKS, COLUMNS, ROWS};
pub use pulses::{Pulse, Pulses};
pub use truth::{Deposit, Deposits, Photon, Photons, Truth};
pub use waveform::{SAMPLES, Waveforms, WaveformsError};
