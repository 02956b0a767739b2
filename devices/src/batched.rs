//! [`BatchStep`] and [`OnDevice`]: steps that many events share, on a device.

use std::fmt;
use std::sync::Arc;

use asynchrotron::batch::{Alone, BatchConfig, BatchPolicy, Batcher, Offload, Remedy, Trouble};
use asynchrotron_sync::{Lane, LanePool};

use crate::{Device, DeviceError, DeviceErrorKind, DeviceKind, LaneId, Step};

/// A step whose input can hold the requests of many events, side by side.
///
/// # Examples
///
/// See [`OnDevice`].
pub trait BatchStep: Step {
    /// What one event asks for. Kept until its batch has succeeded, so cheap to keep: usually an `Arc` of a collection.
    type Request: Send + Sync + 'static;
    /// What it gets.
    type Reply: Send + 'static;
    /// What it takes to tell the replies apart again: the offsets of the events, say.
    type Parts: Send + 'static;

    /// The weight of a request.
    fn request_rows(&self, request: &Self::Request) -> usize;

    /// How many bytes of it would be copied to a device with a memory of its own. 0 by default.
    fn request_bytes(&self, _request: &Self::Request) -> usize {
        0
    }

    /// Puts requests side by side: one at least. `rows` is their weight together, padding included: a device that takes only
    /// inputs of some sizes needs as many.
    fn pack(&self, requests: &[&Self::Request], rows: usize) -> (Self::Input, Self::Parts);

    /// Takes the replies apart: one for each request, in the same order.
    fn unpack(&self, output: Self::Output, parts: Self::Parts) -> Vec<Self::Reply>;
}

/// A step on a device, for a [`Batcher`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use asynchrotron::batch::{BatchConfig, BatchPolicy};
/// use asynchrotron::prelude::*;
/// use asynchrotron_devices::{BatchStep, DeviceConfig, Devices, Offsets, OnDevice, Step};
///
/// /// Multiplies energies by a calibration constant.
/// struct Calibrate { factor: f32 }
///
/// impl Step for Calibrate {
///     type Input = Vec<f32>;
///     type Output = Vec<f32>;
///     fn name(&self) -> &str { "calibrate" }
///     fn rows(&self, energies: &Vec<f32>) -> usize { energies.len() }
///     fn on_host(&self, energies: Vec<f32>) -> Result<Vec<f32>> {
///         Ok(energies.into_iter().map(|energy| energy * self.factor).collect())
///     }
/// }
///
/// struct Energies(Arc<Vec<f32>>);
/// impl From<(Arc<Vec<f32>>,)> for Energies {
///     fn from((energies,): (Arc<Vec<f32>>,)) -> Self { Energies(energies) }
/// }
///
/// impl BatchStep for Calibrate {
///     type Request = Energies;
///     type Reply = Vec<f32>;
///     type Parts = Offsets;
///     fn request_rows(&self, request: &Energies) -> usize { request.0.len() }
///     fn pack(&self, requests: &[&Energies], _rows: usize) -> (Vec<f32>, Offsets) {
///         let together = requests.iter().flat_map(|request| request.0.iter().copied()).collect();
///         (together, Offsets::from_counts(requests.iter().map(|request| request.0.len())))
///     }
///     fn unpack(&self, output: Vec<f32>, parts: Offsets) -> Vec<Vec<f32>> {
///         parts.iter().map(|rows| output[rows].to_vec()).collect()
///     }
/// }
///
/// let device = Devices::discover(&DeviceConfig::default()).select("auto")?;
/// let config = BatchConfig::default().with_policy(BatchPolicy::Size(8));
/// let calibrate = OnDevice::batcher(Calibrate { factor: 0.5 }, device, config);
///
/// let mut chain = Chain::new("calibration");
/// let raw = chain.source::<Vec<f32>>("raw");
/// let energies = chain.offload("calibrate", (raw,), &calibrate);
/// chain.sink("check", energies, |_, energies: Arc<Vec<f32>>| { ensure!(energies[0] == 1.5); Ok(()) });
/// let report = Scheduler::default().run(chain, source::from_iter(vec![vec![3.0_f32]; 20]))?;
/// assert_eq!(report.batchers[0].requests, 20);
/// # Ok::<(), Error>(())
/// ```
pub struct OnDevice<S> {
    step: Arc<S>,
    device: Arc<dyn Device>,
}

impl<S: BatchStep> OnDevice<S> {
    /// The step on the device, which makes ready for it.
    pub fn new(step: S, device: Arc<dyn Device>) -> Self {
        #[cfg(feature = "cuda")]
        if let Some(body) = step.on_cuda() {
            device.prepare(body.kernels());
        }
        Self { step: Arc::new(step), device }
    }

    /// A batcher for the step on the device.
    pub fn batcher(step: S, device: Arc<dyn Device>, config: BatchConfig) -> Batcher<Self> {
        Batcher::new(Self::new(step, device), config)
    }

    /// The step.
    pub fn step(&self) -> &S {
        &self.step
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
}

/// What suits a device if the user does not choose: where a step's body for the host runs, a submission costs next to nothing, and
/// there is nothing to gain from a batch; elsewhere, [`Adaptive`](BatchPolicy::Adaptive).
pub fn default_policy(device: &dyn Device) -> BatchPolicy {
    match device.kind() {
        DeviceKind::Host | DeviceKind::Onnx => BatchPolicy::Off,
        _ => BatchPolicy::default(),
    }
}

/// The same for a step that is a model: on device `onnx`, it does not run its body for the host.
pub fn default_model_policy(device: &dyn Device) -> BatchPolicy {
    match device.kind() {
        DeviceKind::Onnx => BatchPolicy::default(),
        _ => default_policy(device),
    }
}

impl<S: BatchStep> Offload for OnDevice<S> {
    type Request = S::Request;
    type Reply = S::Reply;
    type Error = DeviceError;
    type Lane = LaneId;

    fn name(&self) -> &str {
        self.step.name()
    }

    fn rows(&self, request: &S::Request) -> usize {
        self.step.request_rows(request)
    }

    fn bytes(&self, request: &S::Request) -> usize {
        self.step.request_bytes(request)
    }

    fn lanes(&self) -> &LanePool<LaneId> {
        self.device.lanes()
    }

    fn device(&self) -> &str {
        self.device.name()
    }

    fn lane_number(&self, lane: &LaneId) -> usize {
        lane.0
    }

    fn start(
        &self,
        lane: Lane<LaneId>,
        batch: &[&S::Request],
        rows: usize,
    ) -> impl Future<Output = Result<Vec<S::Reply>, DeviceError>> + Send + 'static {
        let (input, parts) = self.step.pack(batch, rows);
        let completion = self.device.submit(lane, self.step.clone(), input);
        let step = self.step.clone();
        async move { Ok(step.unpack(completion.await?, parts)) }
    }

    async fn run_alone(
        &self,
        request: &S::Request,
        rows: usize,
        tell: &(dyn Fn(Alone) + Sync),
    ) -> Result<S::Reply, DeviceError> {
        let (input, parts) = self.step.pack(&[request], rows);
        let output = self.device.run_told(&self.step, input, tell).await?;
        let mut replies = self.step.unpack(output, parts);
        match (replies.pop(), replies.is_empty()) {
            (Some(reply), true) => Ok(reply),
            _ => Err(self.trouble(Trouble::WrongReplies)),
        }
    }

    fn trouble(&self, trouble: Trouble) -> DeviceError {
        let kind = match trouble {
            Trouble::Closed => DeviceErrorKind::Closed,
            Trouble::Panicked(message) => DeviceErrorKind::Panicked(message.into()),
            other => DeviceErrorKind::Refused(other.to_string().into()),
        };
        DeviceError::new(self.device.name(), self.step.name(), kind)
    }

    fn remedy(&self, error: &DeviceError) -> Remedy {
        match error.kind() {
            DeviceErrorKind::LaneLost => Remedy::GiveBack,
            DeviceErrorKind::MemoryInUse => Remedy::Later,
            DeviceErrorKind::Closed => Remedy::Fail,
            _ => Remedy::Split,
        }
    }
}

impl<S: BatchStep> fmt::Debug for OnDevice<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDevice")
            .field("step", &self.step.name())
            .field("device", &self.device.name())
            .finish()
    }
}
