//! Models of the headcount: leaving against entering against waiting.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::Headcount;
use asynchrotron_sync::broken::Fault;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};

/// The last leaves while somebody comes to wait.
fn who_waits_is_told_once() {
    let headcount = Arc::new(Headcount::new());
    headcount.enter();
    let leaver = {
        let headcount = headcount.clone();
        thread::spawn(move || headcount.leave().len())
    };
    let at_once = usize::from(headcount.wait(()).is_some());
    assert_eq!(leaver.join().unwrap() + at_once, 1, "told once");
}

/// One leaves while another enters, for whom somebody waits.
fn who_waits_is_not_told_while_somebody_is_inside() {
    let headcount = Arc::new(Headcount::new());
    let inside = Arc::new(AtomicBool::new(false));
    headcount.enter();
    let leaver = {
        let (headcount, inside) = (headcount.clone(), inside.clone());
        thread::spawn(move || {
            let told = headcount.leave().len();
            assert!(told == 0 || !inside.load(Ordering::SeqCst), "told too early");
            told
        })
    };
    headcount.enter();
    inside.store(true, Ordering::SeqCst);
    assert!(headcount.wait(()).is_none(), "somebody is inside");
    inside.store(false, Ordering::SeqCst);
    let later = headcount.leave().len();
    assert_eq!(leaver.join().unwrap() + later, 1, "told once");
}

/// What both did inside is there for who is told.
fn what_was_done_inside_is_visible() {
    let headcount = Arc::new(Headcount::new());
    let done = Arc::new(AtomicUsize::new(0));
    headcount.enter();
    headcount.enter();
    let leavers = [0, 1].map(|_| {
        let (headcount, done) = (headcount.clone(), done.clone());
        thread::spawn(move || {
            done.fetch_add(1, Ordering::Relaxed);
            drop(headcount.leave());
        })
    });
    if headcount.wait(()).is_some() {
        assert_eq!(done.load(Ordering::Relaxed), 2, "not visible");
    }
    for leaver in leavers {
        leaver.join().unwrap();
    }
}

#[test]
fn leave_against_wait() {
    explore("headcount: leave, wait", TWO_THREADS, 5, who_waits_is_told_once);
}

#[test]
fn leave_against_enter_and_wait() {
    explore(
        "headcount: leave, enter and wait",
        TWO_THREADS,
        20,
        who_waits_is_not_told_while_somebody_is_inside,
    );
}

#[test]
fn two_leave_against_wait() {
    explore("headcount: leave twice, wait", THREE_THREADS, 400, what_was_done_inside_is_visible);
}

#[test]
fn a_look_before_the_lock_is_found() {
    let test = "a_look_before_the_lock_is_found";
    refute(test, Fault::HeadcountLooksEarly, TWO_THREADS, &["told once"], who_waits_is_told_once);
}

#[test]
fn telling_blindly_is_found() {
    let test = "telling_blindly_is_found";
    let model = who_waits_is_not_told_while_somebody_is_inside;
    refute(test, Fault::HeadcountTellsBlindly, TWO_THREADS, &["told too early"], model);
}

#[test]
fn relaxed_leaving_is_found() {
    let test = "relaxed_leaving_is_found";
    refute(
        test,
        Fault::HeadcountRelaxedLeave,
        THREE_THREADS,
        &["not visible"],
        what_was_done_inside_is_visible,
    );
}
