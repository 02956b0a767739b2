//! Models of the batch queue: whoever makes a batch due wakes the driver, and every request is answered once, whoever
//! leaves, closes, or dies meanwhile.
//!
//! Members are there from the start. Everybody who changes something looks at the view it left behind, and pokes if that
//! asks for the driver. The models say how many requests the driver will see, or, where that depends on the schedule, let
//! members depart: then it is over when nothing waits and nobody can come. They call no more than they must, since every
//! call under the lock multiplies the schedules.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(loom)]

mod support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use asynchrotron_sync::broken::Fault;
use asynchrotron_sync::{Batch, Lost, Pushed, Ticket, View};
use loom::future::block_on;
use loom::thread;
use support::explore::{THREE_LONG, THREE_THREADS, TWO_THREADS, explore, refute};
use support::poll;

type Queue = asynchrotron_sync::BatchQueue<u64, u64, Lost>;
type Answer = Result<u64, Lost>;

/// What the driver has computed, in order. Of `std`: a model's threads are one.
type Computed = Arc<Mutex<Vec<u64>>>;

const TICKET: Ticket = Ticket { order: (0, 0, 0), rows: 2, bytes: 3, pushed_at: 0, deadline: u64::MAX };

fn with_members(members: usize) -> Queue {
    let queue = Queue::new();
    (0..members).for_each(|member| _ = queue.arrive(member, 0));
    queue
}

/// The rule: two make a batch, and so does one if nobody else can come.
fn is_due(view: View) -> bool {
    view.queued >= 2 || view.queued > 0 && view.coming == 0
}

fn is_over(view: View) -> bool {
    view.queued == 0 && (view.coming == 0 || view.closed)
}

#[derive(Clone, Copy)]
enum Until {
    Computed(usize),
    Over,
}

fn react(queue: &Queue, view: View) {
    if is_due(view) {
        queue.poke();
    }
}

fn compute(mut batch: Batch<u64, u64, Lost>, computed: &Computed) -> View {
    let taken = batch.take_requests();
    computed.lock().unwrap().extend(taken.iter().map(|taken| taken.request));
    let answers = taken.into_iter().map(|taken| {
        let answer = Ok(10 * taken.request);
        (taken, answer)
    });
    batch.end(answers, 0)
}

fn drive(queue: &Queue, until: Until) -> Computed {
    let computed = Computed::default();
    loop {
        let view = queue.view();
        if is_due(view)
            && let Some(batch) = queue.cut(8)
        {
            compute(batch, &computed);
        }
        match until {
            Until::Computed(requests) if computed.lock().unwrap().len() == requests => return computed,
            Until::Over if is_over(view) => return computed,
            _ if is_due(view) => {}
            _ => block_on(queue.poked()),
        }
    }
}

fn push(queue: &Queue, member: usize) -> Pushed<u64, u64, Lost> {
    let (pushed, view) = queue.push(Some(member), member as u64, TICKET);
    react(queue, view);
    pushed
}

fn depart(queue: &Queue, member: usize) {
    let view = queue.depart(member);
    if is_due(view) || is_over(view) {
        queue.poke();
    }
}

fn ask(queue: &Queue, member: usize) -> Answer {
    block_on(push(queue, member))
}

fn spawn<R: 'static>(queue: &Queue, act: impl FnOnce(&Queue) -> R + 'static) -> thread::JoinHandle<R> {
    let queue = queue.clone();
    thread::spawn(move || act(&queue))
}

fn sorted(computed: &Computed) -> Vec<u64> {
    let mut computed = computed.lock().unwrap().clone();
    computed.sort_unstable();
    computed
}

/// Nothing is left, and if a member were there, it would be counted.
fn assert_empty(queue: &Queue, members: usize) {
    (0..members).for_each(|member| _ = queue.depart(member));
    let view = queue.view();
    assert_eq!((view.queued, view.rows, view.bytes, view.coming, view.running), (0, 0, 0, 0, 0), "left over");
    assert_eq!((view.oldest, view.deadline), (None, u64::MAX), "left over");
    for member in 0..members {
        assert_eq!(queue.arrive(member, 0).coming, member + 1, "left over: member {member} held up");
    }
}

fn two_push() {
    let queue = with_members(2);
    let pushers: Vec<_> = (0..2).map(|member| spawn(&queue, move |queue| ask(queue, member))).collect();
    let computed = drive(&queue, Until::Computed(2));
    let answers: Vec<_> = pushers.into_iter().map(|pusher| pusher.join().unwrap()).collect();
    assert_eq!(answers, [Ok(0), Ok(10)]);
    assert_eq!(sorted(&computed), [0, 1]);
    assert_empty(&queue, 2);
}

fn one_pushes_one_departs() {
    let queue = with_members(2);
    let pusher = spawn(&queue, |queue| ask(queue, 0));
    let other = spawn(&queue, |queue| depart(queue, 1));
    let computed = drive(&queue, Until::Computed(1));
    assert_eq!(pusher.join().unwrap(), Ok(0));
    other.join().unwrap();
    assert_eq!(sorted(&computed), [0]);
    assert_empty(&queue, 2);
}

#[derive(Clone, Copy)]
enum How {
    Leave,
    Drop,
    PollAndDrop,
}

/// One leaves, at whatever stage its request is by then.
fn one_leaves(how: How) {
    let queue = with_members(1);
    let mut pushed = push(&queue, 0);
    let leaver = spawn(&queue, move |queue| {
        let was_queued = match how {
            How::Leave => {
                let (was_queued, view) = pushed.leave();
                assert_eq!(view.queued, 0, "left over");
                Some(was_queued)
            }
            How::Drop => {
                drop(pushed);
                None
            }
            How::PollAndDrop => {
                _ = poll(&mut pushed, Waker::noop());
                drop(pushed);
                None
            }
        };
        depart(queue, 0);
        was_queued
    });
    let computed = drive(&queue, Until::Over);
    let was_queued = leaver.join().unwrap();
    let computed = sorted(&computed);
    assert!(was_queued.is_none_or(|was_queued| was_queued == computed.is_empty()), "left over");
    assert_empty(&queue, 1);
}

/// One leaves and another stays: with the first it is a batch, and without it nobody else can come.
fn one_leaves_one_stays() {
    let queue = with_members(2);
    let leaving = push(&queue, 0);
    let leaver = spawn(&queue, move |queue| {
        let (was_queued, _) = leaving.leave();
        depart(queue, 0);
        was_queued
    });
    let stayer = spawn(&queue, |queue| {
        assert_eq!(ask(queue, 1), Ok(10));
        depart(queue, 1);
    });
    let computed = drive(&queue, Until::Over);
    let was_queued = leaver.join().unwrap();
    stayer.join().unwrap();
    assert_eq!(sorted(&computed), if was_queued { vec![1] } else { vec![0, 1] }, "left over");
    assert_empty(&queue, 2);
}

fn close_against_push() {
    let queue = with_members(1);
    let pusher = spawn(&queue, |queue| ask(queue, 0));
    let closer = spawn(&queue, Queue::close);
    let computed = drive(&queue, Until::Over); // by the close, for the member stays
    let (answer, thrown_out) = (pusher.join().unwrap(), closer.join().unwrap());
    match answer {
        Ok(answer) => assert_eq!((answer, sorted(&computed), thrown_out), (0, vec![0], vec![])),
        Err(Lost) => assert!(sorted(&computed).is_empty(), "computed for nobody"),
    }
    assert_empty(&queue, 1);
}

fn close_against_cut() {
    let queue = with_members(2);
    let pushed: Vec<_> = (0..2).map(|member| queue.push(Some(member), member as u64, TICKET).0).collect();
    let closer = spawn(&queue, Queue::close);
    let computed = drive(&queue, Until::Over);
    let answers: Vec<_> = pushed.into_iter().map(block_on).collect();
    let thrown_out = closer.join().unwrap();
    match sorted(&computed)[..] {
        [] => assert_eq!((answers, thrown_out), (vec![Err(Lost); 2], vec![0, 1])),
        _ => assert_eq!((answers, thrown_out, sorted(&computed)), (vec![Ok(0), Ok(10)], vec![], vec![0, 1])),
    }
    assert_empty(&queue, 2);
}

/// Counts how often the second request came between the driver's decision and its cut.
fn late_binding(seen: &AtomicUsize) {
    let queue = with_members(0);
    let first = push(&queue, 0);
    let came = Arc::new(AtomicBool::new(false));
    let late = {
        let came = came.clone();
        spawn(&queue, move |queue| {
            let pushed = push(queue, 1);
            came.store(true, Ordering::SeqCst);
            block_on(pushed)
        })
    };
    let view = queue.view();
    assert!(is_due(view));
    thread::yield_now();
    let has_come = came.load(Ordering::SeqCst);
    let batch = queue.cut(8).unwrap();
    let computed = Computed::default();
    compute(batch, &computed);
    let len = computed.lock().unwrap().len();
    assert!(!has_come || len == 2, "came before the cut, and was not in it");
    seen.fetch_add(usize::from(view.queued == 1 && len == 2), Ordering::SeqCst);
    let others = drive(&queue, Until::Computed(2 - len));
    assert_eq!(len + others.lock().unwrap().len(), 2);
    assert_eq!(late.join().unwrap(), Ok(10));
    assert_eq!(block_on(first), Ok(0));
    assert_empty(&queue, 2);
}

/// A queue whose driver also tells the other when its requests are cut.
fn cut_and_unblock(queue: &Queue, other: &Queue, computed: &Computed) {
    let Some(mut batch) = queue.cut(8) else { return };
    let taken = batch.take_requests();
    for taken in &taken {
        other.unblock(&[taken.member.unwrap()], 0); // whoever can come again makes nothing due
    }
    computed.lock().unwrap().extend(taken.iter().map(|taken| taken.request));
    let answers = taken.into_iter().map(|taken| {
        let answer = Ok(10 * taken.request);
        (taken, answer)
    });
    batch.end(answers, 0);
}

/// Member 0 asks one queue and member 1 the other, and each queue could wait for the other's member.
fn wait_for_each_other(blocks_first: bool, leaves: bool) {
    let queues = [with_members(2), with_members(2)];
    let askers: Vec<_> = (0..2)
        .map(|member| {
            let (mine, other) = (queues[member].clone(), queues[1 - member].clone());
            thread::spawn(move || {
                if blocks_first {
                    react(&other, other.block(member));
                }
                let pushed = push(&mine, member);
                if !blocks_first {
                    react(&other, other.block(member));
                }
                if leaves && member == 0 {
                    let (was_queued, _) = pushed.leave();
                    if was_queued {
                        other.unblock(&[member], 0);
                    }
                } else {
                    assert_eq!(block_on(pushed), Ok(10 * member as u64));
                }
                react(&other, other.depart(member));
            })
        })
        .collect();
    let computed = Computed::default();
    loop {
        let views = [queues[0].view(), queues[1].view()];
        if is_due(views[0]) {
            cut_and_unblock(&queues[0], &queues[1], &computed);
        } else if is_due(views[1]) {
            cut_and_unblock(&queues[1], &queues[0], &computed);
        } else if computed.lock().unwrap().contains(&1) && (leaves || computed.lock().unwrap().contains(&0)) {
            break;
        } else {
            let (mut first, mut second) = (pin!(queues[0].poked()), pin!(queues[1].poked()));
            block_on(poll_fn(|cx| {
                let polls = [first.as_mut().poll(cx), second.as_mut().poll(cx)];
                if polls.iter().any(Poll::is_ready) { Poll::Ready(()) } else { Poll::Pending }
            }));
        }
    }
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    let computed = sorted(&computed);
    assert!(computed == [0, 1] || leaves && computed == [1], "{computed:?}");
    if let Some(batch) = queues[0].cut(8) {
        panic!("left over: {batch:?}");
    }
    queues.iter().for_each(|queue| assert_empty(queue, 2));
}

/// The lane dies under two requests, the first of which is left meanwhile. The second asks again without knowing.
fn put_back_against_leave() {
    let queue = with_members(2);
    let (leaving, staying) = (push(&queue, 0), push(&queue, 1));
    let mut batch = queue.cut(8).unwrap();
    let has_left = Arc::new(AtomicBool::new(false));
    let leaver = {
        let has_left = has_left.clone();
        spawn(&queue, move |_| {
            let (was_queued, _) = leaving.leave();
            has_left.store(true, Ordering::SeqCst);
            was_queued
        })
    };
    let taken = batch.take_requests();
    thread::yield_now();
    let had_left = has_left.load(Ordering::SeqCst);
    let (left, _) = batch.put_back(taken);
    let left: Vec<_> = left.into_iter().map(|taken| taken.request).collect();
    assert!(!had_left || left == [0], "left over");
    queue.depart(0);
    let computed = Computed::default();
    compute(queue.cut(8).unwrap(), &computed);
    let was_queued = leaver.join().unwrap();
    let computed = sorted(&computed);
    assert_eq!(block_on(staying), Ok(10));
    match (&left[..], was_queued) {
        ([], true) | ([0], false) => assert_eq!(computed, [1], "left over"),
        ([], false) => assert_eq!(computed, [0, 1]),
        other => panic!("{other:?}"),
    }
    assert_empty(&queue, 2);
}

fn put_back_against_close() {
    let queue = with_members(1);
    let pushed = push(&queue, 0);
    let mut batch = queue.cut(8).unwrap();
    let closer = spawn(&queue, Queue::close);
    let taken = batch.take_requests();
    let (left, _) = batch.put_back(taken);
    let was_put_back = left.is_empty();
    drop(left);
    let thrown_out = closer.join().unwrap();
    assert_eq!(block_on(pushed), Err(Lost));
    assert_eq!(thrown_out, if was_put_back { vec![0] } else { vec![] });
    assert_empty(&queue, 1);
}

/// A batch is dropped by whoever computes it; the driver waits for its end, and is told.
fn batch_is_dropped(taken_first: bool) {
    let queue = with_members(1);
    let pushed = push(&queue, 0);
    let mut batch = queue.cut(8).unwrap();
    queue.poke();
    block_on(queue.poked()); // so that no old poke is left
    let waiter = thread::spawn(move || assert_eq!(block_on(pushed), Err(Lost)));
    let computer = thread::spawn(move || {
        if taken_first {
            drop(batch.take_requests());
        }
        drop(batch);
    });
    while queue.view().running > 0 {
        block_on(queue.poked());
    }
    computer.join().unwrap();
    waiter.join().unwrap();
    assert_empty(&queue, 1);
}

#[test]
fn full_or_last_wakes_the_driver() {
    explore("batch queue: two push", THREE_LONG, 10000, two_push);
}

#[test]
fn member_that_departs_is_not_waited_for() {
    explore("batch queue: one pushes, one departs", THREE_THREADS, 8000, one_pushes_one_departs);
}

#[test]
fn leave_at_any_stage() {
    explore("batch queue: leave", TWO_THREADS, 15000, || one_leaves(How::Leave));
    explore("batch queue: drop", TWO_THREADS, 25000, || one_leaves(How::Drop));
    explore("batch queue: poll and drop", THREE_THREADS, 250, || one_leaves(How::PollAndDrop));
    explore("batch queue: one leaves, one stays", THREE_LONG, 7000, one_leaves_one_stays);
}

#[test]
fn close_at_any_stage() {
    explore("batch queue: close, push, drive", THREE_THREADS, 30000, close_against_push);
    explore("batch queue: close, cut", TWO_THREADS, 6000, close_against_cut);
}

#[test]
fn late_request_is_in_the_batch() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    explore("batch queue: late binding", TWO_THREADS, 10000, move || late_binding(&count));
    assert!(seen.load(Ordering::SeqCst) > 0, "nobody came late");
}

#[test]
fn queues_do_not_wait_for_each_other() {
    explore("batch queue: two queues", THREE_LONG, 50000, || wait_for_each_other(true, false));
    explore("batch queue: two queues, late block", THREE_LONG, 40000, || wait_for_each_other(false, false));
    explore("batch queue: two queues, one leaves", THREE_LONG, 6000, || wait_for_each_other(true, true));
}

#[test]
fn put_back_at_any_stage() {
    explore("batch queue: put back, leave", TWO_THREADS, 150, put_back_against_leave);
    explore("batch queue: put back, close", TWO_THREADS, 6, put_back_against_close);
}

#[test]
fn dropped_batch_answers_and_tells_the_driver() {
    explore("batch queue: batch dropped", THREE_THREADS, 5000, || batch_is_dropped(false));
    explore("batch queue: requests and batch dropped", THREE_THREADS, 10000, || batch_is_dropped(true));
}

macro_rules! found {
    ($($test:ident: $fault:ident, $threads:ident, $says:expr, $model:expr;)*) => {$(
        #[test]
        fn $test() {
            refute(stringify!($test), Fault::$fault, $threads, &[$says], $model);
        }
    )*};
}

found! {
    skipped_wake_is_found: BatchSkipsWake, THREE_LONG, "deadlock", two_push;
    skipped_wake_is_found_if_one_departs: BatchSkipsWake, THREE_THREADS, "deadlock", one_pushes_one_departs;
    forgotten_poke_is_found: BatchForgetsPoke, THREE_LONG, "deadlock", two_push;
    forgotten_poke_is_found_if_one_departs: BatchForgetsPoke, THREE_THREADS, "deadlock", one_pushes_one_departs;
    late_lowering_is_found: BatchLowersPokeLate, THREE_LONG, "deadlock", two_push;
    late_lowering_is_found_if_one_departs: BatchLowersPokeLate, THREE_THREADS, "deadlock", one_pushes_one_departs;
    forgotten_waiter_is_found: BatchForgetsWaiter, THREE_LONG, "held up", two_push;
    forgotten_waiter_is_found_if_it_leaves: BatchForgetsWaiter, TWO_THREADS, "held up", || one_leaves(How::Leave);
    kept_leaver_is_found: BatchKeepsLeaver, TWO_THREADS, "left over", || one_leaves(How::Leave);
    forgotten_queued_is_found: BatchForgetsQueued, THREE_THREADS, "deadlock", close_against_push;
    forgotten_queued_is_found_by_the_cut: BatchForgetsQueued, TWO_THREADS, "deadlock", close_against_cut;
    push_into_a_closed_queue_is_found: BatchOpenWhenClosed, THREE_THREADS, "deadlock", close_against_push;
    put_back_into_a_closed_queue_is_found: BatchOpenWhenClosed, TWO_THREADS, "deadlock", put_back_against_close;
    short_cut_is_found: BatchCutsShort, TWO_THREADS, "came before the cut", || late_binding(&AtomicUsize::new(0));
    counted_blocked_is_found: BatchCountsBlocked, THREE_LONG, "deadlock", || wait_for_each_other(true, false);
    counted_blocked_is_found_late: BatchCountsBlocked, THREE_LONG, "deadlock",
        || wait_for_each_other(false, false);
    put_back_leaver_is_found: BatchPutsBackLeaver, TWO_THREADS, "left over", put_back_against_leave;
    forgotten_lost_is_found: BatchForgetsLost, THREE_THREADS, "deadlock", || batch_is_dropped(false);
    silent_drop_is_found: BatchDropsSilently, THREE_THREADS, "deadlock", || batch_is_dropped(true);
}
