//! Product cells: claimed once, completed once, awaited by many.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asynchrotron_sync::{Claim, ProductCell, Waiter};
use support::{Bell, block_on, poll};

#[test]
fn first_claim_wins() {
    let cell = ProductCell::new();
    assert!(!cell.is_claimed());
    assert_eq!(cell.claim(), Claim::Mine);
    assert!(cell.is_claimed() && !cell.is_ready());
    assert_eq!(cell.claim(), Claim::Running);
    assert_eq!(cell.try_get(), None);
    assert_eq!(cell.complete(5), Ok(()));
    assert_eq!(cell.claim(), Claim::Ready);
    assert_eq!(cell.try_get(), Some(5));
}

#[test]
fn complete_needs_a_claim_and_happens_once() {
    let cell = ProductCell::new();
    assert_eq!(cell.complete(5), Err(5));
    let _ = cell.claim();
    assert_eq!(cell.complete(6), Ok(()));
    assert_eq!(cell.complete(7), Err(7));
    assert_eq!(cell.try_get(), Some(6));
}

#[test]
fn all_waiters_wake_once() {
    let cell = ProductCell::new();
    let bells: Vec<_> = (0..20).map(|_| Bell::new()).collect();
    let mut waits: Vec<_> = bells.iter().map(|_| cell.wait()).collect();
    for (wait, (_, waker)) in waits.iter_mut().zip(&bells) {
        assert!(poll(wait, waker).is_pending());
        assert!(poll(wait, waker).is_pending());
    }
    let _ = cell.claim();
    cell.complete(5).unwrap();
    for (wait, (bell, waker)) in waits.iter_mut().zip(&bells) {
        assert_eq!(bell.rings(), 1);
        assert_eq!(poll(wait, waker), Poll::Ready(5));
    }
}

#[test]
fn waiter_that_left_is_forgotten_and_its_place_is_used_again() {
    let cell = ProductCell::new();
    let ((gone, gone_waker), (new, new_waker), (stays, stays_waker)) =
        (Bell::new(), Bell::new(), Bell::new());
    let mut leaving = cell.wait();
    let mut staying = cell.wait();
    assert!(poll(&mut leaving, &gone_waker).is_pending());
    assert!(poll(&mut staying, &stays_waker).is_pending());
    drop(leaving);
    assert_eq!(Arc::strong_count(&gone), 2, "its waker is dropped at once");
    let mut late = cell.wait();
    assert!(poll(&mut late, &new_waker).is_pending());
    let _ = cell.claim();
    cell.complete(5).unwrap();
    assert_eq!((gone.rings(), new.rings(), stays.rings()), (0, 1, 1));
}

#[test]
fn new_waker_replaces_the_old() {
    let cell = ProductCell::new();
    let ((old, old_waker), (new, new_waker)) = (Bell::new(), Bell::new());
    let mut wait = cell.wait();
    assert!(poll(&mut wait, &old_waker).is_pending());
    assert!(poll(&mut wait, &new_waker).is_pending());
    let _ = cell.claim();
    cell.complete(5).unwrap();
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn reset_cell_starts_over_and_ignores_waiters_of_before() {
    let mut cell = ProductCell::new();
    let ((old, old_waker), (new, new_waker)) = (Bell::new(), Bell::new());
    let mut stale = Waiter::default();
    assert!(cell.poll_wait(&mut stale, &mut Context::from_waker(&old_waker)).is_pending());
    let _ = cell.claim();
    cell.reset();
    assert!(!cell.is_claimed() && !cell.is_ready());
    assert_eq!(cell.claim(), Claim::Mine);
    let mut fresh = Waiter::default();
    assert!(cell.poll_wait(&mut fresh, &mut Context::from_waker(&new_waker)).is_pending());
    cell.leave(&mut stale); // its place is the fresh one's now
    cell.complete(5).unwrap();
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn reset_drops_the_value() {
    let mut cell = ProductCell::new();
    let product = Arc::new(());
    let _ = cell.claim();
    cell.complete(product.clone()).unwrap();
    assert_eq!(Arc::strong_count(&product), 2);
    cell.reset();
    assert_eq!(Arc::strong_count(&product), 1);
    let _ = cell.claim();
    cell.complete(product.clone()).unwrap();
    drop(cell);
    assert_eq!(Arc::strong_count(&product), 1);
}

#[test]
fn value_that_is_there_needs_no_waker() {
    let cell = ProductCell::new();
    let _ = cell.claim();
    cell.complete(5).unwrap();
    let mut wait = cell.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Poll::Ready(5));
    assert_eq!(poll(&mut wait, Waker::noop()), Poll::Ready(5));
}

#[test]
fn one_claimant_among_threads() {
    for _ in 0..200 {
        let cell = ProductCell::new();
        let mine = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mine = cell.claim() == Claim::Mine;
                        if mine {
                            cell.complete(Arc::new(5)).unwrap();
                        }
                        assert_eq!(*block_on(cell.wait()), 5);
                        usize::from(mine)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(mine, 1);
    }
}

#[test]
fn cell_is_small() {
    assert!(size_of::<ProductCell<Option<Arc<dyn Any + Send + Sync>>>>() <= 72);
}
