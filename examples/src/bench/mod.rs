//! The benchmarks: `asynchrotron bench <name>`.

mod batch;
#[cfg(feature = "onnx")]
mod columns;
#[cfg(feature = "cuda")]
mod cuda;
mod load;
mod machine;
#[cfg(feature = "onnx")]
mod onnx;
mod overhead;
mod scale;
mod suspend;
mod trace;

use asynchrotron::Result;

/// Measures, and prints what it found: as one JSON object if so asked, else as text.
pub(crate) type Benchmark = fn(json: bool) -> Result<()>;

/// The benchmarks by name.
pub(crate) const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("batch", batch::run),
    #[cfg(feature = "onnx")]
    ("columns", columns::run),
    #[cfg(feature = "cuda")]
    ("cuda", cuda::run),
    #[cfg(feature = "onnx")]
    ("onnx", onnx::run),
    ("overhead", overhead::run),
    ("scale", scale::run),
    ("suspend", suspend::run),
    ("trace", trace::run),
];

/// Runs a benchmark.
pub(crate) fn run(name: &str, json: bool) -> Result<()> {
    match BENCHMARKS.iter().find(|(known, _)| *known == name) {
        Some((_, benchmark)) => benchmark(json),
        None => {
            let known: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
            Err(crate::error::unknown("benchmark", name, &known))
        }
    }
}
