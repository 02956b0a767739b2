//! [`KernelSource`] and [`Kernel`]: device code, and where a GPU keeps it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Fault;
use super::driver::{Driver, Function, Module};

/// Device code as an algorithm has it: `include_str!` of its `.cu` file.
#[derive(Debug)]
pub struct KernelSource {
    /// Its file's name, for messages.
    pub name: &'static str,
    /// CUDA C++ without includes; kernels are `extern "C"`.
    pub source: &'static str,
    /// Options of the compiler, as `--fmad=false` where results must be those of the host to the last bit.
    pub options: &'static [&'static str],
}

/// Why device code cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// It does not compile; the compiler says where.
    #[error("the kernels of {name} do not compile for {arch}:\n{log}")]
    Compile {
        /// The source's name.
        name: String,
        /// The architecture.
        arch: String,
        /// The compiler's log, with lines.
        log: String,
    },
    /// There is neither a compiler nor compiled code.
    #[error("the kernels of {name} cannot be compiled for {arch}: {why}")]
    NoCompiler {
        /// The source's name.
        name: String,
        /// The architecture.
        arch: String,
        /// What is missing.
        why: String,
    },
    /// The driver does not take it.
    #[error("the kernels of {name} cannot be loaded: {fault}")]
    Load {
        /// The source's name.
        name: String,
        /// What the driver says.
        fault: Fault,
    },
}

/// A kernel on one GPU.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub(super) function: Function,
}

/// The device code that one GPU has loaded.
pub(super) struct Kernels {
    driver: Arc<dyn Driver>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    /// By the source's name. What failed fails again: a compiler is not asked for the same thing twice.
    modules: HashMap<&'static str, Result<Module, KernelError>>,
    functions: HashMap<(&'static str, &'static str), Kernel>,
}

impl Kernels {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver, loaded: Mutex::default() }
    }

    /// The kernel; compiled and loaded at the first call. The driver's context must be bound.
    pub(super) fn get(
        &self,
        source: &'static KernelSource,
        name: &'static str,
    ) -> Result<Kernel, KernelError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = loaded.functions.get(&(source.name, name)) {
            return Ok(*kernel);
        }
        let fails = |fault| KernelError::Load { name: source.name.into(), fault };
        let load = || self.driver.load(&self.driver.compile(source)?).map_err(fails);
        let module = loaded.modules.entry(source.name).or_insert_with(load).clone()?;
        let function = self.driver.function(module, name).map_err(fails)?;
        let kernel = Kernel { function };
        loaded.functions.insert((source.name, name), kernel);
        Ok(kernel)
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernels").finish_non_exhaustive()
    }
}
