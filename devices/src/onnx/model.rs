//! [`OnnxModel`]: sessions, warm-up, runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ModelSource;
use super::ports::signature;
use super::runs::Runs;
use super::session::LaneSession;
use crate::inference::{Blocks, ModelError, ModelReport, Port, Signature};
use crate::{Device, LaneId};

/// How a model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// What the model should take and give; it is compared with what the model says. Outputs that are not declared are not copied.
    /// `None`, the default: whatever the model says.
    pub signature: Option<Signature>,
    /// The numbers of rows of a batch, if not any are allowed; each is warmed up. Empty, the default: any, and a warm-up with one
    /// row.
    pub sizes: Vec<usize>,
    /// Threads of each session on the host. Default: 1, the lane's own.
    pub threads: usize,
    /// Whether a GPU may round what goes into products to 10 bits (TF32): quicker for large models, and results differ from the host's
    /// by 1e-4 and more. Default: `false`.
    pub tf32: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { signature: None, sizes: Vec::new(), threads: 1, tf32: false }
    }
}

/// A model on the lanes of a device: read once, with a session, and a copy of the weights, for each lane.
///
/// Usually the [`Inference`](crate::inference::Inference) made of it is all that is needed.
///
/// # Examples
///
/// ```
/// # if asynchrotron_devices::onnx::OnnxDevice::open(Default::default()).is_err() { return Ok(()); }
/// use asynchrotron_devices::inference::{Block, Blocks, Mlp, Order};
/// use asynchrotron_devices::onnx::{ModelConfig, ModelSource, OnnxConfig, OnnxDevice, OnnxModel};
/// use asynchrotron_devices::LaneId;
///
/// let network = Mlp::random(&[2, 8, 1], 1);
/// let source = ModelSource::from_bytes("small", network.to_onnx(Order::FeatureRow));
/// let device = OnnxDevice::open(OnnxConfig { lanes: 2, ..OnnxConfig::default() })?;
/// let model = OnnxModel::load(&source, &device, ModelConfig::default())?;
/// assert_eq!(model.signature().to_string(), "x: f32 [2, rows] → y: f32 [1, rows]");
///
/// let x = Block::new(Order::FeatureRow, 3, 2, vec![1.0_f32, 2.0, 3.0, 0.1, 0.2, 0.3]);
/// let y = model.run(LaneId(0), &Blocks::from(x.clone()))?;
/// let expected = network.infer(&x);
/// for (found, expected) in y.get::<f32>(0).unwrap().values().iter().zip(expected.values()) {
///     assert!((found - expected).abs() < 1e-5);
/// }
/// println!("{}", model.report());
///
/// // The optimised graph, once and for all.
/// # let folder = std::env::temp_dir().join(format!("asynchrotron-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let optimized = source.optimize(&folder.join("small.optimized.onnx"))?;
/// let model = OnnxModel::load(&optimized, &device, ModelConfig::default())?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OnnxModel {
    source: ModelSource,
    signature: Signature,
    sizes: Vec<usize>,
    threads: usize,
    /// A lane carries one submission at a time, so these locks are not waited for.
    lanes: Box<[Mutex<LaneSession>]>,
    load: Duration,
    warm_up: Duration,
    runs: Runs,
}

impl OnnxModel {
    /// Makes a session for each lane of the device, and runs each once for each allowed size.
    ///
    /// # Errors
    /// [`ModelError`]: the library is missing, the bytes are no model, the model is not what was declared, or it does not run.
    pub fn load(
        source: &ModelSource,
        device: &dyn Device,
        config: ModelConfig,
    ) -> Result<Arc<Self>, ModelError> {
        let begin = Instant::now();
        let lanes = device.capability().lanes;
        let session = || source.session(config.threads, Ok);
        let first = session()?;
        let signature = signature(source, &first, config.signature.as_ref())?;
        let mut sessions = vec![first];
        // The others at a time: they are the same work once more.
        thread::scope(|scope| {
            let others: Vec<_> = (1..lanes).map(|_| scope.spawn(session)).collect();
            others.into_iter().try_for_each(|other| {
                let other = other.join().map_err(|_| source.load_error("the library panicked"))?;
                sessions.push(other?);
                Ok::<_, ModelError>(())
            })
        })?;
        let load = begin.elapsed();

        let sizes = allowed_sizes(source, &signature, config.sizes)?;
        let lanes =
            sessions.into_iter().map(|session| Mutex::new(LaneSession::new(session, &signature))).collect();
        let mut model = Self {
            source: source.clone(),
            signature,
            sizes,
            threads: config.threads,
            lanes,
            load,
            warm_up: Duration::ZERO,
            runs: Runs::default(),
        };
        let begin = Instant::now();
        model.warm_up()?;
        model.warm_up = begin.elapsed();
        Ok(Arc::new(model))
    }

    fn warm_up(&mut self) -> Result<(), ModelError> {
        for &rows in warm_up_sizes(&self.sizes) {
            let zeros = Blocks::new(self.signature.inputs.iter().map(|port| port.zeros(rows)).collect());
            self.signature.check_inputs(self.name(), &zeros)?;
            for lane in &self.lanes {
                lock(lane).run(&self.source, &self.signature, &zeros)?;
            }
        }
        Ok(())
    }

    /// Runs it on the session of this lane. Blocks the thread as long as that takes.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] before anything has begun, if the inputs do not fit; [`Run`](ModelError::Run);
    /// [`NoSuchLane`](ModelError::NoSuchLane).
    pub fn run(&self, lane: LaneId, inputs: &Blocks) -> Result<Blocks, ModelError> {
        let Some(session) = self.lanes.get(lane.0) else {
            let (model, lanes) = (self.name().into(), self.lanes.len());
            return Err(ModelError::NoSuchLane { model, lane: lane.0, lanes });
        };
        self.run_session(|| lock(session), inputs)
    }

    /// Runs it on a session that is free, or waits for one: for devices whose lanes are not meant for it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_anywhere(&self, inputs: &Blocks) -> Result<Blocks, ModelError> {
        let free = || self.lanes.iter().find_map(|session| session.try_lock().ok());
        self.run_session(|| free().unwrap_or_else(|| lock(&self.lanes[0])), inputs)
    }

    fn run_session<'a>(
        &'a self,
        session: impl FnOnce() -> MutexGuard<'a, LaneSession>,
        inputs: &Blocks,
    ) -> Result<Blocks, ModelError> {
        self.signature.check_inputs(self.name(), inputs)?;
        let rows = inputs.rows();
        if rows == 0 {
            // Not every operator takes nothing.
            return Ok(Blocks::new(self.signature.outputs.iter().map(|port| port.zeros(0)).collect()));
        }
        let mut session = session();
        let begin = Instant::now();
        let outputs = session.run(&self.source, &self.signature, inputs);
        let elapsed = begin.elapsed();
        drop(session);
        self.runs.count(rows, elapsed);
        outputs
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

    /// Its hash, and the times until now. Runs of the warm-up do not count.
    pub fn report(&self) -> ModelReport {
        ModelReport {
            lanes: self.lanes.len(),
            threads: self.threads,
            load: self.load,
            warm_up: self.warm_up,
            ..self.runs.report(&self.source)
        }
    }
}

/// The numbers of rows that a model takes, in ascending order: those that were configured, or the only one that it insists on; none:
/// any.
pub(super) fn allowed_sizes(
    source: &ModelSource,
    signature: &Signature,
    configured: Vec<usize>,
) -> Result<Vec<usize>, ModelError> {
    let fixed = signature.inputs.iter().find_map(Port::fixed_rows);
    if let Some(port) = signature.inputs.iter().find(|port| port.fixed_rows() != fixed) {
        let found = format!("{port}, where another input takes {} rows", fixed.unwrap_or(0));
        let place = format!("input `{}`", port.name());
        return Err(ModelError::mismatch(source.name(), place, "as many rows for each input".into(), found));
    }
    let mut sizes = if configured.is_empty() { Vec::from_iter(fixed) } else { configured };
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

/// The numbers of rows that a model is warmed up with.
pub(super) fn warm_up_sizes(allowed: &[usize]) -> &[usize] {
    if allowed.is_empty() { &[1] } else { allowed }
}

// A run that panics leaves a session as it was: the library is on the other side of a C interface.
fn lock(session: &Mutex<LaneSession>) -> MutexGuard<'_, LaneSession> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("source", &self.source)
            .field("signature", &self.signature)
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}
