//! [`ModelError`]: why a model cannot be loaded or run.

use std::path::PathBuf;

/// Why a model cannot be loaded or run. Every message names the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("model `{model}` cannot be read from {}: {why}", .file.display())]
    Read {
        /// The model.
        model: String,
        /// Its file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// What was read is no model, or none that can be run here.
    #[error("model `{model}` ({origin}) cannot be loaded: {why}")]
    Load {
        /// The model.
        model: String,
        /// Where it comes from: its file, if it was one.
        origin: String,
        /// The library's reason.
        why: String,
    },
    /// A type or a shape is another than the model's, or than the one that was declared for it.
    #[error("model `{model}`, {place}: expected {expected}, found {found}")]
    Mismatch {
        /// The model.
        model: String,
        /// Which input or output.
        place: String,
        /// The type and shape that it should have.
        expected: String,
        /// The type and shape that it has.
        found: String,
    },
    /// The model was loaded for fewer lanes than the device has.
    #[error(
        "model `{model}` was loaded for {lanes} lanes, and this is number {lane}: load it for the device that runs it"
    )]
    NoSuchLane {
        /// The model.
        model: String,
        /// The lane.
        lane: usize,
        /// The lanes that it was loaded for.
        lanes: usize,
    },
    /// The run failed.
    #[error("model `{model}` failed on {rows} rows: {why}")]
    Run {
        /// The model.
        model: String,
        /// The rows of the batch.
        rows: usize,
        /// The library's reason.
        why: String,
    },
    /// There is no library to run it, and no body for the host.
    #[error("model `{model}` has no body for the host: it runs on device `onnx` only")]
    NoHostBody {
        /// The model.
        model: String,
    },
    /// ONNX Runtime is here, but not for GPUs.
    #[error("model `{model}` does not run on GPUs: {why}")]
    NoProvider {
        /// The model.
        model: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// ONNX Runtime is not here.
    #[error("model `{model}` needs ONNX Runtime: {why}")]
    NoLibrary {
        /// The model.
        model: String,
        /// What is missing, and what to do.
        why: String,
    },
}

impl ModelError {
    pub(crate) fn mismatch(model: &str, place: String, expected: String, found: String) -> Self {
        Self::Mismatch { model: model.into(), place, expected, found }
    }
}
