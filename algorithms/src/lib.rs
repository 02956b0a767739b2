//! Reconstruction algorithms.
#![forbid(unsafe_code)]

pub mod calorimeter;
pub mod clue;
