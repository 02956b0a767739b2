//! Where offloaded algorithms compute.

use asynchrotron::Result;

use crate::error::unknown;

/// The devices of this build, in the order in which `auto` prefers them, with a line on each.
pub(crate) const DEVICES: &[(&str, &str)] = &[("host", "this machine's CPU, the reference for all others")];

/// Finds a device by the name that the user gave.
pub(crate) fn select(name: &str) -> Result<&'static str> {
    let known: Vec<&str> = std::iter::once("auto").chain(DEVICES.iter().map(|(name, _)| *name)).collect();
    match known.iter().position(|known| *known == name) {
        None => Err(unknown("device", name, &known)),
        Some(0) => Ok(known[1]),
        Some(i) => Ok(known[i]),
    }
}
