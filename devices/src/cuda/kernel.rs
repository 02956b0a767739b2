//! [`KernelSource`] and [`Kernel`]: device code, and where a GPU keeps it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{Driver, Function, Module};
use super::{Fault, Severity};

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

/// The kernels that a lane has launched. They are looked up for each launch, so by address: a few comparisons, instead of the names'
/// hashes under a lock that all lanes have in common.
#[derive(Debug, Default)]
pub(super) struct LaneKernels {
    /// As many as there are places in the program that ask for one.
    known: Vec<(&'static KernelSource, &'static str, Kernel)>,
}

impl LaneKernels {
    /// The kernel; `find` says which it is at the first call.
    pub(super) fn get(
        &mut self,
        source: &'static KernelSource,
        name: &'static str,
        find: impl FnOnce() -> Result<Kernel, KernelError>,
    ) -> Result<Kernel, KernelError> {
        let is_it = |(of, called, _): &&(&'static KernelSource, &'static str, Kernel)| {
            std::ptr::eq(*of, source) && std::ptr::eq(*called, name)
        };
        if let Some((.., kernel)) = self.known.iter().find(is_it) {
            return Ok(*kernel);
        }
        let kernel = find()?;
        self.known.push((source, name, kernel));
        Ok(kernel)
    }
}

/// The device code that one GPU has loaded.
pub(super) struct Kernels {
    driver: Arc<dyn Driver>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    /// By the source's name. What does not compile, or load, never will: a compiler is not asked for the same thing twice. (What the
    /// GPU has no memory for now is not kept here.)
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
        let module = self.module(source, &mut loaded)?;
        let function = self.driver.function(module, name).map_err(|fault| fails(source, fault))?;
        let kernel = Kernel { function };
        loaded.functions.insert((source.name, name), kernel);
        Ok(kernel)
    }

    /// Compiles and loads the source before it is needed. What fails, fails again when it is.
    pub(super) fn prepare(&self, source: &'static KernelSource) {
        let _ = self.module(source, &mut self.loaded.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn module(&self, source: &'static KernelSource, loaded: &mut Loaded) -> Result<Module, KernelError> {
        if let Some(module) = loaded.modules.get(source.name) {
            return module.clone();
        }
        let module = self.load(source);
        if !module.as_ref().is_err_and(|error| error.fault_of_device().is_some()) {
            loaded.modules.insert(source.name, module.clone());
        }
        module
    }

    fn load(&self, source: &KernelSource) -> Result<Module, KernelError> {
        let image = self.driver.compile(source, false)?;
        let fault = match self.driver.load(&image.code) {
            Ok(module) => return Ok(module),
            Err(fault) => fault,
        };
        let Some(file) = image.file.filter(|_| fault.severity == Severity::Ordinary) else {
            return Err(fails(source, fault));
        };
        // What lies in a file may be from a compiler that is newer than the driver: it must not fail for ever.
        match self.driver.compile(source, true) {
            Ok(image) => self.driver.load(&image.code).map_err(|fault| fails(source, fault)),
            Err(KernelError::NoCompiler { .. }) => {
                let text = format!("{}: {fault}", file.display());
                Err(fails(source, Fault::new(fault.severity, text)))
            }
            Err(other) => Err(other),
        }
    }
}

fn fails(source: &KernelSource, fault: Fault) -> KernelError {
    KernelError::Load { name: source.name.into(), fault }
}

impl KernelError {
    /// The device's failure, if it is one, and not one of the code.
    pub(crate) fn fault_of_device(&self) -> Option<&Fault> {
        match self {
            Self::Load { fault, .. } if fault.severity != Severity::Ordinary => Some(fault),
            _ => None,
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernels").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::mock::{MockConfig, MockDriver};
    use super::*;

    static SOURCE: KernelSource = KernelSource { name: "some.cu", source: "", options: &[] };

    fn kernels(config: MockConfig) -> (Kernels, Arc<MockDriver>) {
        let kernels = HashMap::from([("run".to_owned(), Arc::new(|_, _: &[_]| {}) as _)]);
        let driver = Arc::new(MockDriver::new(MockConfig { kernels, ..config }));
        (Kernels::new(driver.clone()), driver)
    }

    #[test]
    fn an_image_that_the_driver_refuses_is_compiled_anew() {
        let (kernels, driver) =
            kernels(MockConfig { kept_image: Some("old.cubin"), ..MockConfig::default() });
        let image = driver.compile(&SOURCE, false).unwrap();
        assert!(image.file.is_some() && driver.load(&image.code).is_err());
        kernels.get(&SOURCE, "run").unwrap();
    }

    #[test]
    fn a_lane_asks_once_for_a_kernel_and_again_for_one_that_was_not_to_be_had() {
        static OTHER: KernelSource = KernelSource { name: "other.cu", source: "", options: &[] };
        let mut lane = LaneKernels::default();
        let kernel = |function| Kernel { function: Function(function) };
        let failed = || Err(fails(&SOURCE, Fault::new(Severity::OutOfMemory, "later")));
        assert!(lane.get(&SOURCE, "run", failed).is_err());
        assert_eq!(lane.get(&SOURCE, "run", || Ok(kernel(1))).unwrap().function, Function(1));
        assert_eq!(lane.get(&SOURCE, "stop", || Ok(kernel(2))).unwrap().function, Function(2));
        assert_eq!(lane.get(&OTHER, "run", || Ok(kernel(3))).unwrap().function, Function(3));
        assert_eq!(lane.get(&SOURCE, "run", || unreachable!()).unwrap().function, Function(1));
    }

    #[test]
    fn a_failure_of_the_gpu_is_not_kept_for_one_of_the_code() {
        let of = |severity| KernelError::Load { name: "some.cu".into(), fault: Fault::new(severity, "so") };
        assert!(of(Severity::OutOfMemory).fault_of_device().is_some());
        assert!(of(Severity::Fatal).fault_of_device().is_some());
        assert!(of(Severity::Ordinary).fault_of_device().is_none());
    }
}
