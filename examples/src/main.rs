//! The `asynchrotron` command.
#![forbid(unsafe_code)]
fn main() {}
