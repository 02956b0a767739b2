use super::{Element, Layout};
use aligned_vec::{AVec, ConstAlign, avec};

/// Plain memory: owned, zeroed when made, aligned to 128 bytes, moved in and out of collections and devices.
///
/// This is the seam for other kinds of memory: pinned and device forms keep the same `Layout` and replace the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    bytes: AVec<u8, ConstAlign<{ Buffer::ALIGNMENT }>>,
}

impl Buffer {
    /// The alignment of the first byte, and of every column of the padded layout: a GPU's memory transaction, and two
    /// cache lines.
    pub const ALIGNMENT: usize = 128;

    /// `len` bytes of zero.
    pub fn zeroed(len: usize) -> Self {
        Self { bytes: avec![[{ Buffer::ALIGNMENT }] | 0u8; len] }
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to be overwritten.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Column `index` of a collection with this layout.
    ///
    /// # Panics
    /// If the column does not exist, is not of type `T` in size or alignment, or lies beyond the buffer.
    pub fn column<T: Element>(&self, layout: Layout, index: usize) -> &[T] {
        bytemuck::cast_slice(&self.bytes[layout.range(index)])
    }

    /// Mutable access to column `index`.
    ///
    /// # Panics
    /// As [`column`](Self::column).
    pub fn column_mut<T: Element>(&mut self, layout: Layout, index: usize) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.bytes[layout.range(index)])
    }
}

impl Default for Buffer {
    /// No bytes.
    fn default() -> Self {
        Self::zeroed(0)
    }
}

/// Hands out the columns of a buffer one after the other, so that all can be borrowed mutably at once.
#[doc(hidden)]
#[derive(Debug)]
pub struct ColumnCursor<'a> {
    layout: Layout,
    index: usize,
    position: usize,
    rest: &'a mut [u8],
}

impl<'a> ColumnCursor<'a> {
    pub fn new(layout: Layout, buffer: &'a mut Buffer) -> Self {
        Self { layout, index: 0, position: 0, rest: buffer.as_bytes_mut() }
    }

    pub fn take<T: Element>(&mut self, name: &str) -> &'a mut [T] {
        debug_assert_eq!(self.layout.schema()[self.index].name, name);
        let range = self.layout.range(self.index);
        let (column, rest) =
            std::mem::take(&mut self.rest)[range.start - self.position..].split_at_mut(range.len());
        self.index += 1;
        self.position = range.end;
        self.rest = rest;
        bytemuck::cast_slice_mut(column)
    }
}
