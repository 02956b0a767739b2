use super::condensation::{INPUTS, OUTPUTS};
use super::{BLOCKS, COLUMNS, CellGrid, CondensationGrid, CondensationNetwork, ROWS};
use crate::trained_model::TrainedModel;
use asynchrotron::{Result, anyhow::Context as _};
use asynchrotron_devices::inference::{Block, ModelError, ModelReport, Order, Port, Signature};
use asynchrotron_devices::{BatchStep, Device, LaneId, Step};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use asynchrotron_devices::{
    cuda::{CudaBody, Finish, Work},
    onnx::DeviceTensor,
};
use std::sync::Arc;

/// What object condensation asks a device for: its network, over one or many events. A row is an event.
///
/// | crosses | direction | bytes per event | for |
/// |---|---|---|---|
/// | [`CellGrid`]: `[2][36][30]` | host → device | 8 640 | the model's input |
/// | [`CondensationGrid`]: `[4][36][30]` | device → host | 17 280 | |
///
/// | device | runs |
/// |---|---|
/// | `onnx` | `models/condensation.onnx`, if it was [loaded](Self::trained); it fills also the blocks without cells |
/// | `cuda…` | the same, if it was loaded |
/// | any other | [`CondensationNetwork`], where there are cells |
#[derive(Clone, Debug)]
pub struct CondensationStep {
    network: Arc<CondensationNetwork>,
    model: TrainedModel,
}

impl CondensationStep {
    /// The step with this network, on any device.
    pub fn new(network: CondensationNetwork) -> Self {
        Self { network: Arc::new(network), model: TrainedModel::default() }
    }

    /// The step with the [trained](CondensationNetwork::trained) network, and for device `onnx` and GPUs with the model of the same
    /// numbers. Where GPUs cannot run models, the network runs on the host beside them, and [`not_on_gpu`](Self::not_on_gpu) says
    /// why.
    ///
    /// # Errors
    /// [`ModelError`] if the device is `onnx`, and cannot load the model.
    pub fn trained(device: &dyn Device) -> Result<Self, ModelError> {
        let port = |name, channels| Port::new::<f32>(name, Order::RowFeature, &[channels, ROWS, COLUMNS]);
        let signature =
            Signature { inputs: vec![port("cells", INPUTS)], outputs: vec![port("condensation", OUTPUTS)] };
        let bytes = include_bytes!("../../models/condensation.onnx");
        let model = TrainedModel::load("condensation", bytes, signature, device)?;
        Ok(Self { model, ..Self::new(CondensationNetwork::trained()) })
    }

    /// Which model it runs, and what that took until now; `None` if there is none.
    pub fn model(&self) -> Option<ModelReport> {
        self.model.report()
    }

    /// Why the model does not run on the GPUs of the device that it was loaded for; `None` if it does, or there are none.
    pub fn not_on_gpu(&self) -> Option<&ModelError> {
        self.model.not_on_gpu()
    }
}

impl Step for CondensationStep {
    type Input = Vec<Arc<CellGrid>>;
    type Output = Vec<CondensationGrid>;

    fn name(&self) -> &str {
        "condensation"
    }

    fn rows(&self, events: &Vec<Arc<CellGrid>>) -> usize {
        events.len()
    }

    fn bytes(&self, events: &Vec<Arc<CellGrid>>) -> usize {
        size_of::<f32>() * INPUTS * BLOCKS * events.len()
    }

    /// No block stands for anything.
    fn placeholder(&self, events: &Vec<Arc<CellGrid>>) -> Option<Vec<CondensationGrid>> {
        Some(vec![CondensationGrid(vec![0.0; OUTPUTS * BLOCKS]); events.len()])
    }

    fn on_host(&self, events: Vec<Arc<CellGrid>>) -> Result<Vec<CondensationGrid>> {
        Ok(events.iter().map(|grid| self.network.evaluate(grid)).collect())
    }

    #[cfg(all(feature = "cuda", feature = "onnx"))]
    fn on_cuda(&self) -> Option<&dyn CudaBody<Vec<Arc<CellGrid>>, Vec<CondensationGrid>>> {
        self.model.on_gpu().is_some().then_some(self)
    }

    fn on_onnx(&self, events: Vec<Arc<CellGrid>>, lane: LaneId) -> Result<Vec<CondensationGrid>> {
        let cells = || {
            let grids: Vec<&[f32]> = events.iter().map(|grid| &grid.0[..]).collect();
            Ok(Block::new(Order::RowFeature, events.len(), INPUTS * BLOCKS, grids.concat()).into())
        };
        let Some(outputs) = self.model.run(lane, cells) else { return self.on_host(events) };
        Ok(grids(outputs?.get::<f32>(0).context("no grids")?.values()))
    }
}

#[cfg(all(feature = "cuda", feature = "onnx"))]
impl CudaBody<Vec<Arc<CellGrid>>, Vec<CondensationGrid>> for CondensationStep {
    fn enqueue(
        &self,
        events: Vec<Arc<CellGrid>>,
        work: &mut Work<'_>,
    ) -> Result<Finish<Vec<CondensationGrid>>> {
        let model = self.model.on_gpu().context("the model was not loaded for GPUs")?;
        let mut staged = work.stage::<f32>(INPUTS * BLOCKS * events.len())?;
        for (to, grid) in staged.chunks_exact_mut(INPUTS * BLOCKS).zip(&events) {
            to.copy_from_slice(&grid.0);
        }
        let cells = work.send(staged)?;
        let outputs = model.enqueue(work, &[cells.into()], events.len())?;
        let output = outputs.first().and_then(DeviceTensor::get::<f32>).context("no grids")?;
        let back = work.download(&output)?;
        Ok(Finish::when_done(move |landed| Ok(grids(back.read(landed)))))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

/// What the model gives, event by event.
fn grids(values: &[f32]) -> Vec<CondensationGrid> {
    let (grids, _) = values.as_chunks::<{ OUTPUTS * BLOCKS }>();
    grids.iter().map(|grid| CondensationGrid(grid.to_vec())).collect()
}

/// The grid of one event.
#[derive(Clone, Debug)]
pub struct CondensationRequest(pub Arc<CellGrid>);

impl From<(Arc<CellGrid>,)> for CondensationRequest {
    fn from((grid,): (Arc<CellGrid>,)) -> Self {
        Self(grid)
    }
}

impl BatchStep for CondensationStep {
    type Request = CondensationRequest;
    type Reply = CondensationGrid;
    type Parts = ();

    fn request_rows(&self, _request: &CondensationRequest) -> usize {
        1
    }

    fn request_bytes(&self, _request: &CondensationRequest) -> usize {
        size_of::<f32>() * INPUTS * BLOCKS
    }

    fn pack(&self, requests: &[&CondensationRequest], _rows: usize) -> (Vec<Arc<CellGrid>>, ()) {
        (requests.iter().map(|request| request.0.clone()).collect(), ())
    }

    fn unpack(&self, output: Vec<CondensationGrid>, (): ()) -> Vec<CondensationGrid> {
        output
    }
}
