//! No batch is left behind: nobody waits for an event that cannot come, whatever the policy, and no time-out is needed.

mod common;

use std::sync::Arc;
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher, CloseReason};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{OnError, Then};
use common::device::{Number, Square};
use common::{Collected, suspend};

const POLICIES: [&str; 9] = [
    "off",
    "greedy",
    "size=5",
    "size=1000",
    "delay=5:900000",
    "adaptive",
    "adaptive=0",
    "fixed=5",
    "fixed=1",
];

fn policy(text: &str) -> BatchPolicy {
    text.parse().unwrap()
}

/// Every policy, with one worker in simulated time, in which a wait for a time-out is seen, and with three in real time.
fn everywhere(test: impl Fn(&str, Clock, usize)) {
    for text in POLICIES {
        for (clock, threads) in [(Clock::simulated(), 1), (Clock::real(), 3)] {
            println!("{text}, {threads} threads");
            test(text, clock, threads);
        }
    }
}

fn run(chain: Chain, clock: &Clock, threads: usize, slots: usize, events: u64) -> Report {
    let config = Config {
        threads,
        slots,
        clock: clock.clone(),
        on_error: OnError { then: Then::Skip, ..OnError::default() },
        ..Config::default()
    };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..events)).unwrap();
    if clock.is_simulated() {
        // The shortest time-out of all is the 900 ms of `delay`.
        assert!(report.elapsed < Duration::from_millis(900), "waited for a time-out: {report}");
        for batcher in &report.batchers {
            let may_wait = matches!(batcher.policy, BatchPolicy::Adaptive { .. } | BatchPolicy::Fixed(_));
            assert!(may_wait || batcher.closed_for(CloseReason::Age) == 0, "{report}");
        }
    }
    report
}

fn squares(events: u64) -> Vec<(u64, u64)> {
    (0..events).map(|event| (event, event * event)).collect()
}

/// A chain of one offloaded step.
fn one_step(batcher: &Batcher<Square>) -> (Chain, Collected<u64>) {
    let mut chain = Chain::new("tail");
    let number = chain.source::<u64>("number");
    let square = chain.offload("square", (number,), batcher);
    let collected = Collected::of(&mut chain, square);
    (chain, collected)
}

#[test]
fn forty_nine_events_in_batches_of_five() {
    everywhere(|text, clock, threads| {
        let (batcher, batches) = Square::new(&clock, 1).batcher(policy(text));
        let (chain, collected) = one_step(&batcher);
        let report = run(chain, &clock, threads, 10, 49);
        assert_eq!(collected.sorted(), squares(49));
        let sizes: Vec<usize> = batches.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 49, "each request was computed once: {sizes:?}");
        if text == "fixed=5" || (text == "size=5" && clock.is_simulated()) {
            assert_eq!(sizes, [vec![5; 9], vec![4]].concat());
            let batcher = &report.batchers[0];
            assert_eq!(
                (batcher.closed_for(CloseReason::Full), batcher.closed_for(CloseReason::Drain)),
                (9, 1)
            );
        }
    });
}

#[test]
fn a_batch_larger_than_the_slots() {
    everywhere(|text, clock, threads| {
        for slots in [1, 3] {
            let (batcher, _) = Square::new(&clock, 2).batcher(policy(text));
            let (chain, collected) = one_step(&batcher);
            run(chain, &clock, threads, slots, 20);
            assert_eq!(collected.sorted(), squares(20));
        }
    });
}

#[test]
fn one_event() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let (chain, collected) = one_step(&batcher);
        run(chain, &clock, threads, 8, 1);
        assert_eq!(collected.sorted(), squares(1));
    });
}

#[test]
fn an_algorithm_that_asks_the_same_batcher_twice_in_a_row_or_at_once() {
    everywhere(|text, clock, threads| {
        for (at_once, slots) in [(false, 1), (false, 7), (true, 1), (true, 7)] {
            let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
            let mut chain = Chain::new("twice");
            let number = chain.source::<u64>("number");
            let using = batcher.clone();
            let fourth = chain.algorithm("fourth", (number,), move |ctx: EventContext, number: Arc<u64>| {
                let batcher = using.clone();
                async move {
                    if at_once {
                        let (left, right) = tokio::join!(
                            batcher.submit(&ctx, Number(*number)),
                            batcher.submit(&ctx, Number(*number))
                        );
                        return Ok::<_, Error>(left? * right?);
                    }
                    let square = batcher.submit(&ctx, Number(*number)).await?;
                    batcher.submit(&ctx, Number(square)).await
                }
            });
            chain.uses(fourth, &batcher);
            let collected = Collected::of(&mut chain, fourth);
            let report = run(chain, &clock, threads, slots, 23);
            let expected: Vec<_> = (0..23_u64).map(|event| (event, event.pow(4))).collect();
            assert_eq!(collected.sorted(), expected);
            assert_eq!(report.batchers[0].requests, 46);
        }
    });
}

#[test]
fn two_batchers_in_one_event_in_either_order() {
    everywhere(|text, clock, threads| {
        for (slots, lanes) in [(1, 1), (2, 1), (6, 1), (16, 2)] {
            // Under `fixed`, groups wait for each other here, until nothing has moved for so long.
            let config = BatchConfig {
                policy: policy(text),
                patience: Duration::from_millis(5),
                ..BatchConfig::default()
            };
            let [one, other] = ["one", "other"]
                .map(|name| Batcher::new(Square { name, ..Square::new(&clock, lanes) }, config.clone()));
            let mut chain = Chain::new("crossing");
            let number = chain.source::<u64>("number");
            let using = (one.clone(), other.clone());
            let fourth = chain.algorithm("fourth", (number,), move |ctx: EventContext, number: Arc<u64>| {
                let (one, other) = using.clone();
                async move {
                    let (first, second) = if number.is_multiple_of(2) { (one, other) } else { (other, one) };
                    let square = first.submit(&ctx, Number(*number)).await?;
                    second.submit(&ctx, Number(square)).await
                }
            });
            chain.uses(fourth, &one);
            chain.uses(fourth, &other);
            let collected = Collected::of(&mut chain, fourth);
            run(chain, &clock, threads, slots, 41);
            let expected: Vec<_> = (0..41_u64).map(|event| (event, event.pow(4))).collect();
            assert_eq!(collected.sorted(), expected);
        }
    });
}

#[test]
fn two_batchers_side_by_side_in_one_event() {
    everywhere(|text, clock, threads| {
        let one = Square { name: "one", ..Square::new(&clock, 1) }.batcher(policy(text)).0;
        let other = Square { name: "other", ..Square::new(&clock, 1) }.batcher(policy("size=3")).0;
        let mut chain = Chain::new("abreast");
        let number = chain.source::<u64>("number");
        let left = chain.offload("left", (number,), &one);
        let right = chain.offload("right", (number,), &other);
        let sum = chain.algorithm("sum", (left, right), async |left: Arc<u64>, right: Arc<u64>| {
            Ok::<_, Error>(*left + *right)
        });
        let collected = Collected::of(&mut chain, sum);
        run(chain, &clock, threads, 8, 29);
        let expected: Vec<_> = (0..29).map(|event| (event, 2 * event * event)).collect();
        assert_eq!(collected.sorted(), expected);
    });
}

#[test]
fn events_that_fail_before_they_submit() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("failing");
        let number = chain.source::<u64>("number");
        let good = chain.algorithm("check", (number,), async |number: Arc<u64>| {
            suspend().await;
            ensure!(*number % 4 != 1, "unlucky");
            Ok(*number)
        });
        let square = chain.offload("square", (good,), &batcher);
        let collected = Collected::of(&mut chain, square);
        let report = run(chain, &clock, threads, 6, 40);
        assert_eq!((report.events, report.failed), (30, 10));
        assert_eq!(collected.sorted().len(), 30);
    });
}

#[test]
fn events_that_another_algorithm_ends_before_they_submit() {
    everywhere(|text, clock, threads| {
        let (batcher, batches) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("ended");
        let number = chain.source::<u64>("number");
        let ready = chain.algorithm("ready", (number,), async |number: Arc<u64>| {
            if *number % 4 == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>(*number)
        });
        let square = chain.offload("square", (ready,), &batcher);
        let collected = Collected::of(&mut chain, square);
        let sleeper = clock.clone();
        chain.for_each("check", (number,), move |number: Arc<u64>| {
            let sleep = sleeper.sleep(Duration::from_micros(if *number % 4 == 1 { 200 } else { 0 }));
            async move {
                sleep.await;
                ensure!(*number % 4 != 1, "unlucky");
                Ok(())
            }
        });
        let report = run(chain, &clock, threads, 6, 40);
        assert_eq!((report.events, report.failed), (30, 10));
        assert_eq!(collected.sorted().len(), 30);
        assert!(batches.lock().unwrap().iter().flatten().all(|number| number % 4 != 1));
    });
}

/// The last event of each three goes on when the others have been answered, which nobody knows but they.
#[test]
fn events_that_wait_for_each_other_outside_the_batcher() {
    let friends = |text: &'static str| {
        let clock = Clock::simulated();
        let patience = Duration::from_millis(700);
        let config = BatchConfig { policy: policy(text), patience, ..BatchConfig::default() };
        let batcher = Batcher::new(Square::new(&clock, 1), config);
        let mut chain = Chain::new("friends");
        let number = chain.source::<u64>("number");
        let (using, answered) = (batcher.clone(), tokio::sync::watch::Sender::new(0));
        let square = chain.algorithm("square", (number,), move |ctx: EventContext, number: Arc<u64>| {
            let (batcher, answered) = (using.clone(), answered.clone());
            async move {
                if *number % 3 == 2 {
                    answered.subscribe().wait_for(|count| *count >= *number).await?;
                }
                let square = batcher.submit(&ctx, Number(*number)).await?;
                answered.send_modify(|count| *count += 1);
                Ok::<_, Error>(square)
            }
        });
        chain.uses(square, &batcher);
        let collected = Collected::of(&mut chain, square);
        let config = Config { slots: 3, clock, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..9_u64)).unwrap();
        assert_eq!(collected.sorted(), squares(9));
        // At most the patience for each three; under `fixed`, sixty times that.
        let most = if text.starts_with("fixed") { 180 * patience } else { 3 * patience };
        assert!(report.elapsed < most + Duration::from_millis(10), "{report}");
        if ["size=5", "fixed=5"].contains(&text) {
            assert!(report.batchers[0].closed_for(CloseReason::Age) > 0, "{report}");
        }
    };
    for text in POLICIES {
        println!("{text}");
        let (done, came) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            friends(text);
            done.send(()).unwrap();
        });
        if came.recv_timeout(common::LONG / 6) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            panic!("{text}: time stands still");
        }
        thread.join().unwrap();
    }
}

#[test]
fn events_whose_deadline_passes_before_they_submit_or_in_the_queue() {
    for text in POLICIES {
        println!("{text}");
        let clock = Clock::simulated();
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("late");
        let number = chain.source::<u64>("number");
        let sleeper = clock.clone();
        let good = chain.algorithm("wait", (number,), move |number: Arc<u64>| {
            // Every fourth event waits for ever, others for a time about as long as the deadline.
            let forever = *number % 4 == 1;
            let sleep =
                sleeper.sleep(Duration::from_micros(if forever { 1 << 50 } else { 150 * (*number % 7) }));
            async move {
                sleep.await;
                Ok::<_, Error>(*number)
            }
        });
        let square = chain.offload("square", (good,), &batcher);
        let collected = Collected::of(&mut chain, square);
        let config = Config {
            slots: 6,
            clock,
            deadline: Some(Duration::from_millis(1)),
            on_error: OnError { then: Then::Skip, ..OnError::default() },
            ..Config::default()
        };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..40_u64)).unwrap();
        assert_eq!(report.events + report.timed_out, 40, "{report}");
        assert!(report.timed_out >= 10 && report.elapsed < Duration::from_millis(100), "{report}");
        assert_eq!(collected.all().len() as u64, report.events);
    }
}

#[test]
fn a_conditional_demand_that_never_comes() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("conditional");
        let number = chain.source::<u64>("number");
        let square = chain.offload("square", (number,), &batcher);
        let maybe =
            chain.algorithm("maybe", (number,), move |ctx: EventContext, number: Arc<u64>| async move {
                suspend().await;
                if number.is_multiple_of(3) { Ok::<_, Error>(*ctx.get(square).await?) } else { Ok(0) }
            });
        let collected = Collected::of(&mut chain, maybe);
        run(chain, &clock, threads, 8, 31);
        let expected: Vec<_> = (0..31).map(|x| (x, if x % 3 == 0 { x * x } else { 0 })).collect();
        assert_eq!(collected.sorted(), expected);
    });
}

/// Delivers an event every 300 µs.
struct Slow {
    clock: Clock,
    next: u64,
}

impl Source for Slow {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        self.clock.sleep(Duration::from_micros(300)).await;
        self.next += 1;
        Ok((self.next <= 20).then(|| Read { event: EventId(self.next - 1), product: Ok(self.next - 1) }))
    }
}

#[test]
fn a_slow_source() {
    for text in POLICIES {
        println!("{text}");
        let clock = Clock::simulated();
        let (batcher, batches) = Square::new(&clock, 1).batcher(policy(text));
        let (chain, collected) = one_step(&batcher);
        let config = Config { slots: 8, clock: clock.clone(), ..Config::default() };
        let report = Scheduler::new(config).run(chain, Slow { clock, next: 0 }).unwrap();
        assert_eq!(collected.sorted(), squares(20));
        let batches = batches.lock().unwrap();
        if text == "fixed=5" {
            // Nothing but the number of an event decides: here the source is what is waited for.
            assert_eq!(batches.len(), 4);
        } else {
            assert_eq!(batches.len(), 20, "nobody else was in flight");
            assert_eq!(report.latency.max.as_micros() / 2, 51 / 2, "{report}");
            // Each went at once, most of them without the queue; and is counted all the same.
            let batcher = &report.batchers[0];
            let closed = |reason| batcher.closed_for(reason);
            let at_once = closed(CloseReason::NobodyElse) + closed(CloseReason::Drain);
            assert_eq!(at_once, if matches!(text, "off" | "fixed=1") { 0 } else { 20 }, "{report}");
            assert_eq!((batcher.batches, batcher.requests, batcher.sizes.len()), (20, 20, 1), "{report}");
        }
    }
}

#[test]
fn one_that_leaves_the_device_is_not_taken_for_gone() {
    for text in POLICIES.iter().filter(|text| !text.starts_with("fixed")) {
        println!("{text}");
        let clock = Clock::simulated();
        let (batcher, batches) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("again");
        let number = chain.source::<u64>("number");
        let using = batcher.clone();
        // The first request of event 0 is given up while it is alone on the device.
        let later = clock.clone();
        let squared = chain.algorithm("square", (number,), move |ctx: EventContext, number: Arc<u64>| {
            let (batcher, clock) = (using.clone(), later.clone());
            async move {
                if *number == 0 {
                    tokio::select! {
                        biased;
                        _ = batcher.submit(&ctx, Number(100)) => panic!("the device takes 51 µs"),
                        () = clock.sleep(Duration::from_micros(10)) => {}
                    }
                }
                batcher.submit(&ctx, Number(*number)).await
            }
        });
        chain.uses(squared, &batcher);
        let collected = Collected::of(&mut chain, squared);
        let config = Config { slots: 1, clock: clock.clone(), ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..5_u64)).unwrap();
        assert_eq!(collected.sorted(), squares(5));
        assert_eq!(batches.lock().unwrap().len(), 6, "{report}");
        // Nobody waited longer than for the lane.
        assert!(report.latency.max.as_micros() < 120, "{report}");
    }
}

#[test]
fn an_ordered_sink_whose_turn_depends_on_who_is_queued() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let mut chain = Chain::new("ordered");
        let number = chain.source::<u64>("number");
        let square = chain.offload("square", (number,), &batcher);
        // Only even events ask; odd ones finish at once, and wait for their turn behind an event that is queued.
        let maybe =
            chain.algorithm("maybe", (number,), move |ctx: EventContext, number: Arc<u64>| async move {
                if number.is_multiple_of(2) { Ok::<_, Error>(*ctx.get(square).await?) } else { Ok(0) }
            });
        let collected = Collected::of(&mut chain, maybe);
        let mut last = None;
        chain.ordered_sink("in order", maybe, move |event: EventId, _: Arc<u64>| {
            ensure!(last.replace(event) < Some(event));
            Ok(())
        });
        run(chain, &clock, threads, 6, 37);
        assert_eq!(collected.all().len(), 37);
    });
}

#[test]
fn a_job_that_is_stopped() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let (chain, collected) = one_step(&batcher);
        let config = Config { threads, slots: 8, clock: clock.clone(), ..Config::default() };
        let stop = config.stop.clone();
        let events = (0_u64..).inspect(move |event| {
            if *event == 33 {
                stop.drain();
            }
        });
        let report = Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
        assert!(report.interrupted && report.events >= 33);
        assert_eq!(collected.sorted(), squares(report.events));
    });
}

#[test]
fn a_warm_up_leaves_nobody_behind_and_does_not_count() {
    everywhere(|text, clock, threads| {
        let (batcher, _) = Square::new(&clock, 1).batcher(policy(text));
        let (chain, collected) = one_step(&batcher);
        let config = Config { threads, slots: 8, warmup: 13, clock: clock.clone(), ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..40_u64)).unwrap();
        assert_eq!((report.events, report.batchers[0].requests), (27, 27));
        assert_eq!(collected.sorted(), squares(40));
    });
}

#[test]
fn an_undeclared_use_is_refused_and_says_what_to_do() {
    let (batcher, _) = Square::new(&Clock::real(), 1).batcher(BatchPolicy::default());
    let mut chain = Chain::new("undeclared");
    let number = chain.source::<u64>("number");
    let square = chain.algorithm("square", (number,), move |ctx: EventContext, number: Arc<u64>| {
        let batcher = batcher.clone();
        async move { batcher.submit(&ctx, Number(*number)).await }
    });
    chain.sink("drop", square, |_, _: Arc<u64>| Ok(()));
    let error = Scheduler::default().run(chain, source::from_iter([1_u64])).unwrap_err().to_string();
    assert!(error.contains("add `chain.uses(…)`"), "{error}");
}

#[test]
fn a_batcher_serves_one_job_at_a_time_and_the_next_one_after_it() {
    let clock = Clock::real();
    let (batcher, _) = Square::new(&clock, 1).batcher(policy("size=4"));
    for _ in 0..3 {
        let (chain, collected) = one_step(&batcher);
        let report = run(chain, &clock, 2, 8, 10);
        assert_eq!(report.batchers[0].requests, 10, "of this job alone: {report}");
        assert_eq!(collected.sorted(), squares(10));
    }
    let (outer, _) = one_step(&batcher);
    let inner = std::sync::Mutex::new(Some(one_step(&batcher).0));
    let mut chain = Chain::new("outer");
    let number = chain.source::<u64>("number");
    let tried = chain.algorithm("inner job", (number,), move |_: Arc<u64>| {
        let inner = inner.lock().unwrap().take().unwrap();
        let run =
            move || Scheduler::default().run(inner, source::from_iter([1_u64])).unwrap_err().to_string();
        async move { Ok::<_, Error>(tokio::task::spawn_blocking(run).await?) }
    });
    chain.uses(tried, &batcher);
    let collected = Collected::of(&mut chain, tried);
    run(chain, &clock, 2, 1, 1);
    assert!(collected.all()[0].1.contains("in use by another job"), "{:?}", collected.all());
    drop(outer);
}

/// Two batchers wait for a lane that a third one holds, and each would hold its batch for a while if it had one.
#[test]
fn batchers_without_a_lane_do_not_keep_a_worker_busy() {
    for text in ["size=5", "delay=5:900000", "adaptive=0"] {
        let clock = Clock::simulated();
        let lanes = asynchrotron::batch::LanePool::new(0..2);
        let batcher = |name, fault: Option<common::device::Fault>| {
            let lanes = lanes.clone();
            Square { name, lanes, fault, ..Square::new(&clock, 1) }.batcher(policy(text)).0
        };
        let (one, other) = (batcher("one", None), batcher("other", None));
        // One of its batches ends early, the other one late: the lane of the first is free meanwhile.
        let rows = |number| 1000 * (1 + 10 * number as usize);
        let long =
            Square { lanes: lanes.clone(), rows, ..Square::new(&clock, 1) }.batcher(policy("size=1")).0;
        let mut chain = Chain::new("crowded");
        let number = chain.source::<u64>("number");
        let sleeper = clock.clone();
        let asked = chain.algorithm("ask", (number,), {
            let using = [one.clone(), other.clone(), long.clone()];
            move |ctx: EventContext, number: Arc<u64>| {
                let ([one, other, long], clock) = (using.clone(), sleeper.clone());
                async move {
                    let x = Number(*number);
                    if x.0 > 1 {
                        clock.sleep(Duration::from_micros(10)).await;
                    }
                    match *number {
                        0..2 => long.submit(&ctx, x).await,
                        2..4 => one.submit(&ctx, x).await,
                        4..6 => other.submit(&ctx, x).await,
                        // Comes late, or never.
                        _ => {
                            clock.sleep(Duration::from_millis(50)).await;
                            Ok(x.0 * x.0)
                        }
                    }
                }
            }
        });
        [&one, &other, &long].into_iter().for_each(|batcher| chain.uses(asked, batcher));
        let collected = Collected::of(&mut chain, asked);
        let config = Config { slots: 8, clock: clock.clone(), ..Config::default() };
        let (done, came) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(done.send(Scheduler::new(config).run(chain, source::from_iter(0..7_u64))));
        });
        came.recv_timeout(common::LONG / 6).expect("time stands still").unwrap();
        assert_eq!(collected.sorted(), squares(7));
    }
}
