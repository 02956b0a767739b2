//! The models of the benchmark, with random weights.

use std::sync::Arc;

use asynchrotron_devices::inference::{Block, Blocks, Mlp, Order, Port};
use asynchrotron_devices::onnx::{Attribute, ModelDraft, ModelSource};

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
            name: "CNN 2×30×36",
            source: ModelSource::from_bytes("CNN 2×30×36", condensation()),
            order: Order::RowFeature,
            features: CELLS,
        },
    ]
}

const HEIGHT: usize = 30;
const WIDTH: usize = 36;
/// The numbers of each row of [`condensation`].
pub(super) const CELLS: usize = 2 * HEIGHT * WIDTH;

/// The shape of a network for object condensation, with the input `cells`: images of energies and times, three convolutions of 3 × 3, and for each cell a
/// charge, two coordinates and an energy.
pub(super) fn condensation() -> Vec<u8> {
    let image = |name, channels| Port::new::<f32>(name, Order::RowFeature, &[channels, HEIGHT, WIDTH]);
    let mut draft = ModelDraft::new().input(&image("cells", 2));
    let mut last = "cells".to_owned();
    for (layer, [from, to, kernel]) in
        [[2, 16, 3], [16, 32, 3], [32, 32, 3], [32, 4, 1]].into_iter().enumerate()
    {
        let [weights, sum, next] = ["w", "s", "a"].map(|kind| format!("{kind}{layer}"));
        let random = Mlp::random(&[from * kernel * kernel, to], layer as u64);
        draft = draft.weights(&weights, &[to, from, kernel, kernel], random.layers()[0].weights());
        let pads = [kernel as i64 / 2; 4];
        draft = draft.node("Conv", &[&last, &weights], &[&sum], &[("pads", Attribute::Ints(&pads))]);
        draft = match kernel {
            1 => draft.node("Identity", &[&sum], &["objects"], &[]),
            _ => draft.node("Relu", &[&sum], &[&next], &[]),
        };
        last = next;
    }
    draft.output(&image("objects", 4)).into_bytes()
}

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
