//! [`Drain`]: the wait for everything that was submitted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asynchrotron_sync::{Completion, Headcount, Lost, Signaller, completion};

/// Comes when nothing is submitted to a device; made by [`Device::drain`](crate::Device::drain).
///
/// # Cancel safety
///
/// May be dropped at any time.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Drain {
    idle: Completion<(), Lost>,
}

impl Future for Drain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.idle).poll(cx).map(|_| ())
    }
}

/// Counts what is submitted to a device.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    submitted: Arc<Headcount<Signaller<(), Lost>>>,
}

impl Outstanding {
    /// Counts one submission until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        self.submitted.enter();
        Entered { submitted: self.submitted.clone() }
    }

    pub(crate) fn drain(&self) -> Drain {
        self.submitted.retain(|drain| !drain.is_abandoned());
        let (signaller, idle) = completion();
        // If there is nothing to wait for, it is dropped at once, which ends the wait.
        drop(self.submitted.wait(signaller));
        Drain { idle }
    }
}

/// One submission that has not ended.
#[derive(Debug)]
pub(crate) struct Entered {
    submitted: Arc<Headcount<Signaller<(), Lost>>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped signallers wake their drains.
        drop(self.submitted.leave());
    }
}
