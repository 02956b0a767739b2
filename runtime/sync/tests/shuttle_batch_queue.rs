//! Two batch queues, a driver each, and a dozen members under random schedules.
//!
//! A failure prints its seed, see `shuttle_composition.rs`.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(shuttle)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use asynchrotron_sync::broken::Fault;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use support::batching;
use support::refute::refute_by;

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("ASYNCHROTRON_SYNC_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
    println!("ASYNCHROTRON_SYNC_SEED={seed}"); // shown if the test fails
    seed
}

fn run(scheduler: impl Scheduler + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x20000;
    Runner::new(scheduler, config).run(|| batching::run(12, 6))
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
        Fault::BatchSkipsWake,
        Fault::BatchForgetsPoke,
        Fault::BatchForgetsWaiter,
        Fault::BatchCountsBlocked,
        Fault::CompletionSkipsWake,
    ];
    for fault in faults {
        refute_by("faults_are_found", fault, &["deadlock", "left over"], || {
            run(RandomScheduler::new_from_seed(1, 300));
        });
    }
}
