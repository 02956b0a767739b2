//! [`EmulatedDevice`]: a device with a model of its cost, for laptops, tests and studies of what would be if.
//!
//! ```text
//!                copy engine            engines                    its time has come
//!   submit ──▶ bytes / bandwidth ──▶ (a + b · rows) · jitter ──────────────┬──────▶ lane back ─▶ completion
//!      │       one after the other   as many at a time as there are        │
//!      └─▶ the real result: at once if that is short, else on a driver thread
//!          or the step's placeholder
//! ```
//!
//! When a submission will be done is computed when it is submitted, so that all there is to do then is one wake-up, by
//! whoever rings the [clock](Clock): nothing spins, and no thread waits. It takes at least as long as the real result does.
//! In simulated time, computing takes no time, and only steps that may block are computed elsewhere (while time is held).

mod faults;
mod flight;
mod model;
mod options;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use asynchrotron::time::{Clock, Hold};
use asynchrotron_sync::{Lane, LanePool};

pub use faults::Faults;

use crate::drain::Outstanding;
use crate::drivers::{Drivers, Errand};
use crate::inline::Durations;
use crate::{Capability, Device, DeviceErrorKind, DeviceKind, Drain, Job, LaneId};
use faults::Verdict;
use flight::{Cargo, Flight};
use model::Model;

/// Steps shorter than this are computed at submission, on the caller's thread.
const INLINE_BELOW: Duration = Duration::from_micros(50);

/// A model of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct EmulatedConfig {
    /// Submissions at a time.
    pub lanes: usize,
    /// Computations at a time. 0, the default: as many as there are lanes.
    pub engines: usize,
    /// What a computation takes whatever its size.
    pub submission: Duration,
    /// What it takes in addition for each row, in nanoseconds.
    pub per_row_ns: f64,
    /// Bandwidth of the one copy engine, which copies the [bytes](crate::Step::bytes) of one input after the other while the
    /// engines compute. 0, the default: copies take no time.
    pub bytes_per_s: f64,
    /// Each computation takes between `1 - jitter` and `1 + jitter` times as long, evenly distributed; determined by the seed
    /// and the number of the submission. Default: 0.
    pub jitter: f64,
    /// An input of more bytes is [out of memory](DeviceErrorKind::OutOfMemory). `None`, the default: all fit.
    pub memory_bytes: Option<u64>,
    /// Whether the results are the real ones, which is the default. Else a step's [placeholder](crate::Step::placeholder) is
    /// the result; steps that have none are computed all the same.
    pub compute: bool,
    /// Of the jitter and the random faults.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// The time in which it works. A simulated one must be the [job's](asynchrotron::Config::clock).
    pub clock: Clock,
}

impl Default for EmulatedConfig {
    /// Four lanes; 50 µs a submission and 10 ns a row; nothing else takes time, and nothing goes wrong.
    fn default() -> Self {
        Self {
            lanes: 4,
            engines: 0,
            submission: Duration::from_micros(50),
            per_row_ns: 10.0,
            bytes_per_s: 0.0,
            jitter: 0.0,
            memory_bytes: None,
            compute: true,
            seed: 0,
            faults: Faults::default(),
            clock: Clock::real(),
        }
    }
}

/// A device with a model of its cost.
///
/// Dropping it closes it. What was submitted goes on to its end; submissions that [hang](Faults::hang_nth) end then, as
/// [lost](DeviceErrorKind::Lost).
///
/// # Panics
///
/// Submitting panics if the clock's alarm thread cannot be started.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
/// use asynchrotron_devices::{Device, EmulatedConfig, EmulatedDevice};
/// # use asynchrotron_devices::Step;
/// # struct Sum;
/// # impl Step for Sum {
/// #     type Input = Vec<f32>;
/// #     type Output = f32;
/// #     fn name(&self) -> &str { "sum" }
/// #     fn rows(&self, energies: &Vec<f32>) -> usize { energies.len() }
/// #     fn on_host(&self, energies: Vec<f32>) -> anyhow::Result<f32> { Ok(energies.iter().sum()) }
/// # }
///
/// let config = EmulatedConfig { lanes: 2, submission: Duration::from_millis(2), ..EmulatedConfig::default() };
/// let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let begin = Instant::now();
/// assert_eq!(device.run(&Arc::new(Sum), vec![1.0, 2.0]).await?, 3.0);
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// # Ok::<(), asynchrotron_devices::DeviceError>(()) }).unwrap();
/// ```
pub struct EmulatedDevice {
    name: String,
    capability: Capability,
    lanes: LanePool<LaneId>,
    drivers: Drivers<Computation>,
    durations: Arc<Durations>,
    outstanding: Outstanding,
    model: Model,
    submissions: AtomicU64,
    closed: AtomicBool,
    /// Submissions that end when the device is closed.
    hanging: Mutex<Vec<Arc<Flight>>>,
}

impl EmulatedDevice {
    /// Opens such a device. Starts no thread yet.
    pub fn new(config: EmulatedConfig) -> Self {
        Self::named(DeviceKind::Emulated.name(), config)
    }

    pub(crate) fn named(name: &str, mut config: EmulatedConfig) -> Self {
        config.lanes = config.lanes.max(1);
        let lanes = config.lanes;
        let time = if config.clock.is_simulated() { ", in simulated time" } else { "" };
        let a = config.submission;
        Self {
            name: name.into(),
            capability: Capability {
                description: format!(
                    "a model: {lanes} lanes, {a:?} + {} ns per row{time}",
                    config.per_row_ns
                ),
                lanes,
                memory_bytes: config.memory_bytes,
                gpu: None,
                computes_on_host: true,
            },
            lanes: LanePool::new((0..lanes).map(LaneId)),
            drivers: Drivers::new("emulated", lanes),
            durations: Arc::new(Durations::new(INLINE_BELOW)),
            outstanding: Outstanding::default(),
            model: Model::new(config),
            submissions: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            hanging: Mutex::default(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn hang(&self, cargo: Cargo) {
        let flight = Flight::hang(cargo);
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner).push(flight);
        // Closed meanwhile: whoever closed it may not have seen this one.
        if self.is_closed() {
            self.end_hanging();
        }
    }

    fn end_hanging(&self) {
        let hanging = std::mem::take(&mut *self.hanging.lock().unwrap_or_else(PoisonError::into_inner));
        hanging.iter().for_each(|flight| flight.land());
    }

    /// Whether the result is there at submission.
    fn compute_here(&self, job: &mut Job) -> bool {
        let config = self.model.config();
        if !config.compute && job.pretend() {
            return true;
        }
        if job.may_block() {
            return false;
        }
        let begin = Instant::now();
        if !config.clock.is_simulated() && !self.durations.is_short(job.step(), job.rows()) {
            return false;
        }
        job.compute_on_host();
        self.durations.learn(job.step(), job.rows(), begin.elapsed());
        true
    }
}

impl Device for EmulatedDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Emulated
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        &self.lanes
    }

    fn submit_job(&self, lane: Lane<LaneId>, mut job: Job) {
        if lane.0 >= self.capability.lanes {
            drop(lane);
            return job.fail(DeviceErrorKind::Refused("the lane belongs to another device".into()));
        }
        if self.is_closed() {
            drop(lane);
            return job.fail(DeviceErrorKind::Closed);
        }
        let number = self.submissions.fetch_add(1, Ordering::Relaxed) + 1;
        let (verdict, due) = self.model.submit(number, job.rows(), job.bytes());
        let here = verdict != Verdict::Fine || self.compute_here(&mut job);
        let (index, entered) = (lane.0, self.outstanding.enter());
        let cargo = Cargo { job, lane, entered, verdict };
        let clock = &self.model.config().clock;
        if verdict == Verdict::Hangs {
            self.hang(cargo);
        } else if here {
            Flight::begin(cargo, clock, due);
        } else {
            let (clock, hold, durations) = (clock.clone(), clock.hold(), self.durations.clone());
            self.drivers.send(index, Computation { cargo, due, clock, durations, hold });
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.lanes.close();
        self.end_hanging();
    }

    fn drain(&self) -> Drain {
        self.outstanding.drain()
    }
}

impl Drop for EmulatedDevice {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EmulatedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatedDevice")
            .field("name", &self.name)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// What is computed on a driver thread.
struct Computation {
    cargo: Cargo,
    due: Duration,
    clock: Clock,
    durations: Arc<Durations>,
    /// Until the flight is on its way.
    hold: Hold,
}

impl Errand for Computation {
    fn run(self) {
        let Self { mut cargo, due, clock, durations, hold } = self;
        let begin = Instant::now();
        cargo.job.compute_on_host();
        durations.learn(cargo.job.step(), cargo.job.rows(), begin.elapsed());
        Flight::begin(cargo, &clock, due);
        drop(hold);
    }

    fn refuse(self, why: &str) {
        drop(self.cargo.lane);
        self.cargo.job.fail(DeviceErrorKind::Refused(why.into()));
    }
}
