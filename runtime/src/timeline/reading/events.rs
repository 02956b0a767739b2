//! [`EventFigures`]: how many events, how fast.

use serde::Serialize;

use super::intervals::share;
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
    /// The share of the slots that held an event, on average. Zero if that is not known: events were left out,
    /// or it is a window of time.
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
        // Of events that were left out, or began before a window, nothing is known.
        let slots_in_use = match (recording.job.every, &recording.job.window_s) {
            (1, None) => share(held, span_ns.saturating_mul(recording.job.slots as i64)),
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

/// The mean, and its standard error. Exact up to the last step, so the order of the values does not matter.
pub(super) fn mean_and_error(values: impl Iterator<Item = i64>) -> (f64, f64) {
    let (mut sum, mut squares, mut count) = (0_i128, 0_i128, 0_i128);
    for value in values.map(i128::from) {
        sum += value;
        squares = squares.saturating_add(value * value);
        count += 1;
    }
    if count < 2 {
        return (sum as f64, 0.0);
    }
    let spread = (squares.saturating_mul(count) - sum.saturating_mul(sum)).max(0) as f64;
    (sum as f64 / count as f64, (spread / (count * count * (count - 1)) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_books() {
        // Deviations 3, 1, 1, 3 of the mean: a variance of 20 / 3, and its root over that of 4.
        let (mean, error) = mean_and_error([2, 4, 6, 8].into_iter());
        assert_eq!(mean, 5.0);
        assert!((error - (20.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12, "{error}");
        assert_eq!(mean_and_error([7].into_iter()), (7.0, 0.0));
        assert_eq!(mean_and_error([].into_iter()), (0.0, 0.0));
    }
}
