//! [`Shared`]: what all lanes of one GPU have in common.

use std::sync::{Arc, Mutex, PoisonError};

use super::Fault;
use super::driver::{CudaEvent, Driver, Stream};
use super::kernel::Kernels;
use super::nvtx::Nvtx;
use super::pool::{Place, Pool};

/// What all lanes of one GPU have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) kernels: Kernels,
    pub(super) memory: Arc<Pool>,
    pub(super) pinned: Arc<Pool>,
    /// Points that are on no stream.
    events: Mutex<Vec<CudaEvent>>,
    /// Whether threads sleep in the driver until an event is reached.
    events_sleep: bool,
    pub(super) streams: Box<[Stream]>,
    /// If submissions are to be named.
    pub(super) nvtx: Option<Nvtx>,
}

impl Shared {
    pub(super) fn new(
        driver: Arc<dyn Driver>,
        lanes: usize,
        events_sleep: bool,
        nvtx: Option<Nvtx>,
    ) -> Result<Arc<Self>, Fault> {
        driver.bind()?;
        let streams = (0..lanes.max(1)).map(|_| driver.create_stream()).collect::<Result<Box<[_]>, _>>()?;
        Ok(Arc::new(Self {
            kernels: Kernels::new(driver.clone()),
            memory: Pool::new(driver.clone(), Place::Gpu(streams[0])),
            pinned: Pool::new(driver.clone(), Place::Host),
            events: Mutex::default(),
            events_sleep,
            streams,
            nvtx,
            driver,
        }))
    }

    /// A point that is on no stream.
    pub(super) fn take_event(&self) -> Result<CudaEvent, Fault> {
        let pooled = self.events.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.map_or_else(|| self.driver.create_event(self.events_sleep), Ok)
    }

    pub(super) fn give_event(&self, event: CudaEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without a context there is nothing left to give back to.
        if self.driver.bind().is_err() {
            return;
        }
        // The pool gives its memory back in the order of the first stream.
        self.memory.trim();
        self.pinned.trim();
        for event in self.events.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.driver.destroy_event(event);
        }
        for stream in &self.streams {
            self.driver.destroy_stream(*stream);
        }
    }
}
