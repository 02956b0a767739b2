//! An electromagnetic calorimeter of 30 × 36 lead-tungstate blocks, read out as waveforms (modelled on the NPS, the
//! Neutral Particle Spectrometer of Jefferson Lab's Hall C).
//!
//! | step | function | from → to |
//! |---|---|---|
//! | 1 | [`find_pulses`] | [`Waveforms`] → [`Pulses`] |
//! | 2 | [`calibrate`] | [`Pulses`] → [`Cells`] |
//! | 3a | [`clusterize_with_clue`] | [`Cells`] → [`Clustering`] |
//! | 3b | [`clusterize_local_maxima`] | [`Cells`] → [`Clustering`] |
//! | 3c | [`cell_grid`], [`CondensationNetwork`], [`CondensationStep`], [`condense`] | [`Cells`] → [`Clustering`] |
//!
//! [`Geometry`] and [`Calibration`] are conditions. [`Generator`] makes events with their truth, [`Quality`] compares.
//!
//! ```
//! use asynchrotron_algorithms::calorimeter::*;
//!
//! let generator = Generator::new(GeneratorConfig::default());
//! let (geometry, calibration) = (generator.geometry(), generator.calibration());
//! let mut quality = Quality::default();
//! for event in 0..20 {
//!     let CalorimeterEvent { waveforms, truth } = generator.generate(event);
//!     let pulses = find_pulses(&PulseConfig::default(), &waveforms);
//!     let cells = calibrate(&CellConfig::default(), &calibration, &pulses);
//!     let clustering = clusterize_with_clue(&ClueClusterConfig::default(), geometry, &cells)?;
//!     quality.add(&truth, &cells, &clustering);
//! }
//! assert!(quality.report().efficiency > 0.8);
//! println!("{quality}");
//! # Ok::<(), asynchrotron_algorithms::clue::ClueError>(())
//! ```

mod calibration;
mod cells;
mod clue_clusters;
mod clusters;
mod condensation;
mod condensation_network;
mod condensation_step;
mod generator;
mod geometry;
mod local_maxima;
mod pulses;
mod quality;
mod shower;
mod truth;
mod waveform;

pub use calibration::Calibration;
pub use cells::{Cell, CellConfig, Cells, calibrate};
pub use clue_clusters::{ClueClusterConfig, cell_points, clusterize_with_clue};
pub use clusters::{Cluster, Clustering, Clusters, MeasureConfig, measure_clusters};
pub use condensation::{CellGrid, CondensationConfig, CondensationGrid, cell_grid, condense};
pub use condensation_network::CondensationNetwork;
pub use condensation_step::{CondensationRequest, CondensationStep};
pub use generator::{CalorimeterEvent, Generator, GeneratorConfig};
pub use geometry::{BLOCKS, COLUMNS, Geometry, ROWS};
pub use local_maxima::{LocalMaximumConfig, clusterize_local_maxima};
pub use pulses::{Pulse, PulseConfig, Pulses, SAMPLE_NS, find_pulses};
pub use quality::{Quality, QualityReport};
pub use shower::LateralShape;
pub use truth::{Deposit, Deposits, Photon, Photons, Truth};
pub use waveform::{SAMPLES, Waveforms, WaveformsError};
