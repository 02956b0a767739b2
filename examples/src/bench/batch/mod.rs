//! `bench batch`: batches across events, on a device on which a submission of n requests takes 50 µs + 1 µs · n.
//!
//! | part | time | asks |
//! |---|---|---|
//! | [`policies`] | simulated | is `adaptive` as good as the best static policy, whatever the load? |
//! | [`peers`] | real | and beside an outside batcher, and no batches? |
//! | [`round_trip`] | real | what does a request cost the processor, beside a channel there and back? |
//! | [`chain`] | real | and an event with three of them, beside one without? |

mod chain;
mod device;
mod load;
mod peers;
mod plain;
mod policies;
mod record;
mod round_trip;

use asynchrotron::Result;
use serde_json::json;

use super::machine::machine;

/// Measures, and prints one JSON object or tables.
pub(super) fn run(json: bool) -> Result<()> {
    let (policies, peers, round_trip) = (policies::run()?, peers::run()?, round_trip::run()?);
    let chain = chain::run()?;
    if json {
        let result = json!({
            "bench": "batch", "machine": machine(),
            "policies": policies, "peers": peers, "round_trip": round_trip, "chain": chain,
        });
        println!("{result:#}");
        return Ok(());
    }
    println!("{}\n", machine());
    policies::print(&policies);
    println!();
    peers::print(&peers);
    println!();
    round_trip::print(&round_trip);
    println!();
    chain::print(&chain);
    Ok(())
}

/// Of a JSON object, what a table shows.
fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// To so many digits after the point.
fn rounded(x: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (x * scale).round() / scale
}
