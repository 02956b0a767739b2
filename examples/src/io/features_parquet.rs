//! What a network learns from, as rows of Parquet files: features of clusters, and cells of a calorimeter, with their truth.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Int8Type, Int32Type, UInt16Type};
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use asynchrotron::anyhow::Context as _;
use asynchrotron::{EventId, Result};
use asynchrotron_algorithms::calorimeter::{Cells, Photons, Truth};
use asynchrotron_algorithms::scouting::{Features, Label, Truths};
use asynchrotron_devices::Columns as _;

use super::parquet_sink::{list_column, rows};

/// The features of the clusters of one event, packed, and what each cluster is.
#[derive(Debug)]
pub(crate) struct LabelledFeatures {
    features: Features,
    /// 1: a τ, 0: background, -1: near a τ, but not it.
    label: Vec<i8>,
    /// True pT of the τ, in GeV; 0 of others.
    pt_true_gev: Vec<f32>,
}

impl LabelledFeatures {
    pub(crate) fn new(features: &Features, labels: &[Label], truths: &Truths) -> Self {
        let number = |label: &Label| match label {
            Label::Tau(_) => 1,
            Label::Background => 0,
            Label::Ambiguous => -1,
        };
        let pt_true_gev =
            |label: &Label| if let Label::Tau(tau) = *label { truths.pt_gev()[tau] } else { 0.0 };
        Self {
            features: features.clone(),
            label: labels.iter().map(number).collect(),
            pt_true_gev: labels.iter().map(pt_true_gev).collect(),
        }
    }
}

fn numbers<T>(events: &[(EventId, Arc<T>)]) -> ArrayRef {
    Arc::new(UInt64Array::from(events.iter().map(|(event, _)| event.0).collect::<Vec<_>>()))
}

/// One row for each event: its number, a list for each column of [`Features`], and the lists label and pt_true_gev.
pub(crate) fn feature_rows(events: &[(EventId, Arc<LabelledFeatures>)]) -> Result<RecordBatch> {
    let tensors = events.iter().map(|(_, event)| event.features.tensor::<f32>());
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    let mut columns = vec![("event", numbers(events))];
    for (index, column) in Features::SCHEMA.iter().enumerate() {
        columns.push((
            column.name,
            list_column::<Float32Type>(tensors.iter().map(|tensor| tensor.feature(index))),
        ));
    }
    columns.push(("label", list_column::<Int8Type>(events.iter().map(|(_, event)| &event.label[..]))));
    columns.push((
        "pt_true_gev",
        list_column::<Float32Type>(events.iter().map(|(_, event)| &event.pt_true_gev[..])),
    ));
    let columns = columns.into_iter().map(|(name, column)| (name, column, false));
    RecordBatch::try_from_iter_with_nullable(columns).context("the columns of a table differ in length")
}

/// The cells of one event, and what really happened.
#[derive(Debug)]
pub(crate) struct LabelledCells {
    cells: Cells,
    photons: Photons,
    /// The photon that each cell belongs to, or -1.
    photon: Vec<i32>,
}

impl LabelledCells {
    pub(crate) fn new(cells: &Cells, truth: &Truth) -> Self {
        let deposits = &truth.deposits;
        let photon =
            |block: &u16| deposits.block().binary_search(block).map_or(-1, |row| deposits.photon()[row]);
        Self {
            cells: cells.clone(),
            photons: truth.photons.clone(),
            photon: cells.block().iter().map(photon).collect(),
        }
    }
}

/// One row for each event: its number, a list for each column of [`Cells`], the list photon (of each cell, -1: none), and the
/// lists photon_x_cm, photon_y_cm, photon_energy_gev.
pub(crate) fn cell_rows(events: &[(EventId, Arc<LabelledCells>)]) -> Result<RecordBatch> {
    let cells = |column: fn(&Cells) -> &[f32]| {
        list_column::<Float32Type>(events.iter().map(|(_, event)| column(&event.cells)))
    };
    let photons = |column: fn(&Photons) -> &[f32]| {
        list_column::<Float32Type>(events.iter().map(|(_, event)| column(&event.photons)))
    };
    rows([
        ("event", numbers(events)),
        ("block", list_column::<UInt16Type>(events.iter().map(|(_, event)| event.cells.block()))),
        ("energy_gev", cells(Cells::energy_gev)),
        ("time_ns", cells(Cells::time_ns)),
        ("photon", list_column::<Int32Type>(events.iter().map(|(_, event)| &event.photon[..]))),
        ("photon_x_cm", photons(Photons::x_cm)),
        ("photon_y_cm", photons(Photons::y_cm)),
        ("photon_energy_gev", photons(Photons::energy_gev)),
    ])
}
