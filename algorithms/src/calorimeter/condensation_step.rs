use super::condensation::{INPUTS, OUTPUTS};
use super::{BLOCKS, CellGrid, CondensationGrid, CondensationNetwork};
use asynchrotron::Result;
use asynchrotron_devices::{BatchStep, Step};
use std::sync::Arc;

/// What object condensation asks a device for: its network, over one or many events. A row is an event.
///
/// | crosses | direction | bytes per event | for |
/// |---|---|---|---|
/// | [`CellGrid`]: `[2][36][30]` | host → device | 8 640 | the model's input |
/// | [`CondensationGrid`]: `[4][36][30]` | device → host | 17 280 | |
#[derive(Clone, Debug)]
pub struct CondensationStep {
    network: Arc<CondensationNetwork>,
}

impl CondensationStep {
    /// The step with this network.
    pub fn new(network: CondensationNetwork) -> Self {
        Self { network: Arc::new(network) }
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
