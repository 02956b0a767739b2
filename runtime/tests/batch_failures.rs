//! What fails in a batch costs those whom it concerns, and nobody else.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher, Lane, LanePool, Offload, Trouble};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{OnError, Then};
use common::Collected;
use common::device::{Batches, Failed, Number, Square};

/// Runs events 0…events−1 through a batcher, in simulated time; gives the report, who got through, and the batches.
fn run(device: Square, policy: BatchPolicy, events: u64) -> (Report, Vec<u64>, Vec<Vec<u64>>) {
    let clock = device.clock.clone();
    let (batcher, batches) = device.batcher(policy);
    run_with(batcher, batches, clock, events)
}

fn run_with<O>(
    batcher: Batcher<O>,
    batches: Batches,
    clock: Clock,
    events: u64,
) -> (Report, Vec<u64>, Vec<Vec<u64>>)
where
    O: Offload<Request = Number, Reply = u64>,
{
    let mut chain = Chain::new("failing");
    let number = chain.source::<u64>("number");
    let square = chain.offload("square", (number,), &batcher);
    let collected = Collected::of(&mut chain, square);
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    let config = Config { slots: 16, clock, on_error, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..events)).unwrap();
    // Nothing waits for a time-out, but what is told that there is no room.
    let patient = report.failures.iter().any(|failure| failure.to_string().contains("NoRoom"));
    let limit = Duration::from_secs(if patient { 6 } else { 1 });
    assert!(report.elapsed < limit, "waited for a time-out: {report}");
    let through = collected.sorted();
    assert!(through.iter().all(|(event, square)| *square == event * event));
    let batches = batches.lock().unwrap().clone();
    (report, through.into_iter().map(|(event, _)| event).collect(), batches)
}

fn size(n: usize) -> BatchPolicy {
    BatchPolicy::Size(n)
}

#[test]
fn a_failed_batch_is_split_until_the_guilty_stand_alone() {
    let guilty = [3, 11, 12];
    let device = Square::new(&Clock::simulated(), 1).failing(move |numbers| {
        numbers.iter().find(|number| guilty.contains(number)).map(|&number| Failed::Guilty(number))
    });
    let (report, through, batches) = run(device, size(16), 16);
    assert_eq!(through, (0..16).filter(|event| !guilty.contains(event)).collect::<Vec<_>>());
    for failure in &report.failures {
        let cause = failure.failure.cause().downcast_ref::<Failed>();
        assert_eq!(cause, Some(&Failed::Guilty(failure.event.0)), "each has its own error");
    }
    for guilty in guilty {
        assert!(batches.contains(&vec![guilty]), "{guilty} was tried alone: {batches:?}");
    }
    // A binary search for each: far fewer submissions than one by one.
    assert!(report.batchers[0].splits <= 11, "{report}");
}

#[test]
fn too_much_for_the_memory_is_halved_and_tried_again() {
    let device = Square::new(&Clock::simulated(), 1)
        .failing(|numbers| (numbers.len() > 3).then_some(Failed::OutOfMemory));
    let (report, through, batches) = run(device, size(16), 16);
    assert_eq!((through.len(), report.failed), (16, 0));
    let succeeded = batches.iter().filter(|batch| batch.len() <= 3);
    assert_eq!(succeeded.map(Vec::len).collect::<Vec<_>>(), [2; 8]);
}

#[test]
fn one_request_that_is_too_much_by_itself_fails_alone() {
    let device = Square::new(&Clock::simulated(), 1)
        .failing(|numbers| numbers.contains(&5).then_some(Failed::OutOfMemory));
    let (report, through, _) = run(device, BatchPolicy::default(), 40);
    assert_eq!((through.len(), report.failed), (39, 1));
}

#[test]
fn what_there_is_no_room_for_now_is_tried_again_later() {
    for policy in [BatchPolicy::Off, size(16), BatchPolicy::default()] {
        let tries = AtomicUsize::new(0);
        let device = Square::new(&Clock::simulated(), 2).failing(move |numbers| {
            let full = numbers.contains(&5) && tries.fetch_add(1, Ordering::SeqCst) < 20;
            full.then_some(Failed::NoRoom)
        });
        let (report, through, _) = run(device, policy, 40);
        assert_eq!((through.len(), report.failed), (40, 0), "{policy}");
    }
}

#[test]
fn what_there_is_never_room_for_fails_alone_in_the_end() {
    for policy in [BatchPolicy::Off, size(16)] {
        let device = Square::new(&Clock::simulated(), 2)
            .failing(|numbers| numbers.contains(&5).then_some(Failed::NoRoom));
        let (report, through, _) = run(device, policy, 40);
        assert_eq!((through.len(), report.failed), (39, 1), "{policy}");
        assert!(
            report.elapsed > Duration::from_secs(4) && report.elapsed < Duration::from_secs(6),
            "{report}"
        );
    }
}

#[test]
fn a_lane_that_dies_gives_its_batch_back_to_the_others() {
    let submissions = AtomicUsize::new(0);
    let device = Square::new(&Clock::simulated(), 4).failing(move |_| {
        let n = submissions.fetch_add(1, Ordering::SeqCst);
        matches!(n, 2 | 5 | 6).then_some(Failed::LaneDied)
    });
    let lanes = device.lanes.clone();
    let (report, through, _) = run(device, size(5), 100);
    assert_eq!((through.len(), report.failed, lanes.len()), (100, 0, 1));
    assert_eq!(report.batchers[0].given_back, 3);
}

#[test]
fn with_the_last_lane_everyone_hears_that_there_is_none() {
    let submissions = AtomicUsize::new(0);
    let device = Square::new(&Clock::simulated(), 2)
        .failing(move |_| (submissions.fetch_add(1, Ordering::SeqCst) >= 3).then_some(Failed::LaneDied));
    let (report, through, _) = run(device, size(4), 100);
    assert_eq!(through.len() as u64 + report.failed, 100);
    assert_eq!(through.len(), 12);
    let last = report.failures.last().unwrap().to_string();
    assert!(last.contains("the lanes are closed"), "{last}");
}

#[test]
fn a_request_that_kills_every_lane_it_meets_does_not_get_all_of_them() {
    for policy in [BatchPolicy::Fixed(1), BatchPolicy::Off] {
        let device = Square::new(&Clock::simulated(), 8)
            .failing(|numbers| (numbers == [7]).then_some(Failed::LaneDied));
        let lanes = device.lanes.clone();
        let (report, through, _) = run(device, policy, 30);
        assert_eq!((through.len(), report.failed, lanes.len()), (29, 1, 5), "{policy}");
        assert_eq!(report.batchers[0].given_back, 2, "{policy}");
    }
}

#[test]
fn without_batches_a_lane_that_dies_costs_no_event() {
    let submissions = AtomicUsize::new(0);
    let device = Square::new(&Clock::simulated(), 4).failing(move |_| {
        let n = submissions.fetch_add(1, Ordering::SeqCst);
        matches!(n, 2 | 9 | 17).then_some(Failed::LaneDied)
    });
    let lanes = device.lanes.clone();
    let (report, through, _) = run(device, BatchPolicy::Off, 30);
    assert_eq!((through.len(), report.failed, lanes.len()), (30, 0, 1));
    assert_eq!(report.batchers[0].given_back, 3);
}

#[test]
fn a_failure_of_the_device_as_a_whole_is_everyones() {
    let device = Square::new(&Clock::simulated(), 1)
        .failing(|numbers| numbers.contains(&9).then(|| Failed::Other("unplugged".into())));
    let (report, through, _) = run(device, size(8), 16);
    assert_eq!((through.len(), report.failed), (8, 8));
    assert!(report.failures.iter().all(|failure| failure.to_string().contains("unplugged")));
}

/// Goes wrong where a batch is packed or unpacked.
struct Clumsy {
    device: Square,
    wrong: fn(&[u64]) -> Wrong,
}

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Packing,
    Unpacking,
    OneReplyTooFew,
}

impl Offload for Clumsy {
    type Request = Number;
    type Reply = u64;
    type Error = Failed;
    type Lane = usize;

    fn name(&self) -> &str {
        "clumsy"
    }

    fn rows(&self, _: &Number) -> usize {
        1
    }

    fn lane_number(&self, lane: &usize) -> usize {
        *lane
    }

    fn lanes(&self) -> &LanePool<usize> {
        &self.device.lanes
    }

    fn start(
        &self,
        lane: Lane<usize>,
        batch: &[&Number],
        rows: usize,
    ) -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static {
        let wrong = (self.wrong)(&batch.iter().map(|number| number.0).collect::<Vec<_>>());
        if wrong == Wrong::Packing {
            std::panic::resume_unwind(Box::new("in packing")); // a panic that does not print
        }
        let running = self.device.start(lane, batch, rows);
        async move {
            let mut replies = running.await?;
            match wrong {
                Wrong::Unpacking => std::panic::resume_unwind(Box::new("in unpacking")),
                Wrong::OneReplyTooFew => drop(replies.pop()),
                _ => {}
            }
            Ok(replies)
        }
    }

    fn trouble(&self, trouble: Trouble) -> Failed {
        match trouble {
            Trouble::Closed => Failed::Other(trouble.to_string()),
            _ => Failed::Guilty(0),
        }
    }
}

#[test]
fn what_goes_wrong_in_packing_and_unpacking_costs_the_request_that_causes_it() {
    let wrongs: [fn(&[u64]) -> Wrong; 3] = [
        |numbers| if numbers.contains(&4) { Wrong::Packing } else { Wrong::Nothing },
        |numbers| if numbers.contains(&4) { Wrong::Unpacking } else { Wrong::Nothing },
        |numbers| if numbers.contains(&4) { Wrong::OneReplyTooFew } else { Wrong::Nothing },
    ];
    for wrong in wrongs {
        for policy in [size(8), BatchPolicy::default(), BatchPolicy::Greedy] {
            let clock = Clock::simulated();
            let device = Square::new(&clock, 1);
            let (batches, lanes) = (device.batches.clone(), device.lanes.clone());
            let config = BatchConfig::default().with_policy(policy);
            let batcher = Batcher::new(Clumsy { device, wrong }, config);
            let (report, through, _) = run_with(batcher, batches, clock, 24);
            assert_eq!((through.len(), report.failed), (23, 1));
            assert_eq!(lanes.available(), 1);
        }
    }
}

#[test]
fn events_that_give_up_in_the_queue_cost_the_device_nothing() {
    let clock = Clock::simulated();
    let (batcher, batches) = Square::new(&clock, 1).batcher(size(9));
    let mut chain = Chain::new("giving up");
    let number = chain.source::<u64>("number");
    let sleeper = clock.clone();
    // The last one comes late, when the odd ones have given up in the queue.
    let ready = chain.algorithm("ready", (number,), move |number: Arc<u64>| {
        let sleep = sleeper.sleep(Duration::from_micros(if *number == 8 { 20 } else { 0 }));
        async move {
            sleep.await;
            Ok::<_, Error>(*number)
        }
    });
    let square = chain.offload("square", (ready,), &batcher);
    let collected = Collected::of(&mut chain, square);
    let sleeper = clock.clone();
    chain.for_each("give up", (number,), move |number: Arc<u64>| {
        let sleep = sleeper.sleep(Duration::from_micros(10));
        async move {
            sleep.await;
            ensure!(number.is_multiple_of(2), "gave up");
            Ok(())
        }
    });
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    let config = Config { slots: 9, clock, on_error, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..9_u64)).unwrap();
    assert_eq!((report.events, report.failed, report.batchers[0].left), (5, 4, 4));
    assert_eq!(collected.sorted().len(), 5);
    assert_eq!(*batches.lock().unwrap(), [[0, 2, 4, 6, 8]]);
}

#[test]
fn events_that_give_up_while_their_batch_is_split_cost_the_device_nothing_more() {
    let clock = Clock::simulated();
    let device = Square::new(&clock, 1).failing(|numbers| (numbers.len() > 2).then_some(Failed::OutOfMemory));
    let (batcher, batches) = device.batcher(size(4));
    let mut chain = Chain::new("giving up");
    let number = chain.source::<u64>("number");
    let square = chain.offload("square", (number,), &batcher);
    let collected = Collected::of(&mut chain, square);
    let sleeper = clock.clone();
    // The four are told that they are too many at 54 µs; the first half runs until 106 µs.
    chain.for_each("give up", (number,), move |number: Arc<u64>| {
        let sleep = sleeper.sleep(Duration::from_micros(80));
        async move {
            sleep.await;
            ensure!(*number < 2, "gave up");
            Ok(())
        }
    });
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    let config = Config { slots: 4, clock, on_error, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..4_u64)).unwrap();
    assert_eq!((report.events, report.failed, collected.sorted().len()), (2, 2, 2));
    assert_eq!(*batches.lock().unwrap(), [vec![0, 1, 2, 3], vec![0, 1]]);
}

#[test]
fn priorities_go_first_and_do_not_starve_the_rest() {
    let clock = Clock::simulated();
    let (batcher, batches) = Square::new(&clock, 1).batcher(size(4));
    let mut chain = Chain::new("priorities");
    let number = chain.source::<u64>("number");
    let using = batcher.clone();
    let square = chain.algorithm("square", (number,), move |ctx: EventContext, number: Arc<u64>| {
        let batcher = using.clone();
        async move { batcher.submit_first(&ctx, Number(*number), u32::from(*number % 4 == 3)).await }
    });
    chain.uses(square, &batcher);
    let collected = Collected::of(&mut chain, square);
    let config = Config { slots: 16, clock, ..Config::default() };
    Scheduler::new(config).run(chain, source::from_iter(0..16_u64)).unwrap();
    assert_eq!(collected.sorted().len(), 16);
    let batches = batches.lock().unwrap();
    // The first four leave as soon as they are four; while they run, the others line up by priority.
    assert_eq!(batches[1], [7, 11, 15, 4], "{batches:?}");
}

#[test]
fn a_deadline_closes_a_batch_in_time() {
    let clock = Clock::simulated();
    let (batcher, _) = Square::new(&clock, 1).batcher(size(100));
    let mut chain = Chain::new("deadline");
    let number = chain.source::<u64>("number");
    let sleeper = clock.clone();
    // The last event comes too late for the others to wait for it.
    let ready = chain.algorithm("ready", (number,), move |number: Arc<u64>| {
        let sleep = sleeper.sleep(Duration::from_micros(if *number == 9 { 100_000 } else { 0 }));
        async move {
            sleep.await;
            Ok::<_, Error>(*number)
        }
    });
    let square = chain.offload("square", (ready,), &batcher);
    let collected = Collected::of(&mut chain, square);
    let config = Config {
        slots: 16,
        clock,
        deadline: Some(Duration::from_millis(50)),
        on_error: OnError { then: Then::Skip, ..OnError::default() },
        ..Config::default()
    };
    // A first round, of which the batcher learns what a batch costs.
    let events = (0..10_u64).chain(0..10);
    let report = Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
    assert_eq!((report.events, report.timed_out), (18, 2), "{report}");
    assert_eq!(collected.all().len(), 18);
}
