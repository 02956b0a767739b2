//! Models of the lane pool: give back, hand over, cancel, retire, close.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Closed, LanePool};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;
use std::task::Waker;
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};
use support::poll;

/// A lane whose use loom watches: two holders at a time would be a race.
struct Watched(UnsafeCell<u32>);

impl Watched {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn work(&self) {
        self.0.with_mut(|_| ());
    }
}

fn shared_by(threads: usize) {
    let pool = LanePool::new([Watched::new()]);
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || block_on(pool.take()).unwrap().work())
        })
        .collect();
    block_on(pool.take()).unwrap().work();
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!((pool.available(), pool.waiting()), (1, 0));
}

/// One joins the line and leaves it, at whatever point the lane comes back; one stays.
fn one_leaves_the_line() {
    let pool = LanePool::new([Watched::new()]);
    let lane = pool.try_take().unwrap();
    let mut leaving = pool.take();
    assert!(poll(&mut leaving, Waker::noop()).is_pending());
    let holder = thread::spawn(move || drop(lane));
    let waiter = {
        let pool = pool.clone();
        thread::spawn(move || block_on(pool.take()).unwrap().work())
    };
    drop(leaving);
    holder.join().unwrap();
    waiter.join().unwrap();
    assert_eq!((pool.available(), pool.waiting()), (1, 0), "lane lost");
}

fn last_lane_retires() {
    let pool = LanePool::new([Watched::new()]);
    let lane = pool.try_take().unwrap();
    let waiter = {
        let pool = pool.clone();
        thread::spawn(move || assert_eq!(block_on(pool.take()).err(), Some(Closed)))
    };
    lane.retire().work();
    waiter.join().unwrap();
    assert!(pool.is_empty());
}

#[test]
fn two_share_one_lane() {
    explore("lane pool: two share one lane", TWO_THREADS, 100, || shared_by(2));
}

#[test]
fn three_share_one_lane() {
    explore("lane pool: three share one lane", THREE_THREADS, 2000, || shared_by(3));
}

#[test]
fn three_share_two_lanes() {
    explore("lane pool: three share two lanes", THREE_THREADS, 1000, || {
        let pool = LanePool::new([Watched::new(), Watched::new()]);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || block_on(pool.take()).unwrap().work())
            })
            .collect();
        block_on(pool.take()).unwrap().work();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!((pool.available(), pool.waiting()), (2, 0));
    });
}

#[test]
fn take_dropped_at_any_stage() {
    explore("lane pool: one leaves the line, one stays", THREE_THREADS, 400, one_leaves_the_line);
}

#[test]
fn last_retire_against_take() {
    explore("lane pool: last lane retires, one waits", TWO_THREADS, 24, last_lane_retires);
}

#[test]
fn close_against_take_and_give_back() {
    explore("lane pool: close, take, give back", THREE_THREADS, 300, || {
        let pool = LanePool::new([Watched::new()]);
        let lane = pool.try_take().unwrap();
        let waiter = {
            let pool = pool.clone();
            thread::spawn(move || {
                if let Ok(lane) = block_on(pool.take()) {
                    lane.work();
                }
            })
        };
        let closer = {
            let pool = pool.clone();
            thread::spawn(move || pool.close())
        };
        lane.work();
        drop(lane);
        waiter.join().unwrap();
        closer.join().unwrap();
        assert_eq!((pool.available(), pool.waiting()), (1, 0));
    });
}

#[test]
fn forgotten_grant_is_found() {
    refute(
        "forgotten_grant_is_found",
        Fault::PoolForgetsDroppedGrant,
        THREE_THREADS,
        &["deadlock", "lane lost"],
        one_leaves_the_line,
    );
}

#[test]
fn skipped_wake_is_found() {
    refute("skipped_wake_is_found", Fault::PoolSkipsWake, TWO_THREADS, &["deadlock"], || shared_by(2));
}

#[test]
fn forgotten_count_is_found() {
    refute("forgotten_count_is_found", Fault::PoolForgetsCount, TWO_THREADS, &["left: (0, 0)"], || {
        shared_by(2)
    });
}

#[test]
fn forgotten_last_retire_is_found() {
    refute(
        "forgotten_last_retire_is_found",
        Fault::PoolForgetsLastRetire,
        TWO_THREADS,
        &["deadlock"],
        last_lane_retires,
    );
}
