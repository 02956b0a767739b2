//! Calorimeter clusters as rows of a Parquet file.

use std::sync::Arc;

use arrow_array::types::{Float32Type, UInt16Type};
use arrow_array::{RecordBatch, UInt64Array};
use asynchrotron::{EventId, Result};
use asynchrotron_algorithms::calorimeter::{Clustering, Clusters};

use super::parquet_sink::{list_column, rows};

/// One row for each event: its number, and a list for each column of [`Clusters`].
pub(crate) fn cluster_rows(events: &[(EventId, Arc<Clustering>)]) -> Result<RecordBatch> {
    let floats = |column: fn(&Clusters) -> &[f32]| {
        list_column::<Float32Type>(events.iter().map(|(_, found)| column(&found.clusters)))
    };
    let shorts = |column: fn(&Clusters) -> &[u16]| {
        list_column::<UInt16Type>(events.iter().map(|(_, found)| column(&found.clusters)))
    };
    let numbers: UInt64Array = events.iter().map(|(event, _)| event.0).collect::<Vec<_>>().into();
    rows([
        ("event", Arc::new(numbers)),
        ("x_cm", floats(Clusters::x_cm)),
        ("y_cm", floats(Clusters::y_cm)),
        ("energy_gev", floats(Clusters::energy_gev)),
        ("time_ns", floats(Clusters::time_ns)),
        ("seed_block", shorts(Clusters::seed_block)),
        ("size", shorts(Clusters::size)),
    ])
}
