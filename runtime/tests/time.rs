//! Clocks: waits come, not early; simulated jobs take simulated hours, and the same ones each time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use asynchrotron::FailureKind;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;

const HOUR: Duration = Duration::from_secs(3600);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_real_sleep_comes_and_not_early() {
    let clock = Clock::real();
    block_on(async {
        for us in [0, 1, 50, 300, 2000] {
            let wait = Duration::from_micros(us);
            let begin = clock.now();
            clock.sleep(wait).await;
            assert!(clock.now() >= begin + wait);
            clock.sleep_until(begin).await;
        }
    });
}

#[test]
fn sleeps_come_in_the_order_of_their_times() {
    let clock = Clock::real();
    block_on(async {
        let now = clock.now();
        let waits = [5, 1, 4, 2, 3];
        let done = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks: Vec<_> = waits
            .iter()
            .map(|&ms| {
                // Far enough off that all sleep before the first is due, also on a busy machine.
                let due = now + Duration::from_millis(300 + 20 * ms);
                let (sleep, done) = (clock.sleep_until(due), done.clone());
                tokio::spawn(async move {
                    sleep.await;
                    done.lock().unwrap().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*done.lock().unwrap(), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_dropped_alarm_does_not_ring_and_a_past_one_rings_at_once() {
    let (clock, bell) = (Clock::real(), Arc::new(Bell::default()));
    let waker = Waker::from(bell.clone());
    // Far enough to be dropped before it is due, however busy the machine.
    drop(clock.alarm(clock.now() + Duration::from_millis(300), waker.clone()));
    let past = clock.alarm(Duration::ZERO, waker);
    assert!(past.has_rung());
    block_on(clock.sleep(Duration::from_millis(310)));
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_dropped_sleep_leaves_the_others() {
    let clock = Clock::real();
    block_on(async {
        let mut short = pin!(clock.sleep(Duration::from_millis(1)));
        let long = clock.sleep(HOUR);
        tokio::select! {
            () = &mut short => {}
            () = long => panic!("an hour has not passed"),
        }
    });
}

/// Events that each wait minutes, on several paths, in a chain with a deadline.
fn patience(clock: &Clock, slots: usize) -> Report {
    let mut chain = Chain::new("patience");
    let number = chain.source::<u64>("number");
    let wait = |seconds: fn(u64) -> u64| {
        let clock = clock.clone();
        move |number: Arc<u64>| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(seconds(*number))).await;
                clock.sleep(Duration::from_nanos(*number % 7)).await;
                Ok::<_, Error>(*number)
            }
        }
    };
    let left = chain.algorithm("left", (number,), wait(|n| 60 + n * 37 % 600));
    let right = chain.algorithm("right", (number,), wait(|n| 30 + n * 91 % 900));
    let both =
        chain.algorithm("both", (left, right), async |a: Arc<u64>, b: Arc<u64>| Ok::<_, Error>(*a + *b));
    chain.sink("drop", both, |_, _| Ok(()));
    let config = Config {
        slots,
        clock: clock.clone(),
        deadline: Some(Duration::from_secs(900)),
        on_error: "skip".parse().unwrap(),
        warmup: 10,
        ..Config::default()
    };
    Scheduler::new(config).run(chain, source::from_iter(0_u64..500)).unwrap()
}

#[test]
fn a_simulated_job_of_hours_takes_seconds_and_the_same_time_each_time() {
    let begin = Instant::now();
    let reports: Vec<_> = [(); 3].map(|()| patience(&Clock::simulated(), 16)).into();
    assert!(begin.elapsed() < Duration::from_secs(50));
    let first = &reports[0];
    assert!(first.elapsed > 3 * HOUR, "{first}");
    assert!(first.failed > 0 && first.timed_out == first.failed, "{first}");
    assert!(first.latency.max >= Duration::from_secs(890) && first.latency.max < Duration::from_secs(920));
    for other in &reports[1..] {
        assert_eq!(other.elapsed, first.elapsed);
        assert_eq!(other.latency, first.latency);
        assert_eq!(other.algorithms, first.algorithms);
        assert_eq!((other.events, other.failed), (first.events, first.failed));
    }
}

#[test]
fn simulated_time_is_that_of_the_longest_path() {
    let clock = Clock::simulated();
    let mut chain = Chain::new("two");
    let number = chain.source::<u64>("number");
    let waits = clock.clone();
    let waited = chain.algorithm("wait", (number,), move |n: Arc<u64>| {
        let sleep = waits.sleep(Duration::from_millis(10 + *n));
        async move {
            sleep.await;
            Ok::<_, Error>(())
        }
    });
    chain.sink("drop", waited, |_, _| Ok(()));
    let config = Config { slots: 2, clock, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter([0_u64, 5, 0, 0])).unwrap();
    // One slot: 10, 10. The other: 15, 10. Exactly.
    assert_eq!(report.elapsed, Duration::from_millis(25));
    let wait = report.algorithm("wait").unwrap();
    assert_eq!((wait.running, wait.ready), (Duration::ZERO, Duration::ZERO));
    assert_eq!(wait.suspended, Duration::from_millis(45));
}

#[test]
fn held_time_stands_still_while_others_work() {
    for _ in 0..50 {
        let clock = Clock::simulated();
        let mut chain = Chain::new("elsewhere");
        let number = chain.source::<u64>("number");
        let waits = clock.clone();
        let done = chain.algorithm("elsewhere", (number,), move |_: Arc<u64>| {
            let clock = waits.clone();
            async move {
                // Somebody else's alarm, which must not ring before the work is done.
                let mut later = pin!(clock.sleep(HOUR));
                for _ in 0..20 {
                    let hold = clock.hold();
                    let (signaller, completion) =
                        asynchrotron_sync::completion::<(), asynchrotron_sync::Lost>();
                    std::thread::spawn(move || {
                        let _ = signaller.complete(Ok(()));
                        drop(hold);
                    });
                    tokio::select! {
                        biased;
                        () = &mut later => bail!("time went on"),
                        _ = completion => {}
                    }
                }
                Ok(())
            }
        });
        chain.sink("drop", done, |_, _| Ok(()));
        let config = Config { clock, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter([0_u64])).unwrap();
        assert_eq!(report.elapsed, Duration::ZERO);
    }
}

#[test]
fn a_simulated_clock_wants_one_thread_and_one_job() {
    let (clock, chain) = (Clock::simulated(), || {
        let mut chain = Chain::new("nothing");
        let number = chain.source::<u64>("number");
        chain.sink("drop", number, |_, _| Ok(()));
        chain
    });
    let config = Config { threads: 2, clock: clock.clone(), ..Config::default() };
    let error = Scheduler::new(config).run(chain(), source::from_iter([0_u64])).unwrap_err();
    assert!(error.to_string().contains("needs one thread, not 2"), "{error}");
    // The refused job has not kept it.
    let config = Config { threads: 1, clock, ..Config::default() };
    Scheduler::new(config).run(chain(), source::from_iter([0_u64])).unwrap();
}

#[test]
fn a_real_deadline_ends_an_event_that_sleeps() {
    let clock = Clock::real();
    let mut chain = Chain::new("late");
    let number = chain.source::<u64>("number");
    let sleeping = chain.algorithm("sleep", (number,), move |_: Arc<u64>| {
        let sleep = clock.sleep(HOUR);
        async move {
            sleep.await;
            Ok::<_, Error>(())
        }
    });
    chain.sink("drop", sleeping, |_, _| Ok(()));
    let config = Config {
        deadline: Some(Duration::from_millis(2)),
        on_error: "skip".parse().unwrap(),
        slots: 4,
        ..Config::default()
    };
    let report = Scheduler::new(config).run(chain, source::from_iter(0_u64..8)).unwrap();
    assert_eq!((report.events, report.timed_out), (0, 8));
    assert_eq!(report.failures[0].failure.kind(), FailureKind::TimedOut);
}

/// An alarm may wake an algorithm whose event is over, and that nobody polls any more: time goes on all the same.
#[test]
fn an_alarm_that_wakes_nobody_does_not_stop_the_clock() {
    let clock = Clock::simulated();
    let mut chain = Chain::new("stopped");
    let x = chain.source::<u64>("x");
    let (first, sleeper) = (clock.clone(), clock.clone());
    // Event 1 has what it needs at once, while something that it has started sleeps; then it waits for its turn.
    let aside = chain.algorithm("aside", (x,), move |_: Arc<u64>| {
        let sleep = sleeper.sleep(Duration::from_millis(1));
        async move {
            sleep.await;
            Ok::<_, Error>(())
        }
    });
    let done = chain.algorithm("work", (x,), move |ctx: EventContext, x: Arc<u64>| {
        let clock = first.clone();
        async move {
            if *x == 0 {
                clock.sleep(Duration::from_millis(5)).await;
            } else {
                let mut wanted = pin!(ctx.get(aside));
                std::future::poll_fn(|cx| Poll::Ready(wanted.as_mut().poll(cx).is_ready())).await;
            }
            Ok::<_, Error>(())
        }
    });
    chain.ordered_sink("drop", done, |_, _: Arc<()>| Ok(()));
    let config = Config { slots: 2, clock, ..Config::default() };
    let (done, came) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(done.send(Scheduler::new(config).run(chain, source::from_iter(0..2_u64))));
    });
    let report = came.recv_timeout(Duration::from_secs(20)).expect("time stands still").unwrap();
    assert_eq!(report.elapsed, Duration::from_millis(5));
}
