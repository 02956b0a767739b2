//! [`Fault`]: what a call of the driver fails with.

use std::fmt;
use std::sync::Arc;

use super::KernelError;

/// What a call of the driver fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it means for the device.
    pub severity: Severity,
    text: Arc<str>,
}

/// What a [`Fault`] means for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Memory has run out; a smaller request may succeed.
    OutOfMemory,
    /// Memory has run out, and others have some of it: the same request may succeed later.
    MemoryInUse,
    /// This call failed; others may succeed.
    Ordinary,
    /// The context is gone for good: every later call fails as well, and nothing that is on the GPU will ever be reached.
    Fatal,
}

impl Fault {
    /// A fault in words: what the driver calls it, and in which call.
    pub fn new(severity: Severity, text: impl Into<Arc<str>>) -> Self {
        Self { severity, text: text.into() }
    }

    /// The device's failure that this error is, or stands for.
    pub(crate) fn of_device<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let of_kernel = || error.downcast_ref().and_then(KernelError::fault_of_device);
        error.downcast_ref().or_else(of_kernel)
    }

    /// Whether nothing on this GPU will ever succeed again.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Fatal
    }

    /// In words.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}
