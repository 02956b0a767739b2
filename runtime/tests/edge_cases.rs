//! Where things meet their limits: the end of an event, of a job, of a chain; threads of the user's own.

mod common;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use asynchrotron::prelude::*;
use asynchrotron::{OnError, Stop};
use common::{Collected, config, suspend};

fn on_error(policy: &str) -> OnError {
    policy.parse().unwrap()
}

/// Fails instead of hanging.
fn within<R: Send + 'static>(seconds: u64, job: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, came) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
    });
    match came.recv_timeout(Duration::from_secs(seconds)) {
        Ok(Ok(r)) => r,
        Ok(Err(p)) => std::panic::resume_unwind(p),
        Err(_) => panic!("hangs"),
    }
}

/// A source that waits before each event.
struct Slow(u64, u64);
impl Source for Slow {
    type Product = u64;
    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        tokio::time::sleep(Duration::from_millis(self.1)).await;
        let n = self.0;
        self.0 += 1;
        Ok((n < 10).then_some(Read { event: EventId(n), product: Ok(n) }))
    }
}

#[test]
fn a_context_let_go_between_two_events_does_not_harm_the_next() {
    let mut chain = Chain::new("late");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), |ctx: EventContext, x: Arc<u64>| async move {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(ctx);
        });
        Ok::<_, Error>(*x)
    });
    let out = Collected::of(&mut chain, y);
    let report = within(20, move || {
        Scheduler::new(Config { on_error: on_error("skip"), ..config(2, 2) }).run(chain, Slow(0, 20)).unwrap()
    });
    assert_eq!((report.events, report.failed), (10, 0), "{report}");
    assert_eq!(out.sorted().len(), 10);
}

#[test]
fn an_algorithm_that_wakes_itself_does_not_keep_its_worker() {
    let go = Arc::new(AtomicBool::new(false));
    let mut chain = Chain::new("self-waking");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), move |x: Arc<u64>| {
        let go = go.clone();
        async move {
            if *x == 0 {
                poll_fn(|cx| {
                    if go.load(SeqCst) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            } else {
                go.store(true, SeqCst);
            }
            Ok::<_, Error>(*x)
        }
    });
    let out = Collected::of(&mut chain, y);
    within(10, move || Scheduler::new(config(1, 2)).run(chain, source::from_iter(0..2u64)).unwrap());
    assert_eq!(out.sorted().len(), 2);
}

#[test]
fn an_algorithm_that_wakes_itself_has_a_deadline() {
    let mut chain = Chain::new("self-waking");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), move |_: Arc<u64>| async move {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
        Ok::<_, Error>(1u64)
    });
    let _out = Collected::of(&mut chain, y);
    let config =
        Config { on_error: on_error("skip"), deadline: Some(Duration::from_millis(50)), ..config(1, 2) };
    let report = within(10, move || Scheduler::new(config).run(chain, source::from_iter(0..2u64)).unwrap());
    assert_eq!(report.timed_out, 2);
}

struct Buffer(Arc<tokio::sync::Semaphore>);
impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
struct Pool(Arc<tokio::sync::Semaphore>, u64);
impl Source for Pool {
    type Product = Buffer;
    async fn next(&mut self) -> Result<Option<Read<Buffer>>> {
        if self.1 == 100 {
            return Ok(None);
        }
        self.0.acquire().await?.forget();
        self.1 += 1;
        Ok(Some(Read { event: EventId(self.1), product: Ok(Buffer(self.0.clone())) }))
    }
}

#[test]
fn products_are_freed_when_their_event_ends() {
    // As in data acquisition: the source has few buffers, and an event gives its own back.
    for (threads, slots) in [(1, 8), (2, 8)] {
        let mut chain = Chain::new("buffers");
        let x = chain.source::<Buffer>("x");
        let y = chain.algorithm("y", (x,), async |_: Arc<Buffer>| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Error>(1u64)
        });
        let out = Collected::of(&mut chain, y);
        within(10, move || {
            let pool = Pool(Arc::new(tokio::sync::Semaphore::new(4)), 0);
            Scheduler::new(config(threads, slots)).run(chain, pool).unwrap()
        });
        assert_eq!(out.sorted().len(), 100);
    }
}

#[test]
fn a_scheduler_runs_again_after_a_failed_job() {
    let scheduler = Scheduler::new(config(1, 2));
    let mut first = Chain::new("bad");
    let x = first.source::<u64>("x");
    let y = first.algorithm("y", (x,), async |_: Arc<u64>| Err::<u64, _>(anyhow!("bad")));
    let _o = Collected::of(&mut first, y);
    assert!(scheduler.run(first, source::from_iter(0..5u64)).is_err());
    let mut second = Chain::new("good");
    let x = second.source::<u64>("x");
    let out = Collected::of(&mut second, x);
    let report = scheduler.run(second, source::from_iter(0..5u64)).unwrap();
    assert_eq!((report.events, report.interrupted), (5, false));
    assert_eq!(out.sorted().len(), 5);
}

#[test]
fn a_failed_job_leaves_the_users_stop_alone() {
    let mut first = Chain::new("bad");
    let x = first.source::<u64>("x");
    let y = first.algorithm("y", (x,), async |_: Arc<u64>| Err::<u64, _>(anyhow!("bad")));
    let _o = Collected::of(&mut first, y);
    let stop = Stop::new();
    let error = Scheduler::new(Config { stop: stop.clone(), ..config(1, 2) })
        .run(first, source::from_iter(0..5u64))
        .unwrap_err();
    eprintln!("{}", error.report().unwrap());
    assert!(!stop.is_asked(), "the user's stop is the user's");
}

#[test]
fn no_deadline_is_too_long() {
    for deadline in [Duration::MAX, Duration::from_millis(u64::MAX), Duration::from_secs(1 << 40)] {
        let mut chain = Chain::new("patient");
        let x = chain.source::<u64>("x");
        let y = chain.algorithm("y", (x,), async |x: Arc<u64>| {
            suspend().await;
            Ok::<_, Error>(*x)
        });
        let out = Collected::of(&mut chain, y);
        let config = Config { deadline: Some(deadline), ..config(1, 2) };
        within(10, move || Scheduler::new(config).run(chain, source::from_iter(0..5u64)).unwrap());
        assert_eq!(out.sorted().len(), 5, "{deadline:?}");
    }
}

#[test]
fn a_timed_out_algorithm_is_in_the_table() {
    for (threads, slots) in [(2, 4), (2, 1)] {
        let mut chain = Chain::new("slow");
        let x = chain.source::<u64>("x");
        let y = chain.algorithm("slow", (x,), async |x: Arc<u64>| {
            tokio::time::sleep(Duration::from_secs(100)).await;
            Ok::<_, Error>(*x)
        });
        let _out = Collected::of(&mut chain, y);
        let config = Config {
            on_error: on_error("skip"),
            deadline: Some(Duration::from_millis(250)),
            ..config(threads, slots)
        };
        let report =
            within(20, move || Scheduler::new(config).run(chain, source::from_iter(0..4u64)).unwrap());
        let slow = report.algorithm("slow").unwrap();
        assert_eq!(slow.failures, 4);
        assert!(slow.suspended > Duration::from_millis(750), "{slow:?}");
    }
}

#[test]
fn nothing_of_an_event_runs_after_its_end_when_spawned() {
    // One root fails while another computes and then demands a third algorithm.
    let running = Arc::new(AtomicUsize::new(0));
    let overlaps = Arc::new(Mutex::new(Vec::new()));
    let now = Arc::new(AtomicUsize::new(usize::MAX));
    let mut chain = Chain::new("spawned");
    let x = chain.source::<u64>("x");
    let (r, o, n) = (running.clone(), overlaps.clone(), now.clone());
    let late = chain.algorithm("late", (x,), move |x: Arc<u64>| {
        let (r, o, n) = (r.clone(), o.clone(), n.clone());
        async move {
            r.fetch_add(1, SeqCst);
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if n.load(SeqCst) != *x as usize {
                    o.lock().unwrap().push(*x);
                    break;
                }
            }
            Ok::<_, Error>(*x)
        }
    });
    let n = now.clone();
    let long = chain.algorithm("long", (x,), move |ctx: EventContext, x: Arc<u64>| {
        n.store(*x as usize, SeqCst);
        async move {
            std::thread::sleep(Duration::from_millis(30)); // computes
            Ok::<_, Error>(*ctx.get(late).await?)
        }
    });
    let bad = chain.algorithm("bad", (x,), async |_: Arc<u64>| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Err::<u64, _>(anyhow!("bad"))
    });
    chain.sink("a", long, |_, _: Arc<u64>| Ok(()));
    chain.sink("b", bad, |_, _: Arc<u64>| Ok(()));
    let report = within(20, move || {
        Scheduler::new(Config { on_error: on_error("skip"), ..config(3, 1) })
            .run(chain, source::from_iter(0..10u64))
            .unwrap()
    });
    assert_eq!(report.failed, 10);
    assert!(overlaps.lock().unwrap().is_empty(), "ran on in {:?}", overlaps.lock().unwrap());
}

fn foreign_thread(threads: usize, slots: usize) {
    let mut chain = Chain::new("foreign");
    let x = chain.source::<u64>("x");
    let a = chain.algorithm("a", (x,), async |x: Arc<u64>| Ok::<_, Error>(*x + 1));
    let b = chain.algorithm("b", (x,), move |ctx: EventContext, _: Arc<u64>| async move {
        let (tx, rx) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            struct Unpark(std::thread::Thread);
            impl std::task::Wake for Unpark {
                fn wake(self: Arc<Self>) {
                    self.0.unpark();
                }
            }
            let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
            let cx = &mut std::task::Context::from_waker(&waker);
            let mut get = std::pin::pin!(ctx.get(a));
            let got = loop {
                match get.as_mut().poll(cx) {
                    Poll::Ready(got) => break got,
                    Poll::Pending => std::thread::park(),
                }
            };
            let _ = tx.send(got.map(|v| *v));
        });
        Ok::<_, Error>(rx.await??)
    });
    let out = Collected::of(&mut chain, b);
    let report = within(10, move || {
        let config = Config { on_error: on_error("skip"), ..config(threads, slots) };
        Scheduler::new(config).run(chain, source::from_iter(0..20u64)).unwrap()
    });
    assert_eq!(out.sorted().len(), 20, "{report}");
}

#[test]
fn a_thread_of_the_users_may_demand_products() {
    foreign_thread(1, 4);
}

#[test]
fn a_thread_of_the_users_may_demand_products_spawned() {
    foreign_thread(2, 1);
}

#[test]
fn a_failure_at_the_end_of_a_long_chain() {
    let mut chain = Chain::new("long");
    let x = chain.source::<u64>("x");
    let mut last = chain.algorithm("0", (x,), async |_: Arc<u64>| Err::<u64, _>(anyhow!("bad")));
    for n in 1..100_000 {
        last = chain.algorithm(&n.to_string(), (last,), async |x: Arc<u64>| Ok::<_, Error>(*x));
        if n == 20_000 {
            break;
        }
    }
    let _o = Collected::of(&mut chain, last);
    let report = within(60, move || {
        Scheduler::new(Config { on_error: on_error("skip"), ..config(1, 1) })
            .run(chain, source::from_iter(0..2u64))
            .unwrap()
    });
    assert_eq!(report.failed, 2);
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_product_that_panics_when_dropped_costs_no_job() {
    let mut chain = Chain::new("bomb");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), async |x: Arc<u64>| Ok::<_, Error>((*x == 3).then(|| Bomb)));
    chain.sink("s", y, |_, _: Arc<Option<Bomb>>| Ok(()));
    let report = within(10, move || {
        Scheduler::new(Config { on_error: on_error("skip"), ..config(1, 1) })
            .run(chain, source::from_iter(0..20u64))
    });
    eprintln!("{report:?}");
    assert_eq!(report.unwrap().events, 20);
}

struct Panics(u64);
impl Source for Panics {
    type Product = u64;
    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        self.0 += 1;
        assert_ne!(self.0, 6, "a wire was cut");
        assert!(self.0 < 6, "asked again after a panic");
        Ok(Some(Read { event: EventId(self.0), product: Ok(self.0) }))
    }
}

#[test]
fn a_source_that_panics_lets_the_events_in_flight_finish() {
    for (threads, slots) in [(1, 8), (2, 8), (2, 1)] {
        let mut chain = Chain::new("panic");
        let x = chain.source::<u64>("x");
        let y = chain.algorithm("y", (x,), async |x: Arc<u64>| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Error>(*x)
        });
        let out = Collected::of(&mut chain, y);
        let error =
            within(10, move || Scheduler::new(config(threads, slots)).run(chain, Panics(0)).unwrap_err());
        eprintln!("{error}");
        assert!(error.to_string().contains("a wire was cut"));
        assert_eq!(out.sorted().len(), 5);
    }
}

#[test]
fn the_causes_of_a_failure_are_told_once() {
    let mut chain = Chain::new("told");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), async |_: Arc<u64>| Err::<u64, _>(anyhow!("deep").context("shallow")));
    let _o = Collected::of(&mut chain, y);
    let error = Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..1u64)).unwrap_err();
    assert_eq!(error.to_string(), "event 0: algorithm `y` failed: shallow: deep");
}

struct Blocking(u64);

impl Source for Blocking {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        std::thread::sleep(Duration::from_millis(800)); // reads, on the worker
        self.0 += 1;
        Ok((self.0 <= 3).then_some(Read { event: EventId(self.0), product: Ok(self.0) }))
    }
}

#[test]
fn the_time_that_a_source_takes_is_not_the_events() {
    let mut chain = Chain::new("blocking");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), async |x: Arc<u64>| Ok::<_, Error>(*x));
    let _out = Collected::of(&mut chain, y);
    let config =
        Config { on_error: on_error("skip"), deadline: Some(Duration::from_millis(400)), ..config(1, 1) };
    let report = Scheduler::new(config).run(chain, Blocking(0)).unwrap();
    assert_eq!((report.events, report.timed_out), (3, 0), "{report}");
}
