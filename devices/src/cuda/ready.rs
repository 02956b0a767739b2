//! [`Ready`]: the ready event of what was handed on ahead.
//!
//! ```text
//!   NEW ──record: everything is enqueued──▶ HANDED ON ──end: found by looking──▶ ENDED, well or with a fault
//!                                               │                                  │
//!   who takes it up:                     waits on the GPU              goes on at once, or fails with that
//! ```

use std::sync::{Arc, OnceLock};

use super::driver::{CudaEvent, Stream};
use super::events::Events;
use super::{Fault, Severity};

/// The ready event of what a submission has handed on ahead. Goes with its memory.
#[derive(Debug)]
pub(super) struct Ready {
    /// Not more of the device than that: what was handed on can outlive it.
    events: Arc<Events>,
    /// This one's alone until nobody can wait for it any more: else they would wait for something later.
    event: CudaEvent,
    end: OnceLock<Result<(), Fault>>,
}

impl Ready {
    pub(super) fn new(events: &Arc<Events>) -> Result<Arc<Self>, Fault> {
        let (events, event) = (events.clone(), events.take()?);
        Ok(Arc::new(Self { events, event, end: OnceLock::new() }))
    }

    /// Everything is on the stream.
    pub(super) fn record(&self, stream: Stream) -> Result<(), Fault> {
        self.events.driver.record(self.event, stream)
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
            Some(Err(fault)) => Err(self.has_not_come(fault.text())),
        }
    }

    /// Why it has not come, for those who have waited for too long; `None`: it has.
    pub(super) fn is_late(&self) -> Option<Fault> {
        match self.end.get() {
            None => Some(self.has_not_come("it is on its way")),
            Some(Ok(())) => None,
            Some(Err(fault)) => Some(self.has_not_come(fault.text())),
        }
    }

    /// Costs who waits for it, and not the GPU that it does so on.
    fn has_not_come(&self, why: &str) -> Fault {
        let ordinal = self.events.driver.info().ordinal;
        Fault::new(Severity::Ordinary, format!("what GPU {ordinal} has handed on ahead has not come: {why}"))
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.events.give(self.event);
    }
}
