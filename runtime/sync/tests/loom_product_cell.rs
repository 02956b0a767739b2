//! Models of the product cell: claim, complete, wait, leave.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Claim, ProductCell, Waiter};
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::task::{Context, Poll, Waker};
use support::explore::{FOUR_THREADS, THREE_THREADS, TWO_THREADS, explore, refute};
use support::{Bell, poll};

/// Everybody demands; whoever claims produces. What the scheduler does.
fn demand(cell: &ProductCell<u32>) -> bool {
    let mine = cell.claim() == Claim::Mine;
    if mine {
        cell.complete(5).unwrap();
    }
    assert_eq!(block_on(cell.wait()), 5);
    mine
}

fn demanded_by(threads: usize) {
    let cell = Arc::new(ProductCell::new());
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let cell = cell.clone();
            thread::spawn(move || demand(&cell))
        })
        .collect();
    let mine = usize::from(demand(&cell));
    let mine = others.into_iter().map(|other| usize::from(other.join().unwrap())).sum::<usize>() + mine;
    assert_eq!(mine, 1, "one producer");
}

/// One poll by hand, so that a lost wake-up is an assertion and not a deadlock.
fn waiter_is_told() {
    let cell = Arc::new(ProductCell::new());
    let producer = {
        let cell = cell.clone();
        thread::spawn(move || {
            assert_eq!(cell.claim(), Claim::Mine);
            cell.complete(5).unwrap();
        })
    };
    let (bell, waker) = Bell::new();
    let mut wait = cell.wait();
    let first = poll(&mut wait, &waker);
    producer.join().unwrap();
    assert!(first == Poll::Ready(5) || bell.rings() == 1, "lost wake-up");
    assert_eq!(poll(&mut wait, Waker::noop()), Poll::Ready(5));
}

fn reader_sees_the_whole_value() {
    let cell = Arc::new(ProductCell::new());
    assert_eq!(cell.claim(), Claim::Mine);
    let reader = {
        let cell = cell.clone();
        thread::spawn(move || assert!(matches!(cell.try_get(), None | Some(5))))
    };
    cell.complete(5).unwrap();
    reader.join().unwrap();
}

/// `waiting` threads poll once and stay in line, `leaving` threads poll and leave, one produces.
fn line_is_told(waiting: usize, leaving: usize) {
    let cell = Arc::new(ProductCell::new());
    assert_eq!(cell.claim(), Claim::Mine);
    let threads: Vec<_> = (0..waiting + leaving)
        .map(|index| {
            let cell = cell.clone();
            thread::spawn(move || {
                let (bell, waker) = Bell::new();
                let mut waiter = Waiter::default();
                let first = cell.poll_wait(&mut waiter, &mut Context::from_waker(&waker));
                if index >= waiting {
                    cell.leave(&mut waiter);
                    return None;
                }
                first.is_pending().then_some(bell)
            })
        })
        .collect();
    cell.complete(5).unwrap();
    for thread in threads {
        if let Some(bell) = thread.join().unwrap() {
            assert_eq!(bell.rings(), 1, "lost wake-up");
        }
    }
}

#[test]
fn complete_against_poll() {
    explore("product cell: complete, poll", TWO_THREADS, 5, waiter_is_told);
}

#[test]
fn complete_against_try_get() {
    explore("product cell: complete, try_get", TWO_THREADS, 9, reader_sees_the_whole_value);
}

#[test]
fn two_demand() {
    explore("product cell: two demand", TWO_THREADS, 2000, || demanded_by(2));
}

#[test]
fn three_demand() {
    explore("product cell: three demand", Some(2), 10000, || demanded_by(3));
}

#[test]
fn two_wait_and_one_produces() {
    explore("product cell: two wait, one produces", THREE_THREADS, 3000, || line_is_told(2, 0));
}

#[test]
fn one_leaves_while_one_waits_and_one_produces() {
    explore("product cell: one leaves, one waits, one produces", THREE_THREADS, 4000, || line_is_told(1, 1));
}

#[test]
fn four_threads_meet() {
    explore("product cell: two wait, one leaves, one produces", FOUR_THREADS, 20000, || line_is_told(2, 1));
}

#[test]
fn two_complete() {
    explore("product cell: two complete, one reads", THREE_THREADS, 70, || {
        let cell = Arc::new(ProductCell::new());
        let _ = cell.claim();
        let producers: Vec<_> = (0..2)
            .map(|value| {
                let cell = cell.clone();
                thread::spawn(move || usize::from(cell.complete(value).is_ok()))
            })
            .collect();
        let read = cell.try_get();
        let stored = producers.into_iter().map(|producer| producer.join().unwrap()).sum::<usize>();
        assert_eq!(stored, 1, "one value");
        assert!(read.is_none() || read == cell.try_get());
    });
}

#[test]
fn reset_starts_over() {
    explore("product cell: complete, poll, after a reset", TWO_THREADS, 70, || {
        let mut cell = ProductCell::new();
        let mut stale = Waiter::default();
        assert!(cell.poll_wait(&mut stale, &mut Context::from_waker(Waker::noop())).is_pending());
        let _ = cell.claim();
        cell.complete(4).unwrap();
        cell.reset();
        let cell = Arc::new(cell);
        let producer = {
            let cell = cell.clone();
            thread::spawn(move || {
                assert_eq!(cell.claim(), Claim::Mine);
                cell.complete(5).unwrap();
            })
        };
        let (bell, waker) = Bell::new();
        let mut wait = cell.wait();
        let first = poll(&mut wait, &waker);
        cell.leave(&mut stale);
        producer.join().unwrap();
        assert!(first == Poll::Ready(5) || bell.rings() == 1, "lost wake-up");
    });
}

#[test]
fn relaxed_publish_is_found() {
    refute(
        "relaxed_publish_is_found",
        Fault::ProductRelaxedPublish,
        TWO_THREADS,
        &["Causality violation"],
        reader_sees_the_whole_value,
    );
}

#[test]
fn skipped_wake_is_found() {
    refute("skipped_wake_is_found", Fault::ProductSkipsWake, TWO_THREADS, &["lost wake-up"], waiter_is_told);
    refute("skipped_wake_is_found", Fault::ProductSkipsWake, TWO_THREADS, &["deadlock"], || demanded_by(2));
}

#[test]
fn blind_registration_is_found() {
    refute(
        "blind_registration_is_found",
        Fault::ProductRegistersBlindly,
        TWO_THREADS,
        &["lost wake-up"],
        waiter_is_told,
    );
}

#[test]
fn racing_claim_is_found() {
    refute(
        "racing_claim_is_found",
        Fault::ProductClaimRaces,
        TWO_THREADS,
        &["called `Result::unwrap()`"],
        || demanded_by(2),
    );
}
