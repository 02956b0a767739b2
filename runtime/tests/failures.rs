//! What a failure costs, and what it says.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use asynchrotron::prelude::*;
use asynchrotron::{FailureKind, OnError, Then, read_quarantine};
use common::{Collected, LONG, config, suspend};

fn on_error(policy: &str) -> OnError {
    policy.parse().unwrap()
}

/// Long against what a busy machine may do to an event that does not suspend.
const SHORT: Duration = Duration::from_millis(250);

/// source → check → double → sink; `check` does `fault` in the events whose number ends in 3.
fn faulty<Fut>(fault: impl Fn() -> Fut + Copy + Send + Sync + 'static) -> (Chain, Collected<u64>)
where
    Fut: Future<Output = Result<()>> + Send,
{
    let mut chain = Chain::new("faulty");
    let x = chain.source::<u64>("x");
    let checked = chain.algorithm("check", (x,), move |x: Arc<u64>| async move {
        if *x % 10 == 3 {
            fault().await?;
        }
        Ok::<_, Error>(*x)
    });
    let doubled = chain.algorithm("double", (checked,), async |x: Arc<u64>| Ok::<_, Error>(*x * 2));
    let out = Collected::of(&mut chain, doubled);
    (chain, out)
}

fn good(events: u64) -> Vec<(u64, u64)> {
    (0..events).filter(|x| x % 10 != 3).map(|x| (x, 2 * x)).collect()
}

async fn negative() -> Result<()> {
    suspend().await;
    bail!("negative amplitude in block 12")
}

#[test]
fn a_failed_event_costs_no_other_event() {
    for (threads, slots) in [(1, 1), (2, 8), (2, 1)] {
        let (chain, out) = faulty(negative);
        let config = Config { on_error: on_error("skip"), ordered: true, ..config(threads, slots) };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..100u64)).unwrap();
        assert_eq!(out.all(), good(100));
        assert_eq!((report.events, report.failed, report.timed_out), (90, 10, 0));
        let first = report.failures.iter().min_by_key(|failure| failure.event).unwrap();
        assert_eq!(
            first.to_string(),
            "event 3: algorithm `check` failed: negative amplitude in block 12 (wanted by `double`)"
        );
        assert_eq!(report.algorithm("double").unwrap().failures, 10);
    }
}

#[test]
fn a_panic_is_an_error_of_its_event() {
    for (threads, slots) in [(1, 1), (2, 8), (2, 1)] {
        let (chain, out) = faulty(|| async {
            suspend().await;
            panic!("index {} out of range", 7)
        });
        let config = Config { on_error: on_error("skip"), ..config(threads, slots) };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..100u64)).unwrap();
        assert_eq!(out.sorted(), good(100));
        assert_eq!(report.failures[0].failure.kind(), FailureKind::Panicked);
        assert!(report.failures[0].to_string().contains("`check` panicked: index 7 out of range"));
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}

#[test]
fn a_panic_while_a_timed_out_algorithm_is_dropped_costs_nothing_more() {
    let (chain, out) = faulty(|| async {
        let _guard = PanicsInDrop;
        std::future::pending().await
    });
    let config = Config { deadline: Some(SHORT), on_error: on_error("skip"), ..config(2, 4) };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..20u64)).unwrap();
    assert_eq!(out.sorted(), good(20));
    assert_eq!(report.timed_out, 2);
}

#[test]
fn an_event_past_its_deadline_is_dropped_where_it_is_suspended() {
    for (threads, slots) in [(1, 1), (2, 8), (2, 1)] {
        let (chain, out) = faulty(std::future::pending);
        let config = Config { deadline: Some(SHORT), on_error: on_error("skip"), ..config(threads, slots) };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..20u64)).unwrap();
        assert_eq!(out.sorted(), good(20));
        assert_eq!((report.events, report.failed, report.timed_out), (18, 2, 2));
        let failure = &report.failures[0].failure;
        assert_eq!((failure.kind(), failure.algorithm()), (FailureKind::TimedOut, "check"));
        assert!(failure.to_string().contains("still suspended after"), "{failure}");
    }
}

#[test]
fn what_a_dropped_algorithm_held_is_freed_before_its_slot_goes_on() {
    let held = Arc::new(AtomicUsize::new(0));
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let mut chain = Chain::new("held");
    let x = chain.source::<u64>("x");
    let count = held.clone();
    let stuck = chain.algorithm("stuck", (x,), move |_: Arc<u64>| {
        assert_eq!(count.fetch_add(1, SeqCst), 0, "the last event's is still there");
        let held = Held(count.clone());
        async move {
            let _held = held;
            std::future::pending::<Result<u64>>().await
        }
    });
    Collected::of(&mut chain, stuck);
    let deadline = Some(Duration::from_millis(5));
    let config = Config { deadline, on_error: on_error("skip"), ..config(1, 1) };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..5u64)).unwrap();
    assert_eq!((report.timed_out, held.load(SeqCst)), (5, 0));
}

#[test]
fn the_policy_stop_ends_the_job_with_the_error_and_the_report() {
    let (chain, out) = faulty(negative);
    let error = Scheduler::new(Config { ordered: true, ..config(1, 1) })
        .run(chain, source::from_iter(0..100u64))
        .unwrap_err();
    assert!(error.to_string().starts_with("event 3: algorithm `check` failed"), "{error}");
    let report = error.report().unwrap();
    assert_eq!((report.events, report.failed), (3, 1));
    assert_eq!(out.all(), good(4), "what was done before stays");
}

#[test]
fn the_policy_retry_runs_an_event_again_from_its_data() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let flaky = |attempts: &Arc<AtomicUsize>, good_after: usize| {
        let attempts = attempts.clone();
        let mut chain = Chain::new("flaky");
        let x = chain.source::<u64>("x");
        let flaky = chain.algorithm("flaky", (x,), move |x: Arc<u64>| {
            let attempt = attempts.fetch_add(1, SeqCst);
            async move {
                suspend().await;
                ensure!(attempt >= good_after, "not yet");
                Ok(*x)
            }
        });
        let out = Collected::of(&mut chain, flaky);
        (chain, out)
    };
    let (chain, out) = flaky(&attempts, 2);
    let config = |policy| Config { on_error: on_error(policy), ..config(1, 1) };
    let report = Scheduler::new(config("retry=2")).run(chain, source::from_iter([7u64])).unwrap();
    assert_eq!((out.all(), report.retried, report.failed), (vec![(0, 7)], 2, 0));

    attempts.store(0, SeqCst);
    let (chain, out) = flaky(&attempts, 3);
    let error = Scheduler::new(config("retry=2")).run(chain, source::from_iter([7u64])).unwrap_err();
    assert_eq!((out.all().len(), attempts.load(SeqCst)), (0, 3));
    assert!(error.to_string().contains("not yet"));

    attempts.store(0, SeqCst);
    let (chain, _) = flaky(&attempts, 3);
    let report = Scheduler::new(config("retry=2,skip")).run(chain, source::from_iter([7u64])).unwrap();
    assert_eq!((report.events, report.failed), (0, 1));
}

#[test]
fn events_in_quarantine_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let policy = OnError { retries: 0, then: Then::Quarantine(folder.path().join("bad")) };
    let (chain, out) = faulty(negative);
    let config = Config { on_error: policy, ..config(2, 8) };
    let report = Scheduler::new(config.clone()).run(chain, source::from_iter(0..50u64)).unwrap();
    assert_eq!((out.sorted(), report.failed), (good(50), 5));
    let replay = read_quarantine(&folder.path().join("bad")).unwrap();
    assert_eq!(replay, [3, 13, 23, 33, 43].map(EventId).into());

    let (chain, out) = faulty(|| async { Ok(()) });
    let config = Config { replay: Some(replay.clone()), on_error: OnError::default(), ..config };
    Scheduler::new(config).run(chain, source::from_iter(0..50u64)).unwrap();
    let events: BTreeSet<_> = out.all().into_iter().map(|(event, _)| EventId(event)).collect();
    assert_eq!(events, replay);
}

#[test]
fn a_quarantine_file_that_is_not_one_says_where() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quarantine.jsonl"), "{\"event\":3}\n").unwrap();
    let error = format!("{:#}", read_quarantine(folder.path()).unwrap_err());
    assert!(error.contains("line 1") && error.contains("quarantine.jsonl"), "{error}");
    let error = format!("{:#}", read_quarantine(&folder.path().join("none")).unwrap_err());
    assert!(error.contains("cannot read"), "{error}");
}

#[test]
fn an_algorithm_may_handle_the_failure_of_what_it_demands() {
    let mut chain = Chain::new("fallback");
    let x = chain.source::<u64>("x");
    let fragile = chain.algorithm("fragile", (x,), async |x: Arc<u64>| {
        ensure!(x.is_multiple_of(2), "odd");
        Ok(*x)
    });
    let robust = chain.algorithm("robust", (), move |ctx: EventContext| async move {
        Ok::<_, Error>(ctx.get(fragile).await.map_or(1000, |x| *x))
    });
    let out = Collected::of(&mut chain, robust);
    Scheduler::new(config(1, 2)).run(chain, source::from_iter(0..4u64)).unwrap();
    assert_eq!(out.sorted(), [(0, 0), (1, 1000), (2, 2), (3, 1000)]);
}

#[test]
fn an_algorithm_that_demands_itself_fails_instead_of_hanging() {
    let own: Arc<std::sync::OnceLock<Handle<u64>>> = Arc::default();
    let mut chain = Chain::new("circular");
    chain.source::<u64>("x");
    let handle = own.clone();
    let circular = chain.algorithm("circular", (), move |ctx: EventContext| {
        let handle = *handle.get().unwrap();
        async move { Ok::<_, Error>(*ctx.get(handle).await?) }
    });
    own.set(circular).unwrap();
    Collected::of(&mut chain, circular);
    let config = Config { deadline: Some(LONG), ..config(1, 1) };
    let error = Scheduler::new(config).run(chain, source::from_iter([1u64])).unwrap_err();
    assert!(error.to_string().contains("demanded by itself"), "{error}");
}

struct Ragged(u64);

impl Source for Ragged {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        self.0 += 1;
        let product =
            if self.0.is_multiple_of(3) { Err(anyhow!("line {} is short", self.0)) } else { Ok(self.0) };
        Ok((self.0 <= 9).then_some(Read { event: EventId(100 + self.0), product }))
    }
}

#[test]
fn an_event_that_cannot_be_read_is_reported_with_its_number() {
    let chain = || {
        let mut chain = Chain::new("ragged");
        let x = chain.source::<u64>("lines");
        let out = Collected::of(&mut chain, x);
        (chain, out)
    };
    let (skipping, out) = chain();
    let config = Config { on_error: on_error("retry=5,skip"), ..config(1, 2) };
    let report = Scheduler::new(config.clone()).run(skipping, Ragged(0)).unwrap();
    assert_eq!((out.all().len(), report.failed, report.retried), (6, 3, 0));
    assert_eq!(report.failures[0].to_string(), "event 103: the event could not be read: line 3 is short");
    let (stopping, _) = chain();
    let error =
        Scheduler::new(Config { on_error: on_error("stop"), ..config }).run(stopping, Ragged(0)).unwrap_err();
    assert!(error.to_string().contains("line 3 is short"));
}

struct Torn(u64);

impl Source for Torn {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        suspend().await;
        self.0 += 1;
        ensure!(self.0 <= 5, "the file ends in the middle of an event");
        Ok(Some(Read { event: EventId(self.0), product: Ok(self.0) }))
    }
}

#[test]
fn a_source_that_cannot_be_read_on_ends_the_job_with_what_was_done() {
    for slots in [1, 8] {
        let mut chain = Chain::new("torn");
        let x = chain.source::<u64>("x");
        let out = Collected::of(&mut chain, x);
        let config = Config { on_error: on_error("skip"), ..config(2, slots) };
        let error = Scheduler::new(config).run(chain, Torn(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source cannot be read on: the file ends in the middle of an event"
        );
        assert_eq!((out.all().len(), error.report().unwrap().events), (5, 5));
    }
}

#[test]
fn a_sink_that_fails_ends_the_job_and_names_itself() {
    let mut chain = Chain::new("full");
    let x = chain.source::<u64>("x");
    chain.sink("disk", x, |event: EventId, _: Arc<u64>| {
        ensure!(event.0 < 5, "no space left on device");
        Ok(())
    });
    let config = Config { on_error: on_error("skip"), ..config(1, 1) };
    let error = Scheduler::new(config).run(chain, source::from_iter(0..100u64)).unwrap_err();
    assert_eq!(error.to_string(), "the sink `disk` failed at event 5: no space left on device");
    assert_eq!(error.report().unwrap().events, 5);
}

#[test]
fn a_sink_that_panics_ends_the_job_instead_of_hanging_it() {
    for ordered in [false, true] {
        let mut chain = Chain::new("broken");
        let x = chain.source::<u64>("x");
        chain.sink("broken", x, |event: EventId, _: Arc<u64>| {
            assert!(event.0 < 5, "a bug in a sink");
            Ok(())
        });
        let error = Scheduler::new(Config { ordered, ..config(2, 4) })
            .run(chain, source::from_iter(0..100u64))
            .unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}

#[test]
fn a_chain_with_mistakes_names_all_of_them_and_does_not_start() {
    let mut chain = Chain::new("wrong");
    chain.source::<u64>("x");
    let x = chain.source::<u32>("y");
    chain.algorithm("twice", (x,), async |x: Arc<u32>| Ok::<_, Error>(*x));
    chain.algorithm("twice", (x,), async |x: Arc<u32>| Ok::<_, Error>(*x));
    let error = Scheduler::default().run(chain, source::from_iter([1u64])).unwrap_err();
    let text = error.to_string();
    for part in ["two sources, `x` and `y`", "named `twice`", "no sink", "deliver `u32`", "delivers `u64`"] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    assert!(error.report().is_none());
}
