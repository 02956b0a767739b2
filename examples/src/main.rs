//! The `asynchrotron` command.
#![forbid(unsafe_code)]
mod bench {
    mod machine;
    pub mod overhead;
}
fn main() {
    bench::overhead::run(std::env::args().nth(1).is_some()).unwrap()
}
