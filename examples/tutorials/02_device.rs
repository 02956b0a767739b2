//! An algorithm on a device, and a part of a chain that runs only where it is needed: `cargo run --example 02_device`.

use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron_algorithms::clue::{Clue, ClueConfig, ClueResult, Point, Points};
use asynchrotron_devices::{DeviceConfig, Devices};

/// Ten points on a line, `gap` apart.
fn line(gap: f32) -> Points {
    (0_u8..10).map(|i| Point { x: gap * f32::from(i), y: 0.0, weight: 1.0 }).collect()
}

fn main() -> Result<()> {
    // What is here, and for what is not, why.
    let devices = Devices::discover(&DeviceConfig::default());
    print!("{devices}");
    let config = ClueConfig { density_radius: 1.0, seed_density: 1.5, ..ClueConfig::default() };
    let clue = Clue::new(config, devices.select("auto")?)?;

    let mut chain = Chain::new("device");
    let points = chain.source::<Points>("points");
    // Suspends while the device works; its worker takes another event meanwhile.
    let clusters = chain.offload("clusterize", (points,), clue.batcher());
    // Demands the clusters, by `ctx.get`, only of points that lie close together: CLUE does not run for the others.
    let count =
        chain.algorithm("count", (points,), move |ctx: EventContext, points: Arc<Points>| async move {
            if points.x()[1] - points.x()[0] > 1.0 {
                return Ok::<usize, Error>(0);
            }
            let found: Arc<ClueResult> = ctx.get(clusters).await?;
            Ok(found.is_seed().iter().filter(|&&seed| seed == 1).count())
        });
    chain.sink("print", count, |event: EventId, count: Arc<usize>| {
        println!("event {event}: {count} clusters");
        Ok(())
    });
    let report = Scheduler::default().run(chain, source::from_iter([0.1, 0.5, 2.0, 9.0].map(line)))?;
    print!("{report}");
    Ok(())
}

#[test]
fn the_tutorial_runs() -> Result<()> {
    main()
}
