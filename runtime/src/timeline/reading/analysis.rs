//! [`Analysis`]: a recording in figures.

use serde::Serialize;

use super::advice::Advice;
use super::algorithms::AlgorithmFigures;
use super::critical_path::{CriticalPath, PathShare, event_time};
use super::events::EventFigures;
use super::evidence::Evidence;
use super::intervals::share;
use super::lanes::LaneFigures;
use super::recording::{Job, Recording};
use super::workers::WorkerFigures;

/// A recording in figures. Prints as a page of text, and serialises with all numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The file.
    pub source: String,
    /// What ran.
    pub job: Job,
    /// Whether all of it is there.
    pub completeness: Completeness,
    /// From the first begin of a slice to the last end of one.
    pub span_ns: i64,
    /// How many events, how fast.
    pub events: EventFigures,
    /// By the sum of their lives, the longest first.
    pub algorithms: Vec<AlgorithmFigures>,
    /// In the order of the file.
    pub lanes: Vec<LaneFigures>,
    /// In the order of the file.
    pub workers: Vec<WorkerFigures>,
    /// What bounded the completed events, the largest part first.
    pub event_time: Vec<PathShare>,
    /// Up to five, the slowest first.
    pub slowest: Vec<CriticalPath>,
    /// The event of median latency.
    pub median: Option<CriticalPath>,
    /// What would shorten the job most; fewer than five if there is no more to say.
    pub advice: Vec<Advice>,
}

/// Whether a file tells everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Completeness {
    /// Records that were lost while it was written: all figures are then too low.
    pub lost: u64,
    /// Why the file is not whole, if it is not.
    pub cut_short: Option<String>,
    /// Whether the job lived to end the file.
    pub ended: bool,
}

impl Analysis {
    const SLOWEST: usize = 5;

    /// The figures of a recording.
    pub fn of(recording: &Recording) -> Analysis {
        let span = recording.span_ns();
        let span_ns = span.end - span.start;
        let events = EventFigures::of(recording);
        let algorithms = AlgorithmFigures::of_all(recording);
        let lanes = LaneFigures::of_all(recording);
        let workers = WorkerFigures::of_all(recording, span_ns);
        let bounds = event_time(recording);
        let (slowest, median) = CriticalPath::of_some(recording, Self::SLOWEST);
        let advice = Advice::draw(&Evidence {
            recording,
            events: &events,
            algorithms: &algorithms,
            workers: &workers,
            lanes: &lanes,
            event_time: &bounds,
            span_ns,
        });
        let total: i64 = bounds.iter().map(|(_, ns)| ns).sum();
        let event_time = bounds.into_iter().map(|(bound, total_ns)| PathShare {
            step: bound.step(recording),
            total_ns,
            share: share(total_ns, total),
        });
        Analysis {
            source: recording.source.clone(),
            job: recording.job.clone(),
            completeness: Completeness {
                lost: recording.lost,
                cut_short: recording.cut_short.clone(),
                ended: recording.end.is_some(),
            },
            span_ns,
            event_time: event_time.collect(),
            events,
            algorithms,
            lanes,
            workers,
            slowest,
            median,
            advice,
        }
    }
}
