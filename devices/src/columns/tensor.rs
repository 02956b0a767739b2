use super::{Buffer, Element, ElementType, Layout};

/// A dense `[feature][row]` view of a collection: feature `f` of row `r` is `values()[f * rows() + r]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor<'a, T> {
    features: usize,
    rows: usize,
    values: &'a [T],
}

/// Why a collection is not a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// A column has another element type than the one asked for.
    #[error("column {name} holds {found:?}, the tensor wants {wanted:?}")]
    Type {
        /// The column.
        name: &'static str,
        /// Its type.
        found: ElementType,
        /// The tensor's type.
        wanted: ElementType,
    },
    /// There is padding between the columns.
    #[error("padding between the columns: a tensor needs the packed layout")]
    Padded,
}

/// The bytes of a layout that is a dense tensor.
pub(crate) fn dense_bytes<T: Element>(layout: Layout) -> Result<usize, TensorError> {
    let wanted = T::TYPE;
    if let Some(column) = layout.schema().iter().find(|column| column.element != wanted) {
        return Err(TensorError::Type { name: column.name, found: column.element, wanted });
    }
    let (features, rows) = (layout.schema().len(), layout.rows());
    let dense = features * rows * wanted.size();
    if layout.range(features - 1).end != dense { Err(TensorError::Padded) } else { Ok(dense) }
}

impl<'a, T: Element> Tensor<'a, T> {
    pub(super) fn new(layout: Layout, buffer: &'a Buffer) -> Result<Self, TensorError> {
        let dense = dense_bytes::<T>(layout)?;
        let (features, rows) = (layout.schema().len(), layout.rows());
        Ok(Self { features, rows, values: bytemuck::cast_slice(&buffer.as_bytes()[..dense]) })
    }

    /// `[features, rows]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.features, self.rows]
    }

    /// The number of features (columns).
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All values, features outermost.
    pub fn values(&self) -> &'a [T] {
        self.values
    }

    /// The values of one feature.
    ///
    /// # Panics
    /// If there is no such feature.
    pub fn feature(&self, index: usize) -> &'a [T] {
        &self.values[index * self.rows..(index + 1) * self.rows]
    }
}
