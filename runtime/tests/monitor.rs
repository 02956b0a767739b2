//! What a monitor shows of a running job: of each algorithm in flight, what it waits for.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher, Lane, LanePool, Offload, Trouble};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{Activity, AlgorithmStatus, Monitor, Snapshot, Ticker};
use common::device::{Failed, Square};
use common::{Collected, LONG, config};
use tokio::sync::Notify;

/// A device that answers when it is told to.
struct Held {
    name: &'static str,
    lanes: LanePool<()>,
    answer: Arc<Notify>,
}

impl Offload for Held {
    type Request = u64;
    type Reply = u64;
    type Error = Failed;
    type Lane = ();

    fn name(&self) -> &str {
        self.name
    }

    fn rows(&self, _: &u64) -> usize {
        1
    }

    fn lanes(&self) -> &LanePool<()> {
        &self.lanes
    }

    fn lane_number(&self, (): &()) -> usize {
        0
    }

    fn start(
        &self,
        lane: Lane<()>,
        batch: &[&u64],
        _: usize,
    ) -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static {
        let (replies, answer) = (batch.iter().map(|&&x| x).collect(), self.answer.clone());
        async move {
            answer.notified().await;
            drop(lane);
            Ok(replies)
        }
    }

    fn trouble(&self, trouble: Trouble) -> Failed {
        Failed::Other(trouble.to_string())
    }
}

/// Looks until something is to be seen.
fn look(monitor: &Monitor, until: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let begin = Instant::now();
    loop {
        match monitor.snapshot() {
            Some(snapshot) if until(&snapshot) => return snapshot,
            seen => assert!(begin.elapsed() < LONG, "still not there: {seen:#?}"),
        }
        thread::yield_now();
    }
}

/// What the algorithm of an event does.
fn activity(snapshot: &Snapshot, event: u64, algorithm: &str) -> Option<Activity> {
    let event = snapshot.in_flight.iter().find(|status| status.event == EventId(event))?;
    let unfinished = event.unfinished.iter().find(|unfinished| unfinished.algorithm == algorithm)?;
    Some(unfinished.activity.clone())
}

const ON_DEVICE: u64 = 0;
const QUEUED: u64 = 1;
const AWAITING_LANE: u64 = 2;
const ELSEWHERE: u64 = 3;
const SPINNING: u64 = 4;
const SPINNING_TOO: u64 = 5;
const READY: u64 = 6;
const EVENTS: u64 = 7;

/// Means to let the events go on one by one, and all that spin.
#[derive(Default)]
struct Gates {
    open: [Notify; EVENTS as usize],
    stop: AtomicBool,
}

impl Gates {
    async fn pass(&self, event: u64) {
        self.open[event as usize].notified().await;
    }

    fn spin(&self) {
        while !self.stop.load(SeqCst) {
            thread::yield_now();
        }
    }
}

/// In each event `hold` does what the event's number says, and `after` needs it.
fn held_chain(gates: &Arc<Gates>, batched: &Batcher<Held>, alone: &Batcher<Held>) -> (Chain, Collected<u64>) {
    let mut chain = Chain::new("held");
    let x = chain.source::<u64>("x");
    let (gates, through, past) = (gates.clone(), batched.clone(), alone.clone());
    let hold = chain.algorithm("hold", (x,), move |ctx: EventContext, x: Arc<u64>| {
        let (gates, batched, alone) = (gates.clone(), through.clone(), past.clone());
        async move {
            match *x {
                ON_DEVICE => return batched.submit(&ctx, *x).await,
                event => {
                    gates.pass(event).await;
                    match event {
                        QUEUED => return batched.submit(&ctx, *x).await,
                        AWAITING_LANE => return alone.submit(&ctx, *x).await,
                        SPINNING | SPINNING_TOO => gates.spin(),
                        _ => {}
                    }
                }
            }
            Ok(*x)
        }
    });
    chain.uses(hold, batched);
    chain.uses(hold, alone);
    let after =
        chain.algorithm("after", (x, hold), async |_: Arc<u64>, held: Arc<u64>| Ok::<_, Error>(*held));
    let collected = Collected::of(&mut chain, after);
    (chain, collected)
}

#[test]
fn each_kind_of_wait_is_named() {
    let (monitor, gates, answer) = (Monitor::new(), Arc::<Gates>::default(), Arc::<Notify>::default());
    let lanes = LanePool::new([()]);
    let batcher = |name, policy| {
        let held = Held { name, lanes: lanes.clone(), answer: answer.clone() };
        Batcher::new(held, BatchConfig::default().with_policy(policy))
    };
    let (batched, alone) = (batcher("batched", BatchPolicy::Size(1)), batcher("alone", BatchPolicy::Off));
    let (chain, collected) = held_chain(&gates, &batched, &alone);
    assert!(monitor.snapshot().is_none(), "no job has begun");
    let config = Config { monitor: Some(monitor.clone()), ..config(2, 16) };
    let job = thread::spawn(move || Scheduler::new(config).run(chain, source::from_iter(0..EVENTS)));

    let does = |event: u64, activity: fn(&Activity) -> bool| {
        move |snapshot: &Snapshot| self::activity(snapshot, event, "hold").as_ref().is_some_and(activity)
    };
    look(&monitor, does(ON_DEVICE, |activity| matches!(activity, Activity::OnDevice(_))));
    for event in [QUEUED, AWAITING_LANE, ELSEWHERE, SPINNING, SPINNING_TOO, READY] {
        look(&monitor, does(event, |activity| *activity == Activity::Elsewhere));
    }
    gates.open[QUEUED as usize].notify_one();
    look(&monitor, does(QUEUED, |activity| matches!(activity, Activity::Queued(_))));
    gates.open[AWAITING_LANE as usize].notify_one();
    look(&monitor, does(AWAITING_LANE, |activity| matches!(activity, Activity::AwaitingLane(_))));
    for event in [SPINNING, SPINNING_TOO] {
        gates.open[event as usize].notify_one();
        look(&monitor, does(event, |activity| *activity == Activity::Running));
    }
    // Both workers are taken: who is woken now stays where it is.
    gates.open[READY as usize].notify_one();
    let snapshot = look(&monitor, does(READY, |activity| *activity == Activity::Ready));

    assert_eq!(snapshot.chain, "held");
    assert_eq!((snapshot.events, snapshot.failed, snapshot.total), (0, 0, Some(EVENTS)));
    assert_eq!((snapshot.threads, snapshot.slots), (2, EVENTS as usize));
    let users = || vec!["batched".to_owned(), "alone".to_owned()];
    for (event, activity) in [
        (ON_DEVICE, Activity::OnDevice(users())),
        (QUEUED, Activity::Queued(users())),
        (AWAITING_LANE, Activity::AwaitingLane(users())),
        (ELSEWHERE, Activity::Elsewhere),
        (SPINNING, Activity::Running),
        (SPINNING_TOO, Activity::Running),
        (READY, Activity::Ready),
    ] {
        assert_eq!(self::activity(&snapshot, event, "hold"), Some(activity), "event {event}");
        let after = Some(Activity::Inputs(vec!["hold".into()]));
        assert_eq!(self::activity(&snapshot, event, "after"), after, "event {event}");
    }
    let hold = snapshot.algorithm("hold").unwrap();
    let AlgorithmStatus { running, ready, inputs, queued, awaiting_lane, on_device, elsewhere, .. } = *hold;
    assert_eq!((running, ready, inputs, queued, awaiting_lane, on_device, elsewhere), (2, 1, 0, 1, 1, 1, 1));
    assert_eq!(snapshot.algorithm("after").unwrap().inputs, EVENTS as usize);
    assert_eq!(snapshot.algorithms.len(), 2, "the source is none");
    let batchers =
        snapshot.batchers.iter().map(|it| (&*it.report.name, it.queued, it.running, it.report.batches));
    assert_eq!(batchers.collect::<Vec<_>>(), [("batched", 1, 1, 1), ("alone", 0, 0, 1)]);
    let mut slots: Vec<usize> = snapshot.in_flight.iter().map(|event| event.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..EVENTS as usize).collect::<Vec<_>>());
    assert!(snapshot.in_flight.is_sorted_by(|a, b| a.age >= b.age), "the oldest first");
    for event in &snapshot.in_flight {
        assert!(event.unfinished.iter().all(|unfinished| unfinished.age <= event.age), "{event}");
    }

    gates.stop.store(true, SeqCst);
    gates.open[ELSEWHERE as usize].notify_one();
    // Three requests, one after the other on the one lane.
    while !job.is_finished() {
        answer.notify_one();
        thread::yield_now();
    }
    assert_eq!(job.join().unwrap().unwrap().events, EVENTS);
    assert_eq!(collected.sorted(), (0..EVENTS).map(|event| (event, event)).collect::<Vec<_>>());
    assert!(monitor.snapshot().is_none(), "the job is over");
}

#[test]
fn an_event_that_a_sink_takes_has_no_algorithm() {
    let (monitor, gate) = (Monitor::new(), Arc::new(AtomicBool::new(false)));
    let mut chain = Chain::new("sinking");
    let x = chain.source::<u64>("x");
    let (holds, held) = (gate.clone(), Arc::new(AtomicU64::new(0)));
    let taken = held.clone();
    chain.sink("slow", x, move |_, x: Arc<u64>| {
        taken.store(*x, SeqCst);
        while !holds.load(SeqCst) {
            thread::yield_now();
        }
        Ok(())
    });
    let config = Config { monitor: Some(monitor.clone()), ..config(1, 1) };
    let job = thread::spawn(move || Scheduler::new(config).run(chain, source::from_iter([7_u64])));
    let snapshot = look(&monitor, |snapshot| !snapshot.in_flight.is_empty() && held.load(SeqCst) == 7);
    assert_eq!(snapshot.in_flight.len(), 1);
    assert!(snapshot.in_flight[0].unfinished.is_empty(), "{}", snapshot.dump());
    gate.store(true, SeqCst);
    job.join().unwrap().unwrap();
}

#[test]
fn of_two_jobs_the_one_that_began_last_is_shown_and_the_other_does_not_end_that() {
    let monitor = Monitor::new();
    let inner = |monitor: &Monitor| {
        let mut chain = Chain::new("inner");
        let x = chain.source::<u64>("x");
        let look = monitor.clone();
        chain.sink("look", x, move |_, _: Arc<u64>| {
            ensure!(look.snapshot().is_some_and(|snapshot| snapshot.chain == "inner"));
            Ok(())
        });
        let config = Config { monitor: Some(monitor.clone()), ..config(1, 1) };
        Scheduler::new(config).run(chain, source::from_iter([1_u64])).unwrap();
    };
    let mut chain = Chain::new("outer");
    let x = chain.source::<u64>("x");
    let look = monitor.clone();
    chain.sink("run", x, move |_, _: Arc<u64>| {
        ensure!(look.snapshot().is_some_and(|snapshot| snapshot.chain == "outer"));
        let here = look.clone();
        thread::spawn(move || inner(&here)).join().unwrap();
        ensure!(look.snapshot().is_none());
        Ok(())
    });
    let config = Config { monitor: Some(monitor.clone()), ..config(1, 1) };
    Scheduler::new(config).run(chain, source::from_iter([1_u64])).unwrap();
}

#[test]
fn a_job_in_simulated_time_is_shown_in_that_to_any_thread() {
    let (monitor, clock) = (Monitor::new(), Clock::simulated());
    let mut chain = Chain::new("patience");
    let x = chain.source::<u64>("x");
    let waiting = clock.clone();
    let waits = chain.algorithm("wait", (x,), move |x: Arc<u64>| {
        let sleep = waiting.sleep(Duration::from_secs(3600 * *x));
        async move {
            sleep.await;
            Ok::<_, Error>(*x)
        }
    });
    let look = monitor.clone();
    chain.sink("look", waits, move |event: EventId, _: Arc<u64>| {
        if event == EventId(0) {
            let look = look.clone();
            let seen = thread::spawn(move || look.snapshot()).join().unwrap().unwrap();
            let hour = Duration::from_secs(3600);
            ensure!(seen.elapsed == hour, "{seen:?}");
            let ages =
                seen.in_flight.iter().map(|event| (event.age, event.unfinished.first().map(|it| it.age)));
            let ages: Vec<_> = ages.collect();
            ensure!(ages == [(hour, None), (hour, Some(hour))], "{ages:?}");
        }
        Ok(())
    });
    let config = Config { monitor: Some(monitor), clock, ..Config { slots: 2, ..Config::default() } };
    let report = Scheduler::new(config).run(chain, source::from_iter([1_u64, 2])).unwrap();
    assert_eq!(report.events, 2);
}

#[test]
fn a_ticker_may_look() {
    let monitor = Monitor::new();
    let looks = Arc::new(AtomicU64::new(0));
    let (look, count) = (monitor.clone(), looks.clone());
    let ticker = Ticker::new(Duration::from_millis(1), move |_| {
        assert!(look.snapshot().is_some_and(|snapshot| snapshot.to_string().contains("square")));
        count.fetch_add(1, SeqCst);
    });
    let clock = Clock::real();
    let (batcher, _) = Square::new(&clock, 1).batcher(BatchPolicy::Size(4));
    let mut chain = Chain::new("looked at");
    let x = chain.source::<u64>("x");
    let y = chain.offload("square", (x,), &batcher);
    Collected::of(&mut chain, y);
    let config = Config { monitor: Some(monitor), ticker: Some(ticker), warmup: 8, ..config(2, 8) };
    Scheduler::new(config).run(chain, source::from_iter(0..400_u64)).unwrap();
    assert!(looks.load(SeqCst) >= 1, "at the end at least");
}
