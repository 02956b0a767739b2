//! Ready sets: marks are never lost, and an awake parent is not woken.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::task::Waker;

use asynchrotron_sync::{Finish, ReadySet};
use support::Bell;

fn drain(set: &ReadySet) -> Vec<usize> {
    std::iter::from_fn(|| set.take()).collect()
}

#[test]
fn marks_are_taken_once() {
    for capacity in [8, 64, 65, 300, 5000] {
        let set = ReadySet::new(capacity);
        let marked = [0, 3, 7, capacity / 2, capacity - 1];
        marked.iter().for_each(|&child| set.mark(child));
        set.mark(3);
        set.start();
        let mut taken = drain(&set);
        taken.sort_unstable();
        let mut expected = marked.to_vec();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(taken, expected, "capacity {capacity}");
        assert_eq!(set.finish(Waker::noop()), Finish::Idle);
    }
}

#[test]
fn sleeping_parent_is_woken_once_for_many_marks() {
    let set = ReadySet::new(100);
    let (bell, waker) = Bell::new();
    set.start();
    assert_eq!(set.finish(&waker), Finish::Idle);
    set.mark(1);
    set.mark(99);
    set.mark(1);
    assert_eq!(bell.rings(), 1);
    set.start();
    let mut taken = drain(&set);
    taken.sort_unstable();
    assert_eq!(taken, [1, 99]);
    assert_eq!(set.finish(&waker), Finish::Idle);
    set.mark(1);
    assert_eq!(bell.rings(), 2);
}

#[test]
fn polling_parent_is_not_woken_but_told() {
    let set = ReadySet::new(4);
    let (bell, waker) = Bell::new();
    set.start();
    assert_eq!(set.finish(&waker), Finish::Idle);
    set.start();
    set.mark(2);
    assert_eq!(set.finish(&waker), Finish::More);
    assert_eq!(drain(&set), [2]);
    assert_eq!(set.finish(&waker), Finish::Idle);
    assert_eq!(bell.rings(), 0);
}

#[test]
fn mark_taken_in_the_same_poll_needs_no_other_look() {
    let set = ReadySet::new(4);
    set.start();
    set.mark(2);
    assert_eq!(drain(&set), [2]);
    assert_eq!(set.finish(Waker::noop()), Finish::Idle);
}

#[test]
fn parent_that_leaves_marks_behind_is_told() {
    let set = ReadySet::new(4);
    set.mark(0);
    set.mark(1);
    set.start();
    assert_eq!(set.take(), Some(0));
    assert_eq!(set.finish(Waker::noop()), Finish::More);
    assert_eq!(set.take(), Some(1));
    assert_eq!(set.finish(Waker::noop()), Finish::Idle);
}

#[test]
fn child_that_marks_itself_does_not_starve_the_others() {
    for capacity in [10, 130] {
        let set = ReadySet::new(capacity);
        let last = capacity - 1;
        [0, 5, last].into_iter().for_each(|child| set.mark(child));
        set.start();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let child = set.take().unwrap();
            if child == 0 {
                set.mark(0);
            }
            seen.push(child);
        }
        assert!(seen.contains(&5) && seen.contains(&last), "{seen:?}");
    }
}

#[test]
fn latest_waker_is_the_one_woken() {
    let set = ReadySet::new(1);
    let ((old, old_waker), (new, new_waker)) = (Bell::new(), Bell::new());
    set.start();
    assert_eq!(set.finish(&old_waker), Finish::Idle);
    set.start();
    assert_eq!(set.finish(&new_waker), Finish::Idle);
    set.mark(0);
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn mark_before_the_first_poll_is_kept() {
    let set = ReadySet::new(2);
    set.mark(1);
    set.start();
    assert_eq!(drain(&set), [1]);
}

#[test]
fn empty_set_goes_idle() {
    let set = ReadySet::new(0);
    set.start();
    assert_eq!(set.take(), None);
    assert_eq!(set.finish(Waker::noop()), Finish::Idle);
}

#[test]
#[should_panic = "child 2 of 2"]
fn mark_beyond_the_capacity_panics() {
    ReadySet::new(2).mark(2);
}
