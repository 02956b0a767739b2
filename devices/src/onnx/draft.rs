//! [`ModelDraft`]: models made on the spot.

use crate::inference::{Activation, BlockType, Mlp, Order, Port};

/// A model that is put together by a program instead of a training framework: for tests, benchmarks, and networks whose weights
/// the program has. It becomes the bytes of a file as any other.
///
/// The model is written as it is said; what is wrong with it, ONNX Runtime says when it is loaded.
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::inference::{Order, Port};
/// use asynchrotron_devices::onnx::{Attribute, ModelDraft};
///
/// let bytes = ModelDraft::new()
///     .input(&Port::new::<f32>("x", Order::FeatureRow, &[3]))
///     .weights("w", &[3, 2], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])
///     .node("Gemm", &["x", "w"], &["y"], &[("transA", Attribute::Int(1))])
///     .output(&Port::new::<f32>("y", Order::RowFeature, &[2]))
///     .into_bytes();
/// assert!(!bytes.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ModelDraft {
    nodes: Message,
    weights: Message,
    inputs: Message,
    outputs: Message,
}

/// A setting of an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f32),
    /// Whole numbers.
    Ints(&'a [i64]),
}

/// The version of the operators that are used.
const OPSET: u64 = 17;
/// The version of the file format that goes with it.
const IR_VERSION: u64 = 8;

impl ModelDraft {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    #[must_use]
    pub fn input(mut self, port: &Port) -> Self {
        self.inputs.message(11, &value_info(port));
        self
    }

    /// Adds an output.
    #[must_use]
    pub fn output(mut self, port: &Port) -> Self {
        self.outputs.message(12, &value_info(port));
        self
    }

    /// Adds a constant tensor, last index fastest.
    #[must_use]
    pub fn weights(self, name: &str, dims: &[usize], values: &[f32]) -> Self {
        self.constant(name, BlockType::F32, dims, values.iter().flat_map(|value| value.to_le_bytes()))
    }

    /// Adds a constant tensor of whole numbers, last index fastest.
    #[must_use]
    pub fn integers(self, name: &str, dims: &[usize], values: &[i64]) -> Self {
        self.constant(name, BlockType::I64, dims, values.iter().flat_map(|value| value.to_le_bytes()))
    }

    fn constant(
        mut self,
        name: &str,
        element: BlockType,
        dims: &[usize],
        bytes: impl Iterator<Item = u8>,
    ) -> Self {
        let mut tensor = Message::default();
        dims.iter().for_each(|&dim| tensor.number(1, dim as u64));
        tensor.number(2, code(element));
        tensor.text(8, name);
        tensor.bytes(9, &bytes.collect::<Vec<u8>>());
        self.weights.message(5, &tensor);
        self
    }

    /// Adds an operator, after those whose outputs it needs.
    #[must_use]
    pub fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Self {
        let mut node = Message::default();
        inputs.iter().for_each(|input| node.text(1, input));
        outputs.iter().for_each(|output| node.text(2, output));
        node.text(4, operator);
        for (name, value) in attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            match value {
                Attribute::Float(value) => {
                    attribute.float(2, *value);
                    attribute.number(20, 1);
                }
                Attribute::Int(value) => {
                    attribute.number(3, *value as u64);
                    attribute.number(20, 2);
                }
                Attribute::Ints(values) => {
                    values.iter().for_each(|&value| attribute.number(8, value as u64));
                    attribute.number(20, 7);
                }
            }
            node.message(5, &attribute);
        }
        self.nodes.message(1, &node);
        self
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut graph = self.nodes;
        graph.text(2, "graph");
        for part in [self.weights, self.inputs, self.outputs] {
            graph.0.extend(part.0);
        }
        let mut opset = Message::default();
        opset.number(2, OPSET);
        let mut model = Message::default();
        model.number(1, IR_VERSION);
        model.message(8, &opset);
        model.message(7, &graph);
        model.0
    }
}

impl Mlp {
    /// The same network as a model, with the input `x` and the output `y`; both have this order. `[feature][row]` is read in place
    /// by the first product, as its `transA`.
    pub fn to_onnx(&self, order: Order) -> Vec<u8> {
        let mut draft = ModelDraft::new().input(&Port::new::<f32>("x", order, &[self.inputs()]));
        let mut last = "x".to_owned();
        for (index, layer) in self.layers().iter().enumerate() {
            let [weights, bias, sum, out] = ["w", "b", "s", "a"].map(|kind| format!("{kind}{index}"));
            let (from, to) = (layer.inputs(), layer.outputs());
            let trans_a = i64::from(index == 0 && order == Order::FeatureRow);
            draft = draft
                .weights(&weights, &[to, from], layer.weights())
                .weights(&bias, &[to], layer.bias())
                .node(
                    "Gemm",
                    &[&last, &weights, &bias],
                    &[&sum],
                    &[("transA", Attribute::Int(trans_a)), ("transB", Attribute::Int(1))],
                );
            let operator = match layer.activation() {
                Activation::Identity => "Identity",
                Activation::Relu => "Relu",
                Activation::Sigmoid => "Sigmoid",
            };
            draft = draft.node(operator, &[&sum], &[&out], &[]);
            last = out;
        }
        draft = match order {
            Order::RowFeature => draft.node("Identity", &[&last], &["y"], &[]),
            Order::FeatureRow => {
                draft.node("Transpose", &[&last], &["y"], &[("perm", Attribute::Ints(&[1, 0]))])
            }
        };
        draft.output(&Port::new::<f32>("y", order, &[self.outputs()])).into_bytes()
    }
}

fn value_info(port: &Port) -> Message {
    let dims = |rows: &mut Message| rows.text(2, "rows");
    let mut shape = Message::default();
    let mut add = |fill: &dyn Fn(&mut Message)| {
        let mut dim = Message::default();
        fill(&mut dim);
        shape.message(1, &dim);
    };
    if port.order() == Order::RowFeature {
        add(&dims);
    }
    port.dims().iter().for_each(|&size| add(&|dim| dim.number(1, size as u64)));
    if port.order() == Order::FeatureRow {
        add(&dims);
    }
    let [mut tensor, mut kind, mut info] = [const { Message(Vec::new()) }; 3];
    tensor.number(1, code(port.element()));
    tensor.message(2, &shape);
    kind.message(1, &tensor);
    info.text(1, port.name());
    info.message(2, &kind);
    info
}

/// The number of the type in the file format.
fn code(element: BlockType) -> u64 {
    match element {
        BlockType::F32 => 1,
        BlockType::U8 => 2,
        BlockType::I32 => 6,
        BlockType::I64 => 7,
        BlockType::Bool => 9,
        BlockType::F64 => 11,
    }
}

/// A message of protocol buffers: fields, one after the other, each with its number and the way it is written.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}
