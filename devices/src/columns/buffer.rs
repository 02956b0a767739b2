use super::{Element, Layout};
use aligned_vec::{AVec, ConstAlign, avec};

/// Plain memory: owned, aligned to 128 bytes, moved in and out of collections and devices.
///
/// It is the process's own, or pinned memory that a GPU has written, which goes back to its pool when dropped; clones are
/// always the process's own.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Own(AVec<u8, ConstAlign<{ Buffer::ALIGNMENT }>>),
    #[cfg(feature = "cuda")]
    Pinned(crate::cuda::PinnedBytes),
}

impl Buffer {
    /// The alignment of the first byte, and of every column of the padded layout: a GPU's memory transaction, and two
    /// cache lines.
    pub const ALIGNMENT: usize = 128;

    /// `len` bytes of zero.
    pub fn zeroed(len: usize) -> Self {
        Self { memory: Memory::Own(avec![[{ Buffer::ALIGNMENT }] | 0u8; len]) }
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(bytes) => bytes,
            #[cfg(feature = "cuda")]
            Memory::Pinned(bytes) => bytes,
        }
    }

    /// The bytes, to be overwritten.
    #[inline]
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Own(bytes) => bytes,
            #[cfg(feature = "cuda")]
            Memory::Pinned(bytes) => bytes,
        }
    }

    /// Column `index` of a collection with this layout.
    ///
    /// # Panics
    /// If the column does not exist, is not of type `T` in size or alignment, or lies beyond the buffer.
    pub fn column<T: Element>(&self, layout: Layout, index: usize) -> &[T] {
        bytemuck::cast_slice(&self.as_bytes()[layout.range(index)])
    }

    /// Mutable access to column `index`.
    ///
    /// # Panics
    /// As [`column`](Self::column).
    pub fn column_mut<T: Element>(&mut self, layout: Layout, index: usize) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.as_bytes_mut()[layout.range(index)])
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self { memory: Memory::Own(AVec::from_slice(Self::ALIGNMENT, self.as_bytes())) }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Buffer {}

#[cfg(feature = "cuda")]
impl From<crate::cuda::PinnedBytes> for Buffer {
    fn from(bytes: crate::cuda::PinnedBytes) -> Self {
        Self { memory: Memory::Pinned(bytes) }
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
