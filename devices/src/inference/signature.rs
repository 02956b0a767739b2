//! [`Signature`]: the inputs and outputs of a model, and whether blocks fit them.

use std::fmt;

use super::{AnyBlock, BlockElement, BlockType, Blocks, ModelError, Order};

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    name: String,
    element: BlockType,
    order: Order,
    /// The dimensions without that of the rows.
    dims: Vec<usize>,
    /// The only number of rows that the model takes; `None`: any.
    rows: Option<usize>,
}

impl Port {
    /// A port for numbers of type `T`. `dims` are its dimensions without that of the rows: `[10]` for ten features, `[2, 30, 36]`
    /// for two images, none for one number per row.
    pub fn new<T: BlockElement>(name: impl Into<String>, order: Order, dims: &[usize]) -> Self {
        Self::of_type(name.into(), T::BLOCK_TYPE, order, dims.to_vec(), None)
    }

    pub(crate) fn of_type(
        name: String,
        element: BlockType,
        order: Order,
        dims: Vec<usize>,
        rows: Option<usize>,
    ) -> Self {
        Self { name, element, order, dims, rows }
    }

    /// Its name in the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its numbers.
    pub fn element(&self) -> BlockType {
        self.element
    }

    /// Whether rows are the first or the last dimension.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The dimensions without that of the rows.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The numbers of each row.
    pub fn features(&self) -> usize {
        self.dims.iter().product()
    }

    /// The only number of rows that the model takes; `None`: any.
    pub fn fixed_rows(&self) -> Option<usize> {
        self.rows
    }

    /// All dimensions, for so many rows.
    #[cfg(feature = "onnx")]
    pub(crate) fn shape(&self, rows: usize) -> Vec<usize> {
        let (rows, dims) = ([rows], &self.dims[..]);
        match self.order {
            Order::RowFeature => [&rows, dims].concat(),
            Order::FeatureRow => [dims, &rows].concat(),
        }
    }

    /// Zeros that fit.
    pub fn zeros(&self, rows: usize) -> AnyBlock {
        AnyBlock::zeros(self.element, self.order, rows, self.features())
    }

    /// Whether a model takes this block as it is.
    fn fits(&self, block: &AnyBlock, rows: usize) -> bool {
        let same_order = block.order() == self.order || self.features() == 1;
        self.can_hold(block, rows) && same_order && self.rows.is_none_or(|fixed| fixed == rows)
    }

    /// Whether this block can be a part of what a model takes.
    fn can_hold(&self, block: &AnyBlock, rows: usize) -> bool {
        block.element() == self.element && block.features() == self.features() && block.rows() == rows
    }
}

/// As `f32 [10, rows]`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.map_or("rows".to_owned(), |rows| rows.to_string());
        let mut dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        match self.order {
            Order::RowFeature => dims.insert(0, rows),
            Order::FeatureRow => dims.push(rows),
        }
        write!(f, "{} [{}]", self.element, dims.join(", "))
    }
}

/// The inputs and outputs of a model.
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::inference::{Order, Port, Signature};
///
/// let signature = Signature {
///     inputs: vec![Port::new::<f32>("shapes", Order::FeatureRow, &[10])],
///     outputs: vec![Port::new::<f32>("probability", Order::RowFeature, &[1])],
/// };
/// assert_eq!(signature.to_string(), "shapes: f32 [10, rows] → probability: f32 [rows, 1]");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
}

impl Signature {
    /// Whether these blocks fit the inputs.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`], in the name of this model.
    pub fn check_inputs(&self, model: &str, blocks: &Blocks) -> Result<(), ModelError> {
        check(model, "input", &self.inputs, blocks, |port, block| port.fits(block, blocks.rows()))
    }

    /// Whether these blocks can be put beside others and then fit the inputs: in either order, of any number of rows.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`], in the name of this model.
    pub fn check_request(&self, model: &str, blocks: &Blocks) -> Result<(), ModelError> {
        check(model, "input", &self.inputs, blocks, |port, block| port.can_hold(block, blocks.rows()))
    }

    /// Whether these blocks fit the outputs for so many rows.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`], in the name of this model.
    pub fn check_outputs(&self, model: &str, blocks: &Blocks, rows: usize) -> Result<(), ModelError> {
        check(model, "output", &self.outputs, blocks, |port, block| port.fits(block, rows))
    }
}

fn check(
    model: &str,
    what: &str,
    ports: &[Port],
    blocks: &Blocks,
    fits: impl Fn(&Port, &AnyBlock) -> bool,
) -> Result<(), ModelError> {
    let found = blocks.as_slice();
    if found.len() != ports.len() {
        let count = |n: usize| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (expected, found) = (count(ports.len()), count(found.len()));
        return Err(ModelError::mismatch(model, format!("all {what}s"), expected, found));
    }
    match ports.iter().zip(found).find(|(port, block)| !fits(port, block)) {
        None => Ok(()),
        Some((port, block)) => {
            let place = format!("{what} `{}`", port.name);
            Err(ModelError::mismatch(model, place, port.to_string(), describe(block)))
        }
    }
}

/// As `f32, 5 rows of 10 ([row][feature])`.
fn describe(block: &AnyBlock) -> String {
    let order = match block.order() {
        Order::FeatureRow => "[feature][row]",
        Order::RowFeature => "[row][feature]",
    };
    format!("{}, {} rows of {} ({order})", block.element(), block.rows(), block.features())
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ports: &[Port]| {
            let ports: Vec<String> = ports.iter().map(|port| format!("{}: {port}", port.name)).collect();
            ports.join(", ")
        };
        write!(f, "{} → {}", list(&self.inputs), list(&self.outputs))
    }
}
