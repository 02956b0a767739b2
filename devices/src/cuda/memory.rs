//! [`DeviceSlice`], [`Staged`], [`Download`]: typed views of a GPU's memory and of the pinned memory that copies go through.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;

use super::driver::Address;
use super::pool::Block;

/// Where parts of one block begin: at multiples of this, which suits every type and coalesced access.
pub(super) const ALIGNMENT: usize = 256;

/// Elements in a GPU's memory. Clones are the same memory, which goes back to its pool with the last of them.
pub struct DeviceSlice<T> {
    block: Arc<Block>,
    offset: usize,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Pod> DeviceSlice<T> {
    /// The elements from `offset` (in bytes) on.
    pub(super) fn new(block: Arc<Block>, offset: usize, len: usize) -> Self {
        Self { block, offset, len, element: PhantomData }
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The number of the GPU that it lies on.
    pub fn ordinal(&self) -> usize {
        self.block.ordinal()
    }

    /// Where it begins.
    pub fn address(&self) -> Address {
        Address(self.block.address() + self.offset as u64)
    }

    /// Some of the elements.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} elements", self.len);
        Self::new(self.block.clone(), self.offset + range.start * size_of::<T>(), range.len())
    }

    /// The same bytes as elements of another type.
    ///
    /// # Panics
    /// If they are not a whole number of them.
    #[must_use]
    pub fn cast<U: Pod>(&self) -> DeviceSlice<U> {
        assert!(self.bytes().is_multiple_of(size_of::<U>()), "a cast must keep all bytes");
        DeviceSlice::new(self.block.clone(), self.offset, self.bytes() / size_of::<U>())
    }

    pub(super) fn block(&self) -> &Arc<Block> {
        &self.block
    }
}

impl<T> Clone for DeviceSlice<T> {
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), offset: self.offset, len: self.len, element: PhantomData }
    }
}

impl<T> fmt::Debug for DeviceSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSlice({} elements)", self.len)
    }
}

/// Pinned memory to fill, before it is sent to the GPU.
pub struct Staged<T> {
    block: Block,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Pod> Staged<T> {
    pub(super) fn new(block: Block, len: usize) -> Self {
        Self { block, len, element: PhantomData }
    }

    pub(super) fn into_block(self) -> Block {
        self.block
    }
}

impl<T: Pod> Deref for Staged<T> {
    type Target = [T];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `len` elements, is aligned to more than any of them needs, is this one's alone until it is
        // sent, and any bytes are a value.
        unsafe { std::slice::from_raw_parts(self.block.address() as *const T, self.len) }
    }
}

impl<T: Pod> DerefMut for Staged<T> {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.block.address() as *mut T, self.len) }
    }
}

impl<T> fmt::Debug for Staged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staged({} elements)", self.len)
    }
}

/// Proof that everything enqueued by a submission has ended on the GPU.
#[derive(Debug)]
pub struct Landed(());

impl Landed {
    pub(super) fn new() -> Self {
        Self(())
    }
}

/// Elements on their way back to the host.
pub struct Download<T> {
    block: Arc<Block>,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Pod> Download<T> {
    pub(super) fn new(block: Arc<Block>, len: usize) -> Self {
        Self { block, len, element: PhantomData }
    }

    /// The elements, now that the GPU is done.
    ///
    /// # Panics
    /// If they were handed on [ahead](super::Finish::ahead): whoever takes up what lies on the GPU has to download that.
    #[allow(unsafe_code)]
    pub fn read<'a>(&'a self, _landed: &'a Landed) -> &'a [T] {
        self.assert_landed();
        // SAFETY: as in `Staged`; the GPU wrote it, and is done.
        unsafe { std::slice::from_raw_parts(self.block.address() as *const T, self.len) }
    }
}

impl<T> Download<T> {
    /// Whose end has come is known only of what was not handed on before.
    fn assert_landed(&self) {
        assert!(self.block.ready().is_none(), "a download was handed on ahead: it has not landed");
    }
}

impl Download<u8> {
    /// The bytes themselves, without a copy.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub fn into_bytes(self, _landed: &Landed) -> PinnedBytes {
        self.assert_landed();
        PinnedBytes { block: self.block, len: self.len }
    }
}

/// Pinned memory of the host that a GPU has written; goes back to its pool when dropped.
pub struct PinnedBytes {
    /// Whoever else keeps it only waits for the end of the submission, which has come.
    block: Arc<Block>,
    len: usize,
}

impl Deref for PinnedBytes {
    type Target = [u8];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: as in `Download`, which was used up to make this: nobody else has a view of it.
        unsafe { std::slice::from_raw_parts(self.block.address() as *const u8, self.len) }
    }
}

impl DerefMut for PinnedBytes {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.block.address() as *mut u8, self.len) }
    }
}

impl fmt::Debug for PinnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedBytes({})", self.len)
    }
}

impl<T> fmt::Debug for Download<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({} elements)", self.len)
    }
}
