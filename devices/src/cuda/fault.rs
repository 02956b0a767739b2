//! [`Fault`]: what a call of the driver fails with.

use std::fmt;
use std::sync::Arc;

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
