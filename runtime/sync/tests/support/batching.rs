//! Many members ask two queues in turn, some leave, lanes die now and then, and each queue has a driver: every answer is
//! the asker's own, and nobody is left waiting. On real threads and under shuttle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use asynchrotron_sync::{BatchQueue, Lost, Ticket, View};

use super::poll;

#[cfg(not(shuttle))]
mod rt {
    pub use super::super::block_on;
    pub use std::thread;
}
#[cfg(shuttle)]
mod rt {
    pub use shuttle::future::block_on;
    pub use shuttle::thread;
}

type Queue = BatchQueue<usize, usize, Lost>;

const FULL: usize = 4;

fn is_due(view: View) -> bool {
    view.queued >= FULL || view.queued > 0 && view.coming == 0
}

fn react(queue: &Queue, view: View) {
    if is_due(view) {
        queue.poke();
    }
}

/// One request of a member to `mine`, while it could also come to `other`.
fn ask(mine: &Queue, other: &Queue, member: usize, request: usize) {
    let block = || react(other, other.block(member));
    let ticket = Ticket {
        order: (request as u64 % 3, request as u64, 0),
        rows: 1,
        bytes: request,
        pushed_at: request as u64,
        deadline: u64::MAX - request as u64,
    };
    let is_early = request.is_multiple_of(2);
    if is_early {
        block();
    }
    let (mut pushed, view) = mine.push(Some(member), request, ticket);
    react(mine, view);
    if !is_early {
        block();
    }
    if request % 5 == 3 {
        if poll(&mut pushed, Waker::noop()).is_ready() {
            return;
        }
        let (was_queued, view) = pushed.leave();
        react(mine, view);
        if was_queued {
            other.unblock(&[member], 0);
        }
    } else {
        assert_eq!(rt::block_on(pushed), Ok(10 * request));
    }
}

fn drive(mine: &Queue, other: &Queue) {
    let mut cuts = 0;
    loop {
        let view = mine.view();
        if is_due(view) {
            let Some(mut batch) = mine.cut_fitting(FULL, FULL - 1, usize::MAX) else { continue };
            cuts += 1;
            let taken = batch.take_requests();
            for taken in &taken {
                other.unblock(&[taken.member.unwrap()], 0);
            }
            if cuts % 5 == 0 {
                // The lane died.
                for taken in &taken {
                    react(other, other.block(taken.member.unwrap()));
                }
                let (left, _) = batch.put_back(taken);
                for taken in left {
                    other.unblock(&[taken.member.unwrap()], 0);
                }
            } else {
                let answers = taken.into_iter().map(|taken| {
                    let answer = Ok(10 * taken.request);
                    (taken, answer)
                });
                batch.end(answers, 0);
            }
        } else if view.closed {
            return;
        } else {
            rt::block_on(mine.poked());
        }
    }
}

/// Runs so many members for so many rounds, and checks everything that must hold then.
pub fn run(members: usize, rounds: usize) {
    let queues = [Queue::new(), Queue::new()];
    let left = Arc::new(AtomicUsize::new(members));
    for queue in &queues {
        (0..members).for_each(|member| _ = queue.arrive(member, 0));
    }
    let threads: Vec<_> = (0..members)
        .map(|member| {
            let (queues, left) = (queues.clone(), left.clone());
            rt::thread::spawn(move || {
                for round in 0..rounds {
                    let mine = (round + member) % 2;
                    ask(&queues[mine], &queues[1 - mine], member, round * members + member);
                }
                queues.iter().for_each(|queue| react(queue, queue.depart(member)));
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    queues.iter().for_each(|queue| assert!(queue.close().is_empty()));
                }
            })
        })
        .collect();
    let drivers: Vec<_> = (0..2)
        .map(|mine| {
            let queues = queues.clone();
            rt::thread::spawn(move || drive(&queues[mine], &queues[1 - mine]))
        })
        .collect();
    threads.into_iter().chain(drivers).for_each(|thread| thread.join().unwrap());
    for queue in &queues {
        let view = queue.view();
        assert_eq!(
            (view.queued, view.rows, view.bytes, view.coming, view.running),
            (0, 0, 0, 0, 0),
            "left over"
        );
        assert_eq!((view.oldest, view.deadline), (None, u64::MAX), "left over");
        for member in 0..members {
            assert_eq!(queue.arrive(member, 0).coming, member + 1, "left over: member {member} held up");
        }
    }
}
