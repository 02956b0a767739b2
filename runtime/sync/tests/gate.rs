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

/// An occupied gate with two in line, and what is needed to watch them.
macro_rules! two_in_line {
    ($gate:ident, $held:ident, $first:ident, $second:ident, $first_bell:ident, $second_bell:ident, $wakers:ident) => {
        let $gate = Gate::new(());
        let $held = $gate.try_take().unwrap();
        let (($first_bell, first_waker), ($second_bell, second_waker)) = (Bell::new(), Bell::new());
        let $wakers = [first_waker, second_waker];
        let (mut $first, mut $second) = ($gate.take(), $gate.take());
        assert!(poll(&mut $first, &$wakers[0]).is_pending());
        assert!(poll(&mut $second, &$wakers[1]).is_pending());
    };
}

#[test]
fn the_first_in_line_is_woken_and_may_be_overtaken() {
    two_in_line!(gate, held, first, second, first_bell, second_bell, wakers);
    drop(held);
    assert_eq!((first_bell.rings(), second_bell.rings()), (1, 0));
    let newcomer = gate.try_take().unwrap();
    assert!(poll(&mut first, &wakers[0]).is_pending(), "overtaken");
    drop(newcomer);
    assert_eq!((first_bell.rings(), second_bell.rings()), (2, 0), "still the first in line");
    let Poll::Ready(held) = poll(&mut first, &wakers[0]) else { panic!("the gate is open") };
    drop(held);
    assert_eq!(second_bell.rings(), 1);
    assert!(poll(&mut second, &wakers[1]).is_ready());
}

#[test]
fn who_was_woken_and_leaves_wakes_the_next() {
    two_in_line!(gate, held, first, second, first_bell, second_bell, wakers);
    drop(held);
    assert_eq!(first_bell.rings(), 1);
    drop(first);
    assert_eq!(second_bell.rings(), 1);
    assert!(poll(&mut second, &wakers[1]).is_ready());
}

#[test]
fn who_leaves_the_line_unwoken_wakes_nobody() {
    two_in_line!(gate, held, first, second, first_bell, second_bell, wakers);
    drop(first);
    assert_eq!((first_bell.rings(), second_bell.rings()), (0, 0));
    drop(held);
    assert_eq!((first_bell.rings(), second_bell.rings()), (0, 1));
    assert!(poll(&mut second, &wakers[1]).is_ready());
}
