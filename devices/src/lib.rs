//! Devices, lanes, completions and columns.
#![forbid(unsafe_code)]

pub mod columns;

pub use columns::{Columns, Offsets};
