//! The models of the benchmark: networks with random weights, and the trained one for object condensation.

use std::sync::Arc;

use asynchrotron_algorithms::calorimeter::BLOCKS;
use asynchrotron_devices::inference::{Block, Blocks, Mlp, Order};
use asynchrotron_devices::onnx::ModelSource;

/// A model, and what its rows are.
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) source: ModelSource,
    order: Order,
    features: usize,
}

/// All of them, the cheapest first.
pub(super) fn models() -> Vec<Model> {
    let network = |name, widths: &[usize]| Model {
        name,
        source: ModelSource::from_bytes(name, Mlp::random(widths, 1).to_onnx(Order::FeatureRow)),
        order: Order::FeatureRow,
        features: widths[0],
    };
    vec![
        network("MLP 10-64-64-1", &[10, 64, 64, 1]),
        network("MLP 64-512-512-512-1", &[64, 512, 512, 512, 1]),
        Model {
            name: "condensation CNN",
            source: ModelSource::from_bytes("condensation CNN", CONDENSATION),
            order: Order::RowFeature,
            features: CELLS,
        },
    ]
}

/// The numbers of each row of [`CONDENSATION`].
pub(super) const CELLS: usize = 2 * BLOCKS;

/// The network for object condensation: three convolutions of 3 × 3 and one of 1 × 1 on an image of 36 × 30 blocks.
pub(super) const CONDENSATION: &[u8] = include_bytes!("../../../../algorithms/models/condensation.onnx");

impl Model {
    /// What events of so many rows ask: some different ones, which are used in turn.
    pub(super) fn requests(&self, rows: usize) -> Arc<[Arc<Blocks>]> {
        let mut state = 1_u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32
        };
        let mut request = || {
            let values = (0..rows * self.features).map(|_| number()).collect();
            Arc::new(Block::new(self.order, rows, self.features, values).into())
        };
        (0..16).map(|_| request()).collect()
    }
}
