//! A chain of two algorithms, in memory: `cargo run --example 01_hello_chain`.

use std::sync::Arc;

use asynchrotron::prelude::*;

/// ADC counts to energies. Plain code; it runs on whatever worker is free.
async fn calibrate(raw: Arc<Vec<u16>>) -> Result<Vec<f32>> {
    ensure!(!raw.is_empty(), "no hits at all");
    Ok(raw.iter().map(|&adc| 0.25 * f32::from(adc)).collect())
}

/// Energies to their sum.
async fn sum(energies: Arc<Vec<f32>>) -> Result<f32> {
    Ok(energies.iter().sum())
}

fn main() -> Result<()> {
    let mut chain = Chain::new("hello");
    let raw = chain.source::<Vec<u16>>("raw");
    let energies = chain.algorithm("calibrate", (raw,), calibrate);
    let total = chain.algorithm("sum", (energies,), sum);
    chain.sink("print", total, |event: EventId, total: Arc<f32>| {
        println!("event {event}: {total} MeV");
        Ok(())
    });

    // Sinks see events in the order of the source only if asked. An event without hits fails alone: the report names it.
    let config = Config { ordered: true, on_error: "skip".parse()?, ..Config::default() };
    let events = vec![vec![400_u16, 80], vec![1000], vec![], vec![4, 4, 4]];
    let report = Scheduler::new(config).run(chain, source::from_iter(events))?;
    print!("{report}");
    Ok(())
}

#[test]
fn the_tutorial_runs() -> Result<()> {
    main()
}
