//! Models of the alarms: set against the sleeping watch, less slack, close, ring in passing against cancel; and of the pace.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Alarms, Pace, Watch};
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use support::Bell;
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};

/// The watch, for whom it is always `now`.
fn watch(alarms: &Alarms, now: u64) -> thread::JoinHandle<()> {
    let alarms = alarms.clone();
    thread::spawn(move || {
        loop {
            alarms.ring_due(now);
            if alarms.wait(now) == Watch::Closed {
                return;
            }
        }
    })
}

/// Waits for an alarm.
fn sleep(alarms: &Alarms, at: u64) {
    let mut alarm = None;
    block_on(poll_fn(|cx| {
        let waits = match &alarm {
            None => {
                alarm = Some(alarms.set(at, cx.waker().clone()));
                true
            }
            Some(alarm) => alarm.rewake(cx.waker()),
        };
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }));
}

/// The watch sleeps for a later alarm, or without one, when an earlier one is set.
fn an_earlier_alarm(later: Option<u64>) {
    let alarms = Alarms::new();
    let later = later.map(|at| alarms.set(at, Waker::noop().clone()));
    let watch = watch(&alarms, 5);
    sleep(&alarms, 5);
    drop(later);
    alarms.close();
    watch.join().unwrap();
}

/// The alarm is due, but the watch may be late; then it may not.
fn less_slack() {
    let alarms = Alarms::new();
    alarms.set_slack(100);
    let watch = watch(&alarms, 5);
    let waiter = {
        let alarms = alarms.clone();
        thread::spawn(move || sleep(&alarms, 5))
    };
    alarms.set_slack(0);
    waiter.join().unwrap();
    alarms.close();
    watch.join().unwrap();
}

fn close_against_the_watch() {
    let alarms = Alarms::new();
    let alarm = alarms.set(100, Waker::noop().clone());
    let watch = watch(&alarms, 5);
    alarms.close();
    watch.join().unwrap();
    assert!(!alarm.has_rung());
}

/// Two ring in passing, for different times; what one leaves is the other's, or the next one's.
fn two_ring() {
    let alarms = Alarms::new();
    let ((first, first_waker), (second, second_waker)) = (Bell::new(), Bell::new());
    let kept = (alarms.set(5, first_waker), alarms.set(10, second_waker));
    let other = {
        let alarms = alarms.clone();
        thread::spawn(move || alarms.ring_due(5))
    };
    alarms.ring_due(7);
    other.join().unwrap();
    assert_eq!((first.rings(), second.rings()), (1, 0));
    alarms.ring_due(10);
    assert_eq!((first.rings(), second.rings()), (1, 1), "not rung once each");
    assert!(alarms.is_empty() && alarms.is_quiet());
    drop(kept);
}

/// The one worker: runs what was woken; asks when it has nothing.
fn pace() {
    let (pace, woken) = (Pace::new(), Arc::new(AtomicBool::new(false)));
    let mut hold = Some(pace.hold());
    let mut other = None;
    block_on(poll_fn(|cx| {
        // The pacer and the task share a waker: to wake either is to run both.
        pace.run_once(cx.waker());
        if let Some(hold) = hold.take() {
            let woken = woken.clone();
            other = Some(thread::spawn(move || {
                woken.store(true, Ordering::Release);
                drop(hold);
            }));
        }
        let ran = woken.load(Ordering::Acquire);
        if pace.is_free() && !ran {
            panic!("time goes on past a task that can run");
        }
        if ran { Poll::Ready(()) } else { Poll::Pending }
    }));
    other.unwrap().join().unwrap();
}

#[test]
fn an_alarm_wakes_the_watch_that_waits_for_none() {
    explore("alarms: set, watch idle", TWO_THREADS, 40, || an_earlier_alarm(None));
}

#[test]
fn an_alarm_wakes_the_watch_that_waits_for_a_later_one() {
    explore("alarms: set, watch waits for later", TWO_THREADS, 40, || an_earlier_alarm(Some(9)));
}

#[test]
fn less_slack_wakes_the_watch() {
    explore("alarms: less slack", THREE_THREADS, 100, less_slack);
}

#[test]
fn closing_ends_the_watch() {
    explore("alarms: close", TWO_THREADS, 2, close_against_the_watch);
}

#[test]
fn each_alarm_rings_once() {
    explore("alarms: two ring", TWO_THREADS, 5, two_ring);
}

#[test]
fn a_cancelled_alarm_leaves_nothing() {
    explore("alarms: ring against cancel", THREE_THREADS, 20, || {
        let alarms = Alarms::new();
        let (bell, waker) = Bell::new();
        let alarm = alarms.set(5, waker);
        let kept = alarms.set(6, Waker::noop().clone());
        let ringer = {
            let alarms = alarms.clone();
            thread::spawn(move || alarms.ring_due(5))
        };
        let leaver = thread::spawn(move || drop(alarm));
        let rung = ringer.join().unwrap();
        leaver.join().unwrap();
        assert_eq!((bell.rings(), alarms.len(), alarms.earliest()), (rung, 1, Some(6)));
        drop(kept);
        assert!(alarms.is_quiet());
    });
}

#[test]
fn time_waits_for_what_a_hold_woke() {
    explore("pace: hold against the worker", TWO_THREADS, 10, pace);
}

#[test]
fn skipped_call_is_found() {
    refute("skipped_call_is_found", Fault::AlarmSkipsCall, TWO_THREADS, &["deadlock"], || {
        an_earlier_alarm(None)
    });
}

#[test]
fn skipped_call_for_less_slack_is_found() {
    let test = "skipped_call_for_less_slack_is_found";
    refute(test, Fault::AlarmSlackSkipsCall, THREE_THREADS, &["deadlock"], less_slack);
}

#[test]
fn skipped_call_at_close_is_found() {
    let test = "skipped_call_at_close_is_found";
    refute(test, Fault::AlarmCloseSkipsCall, TWO_THREADS, &["deadlock"], close_against_the_watch);
}

#[test]
fn forgotten_rest_is_found() {
    refute(
        "forgotten_rest_is_found",
        Fault::AlarmRingForgetsRest,
        TWO_THREADS,
        &["not rung once each"],
        two_ring,
    );
}

#[test]
fn skipped_nudge_is_found() {
    refute("skipped_nudge_is_found", Fault::PaceSkipsNudge, TWO_THREADS, &["deadlock"], pace);
}

#[test]
fn forgotten_nudge_is_found() {
    refute("forgotten_nudge_is_found", Fault::PaceForgetsNudge, TWO_THREADS, &["time goes on"], pace);
}
