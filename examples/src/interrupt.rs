//! Ctrl-C: once to drain, twice to leave.

use std::sync::atomic::{AtomicBool, Ordering};

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Result, Stop};

use crate::error::Interrupted;

/// On Ctrl-C (or SIGTERM, which batch systems send before they kill), asks the job to drain; the second time leaves at
/// once.
pub(crate) fn drain_on_interrupt(stop: Stop, announce: impl Fn(&str) + Send + 'static) -> Result<()> {
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(Interrupted::EXIT_CODE.into());
        }
        announce("asynchrotron: interrupted: the events in flight are being finished (again: leave at once)");
        stop.drain();
    })
    .context("cannot handle interrupts")
}
