//! A small scheduler that composes everything: events whose algorithms share one task (ready set) and products (product
//! cells), go through lanes (lane pool) to driver threads (completions), and are written in order (turnstile).
//! The same job runs on real threads and under shuttle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use asynchrotron_sync::{
    Claim, Completion, Finish, Lane, LanePool, Lost, ProductCell, ReadySet, Signaller, Turnstile, completion,
};

#[cfg(not(shuttle))]
mod rt {
    pub use super::super::block_on;
    pub use std::sync::atomic::{AtomicU64, Ordering};
    pub use std::sync::{Mutex, mpsc};
    pub use std::thread;
}
#[cfg(shuttle)]
mod rt {
    pub use shuttle::future::block_on;
    pub use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub use shuttle::sync::{Mutex, mpsc};
    pub use shuttle::thread;
}

type Product = Result<u64, Lost>;
type Child = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Submission {
    input: u64,
    lane: Lane<u64>,
    signaller: Signaller<u64, Lost>,
}

struct Device {
    lanes: LanePool<u64>,
    queue: rt::Mutex<rt::mpsc::Sender<Submission>>,
}

impl Device {
    fn submit(&self, input: u64, lane: Lane<u64>) -> Completion<u64, Lost> {
        let (signaller, completion) = completion();
        self.queue.lock().unwrap().send(Submission { input, lane, signaller }).unwrap();
        completion
    }
}

/// Every seventh input is lost, as by a device error.
fn is_lost(input: u64) -> bool {
    input % 7 == 6
}

fn drive(queue: &rt::Mutex<rt::mpsc::Receiver<Submission>>) {
    loop {
        let submission = queue.lock().unwrap().recv();
        let Ok(Submission { input, mut lane, signaller }) = submission else { return };
        *lane += 1;
        if signaller.is_abandoned() {
            continue;
        }
        if is_lost(input) {
            drop(signaller);
        } else {
            let _ = signaller.complete(Ok(input * 10));
        }
        // Lanes die now and then, but not the last.
        if input % 16 == 3 && lane_may_retire(*lane) {
            let _ = lane.retire();
        }
    }
}

fn lane_may_retire(lane: u64) -> bool {
    lane < 1 << 32 // the lane that starts above never retires
}

struct MarkChild {
    set: Arc<ReadySet>,
    index: usize,
}

impl Wake for MarkChild {
    fn wake(self: Arc<Self>) {
        self.set.mark(self.index);
    }
}

/// The parent: all algorithms of one event, polled on one task.
struct Event {
    set: Arc<ReadySet>,
    children: Vec<(Option<Child>, Waker)>,
    /// After so many polls the event is cancelled.
    polls_left: usize,
}

impl Event {
    fn new(children: Vec<Child>, polls_left: usize) -> Self {
        let set = Arc::new(ReadySet::new(children.len()));
        let wakers = (0..children.len()).map(|index| Arc::new(MarkChild { set: set.clone(), index }).into());
        let children: Vec<_> = children.into_iter().map(Some).zip(wakers).collect();
        (0..children.len()).for_each(|index| set.mark(index));
        Self { set, children, polls_left }
    }
}

impl Future for Event {
    /// Whether all algorithms ended.
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        if this.polls_left == 0 {
            return Poll::Ready(false);
        }
        this.polls_left -= 1;
        this.set.start();
        loop {
            while let Some(index) = this.set.take() {
                let (child, waker) = &mut this.children[index];
                if let Some(future) = child
                    && future.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
                {
                    *child = None;
                }
            }
            if this.children.iter().all(|(child, _)| child.is_none()) {
                return Poll::Ready(true);
            }
            match this.set.finish(cx.waker()) {
                Finish::Idle => return Poll::Pending,
                Finish::More => {}
            }
        }
    }
}

struct Job {
    device: Device,
    turnstile: Turnstile,
    written: rt::Mutex<Vec<(u64, Product)>>,
    next_event: rt::AtomicU64,
    events: u64,
}

impl Job {
    /// The children of one event, consumers before producers so that they have to wait.
    fn children(self: &Arc<Self>, event: u64) -> Vec<Child> {
        let cells: Arc<[ProductCell<Product>; 3]> = Arc::default();
        let (job, sink) = (self.clone(), cells.clone());
        let write: Child = Box::pin(async move {
            let sum = sink[1].wait().await.map(|left| left + 1);
            let sum = sink[2].wait().await.and_then(|right| sum.map(|left| left + right));
            if let Ok(turn) = job.turnstile.wait(event).await {
                job.written.lock().unwrap().push((event, sum));
                turn.pass();
            }
        });
        let offload = |cell: usize| -> Child {
            let (job, cells) = (self.clone(), cells.clone());
            Box::pin(async move {
                assert_eq!(cells[cell].claim(), Claim::Mine);
                let input = cells[0].wait().await;
                let output = match (input, job.device.lanes.take().await) {
                    (Ok(input), Ok(lane)) => job.device.submit(input, lane).await,
                    _ => Err(Lost),
                };
                cells[cell].complete(output).unwrap();
            })
        };
        // Two algorithms demand the same product; one produces it.
        let demand = || -> Child {
            let cells = cells.clone();
            Box::pin(async move {
                if cells[0].claim() == Claim::Mine {
                    cells[0].complete(Ok(event)).unwrap();
                }
                assert_eq!(cells[0].wait().await, Ok(event));
            })
        };
        vec![write, offload(1), offload(2), demand(), demand()]
    }

    fn work(self: &Arc<Self>) {
        loop {
            let event = self.next_event.fetch_add(1, rt::Ordering::Relaxed);
            if event >= self.events {
                return;
            }
            let polls = if is_cancelled(event) { (event as usize / 4) % 4 } else { usize::MAX };
            let ended = rt::block_on(Event::new(self.children(event), polls));
            assert!(ended || is_cancelled(event));
            self.turnstile.skip(event); // a cancelled event has not taken its turn
        }
    }
}

fn is_cancelled(event: u64) -> bool {
    event % 4 == 1
}

/// Runs the job to its end and checks everything that must hold then.
pub fn run(events: u64, workers: usize, drivers: usize) {
    let (sender, receiver) = rt::mpsc::channel();
    let receiver = Arc::new(rt::Mutex::new(receiver));
    let job = Arc::new(Job {
        device: Device { lanes: LanePool::new([1 << 32, 0, 0]), queue: rt::Mutex::new(sender) },
        turnstile: Turnstile::new(0),
        written: rt::Mutex::new(Vec::new()),
        next_event: rt::AtomicU64::new(0),
        events,
    });
    let drivers: Vec<_> = (0..drivers)
        .map(|_| {
            let receiver = receiver.clone();
            rt::thread::spawn(move || drive(&receiver))
        })
        .collect();
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let job = job.clone();
            rt::thread::spawn(move || job.work())
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());

    let lanes = job.device.lanes.clone();
    assert_eq!(job.turnstile.next(), events, "every ticket passed");
    assert_eq!((job.turnstile.waiting(), lanes.waiting()), (0, 0), "nobody waits");
    let written = std::mem::take(&mut *job.written.lock().unwrap());
    drop(job); // the last sender: the drivers end
    drivers.into_iter().for_each(|driver| driver.join().unwrap());
    assert_eq!(lanes.available(), lanes.len(), "every lane came back");

    let (order, sums): (Vec<_>, Vec<_>) = written.into_iter().unzip();
    assert!(order.is_sorted_by(|before, after| before < after), "in order, each once: {order:?}");
    let missing: Vec<_> =
        (0..events).filter(|event| !order.contains(event) && !is_cancelled(*event)).collect();
    assert!(missing.is_empty(), "not written: {missing:?}");
    for (event, sum) in order.into_iter().zip(sums) {
        let expected = if is_lost(event) { Err(Lost) } else { Ok(event * 20 + 1) };
        assert_eq!(sum, expected, "event {event}");
    }
}
