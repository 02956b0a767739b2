//! A GPU for tests: the mock driver, with the real kernels, compiled for the CPU.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use asynchrotron_algorithms::kernels::ALL;
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};

use crate::on_host::Kernels;

/// The names of a file's kernels: what its table for the CPU holds.
fn names(source: &str) -> Vec<&str> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("HOST_KERNEL("));
    lines.map(|rest| rest.trim_end_matches(')')).collect()
}

/// All kernels there are; `None` where they cannot be compiled for the CPU.
fn kernels() -> Option<HashMap<String, MockKernel>> {
    static LIBRARIES: OnceLock<Option<Vec<Arc<Kernels>>>> = OnceLock::new();
    let build = || ALL.iter().map(|source| Kernels::build(source.source).map(Arc::new)).collect();
    let libraries = LIBRARIES.get_or_init(build).as_ref()?;
    let mut kernels = HashMap::new();
    for (source, library) in ALL.iter().zip(libraries) {
        for name in names(source.source) {
            let library = library.clone();
            let kernel: MockKernel = Arc::new(move |launch, arguments| {
                let shape = [launch.grid[0] as usize, launch.block[0] as usize];
                let mut arguments = arguments.to_vec();
                // SAFETY: the arguments are those that the step passes to a GPU, in memory of the mock's.
                let code =
                    unsafe { library.launch(name, shape, launch.shared_bytes as usize, &mut arguments) };
                assert_eq!(code, 0, "{name}");
            });
            assert!(kernels.insert(name.to_owned(), kernel).is_none(), "{name} is there twice");
        }
    }
    Some(kernels)
}

/// A GPU that runs the kernels on the CPU, and takes a while for it.
pub(crate) fn gpu(lanes: usize, ordinal: usize) -> Option<Arc<CudaDevice>> {
    let latency = Duration::from_micros(50);
    let mock = MockConfig { kernels: kernels()?, latency, ordinal, ..MockConfig::default() };
    let config = CudaConfig { lanes, ..CudaConfig::default() };
    Some(Arc::new(CudaDevice::open(Arc::new(MockDriver::new(mock)), config).unwrap()))
}

/// The first GPU of this machine; if there is none, says so past the test runner.
#[allow(dead_code)] // not every test has something to do on one
pub(crate) fn real_gpu() -> Option<Arc<CudaDevice>> {
    let found = CudaDevice::discover(CudaConfig::default()).map(|gpus| gpus.into_iter().next().map(Arc::new));
    match found {
        Ok(Some(gpu)) => Some(gpu),
        Ok(None) => skip("there is no GPU"),
        Err(why) => skip(&why.to_string()),
    }
}

fn skip<T>(why: &str) -> Option<T> {
    let _ = writeln!(std::io::stderr(), "SKIPPED a test on a GPU: {why}");
    None
}
