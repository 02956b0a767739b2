//! Everything together under random schedules: dozens of tasks, two drivers, three lanes, cancelled events.
//!
//! A failure prints its seed; `ASYNCHROTRON_SYNC_SEED=<seed>` runs the same schedules again. Shuttle also prints the failing
//! schedule itself, for `shuttle::replay`.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(shuttle)]

mod support;

use asynchrotron_sync::broken::Fault;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::time::{SystemTime, UNIX_EPOCH};
use support::job;
use support::refute::refute_by;

const EVENTS: u64 = 24;

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("ASYNCHROTRON_SYNC_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
    println!("ASYNCHROTRON_SYNC_SEED={seed}"); // shown if the test fails
    seed
}

fn run(scheduler: impl Scheduler + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x20000;
    Runner::new(scheduler, config).run(|| job::run(EVENTS, EVENTS as usize, 2))
}

#[test]
fn random_schedules() {
    assert_eq!(run(RandomScheduler::new_from_seed(seed(), 3000)), 3000);
}

#[test]
fn probabilistic_schedules() {
    assert_eq!(run(PctScheduler::new_from_seed(seed(), 3, 3000)), 3000);
}

#[test]
fn faults_are_found() {
    let faults = [
        Fault::CompletionSkipsWake,
        Fault::CompletionForgetsLost,
        Fault::ProductSkipsWake,
        Fault::PoolSkipsWake,
        Fault::PoolForgetsDroppedGrant,
        Fault::ReadyForgetsRecheck,
        Fault::TurnstileSkipsWake,
    ];
    for fault in faults {
        refute_by("faults_are_found", fault, &["deadlock", "every lane came back"], || {
            run(RandomScheduler::new_from_seed(1, 300));
        });
    }
}
