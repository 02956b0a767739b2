//! [`WorkerFigures`]: what a worker did.

use serde::Serialize;

use super::intervals::{share, union_ns};
use super::recording::{Recording, Worker};

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WorkerFigures {
    /// Its name.
    pub name: String,
    /// The time in which it polled algorithms; polls within polls count once.
    pub busy_ns: i64,
    /// Of the [span](super::Analysis::span_ns).
    pub busy: f64,
    /// Polls of algorithms, those within others included.
    pub polls: u64,
    /// Those of less than 2 µs, which cost about as much as waking somebody does.
    pub tiny_polls: u64,
    /// Of its polls.
    pub tiny: f64,
    /// The time of tiny polls.
    pub tiny_ns: i64,
}

impl WorkerFigures {
    pub(super) const TINY_NS: i64 = 2000;

    pub(super) fn of(worker: &Worker, span_ns: i64) -> Self {
        let lengths = || worker.polls.iter().map(|poll| poll.end_ns - poll.begin_ns);
        let tiny = || lengths().filter(|&length| length < Self::TINY_NS);
        let busy_ns = union_ns(worker.polls.iter().map(|poll| (poll.begin_ns, poll.end_ns)));
        let (polls, tiny_polls) = (worker.polls.len() as u64, tiny().count() as u64);
        WorkerFigures {
            name: worker.track.name.clone(),
            busy_ns,
            busy: share(busy_ns, span_ns),
            polls,
            tiny_polls,
            tiny: share(tiny_polls as i64, polls as i64),
            tiny_ns: tiny().sum(),
        }
    }

    pub(super) fn of_all(recording: &Recording, span_ns: i64) -> Vec<WorkerFigures> {
        recording.workers.iter().map(|worker| Self::of(worker, span_ns)).collect()
    }
}
