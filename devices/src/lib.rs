//! Devices, lanes, completions and columns.
#![forbid(unsafe_code)]
