//! [`ModelSource`]: a model's bytes, their hash, and the optimised graph ahead of time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use sha2::{Digest, Sha256};

use super::library::{library, one_line};
use crate::inference::ModelError;

/// A model's bytes, and where they come from. Cheap to clone.
#[derive(Clone)]
pub struct ModelSource {
    name: Arc<str>,
    origin: Arc<str>,
    bytes: Arc<[u8]>,
    sha256: Arc<str>,
    optimized: bool,
}

impl ModelSource {
    /// Reads a file; nothing is checked yet. `name` is the model's in reports and errors.
    ///
    /// # Errors
    /// [`ModelError::Read`].
    pub fn from_file(name: &str, file: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(file).map_err(|error| ModelError::Read {
            model: name.into(),
            file: file.into(),
            why: error.to_string(),
        })?;
        Ok(Self::new(name, &file.display().to_string(), bytes.into()))
    }

    /// A model that is part of the program (`include_bytes!`), or was made by it.
    pub fn from_bytes(name: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(name, "built in", bytes.into())
    }

    fn new(name: &str, origin: &str, bytes: Arc<[u8]>) -> Self {
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let (name, origin, sha256) = (name.into(), origin.into(), sha256.into());
        Self { name, origin, bytes, sha256, optimized: false }
    }

    /// The same, if it is known to be an optimised graph: loading it does not optimise it once more.
    #[must_use]
    pub fn already_optimized(self) -> Self {
        Self { optimized: true, ..self }
    }

    /// Optimises the graph once and for all, and writes it to `file` (under another name first, so that nobody sees half of it).
    /// The results are the same. It is for this processor and this version of the library: kept as a cache, not shipped.
    ///
    /// What that saves (`bench onnx`) is the optimisation, which is a matter of the number of operators: half of the start-up of a
    /// small convolutional network, a third of that of a dense one of 70 thousand parameters, and nothing of that of 5 million or more,
    /// where reading and copying the weights is nearly all. Runs take as long as before, also with 60 million parameters.
    ///
    /// # Errors
    /// [`ModelError::NoLibrary`], [`Load`](ModelError::Load), [`Read`](ModelError::Read).
    ///
    /// # Examples
    ///
    /// See [`OnnxModel`](super::OnnxModel).
    pub fn optimize(&self, file: &Path) -> Result<Self, ModelError> {
        let draft = file.with_extension(format!("{}.draft", std::process::id()));
        let result = self.session(1, |builder| Ok(builder.with_optimized_model_path(&draft)?));
        let moved = result.and_then(|_session| {
            std::fs::rename(&draft, file).map_err(|error| self.load_error(&one_line(&error)))
        });
        if moved.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        moved?;
        Ok(Self::from_file(&self.name, file)?.already_optimized())
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, or `built in`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The hash of its bytes, in hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is an optimised graph.
    pub fn is_optimized(&self) -> bool {
        self.optimized
    }

    /// A session of its own.
    pub(super) fn session(
        &self,
        threads: usize,
        configure: impl FnOnce(SessionBuilder) -> ort::Result<SessionBuilder>,
    ) -> Result<Session, ModelError> {
        let library = library().map_err(|missing| ModelError::NoLibrary {
            model: (*self.name).into(),
            why: missing.to_string(),
        })?;
        let level = match self.optimized {
            true => GraphOptimizationLevel::Disable,
            false => GraphOptimizationLevel::All,
        };
        let build = || -> ort::Result<Session> {
            let builder = Session::builder(&library.environment)?
                .with_optimization_level(level)?
                .with_intra_threads(threads)?
                .with_inter_threads(1)?
                .with_intra_op_spinning(false)?;
            configure(builder)?.commit_from_memory(&self.bytes)
        };
        build().map_err(|error| self.load_error(&one_line(&error)))
    }

    pub(super) fn load_error(&self, why: &str) -> ModelError {
        ModelError::Load { model: (*self.name).into(), origin: (*self.origin).into(), why: why.into() }
    }
}

impl fmt::Debug for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelSource")
            .field("name", &self.name)
            .field("origin", &self.origin)
            .field("bytes", &self.bytes.len())
            .field("sha256", &self.sha256)
            .field("optimized", &self.optimized)
            .finish()
    }
}
