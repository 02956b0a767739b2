//! The `asynchrotron` command.
#![forbid(unsafe_code)]
mod bench { pub mod overhead; mod machine; }
fn main() { bench::overhead::run(std::env::args().nth(1).is_some()).unwrap() }
