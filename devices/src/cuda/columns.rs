//! [`DeviceColumns`]: collections on a GPU, with the layout that they have on the host.

use std::fmt;
use std::marker::PhantomData;

use super::Fault;
use super::memory::{DeviceSlice, Download, Landed};
use super::work::Work;
use crate::Columns;
use crate::columns::{Column, Element, Layout, copy_side_by_side};

/// A collection on a GPU: the same [`Layout`] as on the host, so that it crosses as one piece. Clones are the same memory.
pub struct DeviceColumns<C> {
    layout: Layout,
    memory: DeviceSlice<u8>,
    collection: PhantomData<fn() -> C>,
}

impl<C: Columns> DeviceColumns<C> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.layout.rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.layout.rows() == 0
    }

    /// Where each column lies.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of the GPU that it lies on.
    pub fn ordinal(&self) -> usize {
        self.memory.ordinal()
    }

    /// All columns, and what lies between them. With a packed layout of one type that is a dense `[feature][row]` tensor.
    pub fn memory(&self) -> &DeviceSlice<u8> {
        &self.memory
    }

    /// Column `index`, in the order of declaration.
    ///
    /// # Panics
    /// If there is no such column, or its elements are not of type `T`.
    pub fn column<T: Element>(&self, index: usize) -> DeviceSlice<T> {
        let element = self.layout.schema()[index].element;
        assert_eq!(element, T::TYPE, "column {index} has other elements");
        self.memory.part(self.layout.range(index)).cast()
    }
}

impl<C> Clone for DeviceColumns<C> {
    fn clone(&self) -> Self {
        Self { layout: self.layout, memory: self.memory.clone(), collection: PhantomData }
    }
}

impl<C> fmt::Debug for DeviceColumns<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceColumns({} rows on GPU {})", self.layout.rows(), self.memory.block().ordinal())
    }
}

/// A collection on its way back to the host.
pub struct ColumnsDownload<C> {
    layout: Layout,
    download: Download<u8>,
    collection: PhantomData<fn() -> C>,
}

impl<C: Columns> ColumnsDownload<C> {
    /// The collection, in the pinned memory that the GPU wrote it to: nothing is copied.
    pub fn read(self, landed: &Landed) -> C {
        C::from_parts(self.layout, self.download.into_bytes(landed).into())
    }
}

impl<C> fmt::Debug for ColumnsDownload<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnsDownload({} rows)", self.layout.rows())
    }
}

impl Work<'_> {
    /// Room for a collection with this layout, with whatever is in it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn columns<C: Columns>(&mut self, layout: Layout) -> Result<DeviceColumns<C>, Fault> {
        let memory = self.allocate::<u8>(layout.bytes())?;
        Ok(DeviceColumns { layout, memory, collection: PhantomData })
    }

    /// Copies collections to the GPU, one after the other, with one copy; they are put side by side in pinned memory, once.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn upload_columns<C: Columns>(&mut self, parts: &[&C]) -> Result<DeviceColumns<C>, Fault> {
        self.upload_as(Layout::padded, parts)
    }

    /// The same without padding: columns of one type are a dense `[feature][row]` tensor, for models.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn upload_packed<C: Columns>(&mut self, parts: &[&C]) -> Result<DeviceColumns<C>, Fault> {
        self.upload_as(Layout::packed, parts)
    }

    fn upload_as<C: Columns>(
        &mut self,
        layout: fn(&'static [Column], usize) -> Layout,
        parts: &[&C],
    ) -> Result<DeviceColumns<C>, Fault> {
        let layout = layout(C::SCHEMA, parts.iter().map(|part| part.layout().rows()).sum());
        let mut staged = self.stage::<u8>(layout.bytes())?;
        copy_side_by_side(parts, layout, &mut staged);
        let memory = self.send(staged)?;
        Ok(DeviceColumns { layout, memory, collection: PhantomData })
    }

    /// Makes a collection that lies on a GPU, perhaps another one, readable here: itself, or a copy with the same layout. All that
    /// [`fetch`](Self::fetch) says holds for it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn fetch_columns<C: Columns>(
        &mut self,
        columns: &DeviceColumns<C>,
    ) -> Result<DeviceColumns<C>, Fault> {
        let memory = self.fetch(&columns.memory)?;
        Ok(DeviceColumns { layout: columns.layout, memory, collection: PhantomData })
    }

    /// Copies a collection to the host; it can be read when the GPU is done.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn download_columns<C: Columns>(
        &mut self,
        columns: &DeviceColumns<C>,
    ) -> Result<ColumnsDownload<C>, Fault> {
        let download = self.download(&columns.memory)?;
        Ok(ColumnsDownload { layout: columns.layout, download, collection: PhantomData })
    }
}
