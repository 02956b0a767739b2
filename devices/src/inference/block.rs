//! [`Block`]: the rows of a batch as one piece of memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::any_block::BlockElement;
use super::packing::Packing;
use crate::columns::{Element, TensorError};
use crate::{Columns, Offsets};

/// Which of a block's two indices is the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `[feature][row]`, as columns lie. Models take it whose first operation is a `Gemm` with `transA` or a `Transpose`.
    FeatureRow,
    /// `[row][feature]`, as most models are exported.
    RowFeature,
}

/// `rows` rows of `features` numbers each, as one contiguous piece of memory: what goes into a model, and what comes out.
///
/// A row may be anything of a fixed size: the features of a cluster, or the pixels of an image.
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::columns;
/// use asynchrotron_devices::inference::{Block, Order};
///
/// columns! {
///     /// Shapes of clusters.
///     pub struct Shapes, row Shape { energy_gev: f32, width: f32 }
/// }
/// let [a, b] = [[1.0, 0.1], [2.0, 0.2]].map(|[energy_gev, width]| Shapes::from_rows(&[Shape { energy_gev, width }]));
///
/// let block = Block::<f32>::pack(&[&a, &b], &[0, 1], Order::FeatureRow, 3); // two events, and one row of padding
/// assert_eq!(block.values(), [1.0, 2.0, 0.0, 0.1, 0.2, 0.0]);
/// let block = Block::<f32>::pack(&[&a, &b], &[0, 1], Order::RowFeature, 2);
/// assert_eq!(block.values(), [1.0, 0.1, 2.0, 0.2]);
/// ```
#[derive(Clone)]
pub struct Block<T: 'static> {
    order: Order,
    rows: usize,
    features: usize,
    values: Values<T>,
}

#[derive(Clone)]
enum Values<T: 'static> {
    Own(Vec<T>),
    /// A collection's own memory: all of a packed one, or a column.
    Lent(Arc<dyn Lent<T>>, Option<usize>),
}

/// A collection that lends its memory.
trait Lent<T>: Send + Sync {
    fn values(&self, column: Option<usize>) -> &[T];
}

impl<T: Element, C: Columns> Lent<T> for C {
    fn values(&self, column: Option<usize>) -> &[T] {
        match column {
            // Was a tensor when it was lent, and cannot have changed since.
            None => self.tensor::<T>().map_or(&[], |tensor| tensor.values()),
            Some(column) => self.buffer().column(self.layout(), column),
        }
    }
}

impl<T: BlockElement> Block<T> {
    /// The block of these values, outer index first.
    ///
    /// # Panics
    /// If there are not `rows * features` of them.
    pub fn new(order: Order, rows: usize, features: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), rows * features, "{rows} rows of {features} features");
        Self { order, rows, features, values: Values::Own(values) }
    }

    /// Zeros.
    pub fn zeros(order: Order, rows: usize, features: usize) -> Self {
        Self::new(order, rows, features, vec![T::default(); rows * features])
    }

    /// A collection's own memory as `[feature][row]`, without a copy.
    ///
    /// # Errors
    /// As [`Columns::tensor`]: the collection must be packed, and all of its columns of this type.
    pub fn lent<C: Columns>(collection: Arc<C>) -> Result<Self, TensorError>
    where
        T: Element,
    {
        let [features, rows] = collection.tensor::<T>()?.shape();
        Ok(Self { order: Order::FeatureRow, rows, features, values: Values::Lent(collection, None) })
    }

    /// One column's own memory as one feature, without a copy: for models with an input per column.
    ///
    /// # Errors
    /// [`TensorError::Type`] if the column has another type.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn lent_column<C: Columns>(collection: Arc<C>, column: usize) -> Result<Self, TensorError>
    where
        T: Element,
    {
        let crate::columns::Column { name, element } = C::SCHEMA[column];
        if element != T::TYPE {
            return Err(TensorError::Type { name, found: element, wanted: T::TYPE });
        }
        let rows = collection.layout().rows();
        let values = Values::Lent(collection, Some(column));
        Ok(Self { order: Order::FeatureRow, rows, features: 1, values })
    }

    /// Puts columns of collections side by side: of each part the given columns, as many rows as there are, and zeros up to
    /// `rows`. Into `[feature][row]`, each column is copied in one piece.
    ///
    /// # Panics
    /// If a column does not exist or has another type, or if the parts have more than `rows` rows.
    pub fn pack<C: Columns>(parts: &[&C], columns: &[usize], order: Order, rows: usize) -> Self
    where
        T: Element,
    {
        Self::pack_within(Vec::new(), parts, columns, order, rows)
    }

    /// The same in memory that [another block](Self::into_values) had before, as far as that is enough: blocks of many megabytes
    /// are otherwise new pages of the system each time, which costs more than to fill them.
    ///
    /// # Panics
    /// As [`pack`](Self::pack).
    pub fn pack_within<C: Columns>(
        memory: Vec<T>,
        parts: &[&C],
        columns: &[usize],
        order: Order,
        rows: usize,
    ) -> Self
    where
        T: Element,
    {
        for &index in columns {
            let column = C::SCHEMA[index];
            assert_eq!(column.element, T::TYPE, "the type of column {}", column.name);
        }
        let mut packing = Packing::within(memory, order, rows, columns.len());
        let mut ranges = Vec::with_capacity(C::SCHEMA.len());
        for part in parts {
            ranges.clear();
            ranges.extend(part.layout().ranges());
            let bytes = part.as_bytes();
            packing.add_columns(part.layout().rows(), |feature| {
                bytemuck::cast_slice(&bytes[ranges[columns[feature]].clone()])
            });
        }
        packing.into_block()
    }

    /// Puts blocks of as many features side by side, and zeros up to `rows`.
    ///
    /// # Panics
    /// If a part has not `features` features, or if the parts have more than `rows` rows.
    pub fn concat(parts: &[&Self], features: usize, order: Order, rows: usize) -> Self {
        assert!(parts.iter().all(|part| part.features == features), "all parts have {features} features");
        let mut packing = Packing::new(order, rows, features);
        for part in parts {
            let (values, rows) = (part.values(), part.rows);
            match part.order {
                Order::FeatureRow => packing.add_columns(rows, |feature| &values[feature * rows..][..rows]),
                Order::RowFeature => packing.add_rows(rows, values),
            }
        }
        packing.into_block()
    }

    /// Which index is the outer one.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers of each row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// All values, outer index first.
    pub fn values(&self) -> &[T] {
        match &self.values {
            Values::Own(values) => values,
            Values::Lent(collection, column) => collection.values(*column),
        }
    }

    /// One value.
    ///
    /// # Panics
    /// If there is no such row or feature.
    pub fn get(&self, row: usize, feature: usize) -> T {
        assert!(row < self.rows && feature < self.features, "row {row}, feature {feature}");
        match self.order {
            Order::FeatureRow => self.values()[feature * self.rows + row],
            Order::RowFeature => self.values()[row * self.features + feature],
        }
    }

    /// One feature of all rows.
    ///
    /// # Panics
    /// If there is no such feature, or if the order is `[row][feature]` and there is more than one.
    pub fn feature(&self, feature: usize) -> &[T] {
        assert!(feature < self.features, "feature {feature} of {}", self.features);
        assert!(self.order == Order::FeatureRow || self.features == 1, "the values of a feature are apart");
        &self.values()[feature * self.rows..(feature + 1) * self.rows]
    }

    /// All features of one row.
    ///
    /// # Panics
    /// If there is no such row, or if the order is `[feature][row]` and there is more than one feature.
    pub fn row(&self, row: usize) -> &[T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert!(self.order == Order::RowFeature || self.features == 1, "the values of a row are apart");
        &self.values()[row * self.features..(row + 1) * self.features]
    }

    /// A copy of some rows.
    ///
    /// # Panics
    /// If `rows` reaches beyond the last one.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let values = match self.order {
            Order::RowFeature => self.values()[rows.start * self.features..rows.end * self.features].to_vec(),
            Order::FeatureRow => {
                let mut values = Vec::with_capacity(rows.len() * self.features);
                (0..self.features)
                    .for_each(|feature| values.extend_from_slice(&self.feature(feature)[rows.clone()]));
                values
            }
        };
        Self::new(self.order, rows.len(), self.features, values)
    }

    /// The rows of each part, as blocks of their own. What lies beyond the last part, the padding, is left out.
    ///
    /// # Panics
    /// If the parts have more rows than there are.
    pub fn split(&self, parts: &Offsets) -> Vec<Self> {
        parts.iter().map(|rows| self.slice(rows)).collect()
    }

    /// The values, outer index first; copied only where they are lent.
    pub fn into_values(self) -> Vec<T> {
        match self.values {
            Values::Own(values) => values,
            Values::Lent(collection, column) => collection.values(column).to_vec(),
        }
    }
}

impl<T: BlockElement> PartialEq for Block<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.order, self.rows, self.features) == (other.order, other.rows, other.features)
            && self.values() == other.values()
    }
}

impl<T: BlockElement> fmt::Debug for Block<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("order", &self.order)
            .field("rows", &self.rows)
            .field("features", &self.features)
            .field("values", &self.values())
            .finish()
    }
}
