//! [`Events`]: points that go round.

use std::sync::{Arc, Mutex, PoisonError};

use super::Fault;
use super::driver::{CudaEvent, Driver};

/// Points of one GPU that are on no stream.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) driver: Arc<dyn Driver>,
    /// Whether threads sleep in the driver until one is reached.
    sleep: bool,
    free: Mutex<Vec<CudaEvent>>,
}

impl Events {
    pub(super) fn new(driver: Arc<dyn Driver>, sleep: bool) -> Arc<Self> {
        Arc::new(Self { driver, sleep, free: Mutex::default() })
    }

    pub(super) fn take(&self) -> Result<CudaEvent, Fault> {
        let pooled = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.map_or_else(|| self.driver.create_event(self.sleep), Ok)
    }

    pub(super) fn give(&self, event: CudaEvent) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Without a context there is nothing left to give back to.
        if self.driver.bind().is_ok() {
            let free = self.free.get_mut().unwrap_or_else(PoisonError::into_inner);
            free.drain(..).for_each(|event| self.driver.destroy_event(event));
        }
    }
}
