//! [`Ready`]: the ready event of what was handed on ahead.
//!
//! ```text
//!   NEW ──record: everything is enqueued──▶ HANDED ON ──end: found by looking──▶ ENDED, well or with a fault
//!                                               │                                  │
//!   who takes it up:                     waits on the GPU              goes on at once, or fails with that
//! ```

use std::sync::{Arc, OnceLock};

use super::driver::{CudaEvent, Stream};
use super::shared::Shared;
use super::{Fault, Severity};

/// The ready event of what a submission has handed on ahead. Goes with its memory.
#[derive(Debug)]
pub(super) struct Ready {
    shared: Arc<Shared>,
    /// This one's alone until nobody can wait for it any more: else they would wait for something later.
    event: CudaEvent,
    end: OnceLock<Result<(), Fault>>,
}

impl Ready {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Arc<Self>, Fault> {
        let (shared, event) = (shared.clone(), shared.take_event()?);
        Ok(Arc::new(Self { shared, event, end: OnceLock::new() }))
    }

    /// Everything is on the stream.
    pub(super) fn record(&self, stream: Stream) -> Result<(), Fault> {
        self.shared.driver.record(self.event, stream)
    }

    /// The GPU is done, or has failed. The first counts.
    pub(super) fn end(&self, end: Result<(), Fault>) {
        let _ = self.end.set(end);
    }

    /// What a stream has to wait for; `None`: nothing any more. To be called after it was handed on: what waits is then enqueued
    /// after what it waits for, as it must be, because streams can share one of the GPU's queues.
    ///
    /// # Errors
    /// It will never come.
    pub(super) fn awaited(&self) -> Result<Option<CudaEvent>, Fault> {
        match self.end.get() {
            None => Ok(Some(self.event)),
            Some(Ok(())) => Ok(None),
            Some(Err(fault)) => {
                let ordinal = self.shared.driver.info().ordinal;
                let text = format!("what GPU {ordinal} has handed on ahead has not come: {}", fault.text());
                Err(Fault::new(Severity::Ordinary, text))
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.shared.give_event(self.event);
    }
}
