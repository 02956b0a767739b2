//! [`DeviceError`]: what a submission fails with.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use asynchrotron_sync::Lost;

/// What a submission fails with. Every message names the device and the step.
///
/// Cheap to clone, because one failure of a batch is given to everyone in it.
#[derive(Clone, Debug)]
pub struct DeviceError {
    device: Arc<str>,
    step: Arc<str>,
    kind: DeviceErrorKind,
}

/// The ways in which a submission fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeviceErrorKind {
    /// The step could not compute this input. The device is fine.
    Step(Arc<anyhow::Error>),
    /// The step panicked, with this message. The device is fine.
    Panicked(Arc<str>),
    /// The input does not fit into the device's memory. A smaller one may.
    OutOfMemory,
    /// The input does not fit into the device's memory beside what else is on it. Later it may.
    MemoryInUse,
    /// The device reports this failure. What it means for the next submission is the device's to know.
    Failed(Arc<str>),
    /// The lane died with the work, and has retired. The same work may succeed on another.
    LaneLost,
    /// The device dropped the work without running it to its end.
    Lost,
    /// The device is closed, or its last lane has retired.
    Closed,
    /// The device could not take the work, for this reason. Later it may.
    Refused(Arc<str>),
}

impl DeviceError {
    /// A failure of this kind, of this step on this device.
    pub fn new(device: &str, step: &str, kind: DeviceErrorKind) -> Self {
        Self { device: device.into(), step: step.into(), kind }
    }

    /// The name of the device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The name of the step.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// What went wrong.
    pub fn kind(&self) -> &DeviceErrorKind {
        &self.kind
    }

    /// The step's own error, if it was of type `E`.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use asynchrotron_devices::{DeviceError, DeviceErrorKind};
    /// # let cause = Arc::new(anyhow::Error::from("x".parse::<u32>().unwrap_err()));
    /// let error = DeviceError::new("host", "parse", DeviceErrorKind::Step(cause));
    /// assert!(error.step_error::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn step_error<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        match &self.kind {
            DeviceErrorKind::Step(cause) => cause.downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn panicked(device: &str, step: &str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a message");
        Self::new(device, step, DeviceErrorKind::Panicked(message.into()))
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, step, kind } = self;
        match kind {
            DeviceErrorKind::Step(_) => write!(f, "step `{step}` failed on device `{device}`"),
            DeviceErrorKind::Panicked(message) => {
                write!(f, "step `{step}` panicked on device `{device}`: {message}")
            }
            DeviceErrorKind::OutOfMemory => {
                write!(f, "the input of step `{step}` does not fit into the memory of device `{device}`")
            }
            DeviceErrorKind::MemoryInUse => {
                write!(
                    f,
                    "device `{device}` has no memory left for the input of step `{step}`, beside what else is on it"
                )
            }
            DeviceErrorKind::Failed(why) => write!(f, "device `{device}` failed in step `{step}`: {why}"),
            DeviceErrorKind::LaneLost => {
                write!(f, "device `{device}` lost the lane that step `{step}` was on")
            }
            DeviceErrorKind::Lost => {
                write!(f, "device `{device}` dropped step `{step}` without completing it")
            }
            DeviceErrorKind::Closed => {
                write!(f, "device `{device}` is closed and does not take step `{step}`")
            }
            DeviceErrorKind::Refused(why) => write!(f, "device `{device}` cannot take step `{step}`: {why}"),
        }
    }
}

impl Error for DeviceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            DeviceErrorKind::Step(cause) => Some((**cause).as_ref()),
            _ => None,
        }
    }
}

impl From<Lost> for DeviceError {
    /// For a signaller that was dropped bare. A [`Job`](crate::Job) that is dropped knows its device and step.
    fn from(_: Lost) -> Self {
        Self::new("(unknown)", "(unknown)", DeviceErrorKind::Lost)
    }
}
