//! Models of the gate: exclusion, wake-ups, and those who leave the line.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::Gate;
use asynchrotron_sync::broken::Fault;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::task::Waker;
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};
use support::{Bell, poll};

/// The value behind the gate is a cell that loom watches.
fn visit(gate: &Gate<u32>) {
    *block_on(gate.take()) += 1;
}

fn visited_by(threads: u32) {
    let gate = Arc::new(Gate::new(0));
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let gate = gate.clone();
            thread::spawn(move || visit(&gate))
        })
        .collect();
    visit(&gate);
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!(*gate.try_take().unwrap(), threads);
}

/// One holds, one waits, and one gets in line, perhaps before that, and leaves, perhaps after it was woken: whatever the
/// order, the one who waits is woken.
fn one_leaves() {
    let gate = Arc::new(Gate::new(()));
    let held = gate.try_take().unwrap();
    let leaver = {
        let gate = gate.clone();
        thread::spawn(move || drop(poll(&mut gate.take(), Waker::noop())))
    };
    let (bell, waker) = Bell::new();
    let mut stays = gate.take();
    assert!(poll(&mut stays, &waker).is_pending());
    drop(held);
    leaver.join().unwrap();
    assert!(bell.rings() >= 1, "lost wake-up: the gate is free and nobody comes");
}

#[test]
fn two_visit() {
    explore("gate: two visit", TWO_THREADS, 20, || visited_by(2));
}

#[test]
fn three_visit() {
    explore("gate: three visit", THREE_THREADS, 500, || visited_by(3));
}

#[test]
fn one_in_line_leaves() {
    explore("gate: one in line leaves", TWO_THREADS, 10, one_leaves);
}

#[test]
fn skipped_wake_is_found() {
    refute("skipped_wake_is_found", Fault::GateSkipsWake, TWO_THREADS, &["deadlock"], || visited_by(2));
}

#[test]
fn forgotten_leaver_is_found() {
    let fault = Fault::GateForgetsLeaver;
    refute("forgotten_leaver_is_found", fault, TWO_THREADS, &["lost wake-up"], one_leaves);
}

#[test]
fn blind_joining_is_found() {
    refute("blind_joining_is_found", Fault::GateJoinsBlindly, TWO_THREADS, &["deadlock"], || visited_by(2));
}

#[test]
fn relaxed_taking_is_found() {
    refute("relaxed_taking_is_found", Fault::GateRelaxedTake, TWO_THREADS, &["Causality violation"], || {
        visited_by(2)
    });
}
