//! Turnstiles: in order, and every job drains.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::Mutex;
use std::task::{Poll, Waker};

use asynchrotron_sync::{Passed, Turnstile};
use support::{Bell, block_on, poll};

#[test]
fn next_ticket_passes_without_waiting() {
    let turnstile = Turnstile::new(7);
    let turn = block_on(turnstile.wait(7)).unwrap();
    assert_eq!((turn.ticket(), turnstile.next()), (7, 7));
    turn.pass();
    assert_eq!(turnstile.next(), 8);
}

#[test]
fn only_the_waiter_of_the_next_ticket_is_woken() {
    let turnstile = Turnstile::new(0);
    let bells: Vec<_> = (0..3).map(|_| Bell::new()).collect();
    let mut waits: Vec<_> = (1..4).map(|ticket| turnstile.wait(ticket)).collect();
    for (wait, (_, waker)) in waits.iter_mut().zip(&bells) {
        assert!(poll(wait, waker).is_pending());
    }
    assert_eq!(turnstile.waiting(), 3);
    turnstile.skip(0);
    let rings = || bells.iter().map(|(bell, _)| bell.rings()).collect::<Vec<_>>();
    assert_eq!(rings(), [1, 0, 0]);
    let Poll::Ready(Ok(turn)) = poll(&mut waits[0], Waker::noop()) else { panic!("its turn") };
    assert!(poll(&mut waits[1], &bells[1].1).is_pending());
    drop(turn);
    assert_eq!(rings(), [1, 1, 0]);
}

#[test]
fn tickets_skipped_ahead_are_passed_over() {
    let turnstile = Turnstile::new(0);
    let (bell, waker) = Bell::new();
    let mut wait = turnstile.wait(4);
    assert!(poll(&mut wait, &waker).is_pending());
    for ticket in [2, 3, 1, 2] {
        turnstile.skip(ticket);
    }
    assert_eq!((turnstile.next(), bell.rings()), (0, 0));
    turnstile.skip(0);
    assert_eq!((turnstile.next(), bell.rings()), (4, 1));
}

#[test]
fn waiter_that_left_may_come_again_or_be_skipped() {
    let turnstile = Turnstile::new(0);
    let (gone, waker) = Bell::new();
    let mut wait = turnstile.wait(1);
    assert!(poll(&mut wait, &waker).is_pending());
    drop(wait);
    assert_eq!(turnstile.waiting(), 0);
    turnstile.skip(0);
    assert_eq!((turnstile.next(), gone.rings()), (1, 0));
    drop(turnstile.wait(1)); // never polled
    block_on(turnstile.wait(1)).unwrap().pass();
    turnstile.skip(2);
    assert_eq!(turnstile.next(), 3);
}

#[test]
fn waiter_dropped_after_its_wake_keeps_the_ticket() {
    let turnstile = Turnstile::new(0);
    let mut wait = turnstile.wait(1);
    assert!(poll(&mut wait, Waker::noop()).is_pending());
    turnstile.skip(0);
    drop(wait);
    assert_eq!(turnstile.next(), 1);
    turnstile.skip(1);
    assert_eq!(turnstile.next(), 2);
}

#[test]
fn waiter_whose_ticket_is_skipped_is_told() {
    let turnstile = Turnstile::new(0);
    let (bell, waker) = Bell::new();
    let mut wait = turnstile.wait(1);
    assert!(poll(&mut wait, &waker).is_pending());
    turnstile.skip(1);
    assert_eq!(bell.rings(), 1);
    assert_eq!(poll(&mut wait, &waker).map(Result::err), Poll::Ready(Some(Passed)));
    assert_eq!(turnstile.next(), 0);
    turnstile.skip(0);
    assert_eq!(turnstile.next(), 2);
    assert_eq!(block_on(turnstile.wait(0)).err(), Some(Passed));
}

#[test]
fn panic_in_a_turn_lets_the_next_pass() {
    let turnstile = Turnstile::new(0);
    let panicked = std::panic::catch_unwind(|| {
        let _turn = block_on(turnstile.wait(0)).unwrap();
        panic!("sink failed");
    });
    assert!(panicked.is_err());
    assert_eq!(turnstile.next(), 1);
}

#[test]
fn threads_pass_in_ticket_order() {
    let turnstile = Turnstile::new(0);
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in (0..8).rev() {
            let (turnstile, order) = (&turnstile, &order);
            scope.spawn(move || {
                for round in 0..50 {
                    let ticket = round * 8 + thread;
                    if ticket % 5 == 4 {
                        turnstile.skip(ticket);
                        continue;
                    }
                    let turn = block_on(turnstile.wait(ticket)).unwrap();
                    order.lock().unwrap().push(turn.ticket());
                }
            });
        }
    });
    assert_eq!(order.into_inner().unwrap(), (0..400).filter(|ticket| ticket % 5 != 4).collect::<Vec<_>>());
}
