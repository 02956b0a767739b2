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
//! An accessor finds its column anew each time, which costs a few nanoseconds: in a loop over rows, take the slice first.
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
mod declare;
mod layout;
mod offsets;
mod tensor;

pub use buffer::Buffer;
#[doc(hidden)]
pub use buffer::ColumnCursor;
pub use layout::{Column, Element, ElementType, Layout};
pub use offsets::{Offsets, OffsetsError};
#[cfg(all(feature = "cuda", feature = "onnx"))]
pub(crate) use tensor::dense_bytes;
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
        copy_side_by_side(parts, layout, buffer.as_bytes_mut());
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
        copy_side_by_side(&[self], layout, buffer.as_bytes_mut());
        Self::from_parts(layout, buffer)
    }
}

/// Copies the rows of the parts, one after the other, to memory of this layout, which has as many.
pub(crate) fn copy_side_by_side<C: Columns>(parts: &[&C], layout: Layout, memory: &mut [u8]) {
    for index in 0..C::SCHEMA.len() {
        let mut rest = &mut memory[layout.range(index)];
        for part in parts {
            let from = part.column_bytes(index);
            let (to, tail) = rest.split_at_mut(from.len());
            to.copy_from_slice(from);
            rest = tail;
        }
    }
}

#[doc(hidden)]
pub use pastey;
