//! Real GPUs, for tests that have use for them.

use std::io::Write as _;
use std::sync::{Arc, Once};

use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};

/// The first GPUs that are here. Where there are not so many, that is said once, past the test runner, which shows what a test prints
/// only if it fails.
#[allow(dead_code)] // most devices are none
pub(crate) fn gpus<const COUNT: usize>(config: CudaConfig) -> Option<[Arc<CudaDevice>; COUNT]> {
    static SAID: Once = Once::new();
    let found = CudaDevice::discover(config).and_then(|gpus| {
        let gpus: Vec<_> = gpus.into_iter().take(COUNT).map(Arc::new).collect();
        gpus.try_into().map_err(|fewer: Vec<_>| format!("there is only {}", fewer.len()))
    });
    let say = |why: String| {
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "SKIPPED tests on GPUs, {COUNT} at a time: {why}");
        });
    };
    found.map_err(say).ok()
}
