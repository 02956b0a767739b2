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
//! | [`words_file`] | scouting words, in blocks |
//! | [`words_sink`] | generated scouting words |
//! | [`words`] | the words of one bunch crossing, and the format of their file |
//! | [`taus_parquet`] | selected τ leptons, a row for each event |
//! | [`features_parquet`] | what networks learn from, with the truth |
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
mod features_parquet;
mod parquet_sink;
mod points_csv;
mod points_csv_sink;
mod readout;
mod seen;
mod taus_parquet;
mod words;
mod words_file;
mod words_sink;

pub(crate) use clue_csv::ClueCsv;
pub(crate) use clusters_parquet::cluster_rows;
pub(crate) use draft::Draft;
pub(crate) use events_parquet::{EventsParquet, event_rows};
pub(crate) use features_parquet::{LabelledCells, LabelledFeatures, cell_rows, feature_rows};
pub(crate) use parquet_sink::ParquetSink;
pub(crate) use points_csv::PointsCsv;
pub(crate) use points_csv_sink::PointsCsvSink;
pub(crate) use readout::{RawReadout, Readout};
pub(crate) use taus_parquet::tau_rows;
pub(crate) use words::Words;
pub(crate) use words_file::WordsFile;
pub(crate) use words_sink::WordsSink;
