//! Where offloaded algorithms compute.

use std::sync::Arc;

use asynchrotron::{Error, Result};
use asynchrotron_devices::{Device, DeviceConfig, Devices, SelectError};

use crate::error::usage;

/// What is here, and what is not.
pub(crate) fn discover() -> Devices {
    Devices::discover(&DeviceConfig::default())
}

/// Finds a device by the name that the user gave. A name that no machine has is a mistake of the user.
pub(crate) fn select(name: &str) -> Result<Arc<dyn Device>> {
    discover().select(name).map_err(|error| match error {
        SelectError::Unknown { .. } => usage!("--device: {error}"),
        error => Error::new(error),
    })
}
