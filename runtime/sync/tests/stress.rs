//! The composed job on real threads.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use support::job;

#[test]
fn few_workers_many_events() {
    job::run(20_000, 4, 2);
}

#[test]
fn more_workers_than_cores() {
    job::run(20_000, 32, 3);
}

#[test]
fn one_worker() {
    for _ in 0..50 {
        job::run(100, 1, 1);
    }
}

#[test]
fn short_jobs_start_and_end() {
    for events in 0..500 {
        job::run(events % 10, 4, 2);
    }
}
