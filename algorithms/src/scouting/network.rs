use super::{Features, Score, Scores};
use crate::weights::{WeightTensor, Weights, WeightsError};
use asynchrotron_devices::Columns;

/// Inputs, hidden units, outputs.
const SIZES: [usize; 4] = [16, 64, 32, 2];

/// The τ tagger's network on the host: three dense layers 16 → 64 → 32 → 2, rectified linear units between them. The
/// outputs are the two columns of [`Scores`].
///
/// This is the reference for `models/tau.onnx`, which holds the same numbers (a test says so); they agree within 1e-5 of their
/// size. In any batch a row's result is the same, bit for bit: each sums its inputs in the same order.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::{Feature, Features, TauNetwork};
/// let network = TauNetwork::trained();
/// let mut features = Features::with_packed_len(1);
/// let pion = Feature { log_pt: 3.0, lead_share: 1.0, candidates: 1.0, charged: 1.0, charged_share: 1.0, ..Feature::default() };
/// features.set_row(0, Feature { weight: 1.0, charge_abs: 1.0, dxy_cm: 0.01, ..pion });
/// assert!(network.evaluate(&features).tau()[0] > 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TauNetwork {
    layers: Vec<Layer>,
}

#[derive(Clone, Debug, PartialEq)]
struct Layer {
    /// `[input][output]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl TauNetwork {
    /// The network that `models/train_tau.py` has trained.
    pub fn trained() -> Self {
        Self::parse(include_bytes!("../../models/tau.weights"))
            .unwrap_or_else(|error| unreachable!("models/tau.weights: {error}"))
    }

    /// A network with these weights: for each layer `[input][output]`, and the biases.
    ///
    /// # Errors
    /// [`WeightsError`] if they are not of this network's shapes.
    pub fn parse(bytes: &[u8]) -> Result<Self, WeightsError> {
        let [a, b, c, d] = SIZES;
        let weights = Weights::parse(bytes, &[&[a, b], &[b], &[b, c], &[c], &[c, d], &[d]])?;
        let layers = weights.tensors().as_chunks::<2>().0.iter();
        let layer = |[weights, bias]: &[WeightTensor; 2]| Layer {
            weights: weights.values.clone(),
            bias: bias.values.clone(),
        };
        Ok(Self { layers: layers.map(layer).collect() })
    }

    /// Evaluates all rows.
    pub fn evaluate(&self, features: &Features) -> Scores {
        let (rows, columns) = (features.len(), columns(features));
        let mut scores = Scores::with_len(rows);
        let mut values = [vec![0.0; SIZES[1]], vec![0.0; SIZES[1]]];
        for row in 0..rows {
            let [input, output] = &mut values;
            input.clear();
            input.extend(columns.iter().map(|column| column[row]));
            for (index, layer) in self.layers.iter().enumerate() {
                layer.apply(input, output);
                if index + 1 < self.layers.len() {
                    output.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                std::mem::swap(input, output);
            }
            scores.set_row(row, Score { tau: input[0], log_pt_ratio: input[1] });
        }
        scores
    }
}

impl Layer {
    fn apply(&self, input: &[f32], output: &mut Vec<f32>) {
        output.clear();
        output.extend_from_slice(&self.bias);
        for (value, weights) in input.iter().zip(self.weights.chunks_exact(self.bias.len())) {
            output.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
}

/// The columns, in the order of declaration, whichever layout they have.
fn columns(features: &Features) -> Vec<&[f32]> {
    let (layout, buffer) = (features.layout(), features.buffer());
    (0..Features::SCHEMA.len()).map(|index| buffer.column(layout, index)).collect()
}
