//! Slots, order, limits, the end of a job.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::BatchPolicy;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{Progress, Stop, Ticker};
use common::device::Square;
use common::{Collected, config, suspend};
use tokio::sync::Semaphore;

/// Suspends for longer the smaller the last digit of the number is, so that events overtake each other.
async fn shuffled(x: Arc<u64>) -> Result<u64> {
    for _ in 0..10 - *x % 10 {
        suspend().await;
    }
    Ok(*x)
}

#[test]
fn ordered_sinks_take_events_in_the_order_of_the_source() {
    let run = |ordered| {
        let mut chain = Chain::new("order");
        let x = chain.source::<u64>("x");
        let y = chain.algorithm("shuffle", (x,), shuffled);
        let out = Collected::of(&mut chain, y);
        let config = Config { ordered, ..config(2, 16) };
        Scheduler::new(config).run(chain, source::from_iter(0..500u64)).unwrap();
        (out.all(), out.sorted())
    };
    let (all, sorted) = run(true);
    assert_eq!(all, sorted);
    let (all, sorted) = run(false);
    assert_eq!(sorted.len(), 500);
    assert_ne!(all, sorted, "unordered events overtake each other here");
}

#[test]
fn one_sink_may_be_ordered_and_another_not() {
    let mut chain = Chain::new("order");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("shuffle", (x,), shuffled);
    let unordered = Collected::of(&mut chain, y);
    let written: Arc<Mutex<Vec<u64>>> = Arc::default();
    let here = written.clone();
    chain.ordered_sink("ordered", y, move |event: EventId, _: Arc<u64>| {
        here.lock().unwrap().push(event.0);
        Ok(())
    });
    Scheduler::new(config(2, 16)).run(chain, source::from_iter(0..500u64)).unwrap();
    assert_eq!(*written.lock().unwrap(), (0..500).collect::<Vec<_>>());
    assert_ne!(unordered.all(), unordered.sorted(), "events overtake each other in the other sink");
    assert_eq!(unordered.all().len(), 500);
}

#[test]
fn a_job_that_is_asked_to_stop_does_not_repeat_failed_events() {
    let stop = Stop::new();
    let asking = stop.clone();
    let mut chain = Chain::new("hopeless");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("hopeless", (x,), move |_: Arc<u64>| {
        asking.drain();
        async { Err::<u64, _>(anyhow!("never")) }
    });
    Collected::of(&mut chain, y);
    let config = Config { stop, on_error: "retry=4000000000,skip".parse().unwrap(), ..config(1, 1) };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..5u64)).unwrap();
    assert_eq!((report.failed, report.retried), (1, 0));
}

#[test]
fn slots_are_no_more_than_events_and_threads_no_more_than_makes_sense() {
    let chain = || {
        let mut chain = Chain::new("few");
        let x = chain.source::<u64>("x");
        Collected::of(&mut chain, x);
        chain
    };
    let report = Scheduler::new(config(2, 10_000_000)).run(chain(), source::from_iter(0..5u64)).unwrap();
    assert_eq!((report.events, report.slots), (5, 5));
    let error = Scheduler::new(config(99_999, 1)).run(chain(), source::from_iter(0..5u64)).unwrap_err();
    assert!(error.to_string().contains("99999 threads are too many"), "{error}");
}

#[test]
fn no_more_events_are_in_flight_than_there_are_slots() {
    for slots in [1, 3, 64] {
        let (in_flight, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut chain = Chain::new("bounded");
        let counted = in_flight.clone();
        let peak = most.clone();
        let events = (0..300u64).inspect(move |_| {
            peak.fetch_max(counted.fetch_add(1, SeqCst) + 1, SeqCst);
        });
        let x = chain.source::<u64>("x");
        let y = chain.algorithm("shuffle", (x,), shuffled);
        chain.sink("leave", y, move |_: EventId, _: Arc<u64>| {
            in_flight.fetch_sub(1, SeqCst);
            Ok(())
        });
        Scheduler::new(config(2, slots)).run(chain, source::from_iter(events)).unwrap();
        // One slot can have left its sink, but not yet given its place to the next event.
        assert!(most.load(SeqCst) <= slots, "{} in flight in {slots} slots", most.load(SeqCst));
        assert!(slots == 1 || most.load(SeqCst) > 1, "events overlap");
    }
}

#[test]
fn concurrent_sinks_run_for_several_events_at_once() {
    let gate = Arc::new(tokio::sync::Barrier::new(4));
    let mut chain = Chain::new("concurrent");
    let x = chain.source::<u64>("x");
    chain.for_each("meet", (x,), move |_: Arc<u64>| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok::<_, Error>(())
        }
    });
    let report = Scheduler::new(config(1, 4)).run(chain, source::from_iter(0..40u64)).unwrap();
    assert_eq!(report.events, 40);
}

#[test]
fn events_are_skipped_limited_and_warmed_up_as_asked() {
    let mut chain = Chain::new("limits");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("copy", (x,), async |x: Arc<u64>| Ok::<_, Error>(*x));
    let out = Collected::of(&mut chain, y);
    let config = Config { skip: 10, events: Some(20), warmup: 5, ..config(1, 2) };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..100u64)).unwrap();
    assert_eq!(out.sorted(), (10..30).map(|x| (x, x)).collect::<Vec<_>>());
    assert_eq!((report.events, report.algorithm("copy").unwrap().calls), (15, 15), "without the warm-up");
}

/// An endless source, each event of which needs a permit.
struct Gated(u64, Arc<Semaphore>);

impl Source for Gated {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        self.1.acquire().await.unwrap().forget();
        self.0 += 1;
        Ok(Some(Read { event: EventId(self.0), product: Ok(self.0) }))
    }
}

#[test]
fn a_job_that_is_asked_to_stop_drains_even_if_its_source_is_silent() {
    let stop = Stop::new();
    let permits = Arc::new(Semaphore::new(30));
    let mut chain = Chain::new("drain");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("shuffle", (x,), shuffled);
    let (asking, finished) = (stop.clone(), Arc::new(AtomicBool::new(false)));
    let written = Arc::new(Mutex::new(Vec::new()));
    struct Closing(Stop, Arc<AtomicBool>, Arc<Mutex<Vec<u64>>>);
    impl Sink<u64> for Closing {
        async fn write(&mut self, event: EventId, _: Arc<u64>) -> Result<()> {
            self.2.lock().unwrap().push(event.0);
            if self.2.lock().unwrap().len() == 30 {
                self.0.drain();
            }
            Ok(())
        }
        async fn finish(&mut self) -> Result<()> {
            self.1.store(true, SeqCst);
            Ok(())
        }
    }
    chain.sink("close", y, Closing(asking, finished.clone(), written.clone()));
    let report = Scheduler::new(Config { stop, ..config(2, 4) }).run(chain, Gated(0, permits)).unwrap();
    assert!(report.interrupted && finished.load(SeqCst));
    assert_eq!(report.events, 30);
    let mut written = written.lock().unwrap().clone();
    written.sort_unstable();
    assert_eq!(written, (1..=30).collect::<Vec<_>>());
}

#[test]
fn events_in_flight_are_finished_when_the_job_is_asked_to_stop() {
    let stop = Stop::new();
    let asking = stop.clone();
    let mut chain = Chain::new("drain");
    let x = chain.source::<u64>("x");
    let begun = Arc::new(AtomicUsize::new(0));
    let counting = begun.clone();
    let y = chain.algorithm("stopper", (x,), move |x: Arc<u64>| {
        if counting.fetch_add(1, SeqCst) == 20 {
            asking.drain();
        }
        shuffled(x)
    });
    let out = Collected::of(&mut chain, y);
    let report =
        Scheduler::new(Config { stop, ..config(2, 8) }).run(chain, source::from_iter(0u64..)).unwrap();
    assert_eq!(out.all().len(), begun.load(SeqCst), "every event that began was finished");
    assert!(report.interrupted && report.events >= 20);
}

#[test]
fn the_ticker_sees_the_job_grow_and_end() {
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let progress = seen.clone();
    let ticker = Ticker::new(Duration::from_millis(1), move |tick| progress.lock().unwrap().push(*tick));
    let mut chain = Chain::new("ticking");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("shuffle", (x,), shuffled);
    let out = Collected::of(&mut chain, y);
    let config = Config { ticker: Some(ticker), ..config(2, 8) };
    Scheduler::new(config).run(chain, source::from_iter(0..2_000u64)).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted_by_key(|tick| tick.events));
    let last = seen.last().unwrap();
    assert_eq!((last.events, last.total, last.in_flight, last.failed), (2_000, Some(2_000), 0, 0));
    assert_eq!(out.all().len(), 2_000);
}

#[test]
fn every_microsecond_of_an_algorithm_is_accounted_for() {
    let mut chain = Chain::new("accounts");
    let x = chain.source::<u64>("x");
    let slow = chain.algorithm("slow", (x,), async |x: Arc<u64>| {
        tokio::time::sleep(Duration::from_millis(3)).await;
        Ok::<_, Error>(*x)
    });
    let waits = chain.algorithm("waits", (slow,), async |x: Arc<u64>| Ok::<_, Error>(*x));
    Collected::of(&mut chain, waits);
    let report = Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..5u64)).unwrap();
    let (slow, waits) = (report.algorithm("slow").unwrap(), report.algorithm("waits").unwrap());
    let fifteen = Duration::from_millis(15);
    assert!(slow.suspended >= fifteen && slow.inputs.is_zero(), "{slow:?}");
    assert!(waits.inputs >= fifteen && waits.suspended.is_zero(), "{waits:?}");
    assert_eq!((slow.calls, slow.polls, waits.polls), (5, 10, 10));
    let life = slow.running + slow.inputs + slow.suspended + slow.ready;
    assert!(life <= report.elapsed, "{life:?} of {:?}", report.elapsed);
    let text = report.to_string();
    assert!(text.starts_with("Processed 5 events in "), "{text}");
    assert!(text.contains("throughput ") && text.contains("CPU usage per thread: "), "{text}");
}

#[test]
fn the_report_tells_the_queue_from_the_device() {
    let clock = Clock::simulated();
    let (batcher, _) = Square::new(&clock, 1).batcher(BatchPolicy::Size(1));
    let mut chain = Chain::new("queueing");
    let x = chain.source::<u64>("x");
    let square = chain.offload("square", (x,), &batcher);
    Collected::of(&mut chain, square);
    let config = Config { slots: 3, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..3u64)).unwrap();
    let square = report.algorithm("square").unwrap();
    // 51 µs each, one after the other.
    let [queued, on_device] = [51 + 2 * 51, 3 * 51].map(Duration::from_micros);
    assert_eq!((square.queued, square.on_device, square.suspended), (queued, on_device, queued + on_device));
    let text = report.to_string();
    let row = text.lines().find(|line| line.trim_start().starts_with("square")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[5..8], ["102.00", "51.00", "51.00"], "suspended, queued, device: {text}");
}

#[test]
fn a_hundred_thousand_events_can_be_in_flight() {
    let gate = Arc::new(tokio::sync::Barrier::new(100_000));
    let mut chain = Chain::new("many");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("meet", (x,), move |x: Arc<u64>| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok::<_, Error>(*x)
        }
    });
    chain.for_each("done", (y,), async |_: Arc<u64>| Ok::<_, Error>(()));
    let report = Scheduler::new(config(2, 100_000)).run(chain, source::from_iter(0..100_000u64)).unwrap();
    assert_eq!(report.events, 100_000);
}
