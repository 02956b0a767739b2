//! [`Mlp`]: a small dense network in plain Rust.

use super::{Block, Order};

/// What is done to a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(x, 0).
    Relu,
    /// 1 / (1 + exp(−x)).
    Sigmoid,
}

/// One layer: y = activation(W x + b).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `[output][input]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Layer {
    /// Weights `[output][input]`, one bias per output.
    ///
    /// # Panics
    /// If there is no bias, or if the weights are not a multiple of them.
    pub fn new(weights: Vec<f32>, bias: Vec<f32>, activation: Activation) -> Self {
        assert!(!bias.is_empty() && weights.len().is_multiple_of(bias.len()), "a layer is [output][input]");
        Self { weights, bias, activation }
    }

    /// The numbers that go in.
    pub fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    /// The numbers that come out.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `[output][input]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// One per output.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// What is done to the sums.
    pub fn activation(&self) -> Activation {
        self.activation
    }
}

/// A small dense network in plain Rust: the body for the host of a model with the same weights, which agree within 1e-5 of the
/// largest output or so (the order of the sums differs).
///
/// A row's result never depends on its batch, bit by bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    layers: Vec<Layer>,
}

impl Mlp {
    /// These layers.
    ///
    /// # Panics
    /// If there is none, or if one does not take what the one before gives.
    pub fn new(layers: Vec<Layer>) -> Self {
        assert!(!layers.is_empty(), "a network has a layer");
        assert!(layers.windows(2).all(|pair| pair[0].outputs() == pair[1].inputs()), "layers fit together");
        Self { layers }
    }

    /// A network of these widths, the input's first, with random weights of which signals neither die nor explode: `Relu` between
    /// layers, `Sigmoid` at the end.
    ///
    /// # Panics
    /// If there are fewer than two widths, or one is 0.
    pub fn random(widths: &[usize], seed: u64) -> Self {
        assert!(widths.len() >= 2 && !widths.contains(&0), "an input, an output, and no empty layer");
        let mut state = seed;
        let mut uniform = move |scale: f32| {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let unit = ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32;
            scale * (2.0 * unit - 1.0)
        };
        let last = widths.len() - 2;
        let layer = |(index, pair): (usize, &[usize])| {
            let scale = (6.0 / pair[0] as f32).sqrt();
            Layer::new(
                (0..pair[0] * pair[1]).map(|_| uniform(scale)).collect(),
                (0..pair[1]).map(|_| uniform(0.1)).collect(),
                if index == last { Activation::Sigmoid } else { Activation::Relu },
            )
        };
        Self::new(widths.windows(2).enumerate().map(layer).collect())
    }

    /// The numbers of each row that go in.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs()
    }

    /// The numbers of each row that come out.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs()
    }

    /// The layers, the input's first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The network on each row; the output has the order of the input.
    ///
    /// # Panics
    /// If the rows have another number of features.
    pub fn infer(&self, input: &Block<f32>) -> Block<f32> {
        assert_eq!(input.features(), self.inputs(), "the features of a row");
        let rows = input.rows();
        let mut output = Vec::with_capacity(rows * self.outputs());
        let (mut here, mut next) = (Vec::new(), Vec::new());
        for row in 0..rows {
            here.clear();
            here.extend((0..input.features()).map(|feature| input.get(row, feature)));
            for layer in &self.layers {
                let weights = layer.weights.chunks_exact(layer.inputs());
                next.clear();
                next.extend(weights.zip(&layer.bias).map(|(weights, bias)| {
                    let sum = bias + weights.iter().zip(&here).map(|(w, x)| w * x).sum::<f32>();
                    match layer.activation {
                        Activation::Identity => sum,
                        Activation::Relu => sum.max(0.0),
                        Activation::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
                    }
                }));
                std::mem::swap(&mut here, &mut next);
            }
            output.extend_from_slice(&here);
        }
        let output = Block::new(Order::RowFeature, rows, self.outputs(), output);
        match input.order() {
            Order::RowFeature => output,
            order => Block::concat(&[&output], self.outputs(), order, rows),
        }
    }
}
