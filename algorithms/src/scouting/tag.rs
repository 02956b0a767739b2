use super::{Features, Reconstructed, Score, Scores, TauNetwork};
use crate::trained_model::TrainedModel;
use asynchrotron::{Result, anyhow::Context as _};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use asynchrotron_devices::cuda::{CudaBody, Finish};
#[cfg(feature = "cuda")]
use asynchrotron_devices::cuda::{DeviceSlice, Work};
use asynchrotron_devices::inference::{Block, ModelError, ModelReport, Order, Port, Signature};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use asynchrotron_devices::onnx::DeviceTensor;
use asynchrotron_devices::{BatchStep, Columns, Device, LaneId, Offsets, Step};
use std::sync::Arc;

/// What the τ tagger asks a device for: its network, over the clusters of one or many events.
///
/// | crosses | direction | bytes per cluster | for |
/// |---|---|---|---|
/// | [`Features`], packed: `[16][rows]` | host → device | 64 | the model's input, as it is |
/// | [`Scores`] | device → host | 8 | |
///
/// On the host nothing is copied for one event.
///
/// | device | runs |
/// |---|---|
/// | `onnx` | `models/tau.onnx`, if it was [loaded](Self::trained) |
/// | `cuda…` | the same, if it was loaded; the columns are copied there once, and read where they lie |
/// | any other | [`TauNetwork`] |
#[derive(Clone, Debug)]
pub struct TauStep {
    network: Arc<TauNetwork>,
    model: TrainedModel,
}

impl TauStep {
    /// The step with this network, on any device.
    pub fn new(network: TauNetwork) -> Self {
        Self { network: Arc::new(network), model: TrainedModel::default() }
    }

    /// The step with the [trained](TauNetwork::trained) network, and for device `onnx` and GPUs with the model of the same numbers.
    /// Where GPUs cannot run models, the network runs on the host beside them, and [`not_on_gpu`](Self::not_on_gpu) says why.
    ///
    /// # Errors
    /// [`ModelError`] if the device is `onnx`, and cannot load the model.
    pub fn trained(device: &dyn Device) -> Result<Self, ModelError> {
        let signature = Signature {
            inputs: vec![Port::new::<f32>("features", Order::FeatureRow, &[Features::SCHEMA.len()])],
            outputs: vec![Port::new::<f32>("scores", Order::RowFeature, &[Scores::SCHEMA.len()])],
        };
        let model = TrainedModel::load("tau", include_bytes!("../../models/tau.onnx"), signature, device)?;
        Ok(Self { model, ..Self::new(TauNetwork::trained()) })
    }

    /// Which model it runs, and what that took until now; `None` if there is none.
    pub fn model(&self) -> Option<ModelReport> {
        self.model.report()
    }

    /// Why the model does not run on the GPUs of the device that it was loaded for; `None` if it does, or there are none.
    pub fn not_on_gpu(&self) -> Option<&ModelError> {
        self.model.not_on_gpu()
    }

    /// Whether its model was loaded for GPUs.
    pub fn is_on_gpu(&self) -> bool {
        #[cfg(all(feature = "cuda", feature = "onnx"))]
        return self.model.on_gpu().is_some();
        #[cfg(not(all(feature = "cuda", feature = "onnx")))]
        false
    }

    /// What the model gives, row by row.
    pub(super) fn scores(values: &[f32]) -> Scores {
        let (rows, _) = values.as_chunks::<2>();
        rows.iter().map(|&[tau, log_pt_ratio]| Score { tau, log_pt_ratio }).collect()
    }
}

impl Step for TauStep {
    type Input = Arc<Features>;
    type Output = Scores;

    fn name(&self) -> &str {
        "tau"
    }

    fn rows(&self, features: &Arc<Features>) -> usize {
        features.len()
    }

    fn bytes(&self, features: &Arc<Features>) -> usize {
        size_of::<[f32; 16]>() * features.len()
    }

    /// Nothing looks like a τ, or like anything else.
    fn placeholder(&self, features: &Arc<Features>) -> Option<Scores> {
        Some(Scores::with_len(features.len()))
    }

    fn on_host(&self, features: Arc<Features>) -> Result<Scores> {
        Ok(self.network.evaluate(&features))
    }

    #[cfg(all(feature = "cuda", feature = "onnx"))]
    fn on_cuda(&self) -> Option<&dyn CudaBody<Arc<Features>, Scores>> {
        self.is_on_gpu().then_some(self)
    }

    fn on_onnx(&self, features: Arc<Features>, lane: LaneId) -> Result<Scores> {
        let rows = features.len();
        let columns = || match Block::<f32>::lent(features.clone()) {
            Ok(packed) => Ok(packed.into()),
            Err(_) => {
                let all: Vec<usize> = (0..Features::SCHEMA.len()).collect();
                Ok(Block::<f32>::pack(&[&*features], &all, Order::FeatureRow, rows).into())
            }
        };
        let Some(outputs) = self.model.run(lane, columns) else { return self.on_host(features) };
        Ok(Self::scores(outputs?.get::<f32>(0).context("no scores")?.values()))
    }
}

#[cfg(all(feature = "cuda", feature = "onnx"))]
impl CudaBody<Arc<Features>, Scores> for TauStep {
    fn enqueue(&self, features: Arc<Features>, work: &mut Work<'_>) -> Result<Finish<Scores>> {
        let columns = work.upload_packed(&[&*features])?;
        let input = DeviceTensor::of_columns::<f32, _>(&columns)?.get().context("features are f32")?;
        let output = self.enqueue_columns(input, features.len(), work)?;
        let back = work.download(&output)?;
        Ok(Finish::when_done(move |landed| Ok(Self::scores(back.read(landed)))))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

#[cfg(feature = "cuda")]
impl TauStep {
    /// Enqueues the model on columns that lie on the GPU, `[16][rows]`, for a step that has more to do there; it gives `[rows][2]`.
    /// To be called on the [lane's own thread](asynchrotron_devices::cuda::CudaBody::needs_lanes_thread).
    ///
    /// # Errors
    /// The model is not [there](Self::is_on_gpu), or cannot be run.
    pub fn enqueue_columns(
        &self,
        features: DeviceSlice<f32>,
        rows: usize,
        work: &mut Work<'_>,
    ) -> Result<DeviceSlice<f32>> {
        #[cfg(feature = "onnx")]
        {
            let model = self.model.on_gpu().context("the model was not loaded for GPUs")?;
            let outputs = model.enqueue(work, &[features.into()], rows)?;
            outputs.first().and_then(DeviceTensor::get::<f32>).context("no scores")
        }
        #[cfg(not(feature = "onnx"))]
        {
            let _ = (features, rows, work);
            Err(asynchrotron::Error::msg("built without feature `onnx`"))
        }
    }

    /// With how many rows to run the model on a GPU if at most so many are needed: few different numbers, because the library plans
    /// anew for each.
    pub(super) fn rows_on_gpu(&self, rows: usize) -> usize {
        #[cfg(feature = "onnx")]
        let sizes = self.model.on_gpu().map_or(&[][..], |model| model.sizes());
        #[cfg(not(feature = "onnx"))]
        let sizes: &[usize] = &[];
        if rows == 0 {
            // Nothing is run.
            return 0;
        }
        let allowed = sizes.iter().copied().find(|&size| size >= rows);
        allowed.unwrap_or_else(|| rows.next_power_of_two().max(32))
    }
}

/// The clusters of one event, to be scored.
#[derive(Clone, Debug)]
pub struct TauRequest(pub Arc<Features>);

impl From<(Arc<Features>,)> for TauRequest {
    fn from((features,): (Arc<Features>,)) -> Self {
        Self(features)
    }
}

impl From<(Arc<Reconstructed>,)> for TauRequest {
    fn from((reconstructed,): (Arc<Reconstructed>,)) -> Self {
        Self(reconstructed.features.clone())
    }
}

impl BatchStep for TauStep {
    type Request = TauRequest;
    type Reply = Scores;
    type Parts = Offsets;

    fn request_rows(&self, request: &TauRequest) -> usize {
        request.0.len()
    }

    fn request_bytes(&self, request: &TauRequest) -> usize {
        size_of::<[f32; 16]>() * request.0.len()
    }

    fn pack(&self, requests: &[&TauRequest], rows: usize) -> (Arc<Features>, Offsets) {
        match requests {
            [only] if only.0.len() >= rows => (only.0.clone(), Offsets::single(only.0.len())),
            many => {
                let events: Vec<&Features> = many.iter().map(|request| &*request.0).collect();
                let (features, events) = side_by_side(&events, rows);
                (Arc::new(features), events)
            }
        }
    }

    fn unpack(&self, scores: Scores, parts: Offsets) -> Vec<Scores> {
        if parts.len() == 1 && parts.rows() == scores.len() {
            return vec![scores];
        }
        parts.iter().map(|rows| scores.slice(rows)).collect()
    }
}

/// The features of several events as one `[16][rows]` block, filled up with rows of 0 if `rows` are more than there are.
pub fn side_by_side(events: &[&Features], rows: usize) -> (Features, Offsets) {
    let offsets = Offsets::from_counts(events.iter().map(|features| features.len()));
    let mut all = Features::with_packed_len(rows.max(offsets.rows()));
    let layout = all.layout();
    for index in 0..Features::SCHEMA.len() {
        let mut rest = &mut all.buffer_mut().as_bytes_mut()[layout.range(index)];
        for features in events {
            let from = features.column_bytes(index);
            let (to, tail) = rest.split_at_mut(from.len());
            to.copy_from_slice(from);
            rest = tail;
        }
    }
    (all, offsets)
}
