//! Where offloaded algorithms compute.

use std::sync::Arc;

use asynchrotron::time::Clock;
use asynchrotron::{Error, Result};
use asynchrotron_devices::{Device, DeviceConfig, Devices, SelectError};

use crate::error::usage;
use crate::options::Settings;

/// What is here, and what is not. `spill`: whether the host takes what would wait too long for a GPU.
pub(crate) fn discover(clock: Clock, spill: bool) -> Devices {
    let mut config = DeviceConfig::default();
    config.clock = clock;
    config.spill = spill;
    #[cfg(feature = "cuda")]
    {
        let named = std::env::var_os("ASYNCHROTRON_NVTX");
        config.cuda.nvtx = named.is_some_and(|value| !value.is_empty() && value != "0");
    }
    Devices::discover(&config)
}

/// Finds a device by the name that the user gave. A name that no machine has, or a wrong option, is a mistake of the user.
pub(crate) fn select(settings: &Settings) -> Result<Arc<dyn Device>> {
    settings.devices().select(settings.device()).map_err(|error| match error {
        SelectError::Unknown { .. } | SelectError::Options { .. } => usage!("--device: {error}"),
        error => Error::new(error),
    })
}
