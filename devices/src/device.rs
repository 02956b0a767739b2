//! [`Device`]: something that computes steps.

use std::fmt;
use std::sync::Arc;

use asynchrotron::batch::Alone;
use asynchrotron_sync::{Completion, Lane, LanePool};

use crate::inline::Inline;
use crate::job::compute;
use crate::{DeviceError, DeviceErrorKind, Drain, Job, Step};

/// The kinds of device that Asynchrotron knows, whether this build has them or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor's own cores: the reference.
    Host,
    /// An NVIDIA GPU.
    Cuda,
    /// ONNX Runtime, for models.
    Onnx,
    /// A device with a model of its cost, for tests and studies.
    Emulated,
}

impl DeviceKind {
    /// The name by which the user selects it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cuda => "cuda",
            Self::Onnx => "onnx",
            Self::Emulated => "emulated",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a device can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// What it is, in one line, for people.
    pub description: String,
    /// The lanes it was opened with: how many submissions it works on at a time.
    pub lanes: usize,
    /// The memory of its own, in bytes; `None` if it shares the host's.
    pub memory_bytes: Option<u64>,
    /// Its number among the GPUs, if it is one.
    pub gpu: Option<usize>,
    /// Whether it runs the steps' bodies for the host, and so every step there is.
    pub computes_on_host: bool,
}

/// Which lane of its device: an index below [`Capability::lanes`]. What belongs to a lane (a stream, staging buffers, a
/// model's session, a driver thread) is kept by the device under that index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId(pub usize);

/// Something that computes steps.
///
/// This is the device's side; it works behind `dyn`. Algorithms use [`run`](trait.Device.html#method.run) and
/// [`submit`](trait.Device.html#method.submit), which are written once, for `dyn Device`.
///
/// # What every device promises (and `tests/conformance` checks)
///
/// * A submission never blocks, and its completion always comes: the output, the step's error, or the device's.
/// * At most as many submissions are in the device as it has lanes. A submission's lane is back in the pool before its
///   completion comes; only what a GPU hands on ahead (`cuda::Finish::ahead`) comes before its lane is back.
/// * Dropping a completion never waits. Work that has not begun is skipped; the lane and the buffers of work that has
///   begun stay with the device until it is done.
/// * Completions come in any order.
/// * The failure of one submission does not touch another.
pub trait Device: fmt::Debug + Send + Sync {
    /// Its name in errors, reports and timelines, and by which it is selected.
    fn name(&self) -> &str;

    /// What kind of device it is.
    fn kind(&self) -> DeviceKind;

    /// What it can do.
    fn capability(&self) -> &Capability;

    /// Its lanes. Waiting for one is the back-pressure.
    fn lanes(&self) -> &LanePool<LaneId>;

    /// Takes the work and returns at once. `lane` is one of [`lanes`](Self::lanes) and stays with the device until it is
    /// done, whether or not somebody still waits.
    ///
    /// A closed device [fails](Job::fail) the job.
    fn submit_job(&self, lane: Lane<LaneId>, job: Job);

    /// The right to run such a step at once on the caller's thread, if the device computes there and expects it to be
    /// shorter than the way to another thread and back. `lane` is the one that the caller has: a device whose lanes have
    /// something of their own (a session) gives no such right without. `None` by default.
    fn inline(&self, _step: &str, _rows: usize, _lane: Option<LaneId>) -> Option<Inline<'_>> {
        None
    }

    /// Compiles and loads device code, if the device is one for it, before there is work. What fails is told by the first submission
    /// that needs it.
    #[cfg(feature = "cuda")]
    fn prepare(&self, _kernels: &'static [&'static crate::cuda::KernelSource]) {}

    /// Takes no more work: who waits for a lane, and who submits later, is told
    /// [`Closed`](DeviceErrorKind::Closed). What was submitted before goes on to its end. Dropping the device does the
    /// same.
    fn close(&self);

    /// Comes when nothing is submitted: everything that was has ended, its completion has been signalled, and its buffers
    /// are free. Does not close the device; if others keep submitting, it may never come. After [`close`](Self::close)
    /// it comes as soon as the last submission ends.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    fn drain(&self) -> Drain;
}

impl dyn Device + '_ {
    /// Computes one step: waits for a lane, submits, and waits for the output.
    ///
    /// A step that the device runs [inline](Device::inline) on the host takes no lane and waits for nothing.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]: the step's own error or panic, or the device's.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the input is lost. A place in line for a lane is given up; work that has not begun is
    /// skipped; work that has begun goes on in the device, which keeps its lane and its buffers until it is done.
    ///
    /// # Examples
    ///
    /// See the [crate](crate).
    pub async fn run<S: Step>(&self, step: &Arc<S>, input: S::Input) -> Result<S::Output, DeviceError> {
        self.run_told(step, input, &|_| {}).await
    }

    /// The same, and tells when the step gets in line for a lane and when it has one.
    pub(crate) async fn run_told<S: Step>(
        &self,
        step: &Arc<S>,
        input: S::Input,
        tell: &(dyn Fn(Alone) + Sync),
    ) -> Result<S::Output, DeviceError> {
        let input = match self.try_inline(&**step, input, None) {
            Ok(result) => return result,
            Err(input) => input,
        };
        tell(Alone::InLine);
        // There is one most of the time, and then nothing is left to wait for.
        let lane = match self.lanes().try_take() {
            Some(lane) => Ok(lane),
            None => self.lanes().take().await,
        };
        match lane {
            Ok(lane) => {
                tell(Alone::OnLane(lane.0));
                self.submit(lane, step.clone(), input).await
            }
            Err(_) => Err(DeviceError::new(self.name(), step.name(), DeviceErrorKind::Closed)),
        }
    }

    /// Submits one step to a lane of this device, and returns at once (after computing it, if the device runs it
    /// [inline](Device::inline)).
    ///
    /// # Cancel safety
    ///
    /// The completion may be dropped at any time, never waits, and never takes anything from the device: the lane and the
    /// buffers come back when the device is done with them.
    pub fn submit<S: Step>(
        &self,
        lane: Lane<LaneId>,
        step: Arc<S>,
        input: S::Input,
    ) -> Completion<S::Output, DeviceError> {
        match self.try_inline(&*step, input, Some(*lane)) {
            Ok(result) => {
                drop(lane);
                Completion::ready(result)
            }
            Err(input) => {
                let (job, completion) = Job::new(self.name(), step, input);
                self.submit_job(lane, job);
                completion
            }
        }
    }

    /// Gives the input back if the device does not run the step here.
    fn try_inline<S: Step>(
        &self,
        step: &S,
        input: S::Input,
        lane: Option<LaneId>,
    ) -> Result<Result<S::Output, DeviceError>, S::Input> {
        if step.may_block() {
            return Err(input);
        }
        match self.inline(step.name(), step.rows(&input), lane) {
            Some(measured_until_dropped) => {
                Ok(compute(measured_until_dropped.body, self.name(), step, input))
            }
            None => Err(input),
        }
    }
}
