//! [`Inference`]: a model as a step that many events share.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use asynchrotron::batch::BatchConfig;

use super::{Blocks, ModelError, ModelRequest, Port, Signature};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use crate::cuda::{CudaBody, Finish, Work};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use crate::onnx::CudaModel;
#[cfg(feature = "onnx")]
use crate::onnx::{ModelConfig, ModelSource, OnnxModel};
use crate::{BatchStep, LaneId, Offsets, Step};

/// A model's body for the host: from a block for each input to a block for each output.
pub type HostBody = dyn Fn(&Blocks) -> anyhow::Result<Blocks> + Send + Sync;

/// A model as a step that many events share.
///
/// | device | runs |
/// |---|---|
/// | `onnx` | the model, on the lane's own session |
/// | `cuda…` | the model, on the lane's own session and stream, if it was loaded for it |
/// | any other | the body for the host; without one, the model on a session that is free |
///
/// The output of a run goes to the events without the padding.
///
/// # Examples
///
/// The body for the host alone, a network of one weight:
///
/// ```
/// use std::sync::Arc;
/// use asynchrotron::prelude::*;
/// use asynchrotron_devices::inference::{Block, Blocks, Inference, Inputs, Order, Port, Signature};
/// use asynchrotron_devices::{DeviceConfig, Devices, OnDevice};
///
/// let signature = Signature {
///     inputs: vec![Port::new::<f32>("x", Order::RowFeature, &[1])],
///     outputs: vec![Port::new::<f32>("y", Order::RowFeature, &[1])],
/// };
/// let double = Inference::<Inputs>::on_host("double", signature, |inputs| {
///     let x = inputs.get::<f32>(0).context("x is f32")?;
///     let y = x.values().iter().map(|x| 2.0 * x).collect();
///     Ok(Block::new(Order::RowFeature, x.rows(), 1, y).into())
/// })?;
/// let device = Devices::discover(&DeviceConfig::default()).select("auto")?;
/// let config = double.batch_config(Default::default());
/// let double = OnDevice::batcher(double, device, config);
///
/// let mut chain = Chain::new("doubling");
/// let x = chain.source::<Blocks>("x");
/// let y = chain.offload("double", (x,), &double);
/// chain.sink("check", y, |_, y: Arc<Blocks>| {
///     ensure!(y.get::<f32>(0).is_some_and(|y| y.values() == [2.0, 4.0]));
///     Ok(())
/// });
/// let x = Blocks::from(Block::new(Order::RowFeature, 2, 1, vec![1.0_f32, 2.0]));
/// Scheduler::default().run(chain, source::from_iter(vec![x; 10]))?;
/// # Ok::<(), Error>(())
/// ```
pub struct Inference<Q> {
    name: Arc<str>,
    signature: Signature,
    host: Option<Arc<HostBody>>,
    #[cfg(feature = "onnx")]
    model: Option<Arc<OnnxModel>>,
    #[cfg(all(feature = "cuda", feature = "onnx"))]
    cuda: Option<Arc<CudaModel>>,
    #[cfg(feature = "onnx")]
    not_on_gpu: Option<ModelError>,
    request: PhantomData<fn(Q)>,
}

/// The rows of a batch, or why they cannot be put side by side.
pub struct PackedBatch {
    rows: usize,
    blocks: Result<Blocks, ModelError>,
}

impl<Q: ModelRequest> Inference<Q> {
    /// A model that is computed by `body` on any device.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the requests cannot fit the signature.
    pub fn on_host(
        name: &str,
        signature: Signature,
        body: impl Fn(&Blocks) -> anyhow::Result<Blocks> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        Q::check(name, &signature)?;
        Ok(Self {
            name: name.into(),
            signature,
            host: Some(Arc::new(body)),
            #[cfg(feature = "onnx")]
            model: None,
            #[cfg(all(feature = "cuda", feature = "onnx"))]
            cuda: None,
            #[cfg(feature = "onnx")]
            not_on_gpu: None,
            request: PhantomData,
        })
    }

    /// A model that runs on ONNX Runtime.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the requests cannot fit the model.
    #[cfg(feature = "onnx")]
    pub fn new(model: Arc<OnnxModel>) -> Result<Self, ModelError> {
        let signature = model.signature().clone();
        Q::check(model.name(), &signature)?;
        Ok(Self {
            name: model.name().into(),
            signature,
            host: None,
            model: Some(model),
            #[cfg(feature = "cuda")]
            cuda: None,
            not_on_gpu: None,
            request: PhantomData,
        })
    }

    /// A model that runs on this device: on its GPUs, if it has any and what ONNX Runtime needs for them is here, and on the host.
    /// Where it is not, the model runs on the host beside the GPUs, and [`not_on_gpu`](Self::not_on_gpu) says why.
    ///
    /// # Errors
    /// As [`OnnxModel::load`]; [`ModelError::Mismatch`] if the requests cannot fit the model.
    ///
    /// # Examples
    ///
    /// ```
    /// use asynchrotron_devices::inference::{Inference, Inputs, Mlp, ModelError, Order};
    /// use asynchrotron_devices::onnx::{ModelConfig, ModelSource};
    /// use asynchrotron_devices::{DeviceConfig, Devices};
    ///
    /// let source = ModelSource::from_bytes("small", Mlp::random(&[2, 8, 1], 1).to_onnx(Order::FeatureRow));
    /// let device = Devices::discover(&DeviceConfig::default()).select("auto")?;
    /// match Inference::<Inputs>::for_device(&source, &*device, ModelConfig::default()) {
    ///     Ok(inference) => {
    ///         if let Some(why) = inference.not_on_gpu() {
    ///             eprintln!("{why}; it runs on the host");
    ///         }
    ///     }
    ///     Err(ModelError::NoLibrary { .. }) => {} // a body for the host may do: `Inference::on_host`
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "onnx")]
    pub fn for_device(
        source: &ModelSource,
        device: &dyn crate::Device,
        config: ModelConfig,
    ) -> Result<Self, ModelError> {
        let this = Self::new(OnnxModel::load(source, device, config.clone())?)?;
        #[cfg(feature = "cuda")]
        if device.kind() == crate::DeviceKind::Cuda {
            return match CudaModel::load(source, device, config) {
                Ok(model) => this.with_cuda(model),
                Err(why) => Ok(Self { not_on_gpu: Some(why), ..this }),
            };
        }
        Ok(this)
    }

    /// The same, with a body for GPUs.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if this model takes or gives something else.
    #[cfg(all(feature = "cuda", feature = "onnx"))]
    pub fn with_cuda(self, model: Arc<CudaModel>) -> Result<Self, ModelError> {
        if model.signature() != &self.signature {
            let (expected, found) = (self.signature.to_string(), model.signature().to_string());
            return Err(ModelError::mismatch(&self.name, "on GPUs".into(), expected, found));
        }
        Ok(Self { cuda: Some(model), ..self })
    }

    /// Why it runs on the host although its device is a GPU; `None` if it does not.
    #[cfg(feature = "onnx")]
    pub fn not_on_gpu(&self) -> Option<&ModelError> {
        self.not_on_gpu.as_ref()
    }

    /// The model on GPUs, if it was loaded there.
    #[cfg(all(feature = "cuda", feature = "onnx"))]
    pub fn cuda_model(&self) -> Option<&Arc<CudaModel>> {
        self.cuda.as_ref()
    }

    /// The same, with a body for devices other than `onnx`.
    #[must_use]
    pub fn with_host(self, body: impl Fn(&Blocks) -> anyhow::Result<Blocks> + Send + Sync + 'static) -> Self {
        Self { host: Some(Arc::new(body)), ..self }
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The model, if it was loaded.
    #[cfg(feature = "onnx")]
    pub fn model(&self) -> Option<&Arc<OnnxModel>> {
        self.model.as_ref()
    }

    /// These settings of a batcher, with the sizes of batches that the model takes and was warmed up for.
    #[must_use]
    pub fn batch_config(&self, config: BatchConfig) -> BatchConfig {
        #[cfg(feature = "onnx")]
        if let Some(model) = &self.model {
            return BatchConfig { sizes: model.sizes().to_vec(), ..config };
        }
        #[cfg(all(feature = "cuda", feature = "onnx"))]
        if let Some(model) = &self.cuda {
            return BatchConfig { sizes: model.sizes().to_vec(), ..config };
        }
        config
    }

    fn by_host(&self, inputs: &Blocks) -> anyhow::Result<Blocks> {
        if let Some(host) = &self.host {
            self.signature.check_inputs(&self.name, inputs)?;
            let outputs = host(inputs)?;
            self.signature.check_outputs(&self.name, &outputs, inputs.rows())?;
            return Ok(outputs);
        }
        #[cfg(feature = "onnx")]
        if let Some(model) = &self.model {
            return Ok(model.run_anywhere(inputs)?);
        }
        Err(ModelError::NoHostBody { model: (*self.name).into() }.into())
    }
}

impl<Q: ModelRequest> Step for Inference<Q> {
    type Input = PackedBatch;
    type Output = Blocks;

    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, input: &PackedBatch) -> usize {
        input.rows
    }

    fn placeholder(&self, input: &PackedBatch) -> Option<Blocks> {
        let zeros = |port: &Port| port.zeros(input.rows);
        Some(Blocks::new(self.signature.outputs.iter().map(zeros).collect()))
    }

    fn on_host(&self, input: PackedBatch) -> anyhow::Result<Blocks> {
        self.by_host(&input.blocks?)
    }

    #[cfg(all(feature = "cuda", feature = "onnx"))]
    fn on_cuda(&self) -> Option<&dyn CudaBody<PackedBatch, Blocks>> {
        self.cuda.is_some().then_some(self)
    }

    #[cfg_attr(not(feature = "onnx"), allow(unused_variables))]
    fn on_onnx(&self, input: PackedBatch, lane: LaneId) -> anyhow::Result<Blocks> {
        #[cfg(feature = "onnx")]
        if let Some(model) = &self.model {
            return Ok(model.run(lane, &input.blocks?)?);
        }
        self.on_host(input)
    }
}

#[cfg(all(feature = "cuda", feature = "onnx"))]
impl<Q: ModelRequest> CudaBody<PackedBatch, Blocks> for Inference<Q> {
    fn enqueue(&self, input: PackedBatch, work: &mut Work<'_>) -> anyhow::Result<Finish<Blocks>> {
        let Some(model) = &self.cuda else { anyhow::bail!("model `{}` was not loaded for GPUs", self.name) };
        model.enqueue_blocks(work, &input.blocks?)
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

impl<Q: ModelRequest> BatchStep for Inference<Q> {
    type Request = Q;
    type Reply = Blocks;
    type Parts = Offsets;

    fn request_rows(&self, request: &Q) -> usize {
        request.rows()
    }

    fn request_bytes(&self, request: &Q) -> usize {
        request.bytes()
    }

    fn pack(&self, requests: &[&Q], rows: usize) -> (PackedBatch, Offsets) {
        let parts = Offsets::from_counts(requests.iter().map(|request| request.rows()));
        let blocks = Q::pack(&self.name, &self.signature, requests, rows);
        (PackedBatch { rows, blocks }, parts)
    }

    fn unpack(&self, output: Blocks, parts: Offsets) -> Vec<Blocks> {
        // The only event of a batch gets all of it, if there is no padding.
        if parts.len() == 1 && parts.rows() == output.rows() {
            return vec![output];
        }
        output.split(&parts)
    }
}

impl<Q> fmt::Debug for Inference<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inference")
            .field("name", &self.name)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PackedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedBatch").field("rows", &self.rows).finish_non_exhaustive()
    }
}
