//! Models of the points: arm and harvest, condemn, overdue, panics, the sleep of the driver.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicUsize as StdUsize;
use std::task::Poll;
use std::time::Duration;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Drive, Lost, Points, completion};
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use support::explore::{THREE_LONG, THREE_THREADS, TWO_THREADS, explore, refute};
use support::mark::{Book, Failure, Mark, Outcome};

const REACHED: Poll<Outcome> = Poll::Ready(Ok(()));
const FAILED: Poll<Outcome> = Poll::Ready(Err(Failure::Ordinary));
const DEAD: Poll<Outcome> = Poll::Ready(Err(Failure::Fatal));
const NEVER: Poll<Outcome> = Poll::Pending;

/// Points, and one stream's marks, which are never used by two threads at a time.
#[derive(Clone)]
struct Device {
    points: Arc<Points<Mark>>,
    book: Book,
}

impl Device {
    fn new(streams: usize) -> Self {
        Self { points: Arc::new(Points::new(streams)), book: Book::default() }
    }

    fn arm(&self, stream: usize, number: usize, answer: Poll<Outcome>) {
        self.points.arm(stream, self.book.mark(number, answer));
    }

    /// One that is reached when the flag is up.
    fn arm_until(&self, stream: usize, number: usize) -> Arc<AtomicBool> {
        let flag = Arc::new(AtomicBool::new(false));
        let up = flag.clone();
        let ask = move || if up.load(Ordering::Acquire) { REACHED } else { NEVER };
        self.points.arm(stream, self.book.asking(number, ask));
        flag
    }

    fn spawn<R: 'static>(&self, run: impl FnOnce(&Points<Mark>) -> R + 'static) -> thread::JoinHandle<R> {
        let points = self.points.clone();
        thread::spawn(move || run(&points))
    }

    fn harvester(&self) -> thread::JoinHandle<usize> {
        self.spawn(|points| points.harvest(0).ended)
    }

    /// Asks until it is told that the points are closed.
    fn driver(&self) -> thread::JoinHandle<()> {
        self.spawn(|points| {
            while points.wait_armed() == Drive::Ask {
                if points.harvest(0).ended == 0 {
                    thread::yield_now();
                }
            }
        })
    }

    /// Arms one that is reached at once, and waits for it as a task does, whose worker may harvest first.
    fn await_one(&self, stream: usize, harvest: bool) {
        let (signaller, end) = completion::<(), Lost>();
        let end_of = move |_: Outcome| signaller.complete(Ok(())).expect("somebody waits");
        self.points.arm(stream, Mark::new(|| REACHED, end_of));
        if harvest {
            self.points.harvest(0);
        }
        block_on(end).unwrap();
    }

    fn finish(&self, ends: &[(usize, Outcome)]) {
        assert_eq!(self.points.outstanding(), 0, "left behind");
        assert_eq!(self.book.ends(), ends, "not once each, in order");
    }
}

/// A harvester and whoever arms; then everything is there.
fn counted_is_found() {
    let device = Device::new(1);
    let harvester = device.spawn(|points| (points.outstanding(), points.harvest(0).ended));
    device.arm(0, 0, REACHED);
    let (counted, ended) = harvester.join().unwrap();
    assert!(ended >= counted, "not found");
    assert_eq!(device.points.harvest(0).ended, 1 - ended);
    device.finish(&[(0, Ok(()))]);
}

/// Two harvest while one more is armed. The first fails, which is no concern of the others.
fn two_harvest() {
    two(|points| points.harvest(0).ended);
}

/// The same, of a stream that both name.
fn two_name_a_stream() {
    two(|points| points.harvest_of([0], 0).ended);
}

fn two(harvest: fn(&Points<Mark>) -> usize) {
    let device = Device::new(1);
    let used = Arc::new(AtomicBool::new(false));
    let arm = |number, answer| {
        let used = used.clone();
        let ask = move || {
            assert!(!used.swap(true, Ordering::Relaxed), "asked by two");
            used.store(false, Ordering::Relaxed);
            answer
        };
        device.points.arm(0, device.book.asking(number, ask));
    };
    arm(0, FAILED);
    let harvesters = [device.spawn(harvest), device.spawn(harvest)];
    arm(1, REACHED);
    let ended: usize = harvesters.into_iter().map(|harvester| harvester.join().unwrap()).sum();
    assert_eq!(harvest(&device.points), 2 - ended, "left behind");
    device.finish(&[(0, Err(Failure::Ordinary)), (1, Ok(()))]);
}

/// One is in somebody's hand and not reached; one is armed; all is condemned.
fn condemned_from_outside() {
    let device = Device::new(2);
    device.arm(0, 0, NEVER);
    let harvester = device.harvester();
    let other = device.clone();
    let armer = thread::spawn(move || {
        other.arm(0, 1, NEVER);
        other.arm(1, 2, NEVER);
    });
    device.points.condemn(Failure::Fatal);
    harvester.join().unwrap();
    armer.join().unwrap();
    assert_eq!(device.points.outstanding(), 0, "left behind");
    assert_eq!(device.book.sorted(), [0, 1, 2].map(|number| (number, Err(Failure::Fatal))));
}

/// Who asks finds that all is lost, while another has the other stream in hand, and a third arms.
fn condemned_by_asking() {
    let device = Device::new(2);
    device.arm(0, 0, NEVER);
    device.arm(1, 1, DEAD);
    let harvester = device.harvester();
    let other = device.clone();
    let armer = thread::spawn(move || other.arm(0, 2, NEVER));
    device.points.harvest(0);
    harvester.join().unwrap();
    armer.join().unwrap();
    assert_eq!(device.points.outstanding(), 0, "left behind");
    assert_eq!(device.book.sorted(), [0, 1, 2].map(|number| (number, Err(Failure::Fatal))));
}

/// Two find at the same time that all is lost, each in its way.
fn condemned_twice() {
    let device = Device::new(2);
    device.arm(0, 0, DEAD);
    device.arm(0, 1, NEVER);
    device.arm(1, 2, NEVER);
    let harvester = device.harvester();
    device.points.condemn(Failure::Ordinary);
    harvester.join().unwrap();
    assert_eq!(device.points.outstanding(), 0, "left behind");
    let error = device.points.condemned().unwrap();
    let ends = device.book.sorted();
    assert!(ends[0] == (0, Err(Failure::Fatal)) || ends[0] == (0, Err(error)));
    assert_eq!(ends[1..], [(1, Err(error)), (2, Err(error))]);
}

/// Told once, however many look; then it ends as any other.
fn overdue() {
    let device = Device::new(1);
    let told = StdArc::new(StdUsize::new(0));
    let flag = device.arm_until(0, 0);
    let count = told.clone();
    let overdue = move || _ = count.fetch_add(1, Ordering::SeqCst);
    device.points.arm(0, device.book.mark(1, REACHED).due(5, overdue));
    let other = device.spawn(|points| points.harvest(4).ended + points.harvest(5).ended);
    let ended = device.points.harvest(5).ended;
    flag.store(true, Ordering::Release);
    let ended = ended + other.join().unwrap();
    assert!(told.load(Ordering::SeqCst) <= 1, "told twice");
    assert_eq!(device.points.harvest(6).ended, 2 - ended);
    device.finish(&[(0, Ok(())), (1, Ok(()))]);
}

/// An `end` panics; the others of its stream are there for others.
fn an_end_panics() {
    let device = Device::new(1);
    device.points.arm(0, Mark::new(|| REACHED, |_| resume_unwind(Box::new("end"))));
    let harvest = |points: &Points<Mark>| {
        let harvested = catch_unwind(AssertUnwindSafe(|| points.harvest(0)));
        harvested.map_or((0, 1), |harvested| (harvested.ended, 0))
    };
    let other = device.spawn(harvest);
    device.arm(0, 1, REACHED);
    let (mine, theirs) = (harvest(&device.points), other.join().unwrap());
    assert_eq!(mine.1 + theirs.1, 1, "one has met the panic");
    assert_eq!(device.points.harvest(0).ended, 1 - mine.0 - theirs.0, "left behind");
    device.finish(&[(1, Ok(()))]);
}

/// An `end` arms another, here and elsewhere, and harvests.
fn an_end_arms_and_harvests() {
    let device = Device::new(2);
    let (inside, entry) = (device.clone(), device.book.entry(0));
    let end = move |outcome| {
        entry(outcome);
        inside.arm(0, 1, REACHED);
        inside.arm(1, 2, REACHED);
        inside.points.harvest(0);
    };
    device.points.arm(0, Mark::new(|| REACHED, end));
    let other = device.harvester();
    device.points.harvest(0);
    other.join().unwrap();
    device.points.harvest(0);
    assert_eq!(device.points.outstanding(), 0, "left behind");
    assert_eq!(device.book.sorted(), [0, 1, 2].map(|number| (number, Ok(()))));
}

/// Nothing was outstanding: the driver sleeps, or is about to.
fn driver_wakes() {
    let device = Device::new(1);
    let driver = device.driver();
    device.await_one(0, false);
    device.points.close();
    driver.join().unwrap();
}

/// The same, twice, beside a worker that may harvest before the driver does, so that it may have been woken for nothing.
fn driver_wakes_again() {
    let device = Device::new(1);
    let driver = device.driver();
    device.await_one(0, true);
    device.await_one(0, false);
    device.points.close();
    driver.join().unwrap();
}

/// Closed before it is reached. A worker may have it in hand, in vain, when it is.
fn driver_asks_on() {
    let device = Device::new(1);
    let flag = device.arm_until(0, 0);
    let driver = device.driver();
    let worker = device.harvester();
    device.points.close();
    flag.store(true, Ordering::Release);
    driver.join().unwrap();
    worker.join().unwrap();
    device.finish(&[(0, Ok(()))]);
}

/// Closed while something is outstanding, which a worker may end: the driver is told when that is over.
fn driver_sees_all_to_their_ends() {
    let device = Device::new(1);
    let over = Arc::new(AtomicUsize::new(0));
    let end = {
        let over = over.clone();
        move |_| over.store(1, Ordering::Relaxed)
    };
    device.points.arm(0, Mark::new(|| REACHED, end));
    let driver = device.driver();
    let worker = device.harvester();
    device.points.close();
    driver.join().unwrap();
    assert_eq!(over.load(Ordering::Relaxed), 1, "told too early");
    worker.join().unwrap();
}

/// Under a checker a park ends only if it is told to.
fn park(end_it: impl FnOnce(&Points<Mark>)) {
    let device = Device::new(1);
    device.arm(0, 0, NEVER);
    let driver = device.spawn(|points| points.park(Duration::MAX));
    end_it(&device.points);
    driver.join().unwrap();
}

#[test]
fn what_is_counted_is_found() {
    explore("points: arm, harvest", TWO_THREADS, 5, counted_is_found);
}

#[test]
fn each_ends_once_in_order() {
    explore("points: arm, two harvest", THREE_THREADS, 4000, two_harvest);
}

#[test]
fn each_of_a_named_stream_ends_once_in_order() {
    explore("points: arm, two that name the stream", THREE_THREADS, 450, two_name_a_stream);
}

#[test]
fn none_outlives_a_condemnation() {
    explore("points: condemn, arm, harvest", THREE_LONG, 8000, condemned_from_outside);
}

#[test]
fn none_outlives_a_fatal_error() {
    explore("points: fatal error, arm, harvest", THREE_LONG, 10000, condemned_by_asking);
}

#[test]
fn the_first_fatal_error_counts() {
    explore("points: condemn, fatal error", THREE_THREADS, 900, condemned_twice);
}

#[test]
fn overdue_is_told_once() {
    explore("points: overdue", TWO_THREADS, 40, overdue);
}

#[test]
fn a_panic_costs_only_its_point() {
    explore("points: an end panics", TWO_THREADS, 200, an_end_panics);
}

#[test]
fn an_end_may_arm_and_harvest() {
    explore("points: an end arms and harvests", THREE_THREADS, 2000, an_end_arms_and_harvests);
}

#[test]
fn the_first_wakes_the_driver() {
    explore("points: arm, driver", TWO_THREADS, 1000, driver_wakes);
}

#[test]
fn the_first_wakes_the_driver_again() {
    explore("points: arm twice, driver", THREE_THREADS, 3000, driver_wakes_again);
}

#[test]
fn the_driver_asks_on() {
    explore("points: close, reach, driver, worker", THREE_THREADS, 1500, driver_asks_on);
}

#[test]
fn closed_is_told_after_the_last_end() {
    explore("points: close, driver, worker", THREE_THREADS, 600, driver_sees_all_to_their_ends);
}

#[test]
fn a_park_is_ended() {
    explore("points: park, call", TWO_THREADS, 2, || park(Points::call));
    explore("points: park, close", TWO_THREADS, 2, || park(Points::close));
    explore("points: park, condemn", TWO_THREADS, 7, || park(|points| points.condemn(Failure::Fatal)));
}

#[test]
fn faults_are_found() {
    type Model = fn();
    let cases: [(Fault, Option<usize>, &[&str], Model); 14] = [
        (Fault::PointsRelaxedArm, TWO_THREADS, &["not found"], counted_is_found),
        (Fault::PointsClaimRaces, THREE_THREADS, &["asked by two"], two_harvest),
        (Fault::PointsClaimRaces, THREE_THREADS, &["asked by two"], two_name_a_stream),
        (Fault::PointsUnlistsArmed, THREE_THREADS, &["left behind"], two_harvest),
        (Fault::PointsForgetsCondemned, THREE_THREADS, &["left behind"], condemned_from_outside),
        (Fault::PointsArmsCondemned, THREE_THREADS, &["left behind"], condemned_from_outside),
        (Fault::PointsSkipsSweep, THREE_THREADS, &["left behind"], condemned_by_asking),
        (Fault::PointsTellsTwice, TWO_THREADS, &["told twice"], overdue),
        (Fault::PointsKeepsClaim, TWO_THREADS, &["left behind"], an_end_panics),
        (Fault::PointsCountsEarly, THREE_THREADS, &["told too early"], driver_sees_all_to_their_ends),
        (Fault::PointsSkipsWake, TWO_THREADS, &["deadlock"], driver_wakes),
        (Fault::PointsSleepsBlindly, TWO_THREADS, &["deadlock"], driver_wakes),
        (Fault::PointsForgetsCall, TWO_THREADS, &["deadlock"], || park(Points::call)),
        (Fault::PointsCloseSkipsWake, TWO_THREADS, &["deadlock"], driver_wakes),
    ];
    for (fault, preemptions, says, model) in cases {
        refute("faults_are_found", fault, preemptions, says, model);
    }
}
