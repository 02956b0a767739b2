//! Models of the ready set: marks from other threads against the parent's poll.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Finish, ReadySet};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use std::future::poll_fn;
use std::task::{Context, Poll};
use support::Bell;
use support::explore::{THREE_THREADS, TWO_THREADS, explore, refute};

struct Group {
    set: ReadySet,
    /// What a child's waker wrote before it marked; loom watches that the parent reads it after.
    work: Vec<(usize, UnsafeCell<u32>)>,
}

impl Group {
    fn new(capacity: usize, children: &[usize]) -> Arc<Self> {
        let work = children.iter().map(|&child| (child, UnsafeCell::new(0))).collect();
        Arc::new(Self { set: ReadySet::new(capacity), work })
    }

    fn wake(&self, place: usize) {
        let (child, work) = &self.work[place];
        work.with_mut(|_| ());
        self.set.mark(*child);
    }

    fn poll(&self, waiting: &mut Vec<usize>, cx: &mut Context<'_>) -> Poll<()> {
        self.set.start();
        loop {
            while let Some(child) = self.set.take() {
                let (_, work) = self.work.iter().find(|(known, _)| *known == child).expect("a known child");
                work.with(|_| ());
                waiting.retain(|&waits| waits != child);
            }
            if waiting.is_empty() {
                return Poll::Ready(());
            }
            match self.set.finish(cx.waker()) {
                Finish::Idle => return Poll::Pending,
                Finish::More => {}
            }
        }
    }
}

fn spawn_markers(group: &Arc<Group>, threads: &[&[usize]]) -> Vec<thread::JoinHandle<()>> {
    let spawn = |places: &&[usize]| {
        let (group, places) = (group.clone(), places.to_vec());
        thread::spawn(move || places.into_iter().for_each(|place| group.wake(place)))
    };
    threads.iter().map(spawn).collect()
}

/// The parent sleeps until it has seen both children. A lost mark is a deadlock.
fn parent_sleeps(capacity: usize, children: &[usize], threads: &[&[usize]]) {
    let group = Group::new(capacity, children);
    let markers = spawn_markers(&group, threads);
    let mut waiting = children.to_vec();
    block_on(poll_fn(|cx| group.poll(&mut waiting, cx)));
    markers.into_iter().for_each(|marker| marker.join().unwrap());
}

/// The parent polls a number of times, as parents do that are also woken by others, so that a slow mark meets a waker of a
/// later sleep. Then it sleeps; if it misses a child, a wake must have come since its last poll began.
fn parent_polls(polls: usize, capacity: usize, children: &[usize], threads: &[&[usize]]) {
    let group = Group::new(capacity, children);
    let markers = spawn_markers(&group, threads);
    let mut waiting = children.to_vec();
    let mut rings = 0;
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    let ready = (0..polls).any(|_| {
        rings = bell.rings();
        group.poll(&mut waiting, cx).is_ready()
    });
    markers.into_iter().for_each(|marker| marker.join().unwrap());
    if !ready {
        assert!(bell.rings() > rings, "lost wake-up");
        assert!(group.poll(&mut waiting, cx).is_ready(), "lost mark");
    }
}

#[test]
fn one_mark() {
    explore("ready set: one mark", TWO_THREADS, 100, || parent_sleeps(1, &[0], &[&[0]]));
}

#[test]
fn two_marks_of_one_thread() {
    explore("ready set: two marks of one thread", TWO_THREADS, 8000, || {
        parent_polls(1, 2, &[0, 1], &[&[0, 1]]);
    });
}

#[test]
fn one_mark_and_extra_polls() {
    explore("ready set: one mark, extra polls", TWO_THREADS, 1000, || parent_polls(3, 1, &[0], &[&[0]]));
}

#[test]
fn two_marks_of_two_threads() {
    explore("ready set: two marks of two threads", THREE_THREADS, 3000, || {
        parent_polls(1, 2, &[0, 1], &[&[0], &[1]]);
    });
}

#[test]
fn two_marks_of_two_threads_and_extra_polls() {
    explore("ready set: two marks of two threads, extra polls", THREE_THREADS, 8000, || {
        parent_polls(2, 2, &[0, 1], &[&[0], &[1]]);
    });
}

#[test]
fn two_marks_in_one_of_two_words() {
    explore("ready set: two marks in one word of two", THREE_THREADS, 5000, || {
        parent_polls(1, 65, &[0, 1], &[&[0], &[1]]);
    });
}

#[test]
fn two_marks_in_two_words() {
    explore("ready set: two marks in two words", THREE_THREADS, 6000, || {
        parent_polls(1, 65, &[0, 64], &[&[0], &[1]]);
    });
}

#[test]
fn same_child_marked_twice() {
    // The second mark's write must be seen too: the parent waits for the sum.
    explore("ready set: one child marked by two threads", Some(2), 2000, || {
        let set = Arc::new(ReadySet::new(1));
        let sum = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (set, sum) = (set.clone(), sum.clone());
                thread::spawn(move || {
                    sum.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    set.mark(0);
                })
            })
            .collect();
        block_on(poll_fn(|cx| {
            set.start();
            loop {
                while set.take().is_some() {
                    if sum.load(std::sync::atomic::Ordering::Relaxed) == 2 {
                        return Poll::Ready(());
                    }
                }
                if set.finish(cx.waker()) == Finish::Idle {
                    return Poll::Pending;
                }
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn forgotten_recheck_is_found() {
    refute("forgotten_recheck_is_found", Fault::ReadyForgetsRecheck, TWO_THREADS, &["deadlock"], || {
        parent_sleeps(1, &[0], &[&[0]]);
    });
}

#[test]
fn late_registration_is_found() {
    refute("late_registration_is_found", Fault::ReadyRegistersLate, TWO_THREADS, &["deadlock"], || {
        parent_sleeps(1, &[0], &[&[0]]);
    });
}

#[test]
fn skipped_summary_is_found() {
    refute("skipped_summary_is_found", Fault::ReadySkipsSummary, TWO_THREADS, &["deadlock"], || {
        parent_sleeps(65, &[64], &[&[0]]);
    });
}
