//! [`CudaDevice`]: one GPU.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron::time::{Clock, Hold};
use asynchrotron_sync::{Lane, LanePool, Point};

use super::driver::Driver;
use super::driver_thread::cores;
use super::engine::{Engine, Waiting};
use super::flight::{Course, Flight, kind_of};
use super::nvtx::Nvtx;
use super::pool::PoolCounts;
use super::ready::Ready;
use super::real::RealDriver;
use super::shared::Shared;
use super::work::{Asked, Start, Work};
use super::{Fault, GpuInfo, KernelSource};
use crate::drain::Entered;
use crate::drivers::{Drivers, Errand};
use crate::job::{Body, Enqueue, Enqueued};
use crate::threads::Threads;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Inline, Job, LaneId};

/// How a GPU is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaConfig {
    /// Submissions at a time: streams.
    pub lanes: usize,
    /// How the ends of submissions are learnt.
    pub waiting: Waiting,
    /// A submission that has not ended after this is taken to have hung: its waiter is told, and the GPU is not used any more.
    pub hang_after: Duration,
    /// Steps without a body for the GPU run on the host; those that are shorter than this on the caller's thread.
    pub inline_below: Duration,
    /// With more submissions than this on their way, one thread of the device's enqueues and asks for all lanes; with fewer, whoever
    /// submits enqueues, and workers ask. One thread that does nothing else enqueues more than many together do, but costs a core and
    /// a wake-up. By default 4, and on machines of up to four cores never.
    pub driver_above: usize,
    /// Name submissions for NVIDIA's profilers (NVTX), if the library for it is here.
    pub nvtx: bool,
}

impl Default for CudaConfig {
    fn default() -> Self {
        Self {
            lanes: 8,
            waiting: Waiting::default(),
            hang_after: Duration::from_secs(60),
            inline_below: Duration::from_micros(50),
            driver_above: if cores() > 4 { 4 } else { usize::MAX },
            nvtx: false,
        }
    }
}

/// One GPU.
///
/// ```text
///             recorded, then enqueued for who holds the lane          found by looking
///   submit ──▶ copies and kernels on its stream, then a signal ──▶ buffers and lane back ─▶ completion
///      └─▶ a step without a body for the GPU: the host's, on the lane's driver thread
/// ```
///
/// A GPU that fails for good, or hangs, is retired: what is on it fails with
/// [`LaneLost`](DeviceErrorKind::LaneLost), and nothing more is taken. After an illegal address in a kernel NVIDIA's driver gives up the
/// other GPUs of the process as well, which are retired when they are next used.
///
/// Dropping it closes it, and never waits.
pub struct CudaDevice {
    name: String,
    capability: Capability,
    gpu: Arc<Gpu>,
    /// For steps that have no body for the GPU.
    threads: Threads,
    /// For those that must be enqueued from their lane's own thread.
    enqueuers: Drivers<Enqueueing>,
    clock: Clock,
}

/// What it takes to enqueue, from any thread.
struct Gpu {
    shared: Arc<Shared>,
    engine: Engine,
    hang_after: Duration,
}

/// What a GPU's memory has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounts {
    /// On the GPU.
    pub device: PoolCounts,
    /// Pinned memory of the host.
    pub pinned: PoolCounts,
}

impl CudaDevice {
    /// Opens every GPU that is here, or says in one line why there is none.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn discover(config: CudaConfig) -> Result<Vec<Self>, String> {
        (0..RealDriver::count()?)
            .map(|ordinal| {
                let driver = RealDriver::open(ordinal).map_err(|fault| format!("GPU {ordinal}: {fault}"))?;
                Self::open(Arc::new(driver), config).map_err(|fault| format!("GPU {ordinal}: {fault}"))
            })
            .collect()
    }

    /// A GPU behind this driver.
    ///
    /// # Errors
    /// What the driver fails with.
    pub fn open(driver: Arc<dyn Driver>, config: CudaConfig) -> Result<Self, Fault> {
        let lanes = config.lanes.max(1);
        let info = driver.info().clone();
        let GpuInfo { ordinal, name: model, arch, memory_bytes, driver: version, .. } = &info;
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        let nvtx = config.nvtx.then(Nvtx::load).flatten();
        let named = match (config.nvtx, nvtx) {
            (false, _) => "",
            (true, Some(_)) => ", NVTX ranges",
            (true, None) => {
                ", no NVTX ranges: neither libnvtx3interop.so.1 nor libnvToolsExt.so.1 is installed"
            }
        };
        let description = format!("{model}, {arch}, {gib:.0} GiB, driver {version}, {lanes} lanes{named}");
        let memory_bytes = Some(*memory_bytes);
        let gpu = Some(*ordinal);
        let name = format!("cuda:{ordinal}");
        let threads = Threads::new("cuda", lanes, config.inline_below);
        let shared = Shared::new(driver, threads.lanes().clone(), config.waiting.sleeps(), nvtx)?;
        let engine = Engine::new(&config, &shared, &name)
            .map_err(|error| Fault::new(super::Severity::Ordinary, format!("no driver thread: {error}")))?;
        Ok(Self {
            name,
            capability: Capability { description, lanes, memory_bytes, gpu, computes_on_host: true },
            gpu: Arc::new(Gpu { shared, engine, hang_after: config.hang_after }),
            threads,
            enqueuers: Drivers::new("cuda enqueueing", lanes),
            clock: Clock::real(),
        })
    }

    /// The same, for a job with this clock: simulated time stands still while the GPU works.
    #[must_use]
    pub fn in_time(mut self, clock: Clock) -> Self {
        self.threads.in_time(clock.clone());
        self.clock = clock;
        self
    }

    /// What it is.
    pub fn info(&self) -> &GpuInfo {
        self.gpu.shared.driver.info()
    }

    /// Its driver, for what the device has no word for.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.gpu.shared.driver
    }

    /// What its memory has done.
    pub fn memory(&self) -> MemoryCounts {
        let shared = &self.gpu.shared;
        MemoryCounts { device: shared.memory.counts(), pinned: shared.pinned.counts() }
    }

    /// Why it is not used any more; `None` if it is.
    pub fn retired(&self) -> Option<&Fault> {
        self.gpu.shared.retirement.why()
    }
}

impl Gpu {
    /// Enqueues the job on its lane. Whatever happens, the waiter hears of it.
    fn enqueue(&self, lane: Lane<LaneId>, mut job: Job, entered: Entered, hold: Hold) {
        let stream = self.shared.streams[lane.0];
        if let Err(fault) = self.shared.driver.bind() {
            return self.refuse(lane, job, &fault);
        }
        let mover = if self.engine.signals() { self.shared.mover() } else { None };
        let start = match mover {
            Some(mover) => Ok(Start::Recording(mover)),
            None => self.shared.events.take().map(Start::AtOnce),
        };
        let start = match start {
            Ok(start) => start,
            Err(fault) => return self.refuse(lane, job, &fault),
        };
        let mut work = Work::new(&self.shared, stream, *lane, start);
        if let Some(nvtx) = self.shared.nvtx {
            work.keep_other(nvtx.start(job.step(), job.rows(), lane.0));
        }
        let enqueued = job.enqueue(&mut work);
        let Asked { held, recording, event, fault } = work.into_asked();
        let is_whole = matches!(enqueued, Enqueued::OnItsWay) && fault.is_none();
        let mut fault = if let Enqueued::Faulted(fault) = enqueued { Some(fault) } else { fault };
        let course = match event {
            // What was enqueued before something failed may still use the buffers.
            Some(event) => {
                fault = self.shared.driver.record(event, stream).err().or(fault);
                Course::Event(event)
            }
            None => {
                let mut recording = recording.unwrap_or_default();
                if is_whole {
                    recording.signal(self.shared.signal(*lane));
                }
                Course::Recorded(recording)
            }
        };
        let ready = if job.is_ahead() { Ready::new(&self.shared.events).ok() } else { None };
        let flight = Flight {
            shared: self.shared.clone(),
            verdict: fault.as_ref().map(kind_of),
            schedule: self.engine.schedule(&job, self.hang_after),
            job: Some(job),
            held,
            ready,
            lane,
            hang_after: self.hang_after,
            called_back: None,
            entered,
            hold,
            course,
        };
        if let Some(fault) = &fault {
            self.heed(fault);
        }
        match flight.course {
            // Of what failed half way, nothing is done.
            Course::Recorded(_) if !is_whole => flight.end(Ok(())),
            _ => self.engine.watch(flight),
        }
    }

    /// A GPU that has failed for good is not used any more, and what is on it ends.
    fn heed(&self, fault: &Fault) {
        if fault.is_fatal() {
            self.shared.retirement.retire(fault);
            self.engine.condemn(fault);
        }
    }

    fn refuse(&self, lane: Lane<LaneId>, job: Job, fault: &Fault) {
        self.heed(fault);
        if fault.is_fatal() {
            let _ = lane.retire();
        } else {
            drop(lane);
        }
        job.fail(kind_of(fault));
    }
}

impl Device for CudaDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Cuda
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        self.threads.lanes()
    }

    fn submit_job(&self, lane: Lane<LaneId>, job: Job) {
        if lane.0 >= self.capability.lanes {
            drop(lane);
            return job.fail(DeviceErrorKind::Refused("the lane belongs to another device".into()));
        }
        if let Some(fault) = self.gpu.shared.retirement.why() {
            let fault = fault.clone();
            return self.gpu.refuse(lane, job, &fault);
        }
        let Some(enqueueing) = job.cuda() else { return self.threads.submit(lane, job, Body::Host) };
        if self.threads.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        if job.is_abandoned() {
            drop(lane); // before what goes with the job
            return;
        }
        let (entered, hold) = (self.threads.enter(), self.clock.hold());
        match enqueueing {
            Enqueue::Anywhere => self.gpu.enqueue(lane, job, entered, hold),
            Enqueue::OnLanesThread => {
                let (index, gpu) = (lane.0, self.gpu.clone());
                self.enqueuers.send(index, Enqueueing { gpu, lane, job, entered, hold });
            }
        }
    }

    fn inline(&self, step: &str, rows: usize, _lane: Option<LaneId>) -> Option<Inline<'_>> {
        // Only steps that have run on the host are known by their time.
        self.threads.inline(step, rows, Body::Host)
    }

    fn prepare(&self, kernels: &'static [&'static KernelSource]) {
        let shared = &self.gpu.shared;
        if shared.driver.bind().is_ok() {
            let _ = shared.mover();
            kernels.iter().for_each(|source| shared.kernels.prepare(source));
        }
    }

    fn close(&self) {
        self.threads.close();
    }

    fn drain(&self) -> Drain {
        self.threads.drain()
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("name", &self.name)
            .field("engine", &self.gpu.engine)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

/// What is enqueued from its lane's own thread.
struct Enqueueing {
    gpu: Arc<Gpu>,
    lane: Lane<LaneId>,
    job: Job,
    entered: Entered,
    hold: Hold,
}

impl Errand for Enqueueing {
    fn run(self) {
        let Self { gpu, lane, job, entered, hold } = self;
        gpu.enqueue(lane, job, entered, hold);
    }

    fn refuse(self, why: &str) {
        drop(self.lane);
        self.job.fail(DeviceErrorKind::Refused(why.into()));
    }
}
