//! Points on several streams, with threads that arm, workers, and a driver, under random schedules.
//!
//! A failure prints its seed, see `shuttle_composition.rs`.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(shuttle)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use asynchrotron_sync::broken::Fault;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use support::refute::refute_by;
use support::streams::{self, Load};

const LIVES: Load = Load { streams: 3, points: 9, armers: 2, workers: 3, harvests: 8, lives_for: usize::MAX };
const DIES: Load = Load { lives_for: 10, ..LIVES };

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("ASYNCHROTRON_SYNC_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
    println!("ASYNCHROTRON_SYNC_SEED={seed}"); // shown if the test fails
    seed
}

fn run(scheduler: impl Scheduler + 'static, load: Load) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x20000;
    Runner::new(scheduler, config).run(move || streams::run(load))
}

#[test]
fn random_schedules() {
    assert_eq!(run(RandomScheduler::new_from_seed(seed(), 2000), LIVES), 2000);
}

#[test]
fn random_schedules_of_a_device_that_dies() {
    assert_eq!(run(RandomScheduler::new_from_seed(seed(), 2000), DIES), 2000);
}

#[test]
fn probabilistic_schedules() {
    assert_eq!(run(PctScheduler::new_from_seed(seed(), 3, 2000), LIVES), 2000);
}

#[test]
fn faults_are_found() {
    let faults = [
        Fault::PointsClaimRaces,
        Fault::PointsUnlistsArmed,
        Fault::PointsSkipsWake,
        Fault::PointsForgetsCall,
    ];
    // Where somebody hangs, the device goes on waiting for points: that is the step limit.
    let says = ["deadlock", "exceeded max_steps", "asked by two", "told too early"];
    for fault in faults {
        refute_by("faults_are_found", fault, &says, || {
            run(RandomScheduler::new_from_seed(1, 300), LIVES);
        });
    }
}
