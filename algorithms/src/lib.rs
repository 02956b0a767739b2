//! Reconstruction algorithms.
#![forbid(unsafe_code)]
