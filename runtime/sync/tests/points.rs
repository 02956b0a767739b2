//! Points: asked in order, ended once, whatever the device, the ends and the threads do.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use asynchrotron_sync::{Drive, Harvested, Points};
use support::mark::{Book, Failure, Mark, Outcome};
use support::streams::{self, Load};

const REACHED: Poll<Outcome> = Poll::Ready(Ok(()));
const FAILED: Poll<Outcome> = Poll::Ready(Err(Failure::Ordinary));
const DEAD: Poll<Outcome> = Poll::Ready(Err(Failure::Fatal));
const NEVER: Poll<Outcome> = Poll::Pending;

fn flag() -> (Arc<AtomicBool>, impl FnMut() -> Poll<Outcome> + Send + 'static) {
    let flag = Arc::new(AtomicBool::new(false));
    let up = flag.clone();
    (flag, move || if up.load(Ordering::Acquire) { REACHED } else { NEVER })
}

#[test]
fn only_the_first_of_a_stream_is_asked() {
    let (points, book, (first, ask)) = (Points::new(2), Book::default(), flag());
    points.arm(0, book.asking(0, ask));
    points.arm(0, book.mark(1, REACHED));
    points.arm(1, book.mark(2, REACHED));
    assert_eq!(points.outstanding(), 3);
    assert_eq!(points.harvest(0), Harvested { ended: 1, outstanding: 2 });
    assert_eq!(book.ends(), [(2, Ok(()))]);
    first.store(true, Ordering::Release);
    assert_eq!(points.harvest(0), Harvested { ended: 2, outstanding: 0 });
    assert_eq!(book.ends(), [(2, Ok(())), (0, Ok(())), (1, Ok(()))]);
}

#[test]
fn hundreds_of_streams_are_found() {
    let (points, book) = (Points::new(321), Book::default());
    let armed: Vec<_> = (0..321).filter(|stream| stream % 3 == 0).collect();
    armed.iter().for_each(|&stream| points.arm(stream, book.mark(stream, REACHED)));
    assert_eq!(points.harvest(0).ended, armed.len());
    assert_eq!(book.ends(), armed.iter().map(|&stream| (stream, Ok(()))).collect::<Vec<_>>());
}

#[test]
fn only_the_streams_that_are_named_are_asked() {
    let (points, book) = (Points::new(100), Book::default());
    [3, 70, 99].iter().for_each(|&stream| points.arm(stream, book.mark(stream, REACHED)));
    assert_eq!(points.harvest_of([99, 5, 3], 0), Harvested { ended: 2, outstanding: 1 });
    assert_eq!(book.ends(), [(99, Ok(())), (3, Ok(()))]);
    // A fatal error ends the others as well.
    points.arm(4, book.mark(4, DEAD));
    assert_eq!(points.harvest_of([4], 0), Harvested { ended: 2, outstanding: 0 });
    assert_eq!(book.ends()[2..], [(4, Err(Failure::Fatal)), (70, Err(Failure::Fatal))]);
}

#[test]
fn an_error_ends_only_its_point() {
    let (points, book) = (Points::new(2), Book::default());
    points.arm(0, book.mark(0, FAILED));
    points.arm(0, book.mark(1, REACHED));
    points.arm(1, book.mark(2, NEVER));
    assert_eq!(points.harvest(0), Harvested { ended: 2, outstanding: 1 });
    assert_eq!(book.ends(), [(0, Err(Failure::Ordinary)), (1, Ok(()))]);
    assert_eq!(points.condemned(), None);
}

#[test]
fn a_fatal_error_ends_everything_and_what_comes_later() {
    let (points, book) = (Points::new(70), Book::default());
    points.arm(3, book.mark(0, NEVER));
    points.arm(69, book.mark(1, DEAD));
    points.arm(69, book.mark(2, REACHED));
    assert_eq!(points.harvest(0), Harvested { ended: 3, outstanding: 0 });
    points.arm(5, book.asking(3, || panic!("nothing is asked any more")));
    points.condemn(Failure::Ordinary);
    points.arm(5, book.mark(4, NEVER));
    assert_eq!(book.sorted(), [0, 1, 2, 3, 4].map(|number| (number, Err(Failure::Fatal))));
    assert_eq!((points.condemned(), points.outstanding()), (Some(Failure::Fatal), 0));
}

#[test]
fn an_error_learnt_elsewhere_ends_everything_at_once() {
    let (points, book) = (Points::new(2), Book::default());
    points.arm(0, book.mark(0, NEVER));
    points.arm(0, book.mark(1, REACHED));
    points.arm(1, book.mark(2, NEVER));
    points.condemn(Failure::Ordinary);
    assert_eq!(book.ends(), [0, 1, 2].map(|number| (number, Err(Failure::Ordinary))));
    assert_eq!(points.outstanding(), 0);
}

#[test]
fn what_is_overdue_is_told_once_and_ends_later() {
    let (points, book, (reached, ask)) = (Points::new(1), Book::default(), flag());
    let told = Arc::new(AtomicUsize::new(0));
    let tell = |bit: usize| {
        let told = told.clone();
        move || assert_eq!(told.fetch_add(bit, Ordering::SeqCst) & bit, 0, "told twice")
    };
    points.arm(0, book.asking(0, ask).due(20, tell(1)));
    points.arm(0, book.mark(1, REACHED).due(10, tell(2)));
    points.arm(0, book.mark(2, FAILED));
    let told_at = |now_ns| {
        assert_eq!(points.harvest(now_ns), Harvested { ended: 0, outstanding: 3 });
        told.load(Ordering::SeqCst)
    };
    // Also those that wait behind others.
    assert_eq!([9, 10, 11, 20, 30, u64::MAX].map(told_at), [0, 2, 2, 3, 3, 3]);
    reached.store(true, Ordering::Release);
    assert_eq!(points.harvest(40).ended, 3);
    assert_eq!(book.ends(), [(0, Ok(())), (1, Ok(())), (2, Err(Failure::Ordinary))]);
}

#[test]
fn what_was_overdue_may_end_with_the_fatal_error() {
    let (points, book) = (Points::new(1), Book::default());
    points.arm(0, book.mark(0, NEVER).due(1, || ()));
    points.harvest(2);
    points.condemn(Failure::Fatal);
    assert_eq!(book.ends(), [(0, Err(Failure::Fatal))]);
}

#[test]
fn a_stream_in_hand_is_skipped() {
    let (points, book) = (Arc::new(Points::new(2)), Book::default());
    let (asked, is_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    points.arm(
        0,
        book.asking(0, move || {
            asked.send(()).unwrap();
            may_go_on.recv().unwrap();
            REACHED
        }),
    );
    let slow = {
        let points = points.clone();
        thread::spawn(move || points.harvest(0))
    };
    is_asked.recv().unwrap();
    points.arm(0, book.mark(1, REACHED)); // does not block
    points.arm(1, book.mark(2, REACHED));
    assert_eq!(points.harvest(0), Harvested { ended: 1, outstanding: 2 });
    points.condemn(Failure::Fatal); // neither does this; the other ends what it has in hand
    assert_eq!(points.outstanding(), 2);
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap(), Harvested { ended: 2, outstanding: 0 });
    assert_eq!(book.ends(), [(2, Ok(())), (0, Ok(())), (1, Err(Failure::Fatal))]);
}

fn panicking(what: &'static str) -> Box<dyn std::any::Any + Send> {
    Box::new(what)
}

#[test]
fn a_panic_of_an_end_costs_only_its_point() {
    let (points, book) = (Points::new(2), Book::default());
    points.arm(0, Mark::new(|| REACHED, |_| resume_unwind(panicking("end"))));
    points.arm(0, book.mark(1, REACHED));
    points.arm(1, book.mark(2, REACHED));
    assert!(catch_unwind(AssertUnwindSafe(|| points.harvest(0))).is_err());
    assert_eq!((points.outstanding(), book.ends()), (2, vec![]));
    assert_eq!(points.harvest(0), Harvested { ended: 2, outstanding: 0 });
    assert_eq!(book.ends(), [(1, Ok(())), (2, Ok(()))]);
}

#[test]
fn a_panic_while_all_is_condemned_leaves_the_rest_to_the_next_harvest() {
    let (points, book) = (Points::new(2), Book::default());
    points.arm(0, Mark::new(|| NEVER, |_| resume_unwind(panicking("end"))));
    points.arm(0, book.mark(1, NEVER));
    points.arm(1, book.mark(2, NEVER));
    assert!(catch_unwind(AssertUnwindSafe(|| points.condemn(Failure::Fatal))).is_err());
    assert_eq!(points.harvest(0), Harvested { ended: 2, outstanding: 0 });
    assert_eq!(book.ends(), [1, 2].map(|number| (number, Err(Failure::Fatal))));
}

#[test]
fn a_panic_of_a_question_costs_nothing() {
    let (points, book) = (Points::new(1), Book::default());
    let mut times = 0;
    let ask = move || {
        times += 1;
        if times == 1 { resume_unwind(panicking("ask")) } else { REACHED }
    };
    let mut told = 0;
    let tell = move || {
        told += 1;
        assert_eq!(told, 1);
        resume_unwind(panicking("overdue"))
    };
    points.arm(0, book.asking(0, ask));
    assert!(catch_unwind(AssertUnwindSafe(|| points.harvest(0))).is_err());
    assert_eq!(points.outstanding(), 1);
    assert_eq!(points.harvest(0).ended, 1);
    points.arm(0, book.mark(1, NEVER).due(5, tell));
    assert!(catch_unwind(AssertUnwindSafe(|| points.harvest(5))).is_err());
    assert_eq!(points.harvest(6), Harvested { ended: 0, outstanding: 1 });
}

#[test]
fn an_end_may_use_the_points() {
    let (points, book) = (Arc::new(Points::new(2)), Book::default());
    let (inside, entry, inner) = (Arc::downgrade(&points), book.entry(0), book.clone());
    let end = move |outcome| {
        entry(outcome);
        let points: Arc<Points<Mark>> = inside.upgrade().unwrap();
        points.arm(0, inner.mark(1, REACHED));
        points.arm(1, inner.mark(2, REACHED));
        // This stream is in hand.
        assert_eq!(points.harvest(0), Harvested { ended: 1, outstanding: 2 });
    };
    points.arm(0, Mark::new(|| REACHED, end));
    assert_eq!(points.harvest(0), Harvested { ended: 1, outstanding: 1 });
    assert_eq!(points.harvest(0), Harvested { ended: 1, outstanding: 0 });
    assert_eq!(book.ends(), [(0, Ok(())), (2, Ok(())), (1, Ok(()))]);
}

#[test]
fn an_end_may_arm_after_a_fatal_error() {
    /// Tries again three times, on the same stream and on the next.
    fn retrying(points: &Weak<Points<Mark>>, book: &Book, number: usize) -> Mark {
        let (points, book, entry) = (points.clone(), book.clone(), book.entry(number));
        let end = move |outcome| {
            entry(outcome);
            if number < 3 {
                let alive = points.upgrade().unwrap();
                alive.arm(0, retrying(&points, &book, number + 1));
                alive.arm(number % 2, book.mark(10 + number, NEVER));
            }
        };
        Mark::new(|| DEAD, end)
    }
    let (points, book) = (Arc::new(Points::new(2)), Book::default());
    points.arm(0, retrying(&Arc::downgrade(&points), &book, 0));
    points.harvest(0);
    assert_eq!(points.outstanding(), 0);
    assert_eq!(book.sorted(), [0, 1, 2, 3, 10, 11, 12].map(|number| (number, Err(Failure::Fatal))));
}

#[test]
fn what_is_left_is_dropped_without_ending() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (points, dropped) = (Points::new(2), Arc::new(AtomicUsize::new(0)));
    for stream in [0, 0, 1] {
        let held = Held(dropped.clone());
        points.arm(
            stream,
            Mark::new(
                || NEVER,
                move |_| {
                    drop(held);
                    panic!("it has not ended");
                },
            ),
        );
    }
    points.harvest(0);
    drop(points);
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
}

#[test]
#[should_panic(expected = "stream 2 of 2")]
fn there_must_be_such_a_stream() {
    Points::new(2).arm(2, Book::default().mark(0, REACHED));
}

#[test]
fn the_driver_is_told_closed_when_nothing_is_left() {
    let (points, book) = (Points::new(1), Book::default());
    points.arm(0, book.mark(0, REACHED));
    points.close();
    assert_eq!(points.wait_armed(), Drive::Ask);
    points.harvest(0);
    assert_eq!(points.wait_armed(), Drive::Closed);
    points.arm(0, book.mark(1, REACHED)); // late, but not lost
    assert_eq!(points.wait_armed(), Drive::Ask);
    points.harvest(0);
    assert_eq!(points.wait_armed(), Drive::Closed);
}

#[test]
fn a_park_does_not_block_without_a_reason() {
    let (points, book) = (Points::new(1), Book::default());
    points.park(Duration::MAX); // nothing is outstanding
    points.arm(0, book.mark(0, NEVER));
    points.park(Duration::from_micros(10)); // its time comes
    points.call();
    points.park(Duration::MAX); // called before
    points.close();
    points.park(Duration::MAX);
    points.condemn(Failure::Fatal);
    points.park(Duration::MAX);
}

const LOAD: Load =
    Load { streams: 70, points: 400, armers: 3, workers: 3, harvests: 2000, lives_for: usize::MAX };

#[test]
fn many_streams_and_threads() {
    streams::run(LOAD);
}

#[test]
fn many_devices_that_die() {
    for lives_for in (0..2000).step_by(50) {
        streams::run(Load { streams: 5, points: 400, harvests: 100, lives_for, ..LOAD });
    }
}

#[test]
fn the_driver_alone() {
    streams::run(Load { streams: 4, armers: 2, workers: 0, ..LOAD });
}

#[test]
fn many_short_jobs() {
    for points in 0..200 {
        streams::run(Load { streams: 2, points: points % 10, armers: 2, workers: 2, harvests: 10, ..LOAD });
    }
}
