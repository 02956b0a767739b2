//! A device with streams, threads that arm points on them, workers that harvest in passing, and a driver: every point
//! ends once, in order, also when the device dies. On real threads and under shuttle.

use std::sync::Arc;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use asynchrotron_sync::{Drive, Lost, Points, completion};

use super::mark::{Failure, Mark, Outcome};

#[cfg(not(shuttle))]
mod rt {
    pub use super::super::block_on;
    pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub use std::thread;
}
#[cfg(shuttle)]
mod rt {
    pub use shuttle::future::block_on;
    pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub use shuttle::thread;
}
use rt::Ordering::{Acquire, Relaxed, Release};

#[derive(Default)]
struct Stream {
    armed: rt::AtomicUsize,
    reached: rt::AtomicUsize,
    /// In the order in which they came.
    ends: Mutex<Vec<(usize, Outcome)>>,
    asked: rt::AtomicBool,
}

/// What is to be run.
#[derive(Clone, Copy)]
pub struct Load {
    pub streams: usize,
    /// On each stream.
    pub points: usize,
    pub armers: usize,
    pub workers: usize,
    /// Of each worker.
    pub harvests: usize,
    /// After how many points that were reached the device dies.
    pub lives_for: usize,
}

struct Job {
    load: Load,
    points: Points<Mark>,
    streams: Vec<Arc<Stream>>,
    dead: Arc<rt::AtomicBool>,
}

fn fails(number: usize) -> bool {
    number % 7 == 6
}

impl Job {
    fn mark(&self, stream: usize, number: usize, end: impl FnOnce() + Send + 'static) -> Mark {
        let (asked, dead) = (self.streams[stream].clone(), self.dead.clone());
        let ended = asked.clone();
        let ask = move || {
            assert!(!asked.asked.swap(true, Relaxed), "asked by two");
            let reached = asked.reached.load(Acquire) > number;
            asked.asked.store(false, Relaxed);
            match reached {
                true if fails(number) => Poll::Ready(Err(Failure::Ordinary)),
                true => Poll::Ready(Ok(())),
                false if dead.load(Acquire) => Poll::Ready(Err(Failure::Fatal)),
                false => Poll::Pending,
            }
        };
        let end = move |outcome| {
            ended.ends.lock().unwrap().push((number, outcome));
            end();
        };
        Mark::new(ask, end)
    }

    fn arm(&self, armer: usize) {
        for number in 0..self.load.points {
            for stream in (armer..self.load.streams).step_by(self.load.armers) {
                let (signaller, end) = completion::<(), Lost>();
                let tell = move || _ = signaller.complete(Ok(()));
                self.points.arm(stream, self.mark(stream, number, tell));
                self.streams[stream].armed.store(number + 1, Release);
                if number % 4 == 3 {
                    rt::block_on(end).unwrap();
                }
            }
        }
    }

    /// Reaches point after point, now on this stream and now on that.
    fn work(&self) {
        let (mut reached, mut idle) = (0, false);
        let all = self.load.streams * self.load.points;
        while reached < all && reached < self.load.lives_for {
            if idle {
                rt::thread::yield_now();
            }
            idle = true;
            for stream in &self.streams {
                let next = stream.reached.load(Relaxed);
                if next < stream.armed.load(Acquire) {
                    stream.reached.store(next + 1, Release);
                    (reached, idle) = (reached + 1, false);
                }
            }
            self.points.call();
        }
        self.dead.store(true, Release);
        self.points.call();
    }

    fn harvest(&self) {
        for _ in 0..self.load.harvests {
            self.points.harvest(0);
            rt::thread::yield_now();
        }
        // It may have had a stream in hand that the driver skipped.
        self.points.call();
    }

    fn drive(&self) {
        while self.points.wait_armed() == Drive::Ask {
            let harvested = self.points.harvest(0);
            if harvested.ended == 0 {
                self.points.park(Duration::from_micros(100));
            }
        }
        let ended: usize = self.streams.iter().map(|stream| stream.ends.lock().unwrap().len()).sum();
        assert_eq!(ended, self.load.streams * self.load.points, "told too early");
    }

    fn check(&self) {
        for stream in &self.streams {
            let reached = stream.reached.load(Relaxed);
            let ends = stream.ends.lock().unwrap();
            assert!(ends.iter().map(|(number, _)| *number).eq(0..self.load.points), "in order, once each");
            let died = ends.iter().position(|(_, outcome)| *outcome == Err(Failure::Fatal));
            let died = died.unwrap_or(ends.len());
            assert!(died <= reached, "more ended than were reached");
            for (number, outcome) in ends.iter() {
                let expected = match *number {
                    number if number >= died => Err(Failure::Fatal),
                    number if fails(number) => Err(Failure::Ordinary),
                    _ => Ok(()),
                };
                assert_eq!(*outcome, expected, "point {number}");
            }
        }
    }
}

/// Runs it to its end and checks everything that must hold then.
pub fn run(load: Load) {
    let job = Arc::new(Job {
        load,
        points: Points::new(load.streams),
        streams: (0..load.streams).map(|_| Arc::default()).collect(),
        dead: Arc::default(),
    });
    let spawn = |run: Box<dyn FnOnce(&Job) + Send>| {
        let job = job.clone();
        rt::thread::spawn(move || run(&job))
    };
    let driver = spawn(Box::new(Job::drive));
    let armers: Vec<_> = (0..load.armers).map(|armer| spawn(Box::new(move |job| job.arm(armer)))).collect();
    let others: Vec<_> = [spawn(Box::new(Job::work))]
        .into_iter()
        .chain((0..load.workers).map(|_| spawn(Box::new(Job::harvest))))
        .collect();
    armers.into_iter().for_each(|armer| armer.join().unwrap());
    job.points.close();
    driver.join().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    job.check();
}
