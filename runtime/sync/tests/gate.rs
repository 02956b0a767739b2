//! The gate on threads, and poll by poll.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asynchrotron_sync::Gate;
use support::{Bell, poll};

#[test]
fn one_visitor_at_a_time_and_all_get_in() {
    const VISITS: usize = 20_000;
    let gate = Arc::new(Gate::new(0_usize));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let gate = gate.clone();
            std::thread::spawn(move || {
                for _ in 0..VISITS {
                    let mut take = pin!(gate.take());
                    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                    let mut cx = Context::from_waker(&waker);
                    let mut held = loop {
                        match take.as_mut().poll(&mut cx) {
                            Poll::Ready(held) => break held,
                            Poll::Pending => std::thread::park(),
                        }
                    };
                    *held += 1;
                }
            })
        })
        .collect();
    visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    assert_eq!(*gate.try_take().unwrap(), 4 * VISITS);
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn the_first_in_line_is_woken_and_may_be_overtaken() {
    let gate = Gate::new(());
    let held = gate.try_take().unwrap();
    let ((first_bell, first_waker), (second_bell, second_waker)) = (Bell::new(), Bell::new());
    let (mut first, mut second) = (gate.take(), gate.take());
    assert!(poll(&mut first, &first_waker).is_pending());
    assert!(poll(&mut second, &second_waker).is_pending());
    drop(held);
    assert_eq!((first_bell.rings(), second_bell.rings()), (1, 0));
    let newcomer = gate.try_take().unwrap();
    assert!(poll(&mut first, &first_waker).is_pending(), "overtaken");
    drop(newcomer);
    assert_eq!((first_bell.rings(), second_bell.rings()), (2, 0), "still the first in line");
    let Poll::Ready(held) = poll(&mut first, &first_waker) else { panic!("the gate is free") };
    drop(held);
    assert_eq!(second_bell.rings(), 1);
}

#[test]
fn who_was_woken_and_leaves_wakes_the_next() {
    let gate = Gate::new(());
    let held = gate.try_take().unwrap();
    let ((_, first_waker), (second_bell, second_waker)) = (Bell::new(), Bell::new());
    let (mut first, mut second) = (gate.take(), gate.take());
    assert!(poll(&mut first, &first_waker).is_pending());
    assert!(poll(&mut second, &second_waker).is_pending());
    drop(held);
    drop(first);
    assert_eq!(second_bell.rings(), 1);
    assert!(poll(&mut second, &second_waker).is_ready());
}

#[test]
fn who_leaves_the_line_unwoken_wakes_nobody() {
    let gate = Gate::new(());
    let held = gate.try_take().unwrap();
    let ((_, first_waker), (second_bell, second_waker)) = (Bell::new(), Bell::new());
    let (mut first, mut second) = (gate.take(), gate.take());
    assert!(poll(&mut first, &first_waker).is_pending());
    assert!(poll(&mut second, &second_waker).is_pending());
    drop(first);
    assert_eq!(second_bell.rings(), 0);
    drop(held);
    assert_eq!(second_bell.rings(), 1);
}
