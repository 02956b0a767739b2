//! [`Pool`] and [`Block`]: memory that is taken from the driver once and then goes round.
//!
//! ```text
//!                     (1) none of its class is free
//!   driver ──────────────────────────────▶ OUT ──(3) dropped──▶ FREE ──(2)──▶ OUT
//!      ▲                                                          │
//!      └────────────(4) the driver has no more: all FREE go back ─┘
//! ```
//!
//! Blocks come in size classes, four to each power of two, so that at most a fifth of one is unused. A block is dropped only
//! when everything that used it has ended on the GPU (the engine keeps it until then), so it may go to any stream next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::driver::{Address, Driver, Pinned, Stream};
use super::ready::Ready;
use super::{Fault, Severity};

/// Where a pool's memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the host, pinned.
    Host,
    /// On the GPU. This stream, which is the pool's own, orders the driver's bookkeeping: memory can outlive its device.
    Gpu(Stream),
}

/// The smallest class.
const CLASS_MIN: usize = 512;

/// What a pool has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Bytes that it has from the driver.
    pub bytes: u64,
    /// Bytes of them that are in use.
    pub used_bytes: u64,
    /// How often it asked the driver for memory. Stands still in the steady state.
    pub driver_allocations: u64,
    /// How often it was asked for a block.
    pub requests: u64,
}

/// Memory of one place.
pub(super) struct Pool {
    driver: Arc<dyn Driver>,
    place: Place,
    free: Mutex<BTreeMap<usize, Vec<u64>>>,
    trimming: Mutex<()>,
    /// Its GPU has failed for good: what is in it cannot be read any more.
    is_lost: AtomicBool,
    bytes: AtomicU64,
    used_bytes: AtomicU64,
    driver_allocations: AtomicU64,
    requests: AtomicU64,
}

impl Pool {
    pub(super) fn new(driver: Arc<dyn Driver>, place: Place) -> Arc<Self> {
        Arc::new(Self {
            driver,
            place,
            free: Mutex::default(),
            trimming: Mutex::default(),
            is_lost: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            used_bytes: AtomicU64::new(0),
            driver_allocations: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        })
    }

    pub(super) fn counts(&self) -> PoolCounts {
        PoolCounts {
            bytes: self.bytes.load(Relaxed),
            used_bytes: self.used_bytes.load(Relaxed),
            driver_allocations: self.driver_allocations.load(Relaxed),
            requests: self.requests.load(Relaxed),
        }
    }

    /// At least so many bytes, aligned to 256. The driver's context must be bound.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Block, Fault> {
        self.take_beside(bytes, u64::MAX, None)
    }

    /// The same for who has so many already: if there are none left, the fault says whether others have some. The memory is first
    /// used on `stream`: what the driver allocates is there from then on in that stream's order.
    pub(super) fn take_beside(
        self: &Arc<Self>,
        bytes: usize,
        own_bytes: u64,
        stream: Option<Stream>,
    ) -> Result<Block, Fault> {
        self.requests.fetch_add(1, Relaxed);
        let class = class(bytes);
        // Counted before it is taken and until after it is back: what is not free is counted.
        self.used_bytes.fetch_add(class as u64, Relaxed);
        let free = self.free().get_mut(&class).and_then(Vec::pop);
        let address = match free {
            Some(address) => Ok(address),
            None => self.grow(class, own_bytes.saturating_add(class as u64), stream),
        };
        match address {
            Ok(address) => Ok(Block { pool: self.clone(), address, bytes: class, ready: OnceLock::new() }),
            Err(fault) => {
                self.used_bytes.fetch_sub(class as u64, Relaxed);
                Err(fault)
            }
        }
    }

    fn grow(&self, class: usize, own_bytes: u64, stream: Option<Stream>) -> Result<u64, Fault> {
        let mut address = self.allocate(class, stream);
        if is_out_of_memory(&address) {
            // What another thread is giving back is neither free nor used: one at a time.
            let _alone = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                self.trim();
                address = self.allocate(class, stream);
                let used = self.used_bytes.load(Relaxed);
                if !is_out_of_memory(&address) {
                    break;
                }
                // What came back meanwhile may be enough.
                if self.free().values().all(Vec::is_empty) {
                    let others = used.max(self.used_bytes.load(Relaxed)) > own_bytes;
                    let severity = if others { Severity::MemoryInUse } else { Severity::OutOfMemory };
                    address = address.map_err(|fault| Fault::new(severity, fault.text().clone()));
                    break;
                }
            }
        }
        let address = address?;
        self.driver_allocations.fetch_add(1, Relaxed);
        self.bytes.fetch_add(class as u64, Relaxed);
        Ok(address)
    }

    fn allocate(&self, bytes: usize, stream: Option<Stream>) -> Result<u64, Fault> {
        match self.place {
            Place::Host => self.driver.pin(bytes).map(|Pinned(address)| address as u64),
            Place::Gpu(any) => {
                self.driver.allocate(bytes, stream.unwrap_or(any)).map(|Address(address)| address)
            }
        }
    }

    /// What is in it cannot be read any more.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Relaxed);
    }

    /// Gives everything that is free back to the driver; says how many bytes that was.
    pub(super) fn trim(&self) -> u64 {
        let free = std::mem::take(&mut *self.free());
        let mut bytes = 0;
        for (class, addresses) in free {
            for address in addresses {
                bytes += class as u64;
                match self.place {
                    Place::Host => self.driver.unpin(Pinned(address as usize), class),
                    Place::Gpu(stream) => self.driver.free(Address(address), class, stream),
                }
            }
        }
        self.bytes.fetch_sub(bytes, Relaxed);
        bytes
    }

    fn free(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<u64>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without a context there is nothing left to give back to.
        if self.driver.bind().is_ok() {
            self.trim();
            if let Place::Gpu(stream) = self.place {
                self.driver.destroy_stream(stream);
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.place).field("counts", &self.counts()).finish()
    }
}

/// A piece of a pool's memory; goes back when dropped.
pub(super) struct Block {
    pool: Arc<Pool>,
    address: u64,
    bytes: usize,
    /// If what is in it was handed on ahead.
    ready: OnceLock<Arc<Ready>>,
}

impl Block {
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// Whether its GPU has failed for good.
    pub(super) fn is_lost(&self) -> bool {
        self.pool.is_lost.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is in it is handed on ahead.
    pub(super) fn hand_on(&self, ready: &Arc<Ready>) {
        let _ = self.ready.set(ready.clone());
    }

    /// When what is in it can be read by others, if it was handed on ahead.
    pub(super) fn ready(&self) -> Option<&Arc<Ready>> {
        self.ready.get()
    }

    /// The number of the GPU that its pool is of.
    pub(super) fn ordinal(&self) -> usize {
        self.pool.driver.info().ordinal
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.free().entry(self.bytes).or_default().push(self.address);
        self.pool.used_bytes.fetch_sub(self.bytes as u64, Relaxed);
    }
}

fn is_out_of_memory<T>(result: &Result<T, Fault>) -> bool {
    result.as_ref().is_err_and(|fault| fault.severity == Severity::OutOfMemory)
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({:#x}, {} bytes)", self.address, self.bytes)
    }
}

/// The size of the class that so many bytes fall into.
fn class(bytes: usize) -> usize {
    if bytes <= CLASS_MIN {
        return CLASS_MIN;
    }
    let step = (bytes.next_power_of_two() / 8).max(256);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for_and_waste_a_quarter_at_most() {
        for bytes in (0..100_000).chain([1 << 20, (1 << 20) + 1, 3_000_000_001]) {
            let class = class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256), "{bytes} in {class}");
            assert!(bytes < 2048 || class - bytes <= bytes / 4, "{bytes} in {class}");
        }
    }
}
