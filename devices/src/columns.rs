//! Collections of rows kept as columns ("structure of arrays", SoA).
//!
//! [`columns!`](crate::columns!) declares a collection and the proxy of one of its rows. All columns lie in **one**
//! allocation ([`Buffer`]), so a collection crosses to a device, or joins a batch, as one piece of memory whose
//! [`Layout`] says where each column starts.
//!
//! | layout | where a column starts | made by | for |
//! |---|---|---|---|
//! | padded (default) | at a multiple of 128 bytes | `with_len`, `from_rows`, `collect` | kernels: aligned, coalesced loads |
//! | packed | right after the one before (aligned to its element) | `with_packed_len` | models: [`Columns::tensor`] sees `[feature][row]` without a copy |
//!
//! The trap between the two: a padded stride breaks the contiguity that a tensor needs, so [`Columns::tensor`] refuses a
//! padded collection unless its rows happen to fill the stride exactly.
//!
//! ```
//! use asynchrotron_devices::{Columns, columns};
//!
//! columns! {
//!     /// Hits of one event.
//!     pub struct Hits, row Hit {
//!         /// Module number.
//!         module: u32,
//!         /// Charge, in electrons.
//!         charge: f32,
//!     }
//! }
//!
//! let mut hits: Hits = [(3, 10.0), (1, 20.0)].map(|(module, charge)| Hit { module, charge }).into_iter().collect();
//! assert_eq!(hits.module(), [3, 1]);
//! hits.charge_mut()[0] = 12.5;
//! assert_eq!(hits.row(0), Hit { module: 3, charge: 12.5 });
//!
//! let (module, charge) = hits.columns_mut();         // all columns at once, in the order of declaration
//! module[1] = 7;
//! charge[1] = 0.0;
//!
//! let (both, offsets) = Hits::concat(&[&hits, &hits]);
//! assert_eq!((both.len(), offsets.range(1)), (4, 2..4));
//! assert_eq!(both.split(&offsets), [hits.clone(), hits]);
//! ```

mod buffer;
mod layout;
mod offsets;
mod tensor;

pub use buffer::Buffer;
#[doc(hidden)]
pub use buffer::ColumnCursor;
pub use layout::{Column, Element, ElementType, Layout};
pub use offsets::{Offsets, OffsetsError};
pub use tensor::{Tensor, TensorError};

/// What every collection declared by [`columns!`](crate::columns!) can do, for code that is generic over collections.
pub trait Columns: Sized + Clone + Default + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The proxy of one row.
    type Row: Copy + std::fmt::Debug + PartialEq + Send + Sync + 'static;

    /// Names and element types of the columns, in the order of declaration.
    const SCHEMA: &'static [Column];

    /// Where each column lies in the buffer.
    fn layout(&self) -> Layout;

    /// The memory of all columns, padding included.
    fn buffer(&self) -> &Buffer;

    /// The memory of all columns, to be filled in place (a copy back from a device). Any bytes are valid values.
    fn buffer_mut(&mut self) -> &mut Buffer;

    /// Gives up the buffer, for instance to a device that owns it while it works.
    fn into_parts(self) -> (Layout, Buffer);

    /// Takes a buffer back.
    ///
    /// # Panics
    /// If `layout` was not made from this collection's [`SCHEMA`](Self::SCHEMA), or if `buffer` is not exactly
    /// [`Layout::bytes`] long: both are programming errors, not properties of data.
    fn from_parts(layout: Layout, buffer: Buffer) -> Self;

    /// All bytes: columns and padding.
    fn as_bytes(&self) -> &[u8] {
        self.buffer().as_bytes()
    }

    /// The bytes of column `index` (in the order of declaration), without padding.
    ///
    /// # Panics
    /// If there is no such column.
    fn column_bytes(&self, index: usize) -> &[u8] {
        &self.as_bytes()[self.layout().range(index)]
    }

    /// Whether both hold the same rows, bit for bit. Unlike `==`, a NaN equals itself and `0.0` is not `-0.0`; padding
    /// and layout do not count.
    fn same_bits(&self, other: &Self) -> bool {
        self.layout().rows() == other.layout().rows()
            && (0..Self::SCHEMA.len()).all(|index| self.column_bytes(index) == other.column_bytes(index))
    }

    /// Copies rows `range` into a collection of their own, with the padded layout.
    ///
    /// # Panics
    /// If `range` reaches beyond the last row.
    fn slice(&self, range: std::ops::Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.layout().rows(),
            "rows {range:?} of {}",
            self.layout().rows()
        );
        let layout = Layout::padded(Self::SCHEMA, range.len());
        let mut buffer = Buffer::zeroed(layout.bytes());
        for (index, column) in Self::SCHEMA.iter().enumerate() {
            let size = column.element.size();
            let from = &self.column_bytes(index)[range.start * size..range.end * size];
            buffer.as_bytes_mut()[layout.range(index)].copy_from_slice(from);
        }
        Self::from_parts(layout, buffer)
    }

    /// Puts the rows of several events one after the other, with the padded layout. Part `i` occupies rows
    /// `offsets.range(i)`.
    ///
    /// # Panics
    /// If the rows of all parts together exceed `u32::MAX`.
    fn concat(parts: &[&Self]) -> (Self, Offsets) {
        let offsets = Offsets::from_counts(parts.iter().map(|part| part.layout().rows()));
        let layout = Layout::padded(Self::SCHEMA, offsets.rows());
        let mut buffer = Buffer::zeroed(layout.bytes());
        for (index, _) in Self::SCHEMA.iter().enumerate() {
            let mut rest = &mut buffer.as_bytes_mut()[layout.range(index)];
            for part in parts {
                let from = part.column_bytes(index);
                let (to, tail) = rest.split_at_mut(from.len());
                to.copy_from_slice(from);
                rest = tail;
            }
        }
        (Self::from_parts(layout, buffer), offsets)
    }

    /// The inverse of [`concat`](Self::concat): one collection per part.
    ///
    /// # Panics
    /// If `offsets` do not end at this collection's number of rows.
    fn split(&self, offsets: &Offsets) -> Vec<Self> {
        assert_eq!(offsets.rows(), self.layout().rows(), "offsets belong to another collection");
        offsets.iter().map(|range| self.slice(range)).collect()
    }

    /// Views a collection whose columns all have type `T` as a dense `[feature][row]` tensor, without a copy.
    ///
    /// # Errors
    /// [`TensorError`] if a column has another type, or if padding between the columns breaks the contiguity (build the
    /// collection `with_packed_len`, or call [`packed`](Self::packed) for a copy).
    fn tensor<T: Element>(&self) -> Result<Tensor<'_, T>, TensorError> {
        Tensor::new(self.layout(), self.buffer())
    }

    /// A copy with the packed layout.
    #[must_use]
    fn packed(&self) -> Self {
        let layout = Layout::packed(Self::SCHEMA, self.layout().rows());
        let mut buffer = Buffer::zeroed(layout.bytes());
        for index in 0..Self::SCHEMA.len() {
            buffer.as_bytes_mut()[layout.range(index)].copy_from_slice(self.column_bytes(index));
        }
        Self::from_parts(layout, buffer)
    }
}

/// Declares a collection (SoA) and the proxy of one row; see the [module](crate::columns).
///
/// For `pub struct Cells, row Cell { block: u32, energy_gev: f32 }` it makes
///
/// * `Cell { pub block: u32, pub energy_gev: f32 }`, a `Copy` proxy of one row;
/// * `Cells` with `with_len(rows)` and `with_packed_len(rows)` (zeroed), `from_rows(&[Cell])`, `len`, `is_empty`,
///   `row(i)`, `set_row(i, Cell)`, `iter()`, the accessors `block()`, `block_mut()`, `energy_gev()`, `energy_gev_mut()`,
///   and `columns()` and `columns_mut()` (all columns at once, as a tuple in the order of declaration);
/// * `Clone`, `Debug`, `Default`, `PartialEq` (by rows), `FromIterator<Cell>` and [`Columns`](crate::Columns).
///
/// Field types: `f32`, `f64`, `u8`, `u16`, `u32`, `u64`, `i8`, `i16`, `i32`, `i64`.
#[macro_export]
macro_rules! columns {
    (
        $(#[$collection_meta:meta])*
        $vis:vis struct $Collection:ident, row $Row:ident {
            $( $(#[$field_meta:meta])* $field:ident : $type:ty ),+ $(,)?
        }
    ) => {
        #[doc = concat!("One row of [`", stringify!($Collection), "`].")]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        $vis struct $Row {
            $( $(#[$field_meta])* pub $field: $type, )+
        }

        $(#[$collection_meta])*
        #[derive(Clone)]
        $vis struct $Collection {
            layout: $crate::columns::Layout,
            buffer: $crate::columns::Buffer,
        }

        #[allow(dead_code, clippy::type_complexity)]
        impl $Collection {
            /// `rows` rows of zeros; every column starts at a multiple of 128 bytes.
            $vis fn with_len(rows: usize) -> Self {
                let layout = $crate::columns::Layout::padded(<Self as $crate::Columns>::SCHEMA, rows);
                Self { layout, buffer: $crate::columns::Buffer::zeroed(layout.bytes()) }
            }

            /// `rows` rows of zeros, without padding between the columns: a dense `[feature][row]` tensor.
            $vis fn with_packed_len(rows: usize) -> Self {
                let layout = $crate::columns::Layout::packed(<Self as $crate::Columns>::SCHEMA, rows);
                Self { layout, buffer: $crate::columns::Buffer::zeroed(layout.bytes()) }
            }

            /// Copies the given rows.
            $vis fn from_rows(rows: &[$Row]) -> Self {
                let mut collection = Self::with_len(rows.len());
                let ($($field,)+) = collection.columns_mut();
                for (index, row) in rows.iter().enumerate() {
                    $( $field[index] = row.$field; )+
                }
                collection
            }

            /// The number of rows.
            $vis fn len(&self) -> usize {
                self.layout.rows()
            }

            /// Whether there are no rows.
            $vis fn is_empty(&self) -> bool {
                self.layout.rows() == 0
            }

            /// A copy of row `index`.
            ///
            /// # Panics
            /// If `index` is not below the number of rows.
            $vis fn row(&self, index: usize) -> $Row {
                $Row { $( $field: self.$field()[index], )+ }
            }

            /// Overwrites row `index`.
            ///
            /// # Panics
            /// If `index` is not below the number of rows.
            $vis fn set_row(&mut self, index: usize, row: $Row) {
                let ($($field,)+) = self.columns_mut();
                $( $field[index] = row.$field; )+
            }

            /// The rows in order, by value.
            $vis fn iter(&self) -> impl ExactSizeIterator<Item = $Row> + '_ {
                let ($($field,)+) = self.columns();
                (0..self.len()).map(move |index| $Row { $( $field: $field[index], )+ })
            }

            /// All columns at once, in the order of declaration.
            $vis fn columns(&self) -> ($(&[$type],)+) {
                ($( self.$field(), )+)
            }

            /// All columns at once, mutably, in the order of declaration.
            $vis fn columns_mut(&mut self) -> ($(&mut [$type],)+) {
                let mut cursor = $crate::columns::ColumnCursor::new(self.layout, &mut self.buffer);
                ($( cursor.take::<$type>(stringify!($field)), )+)
            }

            $crate::columns!(@accessors [] $( $(#[$field_meta])* $vis $field : $type, )+);
        }

        impl $crate::Columns for $Collection {
            type Row = $Row;

            const SCHEMA: &'static [$crate::columns::Column] = &[
                $( $crate::columns::Column {
                    name: stringify!($field),
                    element: <$type as $crate::columns::Element>::TYPE,
                }, )+
            ];

            fn layout(&self) -> $crate::columns::Layout {
                self.layout
            }

            fn buffer(&self) -> &$crate::columns::Buffer {
                &self.buffer
            }

            fn buffer_mut(&mut self) -> &mut $crate::columns::Buffer {
                &mut self.buffer
            }

            fn into_parts(self) -> ($crate::columns::Layout, $crate::columns::Buffer) {
                (self.layout, self.buffer)
            }

            fn from_parts(layout: $crate::columns::Layout, buffer: $crate::columns::Buffer) -> Self {
                layout.check(Self::SCHEMA, &buffer);
                Self { layout, buffer }
            }
        }

        impl Default for $Collection {
            fn default() -> Self {
                Self::with_len(0)
            }
        }

        impl PartialEq for $Collection {
            fn eq(&self, other: &Self) -> bool {
                $( self.$field() == other.$field() )&&+
            }
        }

        impl std::fmt::Debug for $Collection {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_struct(stringify!($Collection)) $( .field(stringify!($field), &self.$field()) )+ .finish()
            }
        }

        impl FromIterator<$Row> for $Collection {
            fn from_iter<I: IntoIterator<Item = $Row>>(rows: I) -> Self {
                Self::from_rows(&rows.into_iter().collect::<Vec<_>>())
            }
        }
    };

    // One pair of accessors per field. The fields before it are carried along, because the position of a column is
    // the number of columns before it, and macros cannot count otherwise. Only the `_mut`
    // names need pasted identifiers.
    (@accessors [$($before:ident)*]) => {};
    (@accessors [$($before:ident)*] $(#[$meta:meta])* $vis:vis $field:ident : $type:ty, $($rest:tt)*) => {
        $(#[$meta])*
        $vis fn $field(&self) -> &[$type] {
            const INDEX: usize = <[&str]>::len(&[$(stringify!($before)),*]);
            self.buffer.column(self.layout, INDEX)
        }

        $crate::columns::pastey::paste! {
            #[doc = concat!("Mutable access to [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            $vis fn [<$field _mut>](&mut self) -> &mut [$type] {
                const INDEX: usize = <[&str]>::len(&[$(stringify!($before)),*]);
                self.buffer.column_mut(self.layout, INDEX)
            }
        }

        $crate::columns!(@accessors [$($before)* $field] $($rest)*);
    };
}

#[doc(hidden)]
pub use pastey;
