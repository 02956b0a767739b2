/// Declares a collection (SoA) and the proxy of one row; see the [module](mod@crate::columns).
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
