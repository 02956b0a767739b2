//! [`Step`]: what an algorithm asks a device for.

use crate::LaneId;

/// What an algorithm asks a device for: a named computation from an owned input to an owned output.
///
/// A step has one body per kind of device. [`on_host`](Self::on_host) is the reference that every other body must agree
/// with. The step itself holds what stays the same between calls (configuration, conditions) and is shared by `Arc`; what
/// changes from call to call is the input. It moves into the device and stays there until the device is done with it.
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::Step;
///
/// /// Multiplies energies by a calibration constant.
/// struct Calibrate { factor: f32 }
///
/// impl Step for Calibrate {
///     type Input = Vec<f32>;
///     type Output = Vec<f32>;
///
///     fn name(&self) -> &str { "calibrate" }
///     fn rows(&self, energies: &Vec<f32>) -> usize { energies.len() }
///     fn bytes(&self, energies: &Vec<f32>) -> usize { size_of_val(&energies[..]) }
///
///     fn on_host(&self, mut energies: Vec<f32>) -> anyhow::Result<Vec<f32>> {
///         energies.iter_mut().for_each(|energy| *energy *= self.factor);
///         Ok(energies)
///     }
/// }
/// ```
pub trait Step: Send + Sync + 'static {
    /// Moves into the device.
    type Input: Send + 'static;
    /// Moves out of the device.
    type Output: Send + 'static;

    /// The step's name in errors, reports and timelines. Devices also learn by it how long the step takes, so steps that
    /// do different work should have different names.
    fn name(&self) -> &str;

    /// The weight of an input: how many elements (hits, tracks, candidates) it holds.
    fn rows(&self, input: &Self::Input) -> usize;

    /// How many bytes of this input a device with a memory of its own would copy. 0 by default.
    fn bytes(&self, _input: &Self::Input) -> usize {
        0
    }

    /// The number of the GPU on which the input lies; `None`, the default: on the host, or on several. Where several GPUs can take
    /// it, that one is preferred. What lies on another the body for GPUs has to fetch (`Work::fetch`, feature `cuda`).
    fn lies_on(&self, _input: &Self::Input) -> Option<usize> {
        None
    }

    /// Whether the body on the host may wait for something other than the processor (a file, a lock, another thread).
    /// Such a step never runs on a worker, however short it usually is. `false` by default.
    fn may_block(&self) -> bool {
        false
    }

    /// An output of the right shape, whatever its values: for devices that only pretend to compute. `None`, the default: there is
    /// none, and they compute.
    fn placeholder(&self, _input: &Self::Input) -> Option<Self::Output> {
        None
    }

    /// The body on the host, and the reference for all others.
    ///
    /// # Errors
    ///
    /// Whatever makes this input impossible to compute. It reaches the algorithm that awaits the step as the cause of a
    /// [`DeviceErrorKind::Step`](crate::DeviceErrorKind::Step). A panic does as well.
    fn on_host(&self, input: Self::Input) -> anyhow::Result<Self::Output>;

    /// The body on a GPU; `None`, the default: it has none, and the host's is run beside the GPU.
    #[cfg(feature = "cuda")]
    fn on_cuda(&self) -> Option<&dyn crate::cuda::CudaBody<Self::Input, Self::Output>> {
        None
    }

    /// The body on an ONNX device: a run of a model, usually, on the session that the model has for this lane. By default, that on
    /// the host.
    ///
    /// # Errors
    ///
    /// As [`on_host`](Self::on_host).
    fn on_onnx(&self, input: Self::Input, _lane: LaneId) -> anyhow::Result<Self::Output> {
        self.on_host(input)
    }
}
