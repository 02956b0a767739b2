//! Batches across events, on a device that is not here, in time that does not pass: `cargo run --example 03_batches`.

use std::sync::Arc;

use asynchrotron::batch::BatchConfig;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron_algorithms::clue::{Clue, ClueConfig, Point, Points};
use asynchrotron_devices::{EmulatedConfig, EmulatedDevice};

/// A few points on a line; some events have more than others.
fn event(number: u64) -> Points {
    (0..10 + number % 20).map(|i| Point { x: 0.5 * i as f32, y: 0.0, weight: 1.0 }).collect()
}

fn run(policy: &str) -> Result<Report> {
    // What a device costs that takes 50 µs for a submission and 20 ns for a point, without having one. Simulated time goes
    // straight from one end of a wait to the next, and gives the same figures each time.
    let clock = Clock::simulated();
    let device = EmulatedConfig { clock: clock.clone(), ..EmulatedConfig::default() }
        .with_options("lanes=1,submission-us=50,row-ns=20")
        .map_err(Error::msg)?;
    let batches = BatchConfig::default().with_policy(policy.parse()?);
    let clue = Clue::batched(ClueConfig::default(), Arc::new(EmulatedDevice::new(device)), batches)?;

    let mut chain = Chain::new("batches");
    let points = chain.source::<Points>("points");
    // One offloaded step. An algorithm that calls `clue.clusterize(&ctx, points).await` among other things would be added with
    // `chain.algorithm`, and `chain.uses(its_handle, clue.batcher())`.
    let clusters = chain.offload("clusterize", (points,), clue.batcher());
    chain.sink("drop", clusters, |_, _| Ok(()));
    let config = Config { slots: 64, clock, ..Config::default() };
    Ok(Scheduler::new(config).run(chain, source::from_iter((0..3000).map(event)))?)
}

fn main() -> Result<()> {
    for policy in ["off", "greedy", "size=48", "delay=64:20", "adaptive", "fixed=32"] {
        let report = run(policy)?;
        println!(
            "{policy:<12} {:>9.0} events/s, at most {:?} for one",
            report.throughput(),
            report.latency.max
        );
    }
    // How the batches formed, and why each was closed.
    print!("\n{}", run("adaptive")?);
    Ok(())
}

#[test]
fn the_tutorial_runs() -> Result<()> {
    main()
}
