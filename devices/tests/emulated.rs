//! The emulated device: what every device promises, its faults, and simulated time.

mod conformance;

use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron_devices::{
    Completion, Device, DeviceConfig, DeviceError, DeviceErrorKind, DeviceKind, Devices, EmulatedConfig,
    EmulatedDevice, Faults, Step,
};
use conformance::{Held, Sorted, Sum, Tracker, block_on, held, within_reason};

fn quick() -> EmulatedConfig {
    EmulatedConfig {
        lanes: 3,
        submission: Duration::from_micros(20),
        per_row_ns: 0.01,
        bytes_per_s: 1e10,
        ..EmulatedConfig::default()
    }
}

fn device(config: EmulatedConfig) -> Arc<dyn Device> {
    Arc::new(EmulatedDevice::new(config))
}

fn faulty(faults: Faults) -> Arc<dyn Device> {
    device(EmulatedConfig { faults, ..quick() })
}

conformance::suite!(|| device(quick()));

mod with_jitter_and_few_engines {
    use super::*;

    conformance::suite!(|| {
        let (lanes, engines) = (5, 2);
        device(EmulatedConfig { lanes, engines, jitter: 0.5, ..quick() })
    });
}

fn submit(device: &dyn Device) -> Completion<f32, DeviceError> {
    device.submit(device.lanes().try_take().expect("an idle lane"), Arc::new(Sum), vec![1.0, 2.0])
}

/// Runs so many steps, one after the other; `true` where one succeeded.
fn successes(device: &dyn Device, steps: usize) -> Vec<bool> {
    let run = |_| block_on(device.run(&Arc::new(Sum), vec![1.0, 2.0])).is_ok_and(|sum| sum == 3.0);
    (0..steps).map(run).collect()
}

#[test]
fn a_submission_takes_as_long_as_the_model_says_at_least() {
    let config = EmulatedConfig { submission: Duration::from_millis(3), per_row_ns: 1000.0, ..quick() };
    let device = device(config);
    for rows in [1, 1000] {
        let begin = Instant::now();
        block_on(device.run(&Arc::new(Sum), vec![0.0; rows])).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(3) + Duration::from_micros(rows as u64));
    }
}

#[test]
fn the_nth_submission_fails_and_no_other() {
    let device = faulty(Faults { fail_nth: Some(3), ..Faults::default() });
    assert_eq!(successes(&*device, 5), [true, true, false, true, true]);
    let device = faulty(Faults { fail_nth: Some(1), ..Faults::default() });
    let error = block_on(submit(&*device)).unwrap_err();
    assert!(matches!(error.kind(), DeviceErrorKind::Failed(_)));
    assert_eq!(error.to_string(), "device `emulated` failed in step `sum`: an error on request (emulated)");
    assert_eq!(device.lanes().available(), 3);
}

#[test]
fn after_a_sticky_failure_nothing_succeeds() {
    let device = faulty(Faults { fail_nth: Some(2), sticky: true, ..Faults::default() });
    assert_eq!(successes(&*device, 5), [true, false, false, false, false]);
    assert_eq!(device.lanes().available(), 3);
}

#[test]
fn random_failures_are_the_same_for_the_same_seed() {
    let outcome = |seed| {
        let faults = Faults { fail_probability: 0.3, ..Faults::default() };
        successes(&*device(EmulatedConfig { faults, seed, ..quick() }), 40)
    };
    assert_eq!(outcome(1), outcome(1));
    assert_ne!(outcome(1), outcome(2));
}

#[test]
fn an_input_that_is_too_large_is_out_of_memory_and_a_smaller_one_is_not() {
    let device = faulty(Faults { out_of_memory_above_rows: Some(10), ..Faults::default() });
    let error = block_on(device.run(&Arc::new(Sum), vec![0.0; 11])).unwrap_err();
    assert!(matches!(error.kind(), DeviceErrorKind::OutOfMemory));
    block_on(device.run(&Arc::new(Sum), vec![0.0; 10])).unwrap();
}

#[test]
fn a_submission_that_hangs_ends_when_the_device_is_closed_or_dropped() {
    for close in [true, false] {
        within_reason(move || {
            let device = faulty(Faults { hang_nth: Some(1), ..Faults::default() });
            let (hanging, fine) = (submit(&*device), submit(&*device));
            assert_eq!(block_on(fine).unwrap(), 3.0);
            assert_eq!(device.lanes().available(), 2);
            let drain = device.drain();
            if close {
                device.close();
            } else {
                drop(device);
            }
            let error = block_on(hanging).unwrap_err();
            assert!(matches!(error.kind(), DeviceErrorKind::Lost), "{error}");
            block_on(drain);
        });
    }
}

#[test]
fn a_submission_that_hangs_is_freed_when_its_waiter_leaves() {
    within_reason(|| {
        let (device, tracker) =
            (faulty(Faults { hang_nth: Some(1), ..Faults::default() }), Tracker::default());
        let lane = device.lanes().try_take().unwrap();
        let hanging = device.submit(lane, Arc::new(Held), held(tracker.buffer()).0);
        assert_eq!((tracker.alive(), device.lanes().available()), (1, 2));
        drop(hanging);
        block_on(device.drain());
        assert_eq!((tracker.alive(), device.lanes().available()), (0, 3));
    });
}

#[test]
fn a_lost_lane_retires_and_the_last_one_closes_the_pool() {
    within_reason(|| {
        let config = EmulatedConfig {
            lanes: 2,
            faults: Faults { lose_lane_nth: Some(2), ..Faults::default() },
            ..quick()
        };
        let larger = device(config.clone());
        assert_eq!(successes(&*larger, 4), [true, false, true, true]);
        assert_eq!((larger.lanes().len(), larger.lanes().available()), (1, 1));

        let single = device(EmulatedConfig { lanes: 1, ..config });
        block_on(async {
            assert_eq!(single.run(&Arc::new(Sum), vec![1.0]).await.unwrap(), 1.0);
            let lost = submit(&*single);
            let sum = Arc::new(Sum);
            let waiting = single.run(&sum, vec![1.0]);
            let (lost, waiting) = tokio::join!(lost, waiting);
            assert!(matches!(lost.unwrap_err().kind(), DeviceErrorKind::LaneLost));
            assert!(matches!(waiting.unwrap_err().kind(), DeviceErrorKind::Closed));
            single.drain().await;
        });
    });
}

/// A step that says whether it was computed.
struct Telling;

impl Step for Telling {
    type Input = ();
    type Output = &'static str;

    fn name(&self) -> &str {
        "telling"
    }

    fn rows(&self, (): &()) -> usize {
        1
    }

    fn placeholder(&self, (): &()) -> Option<&'static str> {
        Some("pretended")
    }

    fn on_host(&self, (): ()) -> anyhow::Result<&'static str> {
        Ok("computed")
    }
}

#[test]
fn it_computes_unless_told_otherwise_and_where_there_is_no_placeholder() {
    let result = |compute| {
        let device = device(EmulatedConfig { compute, ..quick() });
        assert_eq!(block_on(device.run(&Arc::new(Sorted), vec![2, 1])).unwrap(), [1, 2]);
        block_on(device.run(&Arc::new(Telling), ())).unwrap()
    };
    assert_eq!((result(true), result(false)), ("computed", "pretended"));
}

/// Offloads three times per event; some of it blocks.
fn offloading(slots: usize) -> (Report, Vec<f32>) {
    let clock = Clock::simulated();
    let device = device(EmulatedConfig {
        lanes: 7,
        engines: 2,
        submission: Duration::from_secs(20),
        per_row_ns: 1e9,
        bytes_per_s: 10.0,
        jitter: 0.3,
        seed: 5,
        clock: clock.clone(),
        ..EmulatedConfig::default()
    });
    let mut chain = Chain::new("offloading");
    let number = chain.source::<usize>("number");
    let offloaded = chain.algorithm("offload", (number,), move |number: Arc<usize>| {
        let device = device.clone();
        async move {
            let sum = device.run(&Arc::new(Sum), vec![1.0; 1 + *number % 10]).await?;
            let sorted = device.run(&Arc::new(Sorted), vec![3, 1, 2]).await?;
            let (input, hold) = held(Tracker::default().buffer());
            hold.open();
            device.run(&Arc::new(Held), input).await?;
            Ok::<_, Error>(sum + sorted[0] as f32)
        }
    });
    let sums = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = sums.clone();
    chain.ordered_sink("keep", offloaded, move |_: EventId, sum: Arc<f32>| {
        kept.lock().unwrap().push(*sum);
        Ok(())
    });
    let config = Config { slots, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..300_usize)).unwrap();
    let sums = sums.lock().unwrap().clone();
    (report, sums)
}

#[test]
fn a_simulated_job_gives_the_real_results_and_the_same_times_each_time() {
    within_reason(|| {
        let begin = Instant::now();
        let runs = [(); 3].map(|()| offloading(12));
        assert!(begin.elapsed() < Duration::from_secs(50));
        let expected: Vec<f32> = (0..300).map(|n| (2 + n % 10) as f32).collect();
        for (report, sums) in &runs {
            assert_eq!(*sums, expected);
            assert_eq!((report.elapsed, report.latency), (runs[0].0.elapsed, runs[0].0.latency));
        }
        // Two engines, three times 300 submissions of 20 s and more.
        assert!(runs[0].0.elapsed > Duration::from_secs(3 * 300 * 20 / 2), "{}", runs[0].0);
    });
}

#[test]
fn auto_never_selects_it_and_a_name_may_carry_options() {
    let devices = Devices::discover(&DeviceConfig::default());
    assert_eq!(devices.select("auto").unwrap().kind(), DeviceKind::Host);
    assert_eq!(devices.select("emulated").unwrap().kind(), DeviceKind::Emulated);
    let name = "emulated:lanes=2,submission-us=50,row-ns=1000";
    let selected = devices.select(name).unwrap();
    assert_eq!((selected.name(), selected.capability().lanes), (name, 2));
    assert_eq!(selected.capability().description, "a model: 2 lanes, 50µs + 1000 ns per row");
    let error = devices.select("emulated:lane=2").unwrap_err().to_string();
    let expected =
        "device `emulated:lane=2`: there is no option `lane`; did you mean `lanes`? Known: lanes, engines,";
    assert!(error.starts_with(expected), "{error}");
}
