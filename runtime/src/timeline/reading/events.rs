//! [`EventFigures`]: how many events, how fast.

use serde::Serialize;

use super::intervals::{mean, share};
use super::percentiles::Percentiles;
use super::recording::{Event, Recording};

/// How many events there were, and how fast.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventFigures {
    /// Events that were delivered.
    pub completed: u64,
    /// Events that were given up.
    pub failed: u64,
    /// Events that had not ended when the recording did.
    pub unfinished: u64,
    /// Completed events for each second of the [span](super::Analysis::span_ns), those that were left out of the file
    /// ([`Job::every`](super::Job::every)) included.
    pub per_second: f64,
    /// How long completed events had their slots.
    pub latency: Percentiles,
    /// Their mean.
    pub mean_ns: f64,
    /// How far the mean may be off by chance: its standard error.
    pub error_ns: f64,
    /// The share of the slots that held an event, on average. Zero if the number of slots is not known, or events were left out.
    pub slots_in_use: f64,
}

impl EventFigures {
    pub(super) fn of(recording: &Recording) -> Self {
        let lives: Vec<i64> = completed(recording).map(|(_, event)| event.life_ns()).collect();
        let span = recording.span_ns();
        let span_ns = span.end - span.start;
        let of_kind =
            |is: fn(&Event) -> bool| recording.events.iter().filter(|event| is(event)).count() as u64;
        let count = lives.len() as u64;
        let per_second = match span_ns {
            0 => 0.0,
            ns => 1e9 * (count * recording.job.every) as f64 / ns as f64,
        };
        let held: i64 = recording.events.iter().map(Event::life_ns).sum();
        let slots_in_use = match (recording.job.every, recording.job.slots) {
            (1, slots) => share(held, span_ns.saturating_mul(slots as i64)),
            _ => 0.0,
        };
        let (mean_ns, error_ns) = mean_and_error(lives.iter().copied());
        EventFigures {
            completed: count,
            failed: of_kind(|event| event.failed.is_some()),
            unfinished: of_kind(|event| event.unfinished && event.failed.is_none()),
            per_second,
            latency: Percentiles::of(lives),
            mean_ns,
            error_ns,
            slots_in_use,
        }
    }
}

impl Event {
    /// How long it had its slot.
    pub fn life_ns(&self) -> i64 {
        self.end_ns - self.begin_ns
    }
}

/// Events that were delivered, with their indices.
pub(super) fn completed(recording: &Recording) -> impl Iterator<Item = (usize, &Event)> {
    let events = recording.events.iter().enumerate();
    events.filter(|(_, event)| event.failed.is_none() && !event.unfinished)
}

/// The mean, and its standard error.
pub(super) fn mean_and_error(values: impl Iterator<Item = i64> + Clone) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0);
    for value in values.clone() {
        sum += value as f64;
        count += 1;
    }
    let center = mean(sum, count);
    let squares: f64 = values.map(|value| (value as f64 - center).powi(2)).sum();
    (center, (mean(squares, count.saturating_sub(1)) / count.max(1) as f64).sqrt())
}
