//! [`Shared`]: what all lanes of one GPU have in common.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use asynchrotron_sync::LanePool;

use super::driver::{Driver, Function, Pinned, Stream};
use super::engine::Retirement;
use super::events::Events;
use super::expectation::Expectations;
use super::kernel::{Kernels, LaneKernels};
use super::mover;
use super::nvtx::Nvtx;
use super::pool::{Place, Pool};
use super::replays::Replays;
use super::{Fault, Kernel, KernelError, KernelSource};
use crate::LaneId;

/// Side by side, so that a look at all of them is one at few cache lines.
const SIGNAL_STRIDE: usize = size_of::<u32>();

/// What all lanes of one GPU have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) kernels: Kernels,
    pub(super) memory: Arc<Pool>,
    pub(super) pinned: Arc<Pool>,
    pub(super) events: Arc<Events>,
    pub(super) streams: Box<[Stream]>,
    /// By lane. Whoever holds the lane locks it, so nobody ever waits.
    replays: Box<[Mutex<Replays>]>,
    /// The same.
    lane_kernels: Box<[Mutex<LaneKernels>]>,
    /// One word for each lane.
    signals: Pinned,
    /// The device's own kernel; `None` inside if it cannot be had.
    mover: OnceLock<Option<Function>>,
    pub(super) expectations: Expectations,
    pub(super) retirement: Retirement,
    /// When the engine's time begins.
    origin: quanta::Instant,
    /// If submissions are to be named.
    pub(super) nvtx: Option<Nvtx>,
}

impl Shared {
    pub(super) fn new(
        driver: Arc<dyn Driver>,
        lanes: LanePool<LaneId>,
        events_sleep: bool,
        nvtx: Option<Nvtx>,
    ) -> Result<Arc<Self>, Fault> {
        driver.bind()?;
        let streams = (0..lanes.len()).map(|_| driver.create_stream()).collect::<Result<Box<[_]>, _>>()?;
        let signals = driver.pin(streams.len() * SIGNAL_STRIDE)?;
        (0..streams.len()).for_each(|lane| driver.reset_signal(Pinned(signals.0 + lane * SIGNAL_STRIDE)));
        let memory = Pool::new(driver.clone(), Place::Gpu(driver.create_stream()?));
        Ok(Arc::new(Self {
            signals,
            lane_kernels: streams.iter().map(|_| Mutex::default()).collect(),
            replays: streams.iter().map(|_| Mutex::default()).collect(),
            mover: OnceLock::new(),
            kernels: Kernels::new(driver.clone()),
            retirement: Retirement::new(lanes, memory.clone()),
            memory,
            pinned: Pool::new(driver.clone(), Place::Host),
            events: Events::new(driver.clone(), events_sleep),
            expectations: Expectations::new(streams.len()),
            origin: quanta::Instant::now(),
            streams,
            nvtx,
            driver,
        }))
    }

    /// The engine's time. By the cycle counter: it is asked for several times for each submission.
    pub(super) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// The sequences of kernels that a lane was asked for.
    pub(super) fn replays(&self, lane: LaneId) -> MutexGuard<'_, Replays> {
        self.replays[lane.0].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kernel for a lane; compiled and loaded at the first call. The driver's context must be bound.
    pub(super) fn kernel(
        &self,
        lane: LaneId,
        source: &'static KernelSource,
        name: &'static str,
    ) -> Result<Kernel, KernelError> {
        let mut known = self.lane_kernels[lane.0].lock().unwrap_or_else(PoisonError::into_inner);
        known.get(source, name, || self.kernels.get(source, name))
    }

    /// The word that is set when everything that was submitted to a lane has ended.
    pub(super) fn signal(&self, lane: LaneId) -> Pinned {
        Pinned(self.signals.0 + lane.0 * SIGNAL_STRIDE)
    }

    /// The kernel that makes small copies and signals, unless it cannot be had: there is no compiler, and none was compiled ahead of
    /// time. The driver's context must be bound.
    pub(super) fn mover(&self) -> Option<Function> {
        if let Some(known) = self.mover.get() {
            return *known;
        }
        match self.kernels.get(&mover::MOVE, mover::KERNEL) {
            Ok(kernel) => *self.mover.get_or_init(|| Some(kernel.function)),
            Err(error) if error.fault_of_device().is_some() => None,
            Err(_) => *self.mover.get_or_init(|| None),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without a context there is nothing left to give back to.
        if self.driver.bind().is_err() {
            return;
        }
        for replays in &mut self.replays {
            replays.get_mut().unwrap_or_else(PoisonError::into_inner).clear(&*self.driver);
        }
        self.driver.unpin(self.signals, self.streams.len() * SIGNAL_STRIDE);
        self.memory.trim();
        self.pinned.trim();
        for stream in &self.streams {
            self.driver.destroy_stream(*stream);
        }
    }
}
