//! Sources and sinks: files in, files out.
//!
//! | file | reads or writes |
//! |---|---|
//! | [`points_csv`] | points for CLUE, row by row |
//! | [`points_csv_sink`] | generated points, row by row |
//! | [`clue_csv`] | CLUE's result, a row for each point |
//! | [`events_parquet`] | generated calorimeter events, with their truth |
//! | [`clusters_parquet`] | calorimeter clusters, a row for each event |
//! | [`readout`] | a calorimeter event, and its check |
//! | [`parquet_sink`] | any Parquet output: rows in bounded groups, provenance |
//! | [`draft`] | every output, under another name until it is whole |
//! | [`seen`] | which events a file has had |
//!
//! An event that makes no sense is an error of that event; a file that cannot be read on ends the job.
//!
//! Parquet files are plain lists of numbers. `awkward.from_parquet("out.parquet").energy_gev` is a list for each event;
//! checked with pyarrow 26.0.1 and awkward 2.14.0. What these write is read as well, if compressed with Snappy or not at all.

mod clue_csv;
mod clusters_parquet;
mod draft;
mod events_parquet;
mod parquet_sink;
mod points_csv;
mod points_csv_sink;
mod readout;
mod seen;

pub(crate) use clue_csv::ClueCsv;
pub(crate) use clusters_parquet::cluster_rows;
pub(crate) use draft::Draft;
pub(crate) use events_parquet::{EventsParquet, event_rows};
pub(crate) use parquet_sink::ParquetSink;
pub(crate) use points_csv::PointsCsv;
pub(crate) use points_csv_sink::PointsCsvSink;
pub(crate) use readout::{RawReadout, Readout};
