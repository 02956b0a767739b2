//! Models of the turnstile: order, skips, and waiters that leave.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Passed, Turnstile};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::task::{Poll, Waker};
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};
use support::{Bell, poll};

struct Sink {
    turnstile: Turnstile,
    /// Written without a lock: only the order keeps the writers apart, and loom watches.
    written: UnsafeCell<Vec<u64>>,
}

impl Sink {
    fn new() -> Arc<Self> {
        Arc::new(Self { turnstile: Turnstile::new(0), written: UnsafeCell::new(Vec::new()) })
    }

    fn write(&self, ticket: u64) {
        let turn = block_on(self.turnstile.wait(ticket)).unwrap();
        self.written.with_mut(|_| ());
        turn.pass();
    }
}

fn written_by(threads: u64) {
    let sink = Sink::new();
    let others: Vec<_> = (1..threads)
        .map(|ticket| {
            let sink = sink.clone();
            thread::spawn(move || sink.write(ticket))
        })
        .collect();
    sink.write(0);
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!((sink.turnstile.next(), sink.turnstile.waiting()), (threads, 0));
}

fn waiter_is_told() {
    let turnstile = Arc::new(Turnstile::new(0));
    let first = {
        let turnstile = turnstile.clone();
        thread::spawn(move || turnstile.skip(0))
    };
    let (bell, waker) = Bell::new();
    let mut wait = turnstile.wait(1);
    let at_once = poll(&mut wait, &waker).map(|turn| drop(turn.unwrap()));
    first.join().unwrap();
    assert!(at_once.is_ready() || bell.rings() == 1, "lost wake-up");
}

#[test]
fn pass_against_poll() {
    explore("turnstile: pass, poll", TWO_THREADS, 2, waiter_is_told);
}

#[test]
fn two_in_order() {
    explore("turnstile: two in order", TWO_THREADS, 11, || written_by(2));
}

#[test]
fn three_in_order() {
    explore("turnstile: three in order", THREE_THREADS, 1000, || written_by(3));
}

#[test]
fn one_skips_between_two() {
    explore("turnstile: one skips between two", THREE_THREADS, 400, || {
        let sink = Sink::new();
        let last = {
            let sink = sink.clone();
            thread::spawn(move || sink.write(2))
        };
        let skipper = {
            let sink = sink.clone();
            thread::spawn(move || sink.turnstile.skip(1))
        };
        sink.write(0);
        skipper.join().unwrap();
        last.join().unwrap();
        assert_eq!(sink.turnstile.next(), 3);
    });
}

#[test]
fn one_leaves_and_skips() {
    explore("turnstile: one leaves and skips", THREE_THREADS, 1000, || {
        let sink = Sink::new();
        let last = {
            let sink = sink.clone();
            thread::spawn(move || sink.write(2))
        };
        let leaver = {
            let sink = sink.clone();
            thread::spawn(move || {
                let mut wait = sink.turnstile.wait(1);
                match poll(&mut wait, Waker::noop()) {
                    Poll::Ready(turn) => turn.unwrap().pass(),
                    Poll::Pending => {
                        drop(wait);
                        sink.turnstile.skip(1);
                    }
                }
            })
        };
        sink.write(0);
        leaver.join().unwrap();
        last.join().unwrap();
        assert_eq!((sink.turnstile.next(), sink.turnstile.waiting()), (3, 0));
    });
}

#[test]
fn skip_of_a_waiter_tells_it() {
    explore("turnstile: a watchdog skips a waiter", TWO_THREADS, 21, || {
        let turnstile = Arc::new(Turnstile::new(0));
        let watchdog = {
            let turnstile = turnstile.clone();
            thread::spawn(move || turnstile.skip(1))
        };
        assert_eq!(block_on(turnstile.wait(1)).err(), Some(Passed));
        turnstile.skip(0);
        watchdog.join().unwrap();
        assert_eq!(turnstile.next(), 2);
    });
}

#[test]
fn skipped_wake_is_found() {
    refute(
        "skipped_wake_is_found",
        Fault::TurnstileSkipsWake,
        TWO_THREADS,
        &["lost wake-up"],
        waiter_is_told,
    );
    refute("skipped_wake_is_found", Fault::TurnstileSkipsWake, TWO_THREADS, &["deadlock"], || written_by(2));
}

#[test]
fn blind_registration_is_found() {
    refute(
        "blind_registration_is_found",
        Fault::TurnstileRegistersBlindly,
        TWO_THREADS,
        &["lost wake-up"],
        waiter_is_told,
    );
}

#[test]
fn relaxed_publish_is_found() {
    refute(
        "relaxed_publish_is_found",
        Fault::TurnstileRelaxedPublish,
        TWO_THREADS,
        &["Causality violation"],
        || written_by(2),
    );
}
