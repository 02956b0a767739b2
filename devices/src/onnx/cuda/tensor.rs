//! [`DeviceTensor`]: a model's input or output in a GPU's memory.

use bytemuck::{NoUninit, Pod};

use crate::Columns;
use crate::columns::{Element, TensorError, dense_bytes};
use crate::cuda::{DeviceColumns, DeviceSlice, Download, Fault, Landed, Work};
use crate::inference::{AnyBlock, Block, BlockElement, BlockType, Port};

/// A model's input or output in a GPU's memory: numbers of a known type, in the order that the model's [`Port`] says.
///
/// Clones are the same memory.
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    element: BlockType,
    bytes: DeviceSlice<u8>,
}

impl DeviceTensor {
    /// Bytes that are 0 or 1 as numbers of type `bool`.
    pub fn bools(bytes: DeviceSlice<u8>) -> Self {
        Self { element: BlockType::Bool, bytes }
    }

    /// All columns of a collection as `[feature][row]`, in place.
    ///
    /// # Errors
    /// As [`Columns::tensor`]: the layout must be packed, and all columns of this type.
    pub fn of_columns<T: BlockElement + Element, C: Columns>(
        columns: &DeviceColumns<C>,
    ) -> Result<Self, TensorError> {
        let dense = dense_bytes::<T>(columns.layout())?;
        Ok(Self { element: T::BLOCK_TYPE, bytes: columns.memory().part(0..dense) })
    }

    /// For so many rows, with whatever is in it.
    pub(super) fn allocate(work: &mut Work<'_>, port: &Port, rows: usize) -> Result<Self, Fault> {
        let bytes = work.allocate(rows * port.features() * port.element().size())?;
        Ok(Self { element: port.element(), bytes })
    }

    /// For so many rows, all zero.
    pub(super) fn zeros(work: &mut Work<'_>, port: &Port, rows: usize) -> Result<Self, Fault> {
        let zeros = Self::allocate(work, port, rows)?;
        work.fill(&zeros.bytes, 0)?;
        Ok(zeros)
    }

    /// A copy of a block on the GPU.
    pub(super) fn upload(work: &mut Work<'_>, block: &AnyBlock) -> Result<Self, Fault> {
        fn bytes<T: BlockElement + NoUninit>(block: &Block<T>) -> &[u8] {
            bytemuck::cast_slice(block.values())
        }
        let bytes = match block {
            AnyBlock::F32(block) => bytes(block),
            AnyBlock::F64(block) => bytes(block),
            AnyBlock::I32(block) => bytes(block),
            AnyBlock::I64(block) => bytes(block),
            AnyBlock::U8(block) => bytes(block),
            AnyBlock::Bool(block) => bytes(block),
        };
        Ok(Self { element: block.element(), bytes: work.upload(bytes)? })
    }

    /// A copy of it as a block, when the GPU is done.
    pub(super) fn download(
        &self,
        work: &mut Work<'_>,
        port: &Port,
        rows: usize,
    ) -> Result<Downloading, Fault> {
        Ok(Downloading { port: port.clone(), rows, bytes: work.download(&self.bytes)? })
    }

    /// The type of its numbers.
    pub fn element(&self) -> BlockType {
        self.element
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The numbers, if they are of this type.
    pub fn get<T: BlockElement + Pod>(&self) -> Option<DeviceSlice<T>> {
        (self.element == T::BLOCK_TYPE).then(|| self.bytes.cast())
    }

    /// The memory.
    pub fn bytes(&self) -> &DeviceSlice<u8> {
        &self.bytes
    }
}

impl<T: BlockElement + Pod> From<DeviceSlice<T>> for DeviceTensor {
    fn from(slice: DeviceSlice<T>) -> Self {
        Self { element: T::BLOCK_TYPE, bytes: slice.cast() }
    }
}

/// An output on its way back to the host.
pub(super) struct Downloading {
    port: Port,
    rows: usize,
    bytes: Download<u8>,
}

impl Downloading {
    pub(super) fn block(&self, landed: &Landed) -> AnyBlock {
        fn block<T: BlockElement + Pod>(port: &Port, rows: usize, bytes: &[u8]) -> AnyBlock
        where
            AnyBlock: From<Block<T>>,
        {
            Block::new(port.order(), rows, port.features(), bytemuck::cast_slice::<u8, T>(bytes).to_vec())
                .into()
        }
        let (port, rows, bytes) = (&self.port, self.rows, self.bytes.read(landed));
        match port.element() {
            BlockType::F32 => block::<f32>(port, rows, bytes),
            BlockType::F64 => block::<f64>(port, rows, bytes),
            BlockType::I32 => block::<i32>(port, rows, bytes),
            BlockType::I64 => block::<i64>(port, rows, bytes),
            BlockType::U8 => block::<u8>(port, rows, bytes),
            BlockType::Bool => {
                let bools = bytes.iter().map(|&byte| byte != 0).collect();
                Block::new(port.order(), rows, port.features(), bools).into()
            }
        }
    }
}
