//! CLUE gives the same however its batches form.

use std::sync::{Arc, Mutex};

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron_algorithms::clue::{Clue, ClueConfig, ClueResult, Point, Points, clusterize};
use asynchrotron_devices::{Columns, Device, EmulatedConfig, EmulatedDevice, HostDevice, Offsets};
use rand::{RngExt as _, SeedableRng as _};

const EVENTS: u64 = 150;

/// Events of 0 to 120 points, some of them empty.
fn events() -> Vec<Arc<Points>> {
    let event = |event| {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        rng.set_stream(event);
        let points = rng.random_range(0..=40_usize).saturating_sub(4) * 3;
        let rows = std::iter::repeat_with(|| {
            let [x, y] = std::array::from_fn(|_| rng.random_range(-20.0..20.0_f32));
            // Not powers of two, so that any other order of summation would show.
            Point { x, y, weight: rng.random_range(0.1..1.0_f32) }
        });
        Arc::new(rows.take(points).collect())
    };
    (0..EVENTS).map(event).collect()
}

fn config() -> ClueConfig {
    ClueConfig { density_radius: 3.0, seed_density: 1.0, ..ClueConfig::default() }
}

fn expected(events: &[Arc<Points>]) -> Vec<ClueResult> {
    let alone = |points: &Arc<Points>| clusterize(&config(), points, &Offsets::single(points.len())).unwrap();
    events.iter().map(alone).collect()
}

fn run(events: &[Arc<Points>], clue: &Clue, clock: Clock, threads: usize, slots: usize) -> Vec<ClueResult> {
    let mut chain = Chain::new("clue");
    let number = chain.source::<u64>("number");
    let all = chain.conditions("events", Arc::new(events.to_vec()));
    let points =
        chain.algorithm("points", (number, all), async |number: Arc<u64>, all: Arc<Vec<Arc<Points>>>| {
            Ok::<_, Error>(Points::clone(&all[*number as usize]))
        });
    let clusters = chain.offload("clusterize", (points,), clue.batcher());
    let results = Arc::new(Mutex::new(vec![None; events.len()]));
    let here = results.clone();
    chain.sink("keep", clusters, move |event: EventId, result: Arc<ClueResult>| {
        here.lock().unwrap()[event.0 as usize] = Some(ClueResult::clone(&result));
        Ok(())
    });
    let config = Config { threads, slots, clock, ..Config::default() };
    Scheduler::new(config).run(chain, source::from_iter(0..events.len() as u64)).unwrap();
    let results = std::mem::take(&mut *results.lock().unwrap());
    results.into_iter().map(Option::unwrap).collect()
}

fn assert_same(expected: &[ClueResult], found: &[ClueResult], how: &str) {
    for (event, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert!(expected.same_bits(found), "event {event} differs: {how}");
    }
}

const POLICIES: [&str; 10] = [
    "off",
    "greedy",
    "size=7",
    "size=64",
    "size=500",
    "delay=20:200",
    "adaptive",
    "adaptive=0",
    "fixed=5",
    "fixed=32",
];

#[test]
fn through_every_policy_with_1_to_8_threads_and_1_to_256_slots() {
    let events = events();
    let expected = expected(&events);
    for (threads, slots) in [(1, 1), (1, 256), (2, 16), (3, 2), (4, 64), (8, 4), (8, 256)] {
        for policy in POLICIES {
            let lanes = 1 + slots % 3;
            let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(EmulatedConfig {
                lanes,
                jitter: 0.5,
                ..EmulatedConfig::default()
            }));
            let batches = BatchConfig::default().with_policy(policy.parse().unwrap());
            let clue = Clue::batched(config(), device, batches).unwrap();
            let found = run(&events, &clue, Clock::real(), threads, slots);
            assert_same(
                &expected,
                &found,
                &format!("{policy}, {threads} threads, {slots} slots, {lanes} lanes"),
            );
        }
    }
}

#[test]
fn on_the_host_in_batches_and_without() {
    let events = events();
    let expected = expected(&events);
    for policy in POLICIES {
        let batches = BatchConfig::default().with_policy(policy.parse().unwrap());
        let clue = Clue::batched(config(), Arc::new(HostDevice::default()), batches).unwrap();
        assert_same(&expected, &run(&events, &clue, Clock::real(), 2, 32), policy);
    }
}

#[test]
fn in_simulated_time_with_limited_batches_and_padding() {
    let events = events();
    let expected = expected(&events);
    for policy in ["greedy", "adaptive", "size=20"] {
        let clock = Clock::simulated();
        let device = EmulatedConfig { lanes: 2, clock: clock.clone(), ..EmulatedConfig::default() };
        let policy: BatchPolicy = policy.parse().unwrap();
        let batches = BatchConfig {
            policy,
            requests_max: 9,
            bytes_max: 6000,
            sizes: vec![64, 256, 1024],
            ..BatchConfig::default()
        };
        let clue = Clue::batched(config(), Arc::new(EmulatedDevice::new(device)), batches).unwrap();
        assert_same(&expected, &run(&events, &clue, clock, 1, 64), &policy.to_string());
    }
}
