use super::condensation::{INPUTS, OUTPUTS};
use super::{BLOCKS, COLUMNS, CellGrid, CondensationGrid, ROWS};
use crate::weights::{WeightTensor, Weights, WeightsError};

/// Channels after each of the convolutions.
const CHANNELS: [usize; 5] = [INPUTS, 16, 32, 32, OUTPUTS];

/// The network for object condensation on the host: three convolutions of 3 × 3 blocks, 2 → 16 → 32 → 32 channels, and one of
/// 1 × 1 to 4, rectified linear units between them, and the logistic function on the first of the 4.
///
/// This is the reference for `models/condensation.onnx`, which holds the same numbers (a test says so). It computes nothing but
/// what the cells' outputs depend on; other blocks have outputs of 0 here, and others there.
#[derive(Clone, Debug, PartialEq)]
pub struct CondensationNetwork {
    layers: Vec<Convolution>,
}

#[derive(Clone, Debug, PartialEq)]
struct Convolution {
    /// How far it looks, in blocks: 1 or 0.
    reach: usize,
    inputs: usize,
    /// `[row][column][input][output]`.
    kernel: Vec<f32>,
    bias: Vec<f32>,
}

impl CondensationNetwork {
    /// The network that `models/train_condensation.py` has trained.
    pub fn trained() -> Self {
        Self::parse(include_bytes!("../../models/condensation.weights"))
            .unwrap_or_else(|error| unreachable!("models/condensation.weights: {error}"))
    }

    /// A network with these weights: for each convolution `[output][input][row][column]`, and the biases.
    ///
    /// # Errors
    /// [`WeightsError`] if they are not of this network's shapes.
    pub fn parse(bytes: &[u8]) -> Result<Self, WeightsError> {
        let [a, b, c, d, e] = CHANNELS;
        let kernels = [[b, a, 3, 3], [c, b, 3, 3], [d, c, 3, 3], [e, d, 1, 1]];
        let biases = [[b], [c], [d], [e]];
        let shapes: Vec<&[usize]> =
            kernels.iter().zip(&biases).flat_map(|(kernel, bias)| [&kernel[..], &bias[..]]).collect();
        let weights = Weights::parse(bytes, &shapes)?;
        Ok(Self { layers: weights.tensors().as_chunks::<2>().0.iter().map(Convolution::of).collect() })
    }

    /// Evaluates one event.
    ///
    /// # Panics
    /// If the grid has not 2 × 36 × 30 numbers.
    pub fn evaluate(&self, grid: &CellGrid) -> CondensationGrid {
        assert_eq!(grid.0.len(), INPUTS * BLOCKS, "two numbers per block");
        // [block][channel], which lets the innermost loop run over channels.
        let mut values: Vec<f32> =
            (0..INPUTS * BLOCKS).map(|at| grid.0[at % INPUTS * BLOCKS + at / INPUTS]).collect();
        let cells: Vec<bool> =
            values.as_chunks::<INPUTS>().0.iter().map(|cell| *cell != [0.0; INPUTS]).collect();
        // From the last layer back to the first: where each is needed.
        let mut needed = vec![cells.clone()];
        for layer in self.layers[1..].iter().rev() {
            needed.push(spread(needed.last().unwrap_or(&cells), layer.reach));
        }
        for (index, (layer, needed)) in self.layers.iter().zip(needed.iter().rev()).enumerate() {
            values = layer.apply(&values, needed);
            if index + 1 < self.layers.len() {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        let mut output = vec![0.0; OUTPUTS * BLOCKS];
        for block in (0..BLOCKS).filter(|&block| cells[block]) {
            for channel in 0..OUTPUTS {
                let value = values[block * OUTPUTS + channel];
                output[channel * BLOCKS + block] =
                    if channel == 0 { 1.0 / (1.0 + (-value).exp()) } else { value };
            }
        }
        CondensationGrid(output)
    }
}

impl Convolution {
    fn of([kernel, bias]: &[WeightTensor; 2]) -> Self {
        let (&[outputs, inputs, side, _], bias) = (&kernel.shape[..], bias.values.clone()) else {
            unreachable!("shapes were checked")
        };
        let area = side * side;
        let mut turned = vec![0.0; kernel.values.len()];
        for (from, value) in kernel.values.iter().enumerate() {
            let (output, input, at) = (from / (inputs * area), from / area % inputs, from % area);
            turned[(at * inputs + input) * outputs + output] = *value;
        }
        Self { reach: side / 2, inputs, kernel: turned, bias }
    }

    /// `[block][input]` → `[block][output]`, where it is needed; 0 elsewhere.
    fn apply(&self, values: &[f32], needed: &[bool]) -> Vec<f32> {
        let Self { reach, inputs, kernel, bias } = self;
        let outputs = bias.len();
        let mut result = vec![0.0; BLOCKS * outputs];
        for (block, sums) in result.chunks_exact_mut(outputs).enumerate().filter(|(block, _)| needed[*block])
        {
            sums.copy_from_slice(bias);
            for (other, at) in window(block, *reach) {
                let kernel = &kernel[at * inputs * outputs..][..inputs * outputs];
                let values = &values[other * inputs..][..*inputs];
                for (value, weights) in values.iter().zip(kernel.chunks_exact(outputs)) {
                    // After a rectified linear unit, about half are.
                    if *value != 0.0 {
                        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
                    }
                }
            }
        }
        result
    }
}

/// The blocks at most `reach` from a block, with their place in the square around it, row by row.
fn window(block: usize, reach: usize) -> impl Iterator<Item = (usize, usize)> {
    let (row, column, side) = (block / COLUMNS, block % COLUMNS, 2 * reach + 1);
    (0..side * side).filter_map(move |at| {
        let (row, column) = ((row + at / side).checked_sub(reach)?, (column + at % side).checked_sub(reach)?);
        (row < ROWS && column < COLUMNS).then_some((row * COLUMNS + column, at))
    })
}

/// The blocks at most `reach` from any of these.
fn spread(blocks: &[bool], reach: usize) -> Vec<bool> {
    let mut wider = vec![false; BLOCKS];
    for block in (0..BLOCKS).filter(|&block| blocks[block]) {
        window(block, reach).for_each(|(other, _)| wider[other] = true);
    }
    wider
}
