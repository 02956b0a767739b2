//! `bench onnx`: models on ONNX Runtime, shared by events.
//!
//! | part | asks |
//! |---|---|
//! | [`chains`] | how near does the whole way (submit, batch, run, resume) come to bare runs, and what do simpler ways reach? |
//! | [`loading`] | what does a graph save that was optimised ahead of time? |

mod chains;
mod limit;
mod loading;
mod models;

use asynchrotron::Result;
use serde_json::json;

use super::machine::machine;

/// Measures, and prints one JSON object or tables.
pub(super) fn run(json: bool) -> Result<()> {
    let (chains, loading) = (chains::run()?, loading::run()?);
    if json {
        println!(
            "{:#}",
            json!({ "bench": "onnx", "machine": machine(), "chains": chains, "loading": loading })
        );
        return Ok(());
    }
    println!("{}\n", machine());
    chains::print(&chains);
    println!();
    loading::print(&loading);
    Ok(())
}

/// To three digits.
fn rounded(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}
