//! Models of the completion: signal against poll against drop.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Lost, completion};
use loom::future::block_on;
use loom::thread;
use std::task::{Poll, Waker};
use support::explore::{TWO_THREADS, explore, refute};
use support::{Bell, poll};

fn result_reaches_the_waiter() {
    let (signaller, completion) = completion::<u32, Lost>();
    let driver = thread::spawn(move || signaller.complete(Ok(7)));
    assert_eq!(block_on(completion), Ok(7));
    assert_eq!(driver.join().unwrap(), Ok(()));
}

/// The same without blocking, so that a lost wake-up is an assertion and not a deadlock.
fn waiter_is_told(complete: bool) {
    let (signaller, mut completion) = completion::<u32, Lost>();
    let driver = thread::spawn(move || {
        if complete {
            signaller.complete(Ok(7)).unwrap();
        } else {
            drop(signaller);
        }
    });
    let (bell, waker) = Bell::new();
    let first = poll(&mut completion, &waker);
    driver.join().unwrap();
    let expected = Poll::Ready(if complete { Ok(7) } else { Err(Lost) });
    if first.is_pending() {
        assert_eq!(bell.rings(), 1, "lost wake-up");
        assert_eq!(poll(&mut completion, Waker::noop()), expected);
    } else {
        assert_eq!(first, expected);
    }
}

/// A driver that waits until nobody waits for it.
fn driver_is_told_of_the_leaver() {
    let (signaller, completion) = completion::<u32, Lost>();
    let waiter = thread::spawn(move || drop(completion));
    block_on(std::future::poll_fn(|cx| signaller.poll_abandoned(cx)));
    assert!(signaller.is_abandoned());
    waiter.join().unwrap();
}

#[test]
fn the_waiter_leaves_while_the_driver_waits_for_that() {
    explore("completion: leave, poll_abandoned", TWO_THREADS, 10, driver_is_told_of_the_leaver);
}

#[test]
fn silent_leaver_is_found() {
    let test = "silent_leaver_is_found";
    refute(test, Fault::CompletionLeavesSilently, TWO_THREADS, &["deadlock"], driver_is_told_of_the_leaver);
}

#[test]
fn complete_against_block_on() {
    explore("completion: complete, block_on", TWO_THREADS, 46, result_reaches_the_waiter);
}

#[test]
fn complete_against_poll() {
    explore("completion: complete, poll", TWO_THREADS, 3, || waiter_is_told(true));
}

#[test]
fn signaller_dropped_against_poll() {
    explore("completion: drop of the signaller, poll", TWO_THREADS, 3, || waiter_is_told(false));
}

#[test]
fn complete_against_two_wakers() {
    explore("completion: complete, polls with two wakers", TWO_THREADS, 9, || {
        let (signaller, mut completion) = completion::<u32, Lost>();
        let driver = thread::spawn(move || signaller.complete(Ok(7)).unwrap());
        let ((old, old_waker), (new, new_waker)) = (Bell::new(), Bell::new());
        let first = poll(&mut completion, &old_waker);
        let second = if first.is_pending() { poll(&mut completion, &new_waker) } else { first };
        driver.join().unwrap();
        if second.is_pending() {
            assert_eq!((old.rings(), new.rings()), (0, 1), "the latest waker is the one to wake");
        }
    });
}

#[test]
fn complete_against_drop_of_the_waiter() {
    explore("completion: complete, poll and drop", TWO_THREADS, 22, || {
        let (signaller, mut completion) = completion::<loom::sync::Arc<()>, Lost>();
        let buffer = loom::sync::Arc::new(());
        let in_flight = buffer.clone();
        let driver = thread::spawn(move || {
            let skipped = signaller.is_abandoned();
            let back = signaller.complete(Ok(in_flight)).is_err();
            assert!(back || !skipped, "abandoned is final");
        });
        let _ = poll(&mut completion, Waker::noop());
        drop(completion);
        driver.join().unwrap();
        assert_eq!(loom::sync::Arc::strong_count(&buffer), 1, "the result was dropped once, somewhere");
    });
}

#[test]
fn skipped_wake_is_found() {
    refute(
        "skipped_wake_is_found",
        Fault::CompletionSkipsWake,
        TWO_THREADS,
        &["deadlock"],
        result_reaches_the_waiter,
    );
    refute("skipped_wake_is_found", Fault::CompletionSkipsWake, TWO_THREADS, &["lost wake-up"], || {
        waiter_is_told(true);
    });
}

#[test]
fn forgotten_loss_is_found() {
    refute("forgotten_loss_is_found", Fault::CompletionForgetsLost, TWO_THREADS, &["lost wake-up"], || {
        waiter_is_told(false);
    });
}
