use super::Buffer;
use std::fmt::Debug;
use std::ops::Range;

/// A type that a column can hold: plain numbers, for which any bytes are a valid value.
pub trait Element: bytemuck::Pod + Debug + Default + PartialEq + PartialOrd + Send + Sync {
    /// The same, as a value.
    const TYPE: ElementType;
}

macro_rules! elements {
    ($($type:ident $Variant:ident $docs:literal),+ $(,)?) => {
        /// The type of a column's elements, as a value (for copies, kernels and models).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ElementType {
            $( #[doc = $docs] $Variant, )+
        }

        impl ElementType {
            /// The size of one element, in bytes; also its alignment.
            pub const fn size(self) -> usize {
                match self {
                    $( Self::$Variant => size_of::<$type>(), )+
                }
            }

            /// The Rust name of the type.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$Variant => stringify!($type), )+
                }
            }
        }

        $( impl Element for $type {
            const TYPE: ElementType = ElementType::$Variant;
        } )+
    };
}

elements! {
    f32 F32 "32-bit float", f64 F64 "64-bit float",
    u8 U8 "8-bit unsigned", u16 U16 "16-bit unsigned", u32 U32 "32-bit unsigned", u64 U64 "64-bit unsigned",
    i8 I8 "8-bit signed", i16 I16 "16-bit signed", i32 I32 "32-bit signed", i64 I64 "64-bit signed",
}

/// Name and element type of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The field's name.
    pub name: &'static str,
    /// The type of its elements.
    pub element: ElementType,
}

/// Where each column of a collection lies in its buffer. A function of schema, rows and packing only, so two sides of a
/// copy never need to exchange offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    schema: &'static [Column],
    rows: usize,
    packed: bool,
}

impl Layout {
    /// Every column starts at a multiple of [`Buffer::ALIGNMENT`] bytes.
    pub const fn padded(schema: &'static [Column], rows: usize) -> Self {
        Self { schema, rows, packed: false }
    }

    /// Every column starts where the one before ends, moved up to its element's alignment only.
    pub const fn packed(schema: &'static [Column], rows: usize) -> Self {
        Self { schema, rows, packed: true }
    }

    /// The columns.
    pub const fn schema(&self) -> &'static [Column] {
        self.schema
    }

    /// The number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Whether this is the packed layout.
    pub const fn is_packed(&self) -> bool {
        self.packed
    }

    /// The offset of column `index` from the start of the buffer, in bytes.
    ///
    /// # Panics
    /// If there is no such column.
    #[inline]
    pub fn offset(&self, index: usize) -> usize {
        assert!(index < self.schema.len(), "column {index} of {}", self.schema.len());
        let end = self.schema[..index].iter().fold(0, |at, column| self.end(at, column));
        self.start(end, &self.schema[index])
    }

    /// The bytes of column `index`, padding excluded.
    ///
    /// # Panics
    /// If there is no such column.
    #[inline]
    pub fn range(&self, index: usize) -> Range<usize> {
        let offset = self.offset(index);
        offset..offset + self.rows * self.schema[index].element.size()
    }

    /// The bytes of each column, in order: what [`range`](Self::range) says, for less than one after the other.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        self.schema.iter().map(move |column| {
            let start = self.start(at, column);
            at = start + self.rows * column.element.size();
            start..at
        })
    }

    /// The length of the whole buffer, in bytes.
    ///
    /// # Panics
    /// If it does not fit `usize`.
    pub fn bytes(&self) -> usize {
        let row: usize = self.schema.iter().map(|column| column.element.size()).sum();
        assert!(self.rows.checked_mul(2 * row).is_some(), "{} rows do not fit the address space", self.rows);
        let end = self.schema.iter().fold(0, |at, column| self.end(at, column));
        if self.packed { end } else { end.next_multiple_of(Buffer::ALIGNMENT) }
    }

    #[inline]
    fn start(&self, at: usize, column: &Column) -> usize {
        at.next_multiple_of(if self.packed { column.element.size() } else { Buffer::ALIGNMENT })
    }

    #[inline]
    fn end(&self, at: usize, column: &Column) -> usize {
        self.start(at, column) + self.rows * column.element.size()
    }

    #[doc(hidden)]
    pub fn check(&self, schema: &'static [Column], buffer: &Buffer) {
        assert_eq!(self.schema, schema, "the layout belongs to another collection");
        assert_eq!(self.bytes(), buffer.len(), "the buffer does not fit the layout");
    }
}
