//! [`ParquetSink`]: products of events as rows of a Parquet file.

use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::{ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::Field;
use asynchrotron::anyhow::Context as _;
use asynchrotron::{EventId, Result, Sink};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::draft::{Draft, Seal};

/// Events that are turned into columns together.
const EVENTS_PER_BATCH: usize = 64;
/// What a row group may hold; the file's writer keeps one in memory.
const ROW_GROUP_BYTES_MAX: usize = 16 << 20;
/// Readers get some parallelism also where events are small.
const ROW_GROUP_EVENTS_MAX: usize = 1 << 16;

/// Turns the products of some events into rows.
pub(crate) type ToRows<T> = fn(&[(EventId, Arc<T>)]) -> Result<RecordBatch>;

/// Products of events as rows of a Parquet file, compressed with Snappy.
pub(crate) struct ParquetSink<T> {
    writer: ArrowWriter<File>,
    to_rows: ToRows<T>,
    pending: Vec<(EventId, Arc<T>)>,
    seal: Seal,
    path: String,
}

impl<T> ParquetSink<T> {
    /// Creates the file. `provenance` goes into its key-value metadata.
    pub(crate) fn create(
        path: &Path,
        to_rows: ToRows<T>,
        provenance: &[(impl Display, String)],
    ) -> Result<(Self, Draft)> {
        let (draft, file, seal) = Draft::create(path)?;
        let metadata =
            provenance.iter().map(|(key, value)| KeyValue::new(format!("asynchrotron.{key}"), value.clone()));
        let samples = ColumnPath::new(["samples", "list", "element"].map(String::from).to_vec());
        let properties = WriterProperties::builder()
            .set_created_by(concat!("asynchrotron version ", env!("CARGO_PKG_VERSION")).into())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
            .set_max_row_group_row_count(Some(ROW_GROUP_EVENTS_MAX))
            // Neighbouring samples differ little.
            .set_column_dictionary_enabled(samples.clone(), false)
            .set_column_encoding(samples, Encoding::DELTA_BINARY_PACKED)
            .set_key_value_metadata(Some(metadata.collect()))
            .build();
        let schema = to_rows(&[])?.schema();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let path = path.display().to_string();
        Ok((ParquetSink { writer, to_rows, pending: Vec::new(), seal, path }, draft))
    }

    fn write_pending(&mut self) -> Result<()> {
        let rows = (self.to_rows)(&self.pending)?;
        self.pending.clear();
        self.writer.write(&rows).with_context(|| format!("cannot write {}", self.path))
    }
}

impl<T: Send + Sync + 'static> Sink<T> for ParquetSink<T> {
    async fn write(&mut self, event: EventId, product: Arc<T>) -> Result<()> {
        self.pending.push((event, product));
        if self.pending.len() < EVENTS_PER_BATCH { Ok(()) } else { self.write_pending() }
    }

    async fn finish(&mut self) -> Result<()> {
        self.write_pending()?;
        self.writer.finish().with_context(|| format!("cannot write {}", self.path))?;
        self.seal.close();
        Ok(())
    }
}

/// A column with one list for each event.
pub(crate) fn list_column<'a, T: ArrowPrimitiveType>(
    lists: impl Iterator<Item = &'a [T::Native]>,
) -> ArrayRef {
    let field = Field::new("element", T::DATA_TYPE, false);
    let mut column = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(Arc::new(field));
    for list in lists {
        column.values().append_slice(list);
        column.append(true);
    }
    Arc::new(column.finish())
}

/// The rows of named columns, none of which has nulls.
pub(crate) fn rows<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|(name, column)| (name, column, false));
    RecordBatch::try_from_iter_with_nullable(columns).context("the columns of a table differ in length")
}
