//! Selected τ leptons as rows of a Parquet file.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Int16Type, UInt16Type};
use arrow_array::{RecordBatch, UInt64Array};
use asynchrotron::{EventId, Result};
use asynchrotron_algorithms::scouting::Taus;

use super::parquet_sink::{list_column, rows};

/// One row for each event: its number, and a list for each column of [`Taus`].
pub(crate) fn tau_rows(events: &[(EventId, Arc<Taus>)]) -> Result<RecordBatch> {
    let floats =
        |column: fn(&Taus) -> &[f32]| list_column::<Float32Type>(events.iter().map(|(_, taus)| column(taus)));
    let numbers: UInt64Array = events.iter().map(|(event, _)| event.0).collect::<Vec<_>>().into();
    rows([
        ("event", Arc::new(numbers)),
        ("pt_gev", floats(Taus::pt_gev)),
        ("eta", floats(Taus::eta)),
        ("phi", floats(Taus::phi)),
        ("score", floats(Taus::score)),
        ("cluster_pt_gev", floats(Taus::cluster_pt_gev)),
        ("charge", list_column::<Int16Type>(events.iter().map(|(_, taus)| taus.charge()))),
        ("charged", list_column::<UInt16Type>(events.iter().map(|(_, taus)| taus.charged()))),
    ])
}
