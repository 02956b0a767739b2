//! Reconstruction algorithms: pure functions from collections to collections, on the host.
//!
//! | module | what |
//! |---|---|
//! | [`association_map`] | which elements belong to each key: the building block of all others |
//! | [`clue`] | density-based clustering of points in a plane |
//! | [`calorimeter`] | waveforms to showers, with a generator and its truth |
//! | [`scouting`] | trigger words to τ leptons, with a generator and its truth |
//! | `kernels`, `../kernels` | device code, with the feature `cuda` |
//! | [`weights`] | the numbers of trained networks |
#![forbid(unsafe_code)]

pub mod association_map;
pub mod calorimeter;
pub mod clue;
#[cfg(feature = "cuda")]
pub mod kernels;
mod sample;
pub mod scouting;
mod trained_model;
pub mod weights;

pub use association_map::AssociationMap;
