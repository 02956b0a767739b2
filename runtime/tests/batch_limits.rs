//! What a batch holds at most, and the sizes that it is padded to.

mod common;

use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use common::Collected;
use common::device::{Failed, Square};

const EVENTS: u64 = 100;

/// What the batches were: their numbers, and their rows with padding.
type Ran = (Report, Vec<(Vec<u64>, usize)>);

/// Runs events 0…99 with 0 to 4 rows and 0 to 60 bytes each, in simulated time.
fn run(config: BatchConfig) -> Ran {
    let clock = Clock::simulated();
    let device =
        Square { rows: |n| n as usize % 5, bytes: |n| n as usize % 7 * 10, ..Square::new(&clock, 1) };
    let (batches, sizes) = (device.batches.clone(), device.sizes.clone());
    let batcher = Batcher::new(device, config);
    let mut chain = Chain::new("limits");
    let number = chain.source::<u64>("number");
    let square = chain.offload("square", (number,), &batcher);
    let collected = Collected::of(&mut chain, square);
    let config = Config { slots: 16, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..EVENTS)).unwrap();
    assert_eq!(collected.sorted(), (0..EVENTS).map(|n| (n, n * n)).collect::<Vec<_>>());
    assert!(report.elapsed < Duration::from_millis(100), "waited for a time-out: {report}");
    let batches = std::mem::take(&mut *batches.lock().unwrap());
    let sizes = std::mem::take(&mut *sizes.lock().unwrap());
    (report, batches.into_iter().zip(sizes).collect())
}

fn rows(batch: &[u64]) -> usize {
    batch.iter().map(|number| *number as usize % 5).sum()
}

fn bytes(batch: &[u64]) -> usize {
    batch.iter().map(|number| *number as usize % 7 * 10).sum()
}

const POLICIES: [&str; 6] = ["greedy", "size=16", "delay=16:200", "adaptive", "adaptive=0", "fixed=16"];

fn with(policy: &str, change: impl FnOnce(&mut BatchConfig)) -> Ran {
    let mut config = BatchConfig::default().with_policy(policy.parse().unwrap());
    change(&mut config);
    run(config)
}

#[test]
fn requests_are_limited() {
    for policy in &POLICIES[..5] {
        let (report, batches) = with(policy, |config| config.requests_max = 6);
        assert!(batches.iter().all(|(batch, _)| batch.len() <= 6), "{policy}: {batches:?}");
        assert!(batches.iter().any(|(batch, _)| batch.len() == 6), "{policy}: {report}");
    }
}

#[test]
fn rows_are_limited() {
    for policy in POLICIES {
        let (report, batches) = with(policy, |config| config.rows_max = 9);
        assert!(batches.iter().all(|(batch, _)| rows(batch) <= 9), "{policy}: {batches:?}");
        assert!(batches.iter().any(|(batch, _)| batch.len() > 2), "{policy}: {report}");
    }
}

#[test]
fn bytes_are_limited() {
    for policy in POLICIES {
        let (report, batches) = with(policy, |config| config.bytes_max = 130);
        assert!(batches.iter().all(|(batch, _)| bytes(batch) <= 130), "{policy}: {batches:?}");
        assert!(batches.iter().any(|(batch, _)| batch.len() > 2), "{policy}: {report}");
    }
}

#[test]
fn a_request_beyond_a_limit_goes_alone() {
    for policy in POLICIES {
        let (_, batches) = with(policy, |config| (config.rows_max, config.bytes_max) = (3, 50));
        for (batch, _) in &batches {
            let is_within = rows(batch) <= 3 && bytes(batch) <= 50;
            assert!(is_within || batch.len() == 1, "{policy}: {batches:?}");
        }
        assert!(batches.iter().any(|(batch, _)| batch.len() > 1), "{policy}: {batches:?}");
    }
}

#[test]
fn a_batch_is_padded_to_the_next_size_with_any_policy_and_without_batches() {
    for policy in POLICIES.into_iter().chain(["off"]) {
        let (report, batches) = with(policy, |config| config.sizes = vec![8, 3]);
        for (batch, size) in &batches {
            let padded = if rows(batch) <= 3 { 3 } else { 8 };
            assert_eq!(*size, padded, "{policy}: {batch:?}");
        }
        let batcher = &report.batchers[0];
        let padding: usize = batches.iter().map(|(batch, size)| size - rows(batch)).sum();
        assert_eq!((batcher.rows, batcher.padding), (200, padding as u64), "{policy}: {report}");
        assert!(report.to_string().contains(&format!("{padding} rows of padding")), "{policy}: {report}");
    }
}

#[test]
fn more_rows_than_the_largest_size_go_without_padding() {
    for policy in POLICIES.into_iter().chain(["off"]) {
        let (_, batches) = with(policy, |config| config.sizes = vec![2]);
        for (batch, size) in &batches {
            assert!(*size == 2 || (batch.len() == 1 && *size == rows(batch)), "{policy}: {batch:?} {size}");
        }
    }
}

#[test]
fn parts_of_a_failed_batch_are_padded_as_well() {
    let clock = Clock::simulated();
    let device = Square::new(&clock, 1).failing(|numbers| (numbers.len() > 2).then_some(Failed::OutOfMemory));
    let (sizes, lanes) = (device.sizes.clone(), device.lanes.clone());
    let policy = BatchPolicy::Size(6);
    let config = BatchConfig { policy, sizes: vec![4, 8], ..BatchConfig::default() };
    let batcher = Batcher::new(device, config);
    let mut chain = Chain::new("parts");
    let number = chain.source::<u64>("number");
    let square = chain.offload("square", (number,), &batcher);
    chain.sink("drop", square, |_, _| Ok(()));
    let config = Config { slots: 6, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..6_u64)).unwrap();
    // Six, three and three, then two and one of each.
    assert_eq!(*sizes.lock().unwrap(), [8, 4, 4, 4, 4, 4, 4]);
    assert_eq!((report.events, lanes.available()), (6, 1));
}
