//! Lane pools: fair, leak-free, closable.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::Arc;
use std::task::{Poll, Waker};

use asynchrotron_sync::{Closed, LanePool};
use support::{Bell, poll};

#[test]
fn idle_lane_is_taken_at_once_and_comes_back() {
    let pool = LanePool::new([10, 20]);
    let mut first = pool.try_take().unwrap();
    assert_eq!(*first, 10);
    *first += 1;
    let second = pool.try_take().unwrap();
    assert!(pool.try_take().is_none());
    assert_eq!((pool.len(), pool.available(), pool.waiting()), (2, 0, 0));
    drop(first);
    assert_eq!(*pool.try_take().unwrap(), 11);
    drop(second);
    assert_eq!(pool.available(), 2);
}

#[test]
fn line_is_served_in_order_and_cannot_be_jumped() {
    let pool = LanePool::new([0]);
    let lane = pool.try_take().unwrap();
    let bells: Vec<_> = (0..3).map(|_| Bell::new()).collect();
    let mut takes: Vec<_> = bells.iter().map(|_| pool.take()).collect();
    for (take, (_, waker)) in takes.iter_mut().zip(&bells) {
        assert!(poll(take, waker).is_pending());
    }
    let mut lane = Some(lane);
    for (turn, take) in takes.iter_mut().enumerate() {
        drop(lane.take());
        assert!(pool.try_take().is_none(), "the lane belongs to the line");
        let rings: Vec<_> = bells.iter().map(|(bell, _)| bell.rings()).collect();
        assert_eq!(rings, (0..3).map(|index| usize::from(index <= turn)).collect::<Vec<_>>());
        let Poll::Ready(Ok(granted)) = poll(take, Waker::noop()) else { panic!("not granted") };
        lane = Some(granted);
    }
}

#[test]
fn take_dropped_in_line_is_passed_over() {
    let pool = LanePool::new([0]);
    let lane = pool.try_take().unwrap();
    let ((gone, gone_waker), (next, next_waker)) = (Bell::new(), Bell::new());
    let (mut leaving, mut staying) = (pool.take(), pool.take());
    assert!(poll(&mut leaving, &gone_waker).is_pending());
    assert!(poll(&mut staying, &next_waker).is_pending());
    drop(leaving);
    assert_eq!(pool.waiting(), 1);
    drop(lane);
    assert_eq!((gone.rings(), next.rings()), (0, 1));
}

#[test]
fn take_dropped_after_its_grant_hands_the_lane_on() {
    let pool = LanePool::new([0]);
    let lane = pool.try_take().unwrap();
    let ((first, first_waker), (second, second_waker)) = (Bell::new(), Bell::new());
    let (mut granted, mut behind) = (pool.take(), pool.take());
    assert!(poll(&mut granted, &first_waker).is_pending());
    assert!(poll(&mut behind, &second_waker).is_pending());
    drop(lane);
    assert_eq!((first.rings(), second.rings()), (1, 0));
    drop(granted);
    assert_eq!(second.rings(), 1);
    assert!(matches!(poll(&mut behind, &second_waker), Poll::Ready(Ok(_))));
    assert_eq!(pool.available(), 1);
}

#[test]
fn take_dropped_after_its_grant_with_nobody_behind_returns_the_lane() {
    let pool = LanePool::new([0]);
    let lane = pool.try_take().unwrap();
    let mut take = pool.take();
    assert!(poll(&mut take, Waker::noop()).is_pending());
    drop(lane);
    assert_eq!(pool.available(), 0);
    drop(take);
    assert_eq!(pool.available(), 1);
}

#[test]
fn take_never_polled_or_finished_leaves_nothing() {
    let pool = LanePool::new([0]);
    drop(pool.take());
    let mut take = pool.take();
    let Poll::Ready(Ok(lane)) = poll(&mut take, Waker::noop()) else { panic!("idle") };
    drop(take);
    assert_eq!((pool.available(), pool.waiting()), (0, 0));
    drop(lane);
    assert_eq!(pool.available(), 1);
}

#[test]
fn retired_lane_never_comes_back() {
    let pool = LanePool::new([1, 2]);
    assert_eq!(pool.try_take().unwrap().retire(), 1);
    assert_eq!((pool.len(), pool.available()), (1, 1));
    assert!(!pool.is_closed());
}

#[test]
fn last_lane_to_retire_tells_the_line() {
    let pool = LanePool::new([1]);
    let lane = pool.try_take().unwrap();
    let (bell, waker) = Bell::new();
    let mut take = pool.take();
    assert!(poll(&mut take, &waker).is_pending());
    let _ = lane.retire();
    assert_eq!(bell.rings(), 1);
    assert_eq!(poll(&mut take, &waker).map(Result::err), Poll::Ready(Some(Closed)));
    assert!(pool.is_closed() && pool.is_empty());
}

#[test]
fn close_tells_the_line_and_keeps_lanes_that_come_back() {
    let lane = Arc::new(());
    let pool = LanePool::new([lane.clone()]);
    let out = pool.try_take().unwrap();
    let (bell, waker) = Bell::new();
    let mut take = pool.take();
    assert!(poll(&mut take, &waker).is_pending());
    pool.close();
    assert_eq!((bell.rings(), pool.waiting()), (1, 0));
    assert!(matches!(poll(&mut take, &waker), Poll::Ready(Err(Closed))));
    drop(out);
    assert_eq!((pool.len(), pool.available()), (1, 1));
    assert!(pool.try_take().is_none());
    assert!(matches!(poll(&mut pool.take(), &waker), Poll::Ready(Err(Closed))));
    assert_eq!(Arc::strong_count(&lane), 2);
    drop((pool, take));
    assert_eq!(Arc::strong_count(&lane), 1);
}

#[test]
fn lane_granted_before_the_close_is_delivered() {
    let pool = LanePool::new([0]);
    let lane = pool.try_take().unwrap();
    let mut take = pool.take();
    assert!(poll(&mut take, Waker::noop()).is_pending());
    drop(lane);
    pool.close();
    assert!(matches!(poll(&mut take, Waker::noop()), Poll::Ready(Ok(_))));
}

#[test]
fn pool_without_lanes_is_closed() {
    let pool = LanePool::<u32>::new([]);
    assert!(matches!(poll(&mut pool.take(), Waker::noop()), Poll::Ready(Err(Closed))));
}
