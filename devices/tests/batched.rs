//! Batches on the emulated device: faults, and fused steps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{OnError, Then};
use asynchrotron_devices::{
    BatchStep, Device, DeviceError, DeviceErrorKind, EmulatedConfig, EmulatedDevice, Faults, Fused, Offsets,
    OnDevice, Step,
};

/// Adds to each of some numbers.
struct Add(u64);

#[derive(Clone)]
struct Numbers(Arc<Vec<u64>>);

impl From<(Arc<Vec<u64>>,)> for Numbers {
    fn from((numbers,): (Arc<Vec<u64>>,)) -> Self {
        Numbers(numbers)
    }
}

impl Step for Add {
    type Input = Vec<u64>;
    type Output = Vec<u64>;

    fn name(&self) -> &str {
        "add"
    }

    fn rows(&self, numbers: &Vec<u64>) -> usize {
        numbers.len()
    }

    fn on_host(&self, numbers: Vec<u64>) -> Result<Vec<u64>> {
        ensure!(!numbers.contains(&1_000_000), "a million is too much");
        Ok(numbers.into_iter().map(|number| number + self.0).collect())
    }
}

impl BatchStep for Add {
    type Request = Numbers;
    type Reply = Vec<u64>;
    type Parts = Offsets;

    fn request_rows(&self, request: &Numbers) -> usize {
        request.0.len()
    }

    fn pack(&self, requests: &[&Numbers], _rows: usize) -> (Vec<u64>, Offsets) {
        let together = requests.iter().flat_map(|request| request.0.iter().copied()).collect();
        (together, Offsets::from_counts(requests.iter().map(|request| request.0.len())))
    }

    fn unpack(&self, output: Vec<u64>, parts: Offsets) -> Vec<Vec<u64>> {
        parts.iter().map(|rows| output[rows].to_vec()).collect()
    }
}

struct Ran {
    report: Report,
    replies: Vec<(u64, Vec<u64>)>,
}

/// Runs one-row events through `add(10)`; if `twice`, through `add(20)` after it.
fn run(config: EmulatedConfig, policy: &str, events: Vec<Vec<u64>>, how: How) -> Ran {
    let (clock, policy): (Clock, BatchPolicy) = (config.clock.clone(), policy.parse().unwrap());
    let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
    let batches = BatchConfig::default().with_policy(policy);
    let mut chain = Chain::new("adding");
    let numbers = chain.source::<Vec<u64>>("numbers");
    let added = match how {
        How::Fused => {
            let fused = Fused::new(Add(10), Add(20), |numbers| numbers);
            chain.offload("both", (numbers,), &OnDevice::batcher(fused, device.clone(), batches.clone()))
        }
        _ => chain.offload("add", (numbers,), &OnDevice::batcher(Add(10), device.clone(), batches.clone())),
    };
    let added = match how {
        How::Twice => chain.offload("again", (added,), &OnDevice::batcher(Add(20), device, batches)),
        _ => added,
    };
    let replies = Arc::new(Mutex::new(Vec::new()));
    let here = replies.clone();
    chain.ordered_sink("keep", added, move |event: EventId, numbers: Arc<Vec<u64>>| {
        here.lock().unwrap().push((event.0, Vec::clone(&numbers)));
        Ok(())
    });
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    let config = Config { slots: 16, clock, on_error, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
    let replies = std::mem::take(&mut *replies.lock().unwrap());
    Ran { report, replies }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Once,
    Twice,
    Fused,
}

fn simulated(faults: Faults) -> EmulatedConfig {
    EmulatedConfig {
        lanes: 2,
        submission: Duration::from_micros(50),
        per_row_ns: 1000.0,
        bytes_per_s: 0.0,
        jitter: 0.0,
        clock: Clock::simulated(),
        faults,
        ..EmulatedConfig::default()
    }
}

fn singles(n: u64) -> Vec<Vec<u64>> {
    (0..n).map(|number| vec![number]).collect()
}

fn plus(events: &[Vec<u64>], add: u64) -> Vec<(u64, Vec<u64>)> {
    let event =
        |(event, numbers): (usize, &Vec<u64>)| (event as u64, numbers.iter().map(|x| x + add).collect());
    events.iter().enumerate().map(event).collect()
}

#[test]
fn fused_steps_give_the_same_for_one_submission_instead_of_two() {
    let events: Vec<Vec<u64>> = (0..100).map(|n| (0..n % 7).collect()).collect();
    for policy in ["size=16", "adaptive", "greedy", "fixed=8"] {
        let twice = run(simulated(Faults::default()), policy, events.clone(), How::Twice);
        let fused = run(simulated(Faults::default()), policy, events.clone(), How::Fused);
        assert_eq!(fused.replies, plus(&events, 30));
        assert_eq!(twice.replies, fused.replies);
        assert_eq!((twice.report.batchers.len(), fused.report.batchers.len()), (2, 1));
        assert_eq!(fused.report.batchers[0].name, "add+add");
        assert!(fused.report.elapsed < twice.report.elapsed, "{policy}: {} {}", fused.report, twice.report);
    }
}

#[test]
fn a_fused_step_whose_second_part_fails_costs_the_event_that_causes_it() {
    let mut events = singles(40);
    events[13] = vec![1_000_000 - 10];
    let ran = run(simulated(Faults::default()), "size=16", events, How::Fused);
    assert_eq!((ran.replies.len(), ran.report.failed), (39, 1));
    let failure = &ran.report.failures[0];
    assert!(failure.event.0 == 13 && failure.to_string().contains("a million is too much"), "{failure}");
}

#[test]
fn random_failures_cost_only_requests_that_stand_alone_and_are_the_same_each_time() {
    let faults = Faults { fail_probability: 0.3, ..Faults::default() };
    for policy in ["off", "size=8", "adaptive", "fixed=8"] {
        let [first, second] =
            [(); 2].map(|()| run(simulated(faults.clone()), policy, singles(200), How::Once));
        assert_eq!(first.replies, second.replies, "{policy}");
        assert_eq!(first.replies.len() as u64 + first.report.failed, 200, "{policy}");
        assert!((1..100).contains(&first.report.failed), "{policy}: {}", first.report);
        assert!(first.replies.iter().all(|(event, reply)| *reply == [event + 10]), "{policy}");
        let splits = first.report.batchers[0].splits;
        assert_eq!(splits > 0, policy != "off", "{policy}: {}", first.report);
    }
}

#[test]
fn a_submission_that_fails_once_costs_nobody() {
    let faults = Faults { fail_nth: Some(2), ..Faults::default() };
    let ran = run(simulated(faults), "size=8", singles(64), How::Once);
    assert_eq!(ran.replies, plus(&singles(64), 10));
    assert_eq!((ran.report.failed, ran.report.batchers[0].splits), (0, 1));
}

#[test]
fn a_step_that_cannot_compute_one_event_fails_that_event_with_its_own_error() {
    let mut events = singles(40);
    events[13] = vec![1_000_000];
    let ran = run(simulated(Faults::default()), "size=16", events, How::Once);
    assert_eq!((ran.replies.len(), ran.report.failed), (39, 1));
    let failure = &ran.report.failures[0];
    let error = failure.failure.cause().downcast_ref::<DeviceError>().unwrap();
    assert!(failure.event.0 == 13 && matches!(error.kind(), DeviceErrorKind::Step(_)), "{failure}");
    assert!(failure.to_string().contains("a million is too much"), "{failure}");
}

#[test]
fn what_does_not_fit_into_the_memory_is_halved() {
    let faults = Faults { out_of_memory_above_rows: Some(5), ..Faults::default() };
    let mut events = singles(40);
    events[7] = (0..6).collect();
    let ran = run(simulated(faults), "size=16", events, How::Once);
    assert_eq!((ran.replies.len(), ran.report.failed), (39, 1));
    assert!(ran.report.failures[0].to_string().contains("does not fit into the memory"));
}

#[test]
fn a_lost_lane_costs_no_event() {
    let faults = Faults { lose_lane_nth: Some(3), ..Faults::default() };
    for policy in ["off", "size=4", "adaptive", "fixed=8"] {
        let ran = run(simulated(faults.clone()), policy, singles(64), How::Once);
        assert_eq!(ran.replies, plus(&singles(64), 10), "{policy}: {}", ran.report);
    }
}

#[test]
fn a_device_that_fails_for_good_fails_every_event_and_hangs_none() {
    let faults = Faults { fail_nth: Some(2), sticky: true, ..Faults::default() };
    for policy in ["off", "size=4", "adaptive"] {
        let ran = run(simulated(faults.clone()), policy, singles(64), How::Once);
        assert_eq!(ran.report.events + ran.report.failed, 64, "{policy}");
        assert!(ran.report.failed > 32, "{policy}: {}", ran.report);
    }
}

/// A batch that hangs costs those who are in it, when their deadline passes; then the lane serves others.
#[test]
fn a_submission_that_hangs_costs_its_batch_and_no_other() {
    for policy in ["off", "size=4", "adaptive", "fixed=4"] {
        let config =
            EmulatedConfig { lanes: 1, ..simulated(Faults { hang_nth: Some(2), ..Faults::default() }) };
        let clock = config.clock.clone();
        let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
        let batches = BatchConfig::default().with_policy(policy.parse().unwrap());
        let mut chain = Chain::new("hanging");
        let numbers = chain.source::<Vec<u64>>("numbers");
        let added = chain.offload("add", (numbers,), &OnDevice::batcher(Add(10), device, batches));
        chain.sink("drop", added, |_, _: Arc<Vec<u64>>| Ok(()));
        let config = Config {
            slots: 4,
            clock,
            deadline: Some(Duration::from_millis(5)),
            on_error: OnError { then: Then::Skip, ..OnError::default() },
            ..Config::default()
        };
        let report = Scheduler::new(config).run(chain, source::from_iter(singles(40))).unwrap();
        assert_eq!(report.events + report.timed_out, 40, "{policy}: {report}");
        assert!((1..=4).contains(&report.timed_out), "{policy}: {report}");
    }
}

/// A step that takes inputs of 4 or 16 rows and no others, of 250 bytes a row.
struct Picky;

impl Step for Picky {
    type Input = Vec<u64>;
    type Output = Vec<u64>;

    fn name(&self) -> &str {
        "picky"
    }

    fn rows(&self, numbers: &Vec<u64>) -> usize {
        numbers.len()
    }

    fn bytes(&self, numbers: &Vec<u64>) -> usize {
        250 * numbers.len()
    }

    fn on_host(&self, numbers: Vec<u64>) -> Result<Vec<u64>> {
        ensure!([4, 16].contains(&numbers.len()), "{} rows", numbers.len());
        Ok(numbers)
    }
}

impl BatchStep for Picky {
    type Request = Numbers;
    type Reply = Vec<u64>;
    type Parts = Offsets;

    fn request_rows(&self, request: &Numbers) -> usize {
        request.0.len()
    }

    fn pack(&self, requests: &[&Numbers], rows: usize) -> (Vec<u64>, Offsets) {
        let (mut together, parts) = Add(0).pack(requests, rows);
        together.resize(rows, u64::MAX);
        (together, parts)
    }

    fn unpack(&self, output: Vec<u64>, parts: Offsets) -> Vec<Vec<u64>> {
        Add(0).unpack(output, parts)
    }
}

fn run_picky(config: EmulatedConfig, batches: BatchConfig, events: Vec<Vec<u64>>) -> Ran {
    let clock = config.clock.clone();
    let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
    let mut chain = Chain::new("picky");
    let numbers = chain.source::<Vec<u64>>("numbers");
    let same = chain.offload("picky", (numbers,), &OnDevice::batcher(Picky, device, batches));
    let replies = Arc::new(Mutex::new(Vec::new()));
    let here = replies.clone();
    chain.ordered_sink("keep", same, move |event: EventId, numbers: Arc<Vec<u64>>| {
        here.lock().unwrap().push((event.0, Vec::clone(&numbers)));
        Ok(())
    });
    let config = Config { slots: 8, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
    let replies = std::mem::take(&mut *replies.lock().unwrap());
    Ran { report, replies }
}

#[test]
fn a_step_that_takes_inputs_of_some_sizes_gets_no_others() {
    let events: Vec<Vec<u64>> = (0..100).map(|n| (0..n % 5).collect()).collect();
    for policy in ["off", "greedy", "size=6", "adaptive", "fixed=6"] {
        let policy: BatchPolicy = policy.parse().unwrap();
        let batches = BatchConfig { policy, sizes: vec![4, 16], ..BatchConfig::default() };
        let ran = run_picky(simulated(Faults::default()), batches, events.clone());
        assert_eq!(ran.replies, plus(&events, 0), "{policy}");
    }
}

#[test]
fn lanes_overlap_transfer_and_compute_of_batches() {
    // Batches of four take 100 µs to copy, on one copy engine, and 100 µs to compute, on one engine: with two lanes one is
    // computed while the next one is copied.
    let elapsed = |lanes| {
        let config = EmulatedConfig {
            lanes,
            engines: 1,
            submission: Duration::from_micros(100),
            per_row_ns: 0.0,
            bytes_per_s: 1e7,
            ..simulated(Faults::default())
        };
        let batches = BatchConfig::default().with_policy(BatchPolicy::Fixed(4));
        run_picky(config, batches, singles(40)).report.elapsed
    };
    assert_eq!(elapsed(1), Duration::from_micros(10 * 200));
    assert_eq!(elapsed(2), Duration::from_micros(100 + 10 * 100));
}

#[test]
fn lanes_overlap_transfer_and_compute() {
    // Transfers of 100 µs on one copy engine, computing of 100 µs on one engine: with two lanes one event computes while the
    // next one is copied.
    struct Copied;
    impl Step for Copied {
        type Input = u64;
        type Output = u64;
        fn name(&self) -> &str {
            "copied"
        }
        fn rows(&self, _: &u64) -> usize {
            1
        }
        fn bytes(&self, _: &u64) -> usize {
            1000
        }
        fn on_host(&self, x: u64) -> Result<u64> {
            Ok(x)
        }
    }
    let elapsed = |lanes| {
        let config = EmulatedConfig {
            lanes,
            engines: 1,
            submission: Duration::from_micros(100),
            per_row_ns: 0.0,
            bytes_per_s: 1e7,
            ..simulated(Faults::default())
        };
        let clock = config.clock.clone();
        let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
        let mut chain = Chain::new("overlap");
        let x = chain.source::<u64>("x");
        let step = Arc::new(Copied);
        let y = chain.algorithm("copy", (x,), move |x: Arc<u64>| {
            let (device, step) = (device.clone(), step.clone());
            async move { device.run(&step, *x).await }
        });
        chain.sink("drop", y, |_, _: Arc<u64>| Ok(()));
        let config = Config { slots: 8, clock, ..Config::default() };
        Scheduler::new(config).run(chain, source::from_iter(0..20_u64)).unwrap().elapsed
    };
    assert_eq!(elapsed(1), Duration::from_micros(20 * 200));
    assert_eq!(elapsed(2), Duration::from_micros(100 + 20 * 100));
}
