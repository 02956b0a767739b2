//! [`CudaBody`]: a step's body on a GPU, and [`Finish`]: how it ends.

use std::fmt;

use super::KernelSource;
use super::memory::Landed;
use super::work::Work;

/// A step's body on a GPU.
///
/// # Examples
///
/// ```no_run
/// use asynchrotron_devices::cuda::{CudaBody, Finish, KernelSource, Launch, Work};
/// use asynchrotron_devices::Step;
///
/// static SCALE: KernelSource = KernelSource {
///     name: "scale.cu",
///     source: r#"
///         extern "C" __global__ void scale(float* x, float factor, unsigned n) {
///             unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
///             if (i < n) x[i] *= factor;
///         }"#,
///     options: &["--fmad=false"],
/// };
///
/// struct Calibrate { factor: f32 }
///
/// impl Step for Calibrate {
///     type Input = Vec<f32>;
///     type Output = Vec<f32>;
///     fn name(&self) -> &str { "calibrate" }
///     fn rows(&self, energies: &Vec<f32>) -> usize { energies.len() }
///     fn on_host(&self, energies: Vec<f32>) -> anyhow::Result<Vec<f32>> {
///         Ok(energies.into_iter().map(|energy| energy * self.factor).collect())
///     }
///     fn on_cuda(&self) -> Option<&dyn CudaBody<Vec<f32>, Vec<f32>>> { Some(self) }
/// }
///
/// impl CudaBody<Vec<f32>, Vec<f32>> for Calibrate {
///     fn enqueue(&self, energies: Vec<f32>, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<f32>>> {
///         let scale = work.kernel(&SCALE, "scale")?;
///         let x = work.upload(&energies)?;
///         let threads = Launch::for_each(x.len(), 256);
///         work.launch(scale, threads, &[(&x).into(), self.factor.into(), (x.len() as u32).into()])?;
///         let back = work.download(&x)?;
///         Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
///     }
/// }
/// ```
pub trait CudaBody<I, O>: Send + Sync {
    /// Enqueues copies and kernels, and returns how the output comes about. Must not wait for the GPU. What it takes from `work` stays
    /// until the GPU is done, also if this fails half way.
    ///
    /// # Errors
    ///
    /// Whatever makes this input impossible to compute: the step's error. A [`Fault`](super::Fault) is the device's.
    fn enqueue(&self, input: I, work: &mut Work<'_>) -> anyhow::Result<Finish<O>>;

    /// The device code that it launches, to be compiled before there is work.
    fn kernels(&self) -> &'static [&'static KernelSource] {
        &[]
    }

    /// Whether it must always be called from the same thread for the same lane, because a library behind it keeps things per thread.
    fn needs_lanes_thread(&self) -> bool {
        false
    }
}

/// How a step's output comes about, once everything was enqueued.
#[must_use = "it is what `enqueue` returns"]
pub struct Finish<O>(When<O>);

/// Makes an output of what has landed.
type Make<O> = dyn FnOnce(&Landed) -> anyhow::Result<O> + Send;

enum When<O> {
    Done(Box<Make<O>>),
    Ahead(O),
}

impl<O> Finish<O> {
    /// By this, when the GPU is done. It runs on the thread that finds that out, so it should be short.
    pub fn when_done(make: impl FnOnce(&Landed) -> anyhow::Result<O> + Send + 'static) -> Self {
        Self(When::Done(Box::new(make)))
    }

    /// This is it, and it is handed on *ahead* of the GPU: as soon as everything was enqueued. For what stays on the GPU and whose
    /// shape is known by then; steps that take it up follow without a way through the host.
    ///
    /// ```text
    ///   host                 GPU, this lane        GPU, another lane
    ///   enqueued ──────────▶ kernels
    ///      │ handed on          │
    ///      ▼                    │
    ///   next step enqueued ─────┼────────────────▶ waits
    ///                        ready event ────────▶ goes on
    /// ```
    ///
    /// Whoever takes it up has to [fetch](Work::fetch) or [keep](Work::keep) each slice of it, as always; that makes its own stream
    /// wait for the *ready event* of this submission. The host waits for it with a step that [downloads](Work::download). Only memory
    /// that this submission has taken is waited for: one that writes to another's in place must not be handed on ahead. A
    /// [`Download`](super::Download) of its own cannot be read by others.
    ///
    /// The lane and the rest of the memory stay with the device until the GPU is done, as always. If the GPU fails after all, steps
    /// that take up the output fail with what it was. This one is not done again elsewhere: for its waiter, and for a batcher, it has
    /// succeeded. A batcher also takes it to last only until it was enqueued, so
    /// [`Adaptive`](asynchrotron::batch::BatchPolicy::Adaptive) makes small batches of such steps.
    ///
    /// What waits for a GPU that hangs, hangs with it: it fails when it is due itself. If it is on another GPU, that one stays, without the
    /// lane.
    ///
    /// It shortens the way from one step to the next, and costs the driver two calls more: worth it for a few short kernels in a row, not
    /// where the calls are what there is too little time for (`asynchrotron bench cuda`, part `ahead`).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use asynchrotron_devices::cuda::{CudaBody, DeviceSlice, Finish, KernelSource, Launch, Work};
    /// # static SCALE: KernelSource = KernelSource { name: "scale.cu", source: "", options: &[] };
    ///
    /// /// Leaves energies on the GPU.
    /// struct Leave;
    ///
    /// impl CudaBody<Vec<f32>, DeviceSlice<f32>> for Leave {
    ///     fn enqueue(&self, energies: Vec<f32>, work: &mut Work<'_>) -> anyhow::Result<Finish<DeviceSlice<f32>>> {
    ///         Ok(Finish::ahead(work.upload(&energies)?))
    ///     }
    /// }
    ///
    /// /// Takes them up there, on whichever lane.
    /// struct Scale { factor: f32 }
    ///
    /// impl CudaBody<DeviceSlice<f32>, Vec<f32>> for Scale {
    ///     fn enqueue(&self, energies: DeviceSlice<f32>, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<f32>>> {
    ///         let x = work.fetch(&energies)?; // what follows waits, on the GPU
    ///         let arguments = [(&x).into(), self.factor.into(), (x.len() as u32).into()];
    ///         work.launch(work.kernel(&SCALE, "scale")?, Launch::for_each(x.len(), 256), &arguments)?;
    ///         let back = work.download(&x)?;
    ///         Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
    ///     }
    /// }
    /// ```
    pub fn ahead(output: O) -> Self {
        Self(When::Ahead(output))
    }

    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self.0, When::Ahead(_))
    }

    /// The output, if it is handed on ahead.
    pub(crate) fn into_ahead(self) -> Result<O, Self> {
        match self.0 {
            When::Ahead(output) => Ok(output),
            done => Err(Self(done)),
        }
    }

    pub(crate) fn make(self, landed: &Landed) -> anyhow::Result<O> {
        match self.0 {
            When::Done(make) => make(landed),
            When::Ahead(output) => Ok(output),
        }
    }
}

impl<O> fmt::Debug for Finish<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ahead() { "Finish(ahead)" } else { "Finish(when done)" })
    }
}
