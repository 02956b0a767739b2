//! [`CudaModel`]: a model on the lanes of GPUs.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::super::library::one_line;
use super::super::model::{allowed_sizes, warm_up_sizes};
use super::super::ports::signature;
use super::super::runs::Runs;
use super::super::{ModelConfig, ModelSource};
use super::DeviceTensor;
use super::bound::BoundSession;
use crate::cuda::{CudaBody, Fault, Finish, LaneStream, Work};
use crate::inference::{Blocks, ModelError, ModelReport, Signature};
use crate::{Device, DeviceError, Step};

/// A model on the lanes of GPUs: read once, with a session, and a copy of the weights, for each lane of each GPU.
///
/// Usually the [`Inference`](crate::inference::Inference) made [for a device](crate::inference::Inference::for_device) is all that is
/// needed. Steps with kernels of their own call [`enqueue`](Self::enqueue) between them: the model takes up the columns where a kernel
/// has left them.
///
/// The sessions keep the streams of the device: drop the model when the device is not used any more.
///
/// # Examples
///
/// A kernel that makes features, and a model that reads them in place, as one submission:
///
/// ```no_run
/// use std::sync::Arc;
/// use asynchrotron_devices::cuda::{CudaBody, Finish, KernelSource, Launch, Work};
/// use asynchrotron_devices::onnx::CudaModel;
/// # static FEATURES: KernelSource = KernelSource { name: "features.cu", source: "", options: &[] };
///
/// struct Classify { model: Arc<CudaModel> }
///
/// impl CudaBody<Vec<f32>, Vec<f32>> for Classify {
///     fn enqueue(&self, energies: Vec<f32>, work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<f32>>> {
///         let rows = energies.len();
///         let energies = work.upload(&energies)?;
///         let features = work.allocate::<f32>(10 * rows)?; // [feature][row]
///         let kernel = work.kernel(&FEATURES, "features")?;
///         work.launch(kernel, Launch::for_each(rows, 256), &[(&energies).into(), (&features).into(), (rows as u32).into()])?;
///         let outputs = self.model.enqueue(work, &[features.into()], rows)?;
///         let probabilities = outputs[0].get::<f32>().expect("the model gives f32");
///         let back = work.download(&probabilities)?;
///         Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
///     }
///
///     fn needs_lanes_thread(&self) -> bool { true } // as every step that runs a model
/// }
/// ```
pub struct CudaModel {
    source: ModelSource,
    signature: Signature,
    sizes: Vec<usize>,
    tf32: bool,
    /// A lane carries one submission at a time, so the locks of sessions are not waited for.
    sessions: Mutex<HashMap<LaneStream, Arc<Mutex<BoundSession>>>>,
    load: Duration,
    warm_up_ns: AtomicU64,
    runs: Runs,
}

impl CudaModel {
    /// Reads the model, makes a session for each lane of the device that is free now, and runs each once for each allowed size.
    /// Other lanes, also those of other GPUs, get theirs when they are first used. Blocks the thread as long as that takes.
    ///
    /// # Errors
    /// [`ModelError::NoProvider`] says in one line what is missing for GPUs. [`ModelError`]: as
    /// [`OnnxModel::load`](super::super::OnnxModel::load); also if some of the model's operators cannot run on a GPU.
    pub fn load(
        source: &ModelSource,
        device: &dyn Device,
        config: ModelConfig,
    ) -> Result<Arc<Self>, ModelError> {
        let begin = Instant::now();
        // What the model says of itself needs no GPU.
        let signature = signature(source, &source.session(1, Ok)?, config.signature.as_ref())?;
        let sizes = allowed_sizes(source, &signature, config.sizes)?;
        let model = Arc::new(Self {
            source: source.clone(),
            signature,
            sizes,
            tf32: config.tf32,
            sessions: Mutex::default(),
            load: begin.elapsed(),
            warm_up_ns: AtomicU64::new(0),
            runs: Runs::default(),
        });
        let begin = Instant::now();
        model.warm_up(device)?;
        model.warm_up_ns.store(begin.elapsed().as_nanos() as u64, Relaxed);
        Ok(model)
    }

    fn warm_up(self: &Arc<Self>, device: &dyn Device) -> Result<(), ModelError> {
        let step = Arc::new(WarmUp { name: format!("{} warm-up", self.name()), model: self.clone() });
        let failed = |error: DeviceError| {
            let of_step = error.step_error::<ModelError>().cloned();
            of_step.unwrap_or_else(|| self.source.load_error(&one_line(&error)))
        };
        // One alone first: it loads what all of them share, and if it fails, so would they.
        wait(device.run(&step, ())).map_err(failed)?;
        let lanes: Vec<_> = std::iter::from_fn(|| device.lanes().try_take()).collect();
        let submissions: Vec<_> =
            lanes.into_iter().map(|lane| device.submit(lane, step.clone(), ())).collect();
        submissions.into_iter().try_for_each(|completion| wait(completion).map_err(failed))
    }

    /// Enqueues a run behind what is on the lane, and returns the outputs, one for each of the signature, for what is enqueued next.
    /// The inputs, one for each of the signature, are read in place; each is in the order of its [`Port`](crate::inference::Port), on
    /// this GPU ([`Work::fetch`] sees to that), and dense: `rows` times its features. Must be called from the lane's own thread
    /// ([`CudaBody::needs_lanes_thread`]).
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] before anything is enqueued, if the inputs do not fit; [`Run`](ModelError::Run); at a lane's first
    /// run, as [`load`](Self::load); [`Fault`].
    pub fn enqueue(
        &self,
        work: &mut Work<'_>,
        inputs: &[DeviceTensor],
        rows: usize,
    ) -> anyhow::Result<Vec<DeviceTensor>> {
        self.check(inputs, rows)?;
        let (outputs, elapsed) = self.enqueue_uncounted(work, inputs, rows)?;
        self.runs.count(rows, elapsed);
        Ok(outputs)
    }

    /// The same on blocks of the host, which are copied there and back.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub fn enqueue_blocks(&self, work: &mut Work<'_>, inputs: &Blocks) -> anyhow::Result<Finish<Blocks>> {
        self.signature.check_inputs(self.name(), inputs)?;
        let rows = inputs.rows();
        let upload = |block| DeviceTensor::upload(work, block);
        let tensors = inputs.as_slice().iter().map(upload).collect::<Result<Vec<_>, Fault>>()?;
        let outputs = self.enqueue(work, &tensors, rows)?;
        let ports = self.signature.outputs.iter();
        let downloads = ports.zip(&outputs).map(|(port, output)| output.download(work, port, rows));
        let downloads = downloads.collect::<Result<Vec<_>, Fault>>()?;
        Ok(Finish::when_done(move |landed| {
            Ok(Blocks::new(downloads.iter().map(|download| download.block(landed)).collect()))
        }))
    }

    fn enqueue_uncounted(
        &self,
        work: &mut Work<'_>,
        inputs: &[DeviceTensor],
        rows: usize,
    ) -> anyhow::Result<(Vec<DeviceTensor>, Duration)> {
        inputs.iter().for_each(|input| work.keep(input.bytes()));
        let output = |port| DeviceTensor::allocate(work, port, rows);
        let outputs = self.signature.outputs.iter().map(output).collect::<Result<Vec<_>, Fault>>()?;
        if rows == 0 {
            // Not every operator takes nothing.
            return Ok((outputs, Duration::ZERO));
        }
        let session = self.session(work)?;
        let begin = Instant::now();
        let result = lock(&session).enqueue(&self.signature, inputs, &outputs, rows);
        let elapsed = begin.elapsed();
        // The weights and what lies between operators are the session's; they are used until the GPU is done, also with a part of a run.
        work.keep_other(session);
        let failed = |error| ModelError::Run { model: self.name().into(), rows, why: one_line(&error) };
        result.map_err(failed)?;
        Ok((outputs, elapsed))
    }

    /// The session of the lane; made at the first call.
    fn session(&self, work: &mut Work<'_>) -> Result<Arc<Mutex<BoundSession>>, ModelError> {
        let stream = work.lane_stream();
        let known = lock(&self.sessions).get(&stream).cloned();
        if let Some(session) = known {
            return Ok(session);
        }
        // Not under the lock: lanes make theirs at the same time, each lane its own.
        let session = BoundSession::new(&self.source, stream.clone(), self.tf32)?;
        let session = Arc::new(Mutex::new(session));
        lock(&self.sessions).insert(stream, session.clone());
        Ok(session)
    }

    fn check(&self, inputs: &[DeviceTensor], rows: usize) -> Result<(), ModelError> {
        let ports = &self.signature.inputs;
        if inputs.len() != ports.len() {
            let count = |count: usize| format!("{count} input{}", if count == 1 { "" } else { "s" });
            let (expected, found) = (count(ports.len()), count(inputs.len()));
            return Err(ModelError::mismatch(self.name(), "all inputs".into(), expected, found));
        }
        for (port, input) in ports.iter().zip(inputs) {
            let fits = input.element() == port.element()
                && input.len() == rows * port.features()
                && port.fixed_rows().is_none_or(|fixed| fixed == rows);
            if !fits {
                let place = format!("input `{}`", port.name());
                let found = format!("{} numbers of type {} for {rows} rows", input.len(), input.element());
                return Err(ModelError::mismatch(self.name(), place, port.to_string(), found));
            }
        }
        Ok(())
    }

    /// Its name in reports and errors.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The numbers of rows that it was warmed up for, in ascending order; none: any.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Its hash, and the times until now; those of runs are what it took to enqueue them. Runs of the warm-up do not count.
    pub fn report(&self) -> ModelReport {
        ModelReport {
            lanes: lock(&self.sessions).len(),
            on_gpu: true,
            load: self.load,
            warm_up: Duration::from_nanos(self.warm_up_ns.load(Relaxed)),
            ..self.runs.report(&self.source)
        }
    }
}

// As for sessions on the host, a panic leaves nothing half done: the library is on the other side of a C interface.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for CudaModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaModel")
            .field("source", &self.source)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// Makes the session of a lane, and runs it on zeros.
struct WarmUp {
    name: String,
    model: Arc<CudaModel>,
}

impl Step for WarmUp {
    type Input = ();
    type Output = ();

    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, (): &()) -> usize {
        1
    }

    fn on_host(&self, (): ()) -> anyhow::Result<()> {
        let (model, why) = (self.model.name().into(), "the device is no GPU".into());
        Err(ModelError::NoProvider { model, why }.into())
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), ()>> {
        Some(self)
    }
}

impl CudaBody<(), ()> for WarmUp {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> anyhow::Result<Finish<()>> {
        let model = &self.model;
        for &rows in warm_up_sizes(&model.sizes) {
            let zeros = |port| DeviceTensor::zeros(work, port, rows);
            let inputs = model.signature.inputs.iter().map(zeros).collect::<Result<Vec<_>, Fault>>()?;
            model.check(&inputs, rows)?;
            model.enqueue_uncounted(work, &inputs, rows)?;
        }
        Ok(Finish::when_done(|_| Ok(())))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

/// Waits on this thread, asleep.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
