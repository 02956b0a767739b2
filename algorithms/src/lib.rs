//! Reconstruction algorithms: pure functions from collections to collections, on the host.
//!
//! | module | what |
//! |---|---|
//! | [`association_map`] | which elements belong to each key: the building block of all others |
//! | [`clue`] | density-based clustering of points in a plane |
//! | [`calorimeter`] | waveforms to showers, with a generator and its truth |
//! | [`scouting`] | trigger words to τ leptons, with a generator and its truth |
//! | [`weights`] | the numbers of trained networks |
//! | `kernels` | the same on GPUs: device code, with the feature `cuda` |
#![forbid(unsafe_code)]

pub mod association_map;
pub mod calorimeter;
pub mod clue;
#[cfg(feature = "cuda")]
pub mod kernels;
mod sample;
pub mod scouting;
pub mod weights;

pub use association_map::AssociationMap;
