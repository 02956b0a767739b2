//! Calorimeter events as rows of a Parquet file.
//!
//! | column | type | |
//! |---|---|---|
//! | event | uint64 | |
//! | block | list of uint16 | the blocks that were read out |
//! | samples | list of uint16 | 110 for each block, one block after the other |
//! | photon_x_cm, photon_y_cm, photon_energy_gev, photon_time_ns | list of float | the truth, if it is known |
//! | deposit_block, deposit_photon, deposit_fraction, deposit_energy_gev | list of uint16, int32, float, float | which photon each block belongs to |

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Int32Type, UInt16Type, UInt64Type};
use arrow_array::{Array as _, ArrowPrimitiveType, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Schema};
use asynchrotron::anyhow::{Context as _, bail, ensure};
use asynchrotron::{EventId, Read, Result, Source};
use asynchrotron_algorithms::calorimeter::{Deposits, Photons, Truth, Waveforms};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use parquet::basic::Compression;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::parquet_sink::{list_column, rows};
use super::readout::{RawReadout, RawTruth, Readout};

/// Events that are decoded together; each has some 50 kB.
const EVENTS_PER_BATCH: usize = 32;

const READOUT: [(&str, DataType); 2] = [("block", DataType::UInt16), ("samples", DataType::UInt16)];
const TRUTH: [(&str, DataType); 8] = [
    ("photon_x_cm", DataType::Float32),
    ("photon_y_cm", DataType::Float32),
    ("photon_energy_gev", DataType::Float32),
    ("photon_time_ns", DataType::Float32),
    ("deposit_block", DataType::UInt16),
    ("deposit_photon", DataType::Int32),
    ("deposit_fraction", DataType::Float32),
    ("deposit_energy_gev", DataType::Float32),
];

/// One row for each event.
pub(crate) fn event_rows(events: &[(EventId, Arc<Readout>)]) -> Result<RecordBatch> {
    let none = Truth::default();
    let truths: Vec<&Truth> =
        events.iter().map(|(_, readout)| readout.truth.as_ref().unwrap_or(&none)).collect();
    let waveforms = || events.iter().map(|(_, readout)| &readout.waveforms);
    let photons = |column: fn(&Photons) -> &[f32]| {
        list_column::<Float32Type>(truths.iter().map(|truth| column(&truth.photons)))
    };
    let deposits = |column: fn(&Deposits) -> &[f32]| {
        list_column::<Float32Type>(truths.iter().map(|truth| column(&truth.deposits)))
    };
    let numbers: UInt64Array = events.iter().map(|(event, _)| event.0).collect::<Vec<_>>().into();
    rows([
        ("event", Arc::new(numbers)),
        ("block", list_column::<UInt16Type>(waveforms().map(Waveforms::block))),
        ("samples", list_column::<UInt16Type>(waveforms().map(Waveforms::samples))),
        ("photon_x_cm", photons(Photons::x_cm)),
        ("photon_y_cm", photons(Photons::y_cm)),
        ("photon_energy_gev", photons(Photons::energy_gev)),
        ("photon_time_ns", photons(Photons::time_ns)),
        ("deposit_block", list_column::<UInt16Type>(truths.iter().map(|truth| truth.deposits.block()))),
        ("deposit_photon", list_column::<Int32Type>(truths.iter().map(|truth| truth.deposits.photon()))),
        ("deposit_fraction", deposits(Deposits::fraction)),
        ("deposit_energy_gev", deposits(Deposits::energy_gev)),
    ])
}

/// Calorimeter events from a Parquet file, a few rows in memory at a time. A row that makes no sense is an error of its
/// event.
pub(crate) struct EventsParquet {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    has_truth: bool,
    batch: Option<RecordBatch>,
    /// The next row of the batch, and of the file.
    row_of_batch: usize,
    row: u64,
    rows: u64,
}

impl EventsParquet {
    /// Opens a file and checks its columns.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        // Without the hints of Arrow writers a list is a list, whichever of Arrow's several list types it was.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .with_context(|| format!("{}: not a Parquet file, or cut short", path.display()))?;
        let has_truth = check_columns(builder.schema()).with_context(|| path.display().to_string())?;
        check_compression(builder.metadata()).with_context(|| path.display().to_string())?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        ensure!(rows > 0, "{}: there are no events in the file", path.display());
        let wanted = wanted(has_truth);
        let columns = builder.schema().fields().iter().enumerate();
        let columns: Vec<usize> =
            columns.filter(|(_, field)| wanted.contains(&field.name().as_str())).map(|(i, _)| i).collect();
        let projection = ProjectionMask::roots(builder.parquet_schema(), columns);
        let reader = builder.with_projection(projection).with_batch_size(EVENTS_PER_BATCH).build();
        let reader = reader.with_context(|| path.display().to_string())?;
        Ok(EventsParquet { path: path.into(), reader, has_truth, batch: None, row_of_batch: 0, row: 0, rows })
    }

    pub(crate) fn describe(&self) -> String {
        let truth = if self.has_truth { "with truth" } else { "without truth" };
        format!("{} (Parquet, {} events, {truth})", self.path.display(), self.rows)
    }

    /// Reads a row: its event, or the row's number where it has none, and its content.
    fn read_row(&mut self) -> Result<Option<Read<RawReadout>>> {
        if self.batch.as_ref().is_none_or(|batch| self.row_of_batch >= batch.num_rows()) {
            self.row_of_batch = 0;
            self.batch = self.reader.next().transpose().with_context(|| format!("after row {}", self.row))?;
        }
        let Some(batch) = &self.batch else { return Ok(None) };
        let row = Row { batch, row: self.row_of_batch };
        let event = row.event();
        let product = event.as_ref().map_err(|error| asynchrotron::Error::msg(error.to_string()));
        let product = product.and_then(|_| row.readout(self.has_truth));
        let product = product.with_context(|| format!("{}, row {}", self.path.display(), self.row));
        let read = Read { event: EventId(event.unwrap_or(self.row)), product };
        self.row_of_batch += 1;
        self.row += 1;
        Ok(Some(read))
    }
}

impl Source for EventsParquet {
    type Product = RawReadout;

    async fn next(&mut self) -> Result<Option<Read<RawReadout>>> {
        self.read_row().with_context(|| self.path.display().to_string())
    }

    fn events_left(&self) -> Option<u64> {
        Some(self.rows.saturating_sub(self.row))
    }
}

fn wanted(has_truth: bool) -> Vec<&'static str> {
    let truth: &[_] = if has_truth { &TRUTH } else { &[] };
    std::iter::once("event").chain(READOUT.iter().chain(truth).map(|(name, _)| *name)).collect()
}

/// Whether there is a truth. It is there as a whole, or not at all.
fn check_columns(schema: &Schema) -> Result<bool> {
    let type_of = |name: &str| schema.fields().find(name).map(|(_, field)| field.data_type());
    match type_of("event") {
        Some(DataType::UInt64) => {}
        Some(other) => bail!("column event: expected UInt64, found {other}"),
        None => bail!("column event: expected UInt64, but there is no such column"),
    }
    let has_truth = TRUTH.iter().any(|(name, _)| type_of(name).is_some());
    let truth: &[_] = if has_truth { &TRUTH } else { &[] };
    for (name, element) in READOUT.iter().chain(truth) {
        match type_of(name) {
            Some(DataType::List(field)) if field.data_type() == element => {}
            Some(other) => bail!("column {name}: expected a list of {element}, found {other}"),
            None => bail!("column {name}: expected a list of {element}, but there is no such column"),
        }
    }
    Ok(has_truth)
}

/// Better said before the first event than in the middle.
fn check_compression(metadata: &ParquetMetaData) -> Result<()> {
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY => {}
            other => {
                let name = column.column_path();
                bail!("column {name}: expected Snappy or no compression, found {other}");
            }
        }
    }
    Ok(())
}

struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Row<'_> {
    fn event(&self) -> Result<u64> {
        let column =
            self.batch.column_by_name("event").context("column event: gone")?.as_primitive::<UInt64Type>();
        ensure!(column.is_valid(self.row), "column event: null");
        Ok(column.value(self.row))
    }

    fn list<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Vec<T::Native>> {
        let column =
            self.batch.column_by_name(name).with_context(|| format!("column {name}: gone"))?.as_list::<i32>();
        ensure!(column.is_valid(self.row), "column {name}: null");
        let list = column.value(self.row);
        ensure!(list.null_count() == 0, "column {name}: null in a list");
        Ok(list.as_primitive::<T>().values().to_vec())
    }

    fn readout(&self, has_truth: bool) -> Result<RawReadout> {
        Ok(RawReadout {
            block: self.list::<UInt16Type>("block")?,
            samples: self.list::<UInt16Type>("samples")?,
            truth: if has_truth { Some(self.truth()?) } else { None },
        })
    }

    fn truth(&self) -> Result<RawTruth> {
        Ok(RawTruth {
            photon_x_cm: self.list::<Float32Type>("photon_x_cm")?,
            photon_y_cm: self.list::<Float32Type>("photon_y_cm")?,
            photon_energy_gev: self.list::<Float32Type>("photon_energy_gev")?,
            photon_time_ns: self.list::<Float32Type>("photon_time_ns")?,
            deposit_block: self.list::<UInt16Type>("deposit_block")?,
            deposit_photon: self.list::<Int32Type>("deposit_photon")?,
            deposit_fraction: self.list::<Float32Type>("deposit_fraction")?,
            deposit_energy_gev: self.list::<Float32Type>("deposit_energy_gev")?,
        })
    }
}
