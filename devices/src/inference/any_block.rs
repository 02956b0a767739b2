//! [`AnyBlock`] and [`Blocks`]: what a model takes and gives, of several types.

use std::fmt;
use std::ops::Range;

use super::{Block, Order};
use crate::Offsets;

/// A type of number that models take and give.
pub trait BlockElement:
    Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static + sealed::Sealed
{
    /// The same, as a value.
    const BLOCK_TYPE: BlockType;

    /// The block, if it holds this type.
    fn of(block: &AnyBlock) -> Option<&Block<Self>>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! block_elements {
    ($($type:ident $Variant:ident),+ $(,)?) => {
        /// The type of a block's numbers, as a value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum BlockType { $( $Variant, )+ }

        impl BlockType {
            /// The Rust name of the type.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Variant => stringify!($type), )+ }
            }

            /// The bytes of each number.
            pub const fn size(self) -> usize {
                match self { $( Self::$Variant => size_of::<$type>(), )+ }
            }
        }

        /// A [`Block`] of any of the types.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum AnyBlock { $( $Variant(Block<$type>), )+ }

        $(
            impl sealed::Sealed for $type {}

            impl From<Block<$type>> for AnyBlock {
                fn from(block: Block<$type>) -> Self { Self::$Variant(block) }
            }

            impl BlockElement for $type {
                const BLOCK_TYPE: BlockType = BlockType::$Variant;

                fn of(block: &AnyBlock) -> Option<&Block<Self>> {
                    match block { AnyBlock::$Variant(block) => Some(block), _ => None }
                }
            }
        )+

        impl AnyBlock {
            /// The type of its numbers.
            pub fn element(&self) -> BlockType {
                match self { $( Self::$Variant(_) => BlockType::$Variant, )+ }
            }

            /// Which index is the outer one.
            pub fn order(&self) -> Order {
                match self { $( Self::$Variant(block) => block.order(), )+ }
            }

            /// The number of rows.
            pub fn rows(&self) -> usize {
                match self { $( Self::$Variant(block) => block.rows(), )+ }
            }

            /// The numbers of each row.
            pub fn features(&self) -> usize {
                match self { $( Self::$Variant(block) => block.features(), )+ }
            }

            /// A copy of some rows; see [`Block::slice`].
            #[must_use]
            pub fn slice(&self, rows: Range<usize>) -> Self {
                match self { $( Self::$Variant(block) => block.slice(rows).into(), )+ }
            }

            /// Zeros of this type.
            pub fn zeros(element: BlockType, order: Order, rows: usize, features: usize) -> Self {
                match element { $( BlockType::$Variant => Block::<$type>::zeros(order, rows, features).into(), )+ }
            }

            /// Puts blocks side by side; see [`Block::concat`].
            ///
            /// # Panics
            /// As [`Block::concat`], and if the types differ.
            pub fn concat(
                parts: &[&Self],
                element: BlockType,
                features: usize,
                order: Order,
                rows: usize,
            ) -> Self {
                match element {
                    $( BlockType::$Variant => {
                        let parts: Vec<&Block<$type>> =
                            parts.iter().map(|part| part.get().expect("all parts have one type")).collect();
                        Block::concat(&parts, features, order, rows).into()
                    } )+
                }
            }
        }
    };
}

block_elements! { f32 F32, f64 F64, i32 I32, i64 I64, u8 U8, bool Bool }

impl AnyBlock {
    /// The block, if it holds numbers of this type.
    pub fn get<T: BlockElement>(&self) -> Option<&Block<T>> {
        T::of(self)
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a model takes, or gives: a block for each of its inputs, or outputs, with as many rows each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks(Vec<AnyBlock>);

impl Blocks {
    /// These blocks.
    pub fn new(blocks: Vec<AnyBlock>) -> Self {
        Self(blocks)
    }

    /// The number of rows of the first block; 0 if there is none.
    pub fn rows(&self) -> usize {
        self.0.first().map_or(0, AnyBlock::rows)
    }

    /// The blocks, in the order of the signature.
    pub fn as_slice(&self) -> &[AnyBlock] {
        &self.0
    }

    /// The blocks themselves.
    pub fn into_vec(self) -> Vec<AnyBlock> {
        self.0
    }

    /// The block of this index, if it exists and holds numbers of this type.
    pub fn get<T: BlockElement>(&self, index: usize) -> Option<&Block<T>> {
        self.0.get(index)?.get()
    }

    /// The rows of each part; see [`Block::split`].
    ///
    /// # Panics
    /// If the parts have more rows than a block has.
    pub fn split(&self, parts: &Offsets) -> Vec<Self> {
        let part = |rows: Range<usize>| Self(self.0.iter().map(|block| block.slice(rows.clone())).collect());
        parts.iter().map(part).collect()
    }
}

impl<T: BlockElement> From<Block<T>> for Blocks
where
    AnyBlock: From<Block<T>>,
{
    fn from(block: Block<T>) -> Self {
        Self(vec![block.into()])
    }
}
