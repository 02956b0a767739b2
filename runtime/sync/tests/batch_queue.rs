//! The batch queue: its order, its weights, who can still come, and that nothing foreign runs under its lock.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use asynchrotron_sync::{Batch, BatchQueue, Lost, Pushed, Ticket};
use support::{Bell, batching, block_on, poll};

type Queue = BatchQueue<u32, u32, Lost>;

const TICKET: Ticket = Ticket { order: (0, 0, 0), rows: 1, bytes: 10, pushed_at: 0, deadline: u64::MAX };

fn ordered((first, second): (u64, u64)) -> Ticket {
    Ticket { order: (first, second, 0), ..TICKET }
}

fn requests(batch: &mut Batch<u32, u32, Lost>) -> Vec<u32> {
    batch.take_requests().into_iter().map(|taken| taken.request).collect()
}

/// Pushes them all; those that stay are given back.
fn push_all(queue: &Queue, tickets: &[Ticket]) -> Vec<Pushed<u32, u32, Lost>> {
    tickets.iter().zip(0..).map(|(ticket, request)| queue.push(None, request, *ticket).0).collect()
}

fn answer(mut batch: Batch<u32, u32, Lost>) {
    let taken = batch.take_requests();
    let answers = taken.into_iter().map(|taken| {
        let answer = Ok(10 * taken.request);
        (taken, answer)
    });
    batch.end(answers, 0);
}

#[test]
fn requests_stand_in_order_and_by_arrival_where_that_is_equal() {
    let queue = Queue::new();
    let pushed = push_all(&queue, &[(1, 5), (0, 9), (1, 5), (0, 9), (1, 0)].map(ordered));
    assert_eq!(requests(&mut queue.cut(3).unwrap()), [1, 3, 4]);
    assert_eq!(requests(&mut queue.cut(usize::MAX).unwrap()), [0, 2]);
    assert!(queue.cut(1).is_none());
    drop(pushed);
}

#[test]
fn cut_of_none_is_none() {
    let queue = Queue::new();
    assert!(queue.cut(1).is_none());
    assert!(queue.cut_fitting(1, 1, 1).is_none());
    let _pushed = push_all(&queue, &[TICKET]);
    assert!(queue.cut(0).is_none());
    assert_eq!((queue.view().queued, queue.view().running), (1, 0));
}

#[test]
fn answers_reach_their_waiters_in_whatever_order_they_come() {
    let queue = Queue::new();
    let mut pushed = push_all(&queue, &[TICKET; 3]);
    let bells = [(); 3].map(|()| Bell::new());
    for (pushed, (_, waker)) in pushed.iter_mut().zip(&bells) {
        assert!(poll(pushed, waker).is_pending());
    }
    let mut batch = queue.cut(3).unwrap();
    let mut taken = batch.take_requests();
    let last = taken.pop().unwrap();
    let view = batch.answer([(last, Ok(2))], 0);
    assert_eq!(view.running, 1);
    assert_eq!(bells.each_ref().map(|(bell, _)| bell.rings()), [0, 0, 1]);
    let answers = taken.into_iter().rev().map(|taken| {
        let answer = Ok(taken.request);
        (taken, answer)
    });
    let view = batch.end(answers, 0);
    assert_eq!(view.running, 0);
    assert_eq!(bells.each_ref().map(|(bell, _)| bell.rings()), [1, 1, 1]);
    for (pushed, request) in pushed.iter_mut().zip(0..) {
        assert_eq!(poll(pushed, Waker::noop()), Poll::Ready(Ok(request)));
    }
}

#[test]
fn view_sums_what_is_queued() {
    let queue = Queue::new();
    let tickets = [(3, 30), (1, 10), (2, 20)].map(|(at, deadline)| Ticket {
        rows: at as usize,
        pushed_at: at,
        deadline,
        ..TICKET
    });
    let mut pushed = push_all(&queue, &tickets);
    let view = queue.view();
    assert_eq!((view.queued, view.rows, view.bytes), (3, 6, 30));
    assert_eq!((view.oldest, view.deadline), (Some(1), 10));
    assert_eq!((view.coming, view.running, view.front, view.closed), (0, 0, None, false));

    let (was_queued, view) = pushed.remove(1).leave(); // the oldest, and the most urgent
    assert!(was_queued);
    assert_eq!((view.queued, view.rows, view.bytes), (2, 5, 20));
    assert_eq!((view.oldest, view.deadline), (Some(2), 20));

    let mut batch = queue.cut(1).unwrap();
    let view = queue.view();
    assert_eq!((view.queued, view.rows, view.oldest, view.deadline), (1, 2, Some(2), 20));
    let taken = batch.take_requests();
    let (left, view) = batch.put_back(taken);
    assert!(left.is_empty());
    assert_eq!((view.queued, view.rows, view.oldest, view.deadline), (2, 5, Some(2), 20));
    drop(pushed.pop());
    let view = queue.view();
    assert_eq!((view.queued, view.rows, view.oldest, view.deadline), (1, 3, Some(3), 30));

    answer(queue.cut(8).unwrap());
    let view = queue.view();
    assert_eq!((view.queued, view.rows, view.bytes, view.oldest, view.deadline), (0, 0, 0, None, u64::MAX));
}

/// One that stays in front of, and is older than, all that come and go.
#[test]
fn oldest_is_right_after_many_have_come_and_gone() {
    let queue = Queue::new();
    let first = queue.push(None, 0, Ticket { order: (9, 9, 0), deadline: 5000, ..TICKET });
    for at in 1..2000 {
        let (pushed, view) = queue.push(None, 1, Ticket { pushed_at: at, deadline: 9000 - at, ..TICKET });
        assert_eq!((view.oldest, view.deadline), (Some(0), (9000 - at).min(5000)));
        if at % 2 == 0 {
            drop(pushed);
        } else {
            answer(queue.cut(1).unwrap());
        }
        assert_eq!((queue.view().oldest, queue.view().deadline), (Some(0), 5000));
    }
    drop(first);
    assert_eq!((queue.view().oldest, queue.view().deadline), (None, u64::MAX));
}

#[test]
fn sums_larger_than_a_word_are_shown_as_the_largest_and_taken_off_again() {
    let queue = Queue::new();
    let huge = Ticket { rows: usize::MAX, bytes: usize::MAX, ..TICKET };
    let mut pushed = push_all(&queue, &[huge, TICKET, huge]);
    assert_eq!((queue.view().rows, queue.view().bytes), (usize::MAX, usize::MAX));
    assert_eq!(queue.fits(8, usize::MAX, usize::MAX), 3);
    drop((pushed.pop(), pushed.remove(0)));
    assert_eq!((queue.view().rows, queue.view().bytes), (1, 10));
}

#[test]
fn what_fits_is_limited_by_requests_rows_and_bytes_but_one_always_does() {
    let queue = Queue::new();
    assert_eq!(queue.fits(8, 8, 80), 0);
    let _pushed = push_all(&queue, &[TICKET; 5]);
    assert_eq!(queue.fits(3, 100, 1000), 3);
    assert_eq!(queue.fits(8, 2, 1000), 2);
    assert_eq!(queue.fits(8, 100, 49), 4);
    assert_eq!(queue.fits(8, 100, 1000), 5);
    assert_eq!([queue.fits(8, 0, 1000), queue.fits(8, 100, 0), queue.fits(0, 0, 0)], [1; 3]);
    assert_eq!(queue.cut_fitting(8, 2, 1000).unwrap().take_requests().len(), 2);
    assert_eq!(queue.cut_fitting(8, 0, 0).unwrap().take_requests().len(), 1);
}

/// What `fits` said is out of date once somebody comes to stand in front.
#[test]
fn cut_that_fits_looks_at_who_is_in_front_now() {
    let queue = Queue::new();
    let _pushed = push_all(&queue, &[ordered((1, 0)); 2]);
    assert_eq!(queue.fits(8, 10, usize::MAX), 2);
    let _large = queue.push(None, 7, Ticket { rows: 10, ..TICKET });
    assert_eq!(requests(&mut queue.cut_fitting(8, 10, usize::MAX).unwrap()), [7]);
}

#[test]
fn front_is_the_group_that_shares_the_first_order() {
    let queue = Queue::new();
    assert_eq!(queue.view_front().front, None);
    let _pushed = push_all(&queue, &[(1, 0), (0, 2), (0, 2), (0, 3)].map(ordered));
    let view = queue.view_front();
    assert_eq!(view.front, Some(((0, 2), 2)));
    assert_eq!(view.queued, 4);
    drop(queue.cut(2));
    assert_eq!(queue.view_front().front, Some(((0, 3), 1)));
}

#[test]
fn put_back_keeps_the_place() {
    let queue = Queue::new();
    let mut pushed = push_all(&queue, &[ordered((0, 5)); 3]);
    let mut batch = queue.cut(2).unwrap();
    let _later = queue.push(None, 3, ordered((0, 5)));
    let _urgent = queue.push(None, 4, ordered((0, 1)));
    let taken = batch.take_requests();
    drop(pushed.remove(1)); // has left
    let (left, view) = batch.put_back(taken.into_iter().rev());
    assert_eq!((view.queued, view.running), (4, 0));
    assert_eq!(left.iter().map(|taken| taken.request).collect::<Vec<_>>(), [1]);
    assert!(left[0].is_abandoned());
    assert_eq!(requests(&mut queue.cut(8).unwrap()), [4, 0, 2, 3]);
}

#[test]
fn put_back_into_a_closed_queue_is_given_back_and_lost() {
    let queue = Queue::new();
    let mut pushed = push_all(&queue, &[TICKET]).remove(0);
    let mut batch = queue.cut(1).unwrap();
    queue.close();
    let taken = batch.take_requests();
    let (left, view) = batch.put_back(taken);
    assert_eq!((left.len(), view.queued, view.running), (1, 0, 0));
    assert!(poll(&mut pushed, Waker::noop()).is_pending());
    drop(left);
    assert_eq!(poll(&mut pushed, Waker::noop()), Poll::Ready(Err(Lost)));
}

#[test]
fn leave_says_whether_it_was_still_queued() {
    let queue = Queue::new();
    queue.arrive(0, 0);
    let (pushed, _) = queue.push(Some(0), 0, TICKET);
    let (was_queued, view) = pushed.leave();
    assert_eq!((was_queued, view.queued, view.coming), (true, 0, 1));

    let (pushed, _) = queue.push(Some(0), 0, TICKET);
    let mut batch = queue.cut(1).unwrap();
    let (was_queued, view) = pushed.leave();
    assert_eq!((was_queued, view.coming, view.running), (false, 1, 1));
    let taken = batch.take_requests().remove(0);
    assert!(taken.is_abandoned());
    assert_eq!(batch.end([(taken, Ok(0))], 0).coming, 1);

    let (pushed, _) = queue.push(Some(0), 0, TICKET);
    answer(queue.cut(1).unwrap());
    let (was_queued, view) = pushed.leave();
    assert_eq!((was_queued, view.coming), (false, 1));
}

#[test]
fn member_is_counted_while_it_can_come_and_nothing_holds_it_up() {
    let queue = Queue::new();
    assert_eq!(queue.arrive(3, 0).coming, 1);
    assert_eq!(queue.arrive(3, 0).coming, 1);
    assert_eq!(queue.arrive(0, 0).coming, 2);
    assert_eq!(queue.depart(1).coming, 2);
    assert_eq!(queue.block(3).coming, 1);
    assert_eq!(queue.block(3).coming, 1);
    assert_eq!(queue.unblock(&[3], 0).coming, 1);
    assert_eq!(queue.unblock(&[3], 0).coming, 2);
    let (first, view) = queue.push(Some(0), 0, TICKET);
    assert_eq!(view.coming, 1);
    let (second, view) = queue.push(Some(0), 0, TICKET);
    assert_eq!(view.coming, 1);
    drop(first);
    assert_eq!(queue.view().coming, 1);
    assert_eq!(queue.depart(0).coming, 1);
    drop(second);
    assert_eq!(queue.view().coming, 1);
    assert_eq!(queue.arrive(0, 0).coming, 2);
}

/// Pushes at a time, is answered at a later one; gives the approach.
fn approach(queue: &Queue, member: usize, pushed_at: u64, end: u64) -> Option<u64> {
    let (pushed, view) = queue.push(Some(member), 1, Ticket { pushed_at, ..TICKET });
    let mut batch = queue.cut(1).unwrap();
    let taken = batch.take_requests().remove(0);
    batch.end([(taken, Ok(1))], end);
    assert_eq!(block_on(pushed), Ok(1));
    view.approach
}

#[test]
fn approach_is_how_long_the_member_had_been_counted() {
    let queue = Queue::new();
    assert_eq!(queue.arrive(0, 100).approach, None);
    assert_eq!(queue.arrive(0, 120).approach, None); // was counted already
    assert_eq!(approach(&queue, 0, 130, 200), Some(30));
    assert_eq!(approach(&queue, 0, 250, 260), Some(50)); // from the end of its last batch
    assert_eq!(queue.view().approach, None);

    queue.block(0);
    queue.block(0);
    queue.unblock(&[0], 300);
    queue.unblock(&[0], 310);
    assert_eq!(approach(&queue, 0, 315, 400), Some(5));
    assert_eq!(approach(&queue, 0, 390, 400), Some(0)); // clocks of different threads may disagree
    queue.depart(0);
    queue.arrive(0, 500);
    assert_eq!(approach(&queue, 0, 520, 530), Some(20));
}

#[test]
fn member_that_was_not_counted_has_no_approach() {
    let queue = Queue::new();
    assert_eq!(approach(&queue, 7, 10, 20), None); // never heard of
    assert_eq!(approach(&queue, 7, 30, 40), None); // heard of, but has not arrived
    assert_eq!(queue.push(None, 1, TICKET).1.approach, None);
    queue.arrive(7, 50);
    queue.block(7);
    assert_eq!(approach(&queue, 7, 60, 70), None);
    queue.unblock(&[7], 80);
    let push = |pushed_at| queue.push(Some(7), 1, Ticket { pushed_at, ..TICKET });
    let (first, second) = (push(85), push(90));
    assert_eq!([first.1, second.1].map(|view| view.approach), [Some(5), None]); // the second finds it waiting
    drop((first, second));
    queue.depart(7);
    assert_eq!(approach(&queue, 7, 110, 120), None);
}

/// Nobody says when these happened, so they are no beginning: it would be taken for one at time 0.
#[test]
fn member_that_is_counted_since_an_unknown_time_has_no_approach() {
    type Act = fn(&Queue, Pushed<u32, u32, Lost>);
    let acts: [Act; 5] = [
        |_, pushed| drop(pushed),
        |_, pushed| _ = pushed.leave(),
        |queue, _pushed| drop(queue.cut(1)),
        |queue, pushed| {
            let mut batch = queue.cut(1).unwrap();
            drop(pushed);
            let taken = batch.take_requests();
            batch.put_back(taken);
        },
        |queue, pushed| {
            drop(queue.cut(1).unwrap().take_requests());
            assert_eq!(block_on(pushed), Err(Lost));
        },
    ];
    for act in acts {
        let queue = Queue::new();
        queue.arrive(0, 1000);
        let (pushed, view) = queue.push(Some(0), 1, Ticket { pushed_at: 1010, ..TICKET });
        assert_eq!(view.approach, Some(10));
        act(&queue, pushed);
        assert_eq!(queue.view().coming, 1);
        assert_eq!(approach(&queue, 0, 1020, 1030), None);
        assert_eq!(approach(&queue, 0, 1040, 1050), Some(10));
    }
}

#[test]
fn unblock_may_overtake_its_block() {
    let queue = Queue::new();
    queue.arrive(0, 0);
    assert_eq!(queue.unblock(&[0], 0).coming, 1);
    assert_eq!(queue.block(0).coming, 1);
    assert_eq!(queue.block(0).coming, 0);
}

#[test]
fn poke_wakes_the_driver_once_and_is_kept_while_it_is_awake() {
    let queue = Queue::new();
    let (bell, waker) = Bell::new();
    let mut poked = queue.poked();
    assert!(poll(&mut poked, &waker).is_pending());
    queue.poke();
    queue.poke();
    assert_eq!(bell.rings(), 1);
    drop(poked); // has not seen it
    assert!(poll(&mut queue.poked(), &waker).is_ready());
    assert!(poll(&mut queue.poked(), &waker).is_pending());
    let (other, other_waker) = Bell::new();
    assert!(poll(&mut queue.poked(), &other_waker).is_pending());
    queue.poke();
    assert_eq!((bell.rings(), other.rings()), (1, 1));
}

/// Nobody has seen the view that these leave behind, so the driver has to.
#[test]
fn drops_poke_the_driver_if_they_change_anything() {
    let queue = Queue::new();
    let is_poked = || poll(&mut queue.poked(), Waker::noop()).is_ready();
    let [queued, cut, answered, bare] = [(); 4].map(|()| push_all(&queue, &[TICKET]).remove(0));
    drop(queued);
    assert!(is_poked());
    let mut batch = queue.cut(1).unwrap();
    drop(cut);
    assert!(is_poked());
    drop(batch.take_requests());
    drop(batch);
    assert!(is_poked());
    answer(queue.cut(1).unwrap());
    drop(answered);
    assert!(!is_poked());
    let mut batch = queue.cut(1).unwrap();
    drop(batch.take_requests());
    assert_eq!(block_on(bare), Err(Lost));
    assert!(is_poked());
    batch.end([], 0);
    assert!(!is_poked());
}

#[test]
fn dropped_batch_is_lost_and_its_members_may_come_again() {
    let queue = Queue::new();
    (0..3).for_each(|member| _ = queue.arrive(member, 0));
    let mut pushed: Vec<_> = (0..3).map(|member| queue.push(Some(member), 0, TICKET).0).collect();
    let mut batch = queue.cut(3).unwrap();
    assert_eq!((queue.view().coming, queue.view().running), (0, 1));
    drop(batch.take_requests().pop()); // heard of by the waiter, not by the queue
    drop(batch);
    assert_eq!(queue.view().running, 0);
    for pushed in &mut pushed {
        assert_eq!(poll(pushed, Waker::noop()), Poll::Ready(Err(Lost)));
    }
    assert_eq!(queue.view().coming, 3);
}

#[test]
fn close_loses_what_is_queued_and_what_comes_later_but_not_what_is_cut() {
    let queue = Queue::new();
    let (bell, waker) = Bell::new();
    assert!(poll(&mut queue.poked(), &waker).is_pending());
    let (cut, _) = queue.push(Some(0), 1, TICKET);
    let batch = queue.cut(1).unwrap();
    let queued = [Some(2), None, Some(1)].map(|member| queue.push(member, 2, TICKET).0);
    assert_eq!(queue.close(), [2, 1]);
    assert_eq!(bell.rings(), 1);
    let (late, view) = queue.push(Some(3), 3, TICKET);
    assert_eq!((view.closed, view.queued, view.rows, view.bytes, view.oldest), (true, 0, 0, 0, None));
    for pushed in queued.into_iter().chain([late]) {
        assert_eq!(block_on(pushed), Err(Lost));
    }
    assert!(queue.cut(1).is_none());
    answer(batch);
    assert_eq!(block_on(cut), Ok(10));
}

#[test]
fn queue_is_reopened_without_members_but_not_without_those_who_wait() {
    let queue = Queue::new();
    (0..3).for_each(|member| _ = queue.arrive(member, 0));
    let (cut, _) = queue.push(Some(0), 1, TICKET);
    let batch = queue.cut(1).unwrap();
    let (queued, _) = queue.push(Some(1), 2, TICKET);
    queue.block(2);
    queue.close();
    queue.reopen();
    let view = queue.view();
    assert_eq!((view.closed, view.queued, view.coming, view.running), (false, 0, 0, 1));
    assert_eq!([0, 1, 2].map(|member| queue.arrive(member, 0).coming), [0, 1, 1]);
    answer(batch); // from before the close
    assert_eq!(queue.unblock(&[2], 0).coming, 3);
    assert_eq!((block_on(cut), block_on(queued)), (Ok(10), Err(Lost)));
    let (again, view) = queue.push(Some(0), 3, TICKET);
    assert_eq!((view.queued, view.coming), (1, 2));
    answer(queue.cut(1).unwrap());
    assert_eq!(block_on(again), Ok(30));
}

/// A request, and a waker, that look at the queue when they are dropped or woken. Under its lock that would hang.
struct Looks<T: Send + 'static>(BatchQueue<T, u32, Lost>, Arc<Mutex<usize>>);

impl<T: Send + 'static> Drop for Looks<T> {
    fn drop(&mut self) {
        self.0.view();
        *self.1.lock().unwrap() += 1;
    }
}

impl<T: Send + 'static> Wake for Looks<T> {
    fn wake(self: Arc<Self>) {
        self.0.view();
    }
}

#[test]
fn nothing_foreign_runs_under_the_lock() {
    let looked = Arc::new(Mutex::new(0));
    let queue = BatchQueue::<Box<dyn Send>, u32, Lost>::new();
    let looks = || Looks(queue.clone(), looked.clone());
    let waker = || Waker::from(Arc::new(looks()));
    let push = || queue.push(None, Box::new(looks()), TICKET).0;

    let mut pushed = push();
    _ = poll(&mut pushed, &waker());
    _ = poll(&mut pushed, &waker()); // replaces
    drop(pushed);
    let mut pushed = push();
    _ = poll(&mut pushed, &waker());
    queue.close();
    drop((pushed, push()));
    queue.reopen();
    _ = poll(&mut queue.poked(), &waker());
    _ = poll(&mut queue.poked(), &waker());
    queue.poke();
    let (gone, stays) = (push(), push());
    let mut batch = queue.cut(2).unwrap();
    drop(gone);
    let taken = batch.take_requests();
    let (left, _) = batch.put_back(taken.into_iter().inspect(|_| _ = queue.view()));
    assert_eq!(left.len(), 1);
    drop(left);
    let mut batch = queue.cut(1).unwrap();
    let taken = batch.take_requests();
    batch.end(taken.into_iter().inspect(|_| _ = queue.view()).map(|taken| (taken, Ok(1))), 0);
    assert_eq!(block_on(stays), Ok(1));
    drop(push());
    assert_eq!(*looked.lock().unwrap(), 11, "requests and wakers dropped");
}

#[test]
fn many_ask_and_each_gets_its_own_answer() {
    batching::run(16, 2000);
}
