//! [`LaneFigures`]: how a lane of a device was used, and why it was not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::intervals::{mean, share, union_ns};
use super::recording::{Batch, Counter, Lane, Name, Recording};

/// How a lane of a device was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LaneFigures {
    /// Its name.
    pub name: String,
    /// The name of the device.
    pub device: String,
    /// Batches that it took.
    pub batches: u64,
    /// Those that failed.
    pub failed: u64,
    /// Requests in a batch, on average.
    pub mean_requests: f64,
    /// Rows in a batch, on average.
    pub mean_rows: f64,
    /// The time of a batch, on average.
    pub mean_ns: f64,
    /// The time in which it had a batch.
    pub busy_ns: i64,
    /// Of the [span](super::Analysis::span_ns).
    pub occupancy: f64,
    /// Time between its batches.
    pub gaps: Gaps,
    /// Time before its first batch and after its last. With `busy_ns` and the gaps this is the span.
    pub outside_ns: i64,
    /// How many batches were closed for which reason, by batcher.
    pub closed: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Why a lane was idle between two batches; the parts sum to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gaps {
    /// All of it.
    pub total_ns: i64,
    /// Nobody waited for it: its batchers' queues were empty.
    pub no_requests_ns: i64,
    /// Somebody waited, and the batch was held for more to come.
    pub not_enough_requests_ns: i64,
    /// The batch was closed, and had not begun: its rows were put together, or nobody had time to.
    pub host_not_ready_ns: i64,
}

impl LaneFigures {
    pub(super) fn of_all(recording: &Recording) -> Vec<LaneFigures> {
        recording.lanes.iter().map(|lane| Self::of(recording, lane)).collect()
    }

    fn of(recording: &Recording, lane: &Lane) -> LaneFigures {
        let span = recording.span_ns();
        let batches = &lane.batches;
        let busy_ns = union_ns(batches.iter().map(|batch| (batch.begin_ns, batch.end_ns)));
        let gaps = Gaps::of(recording, lane);
        let mut closed: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for batch in batches {
            let reasons = closed.entry(recording.name(batch.batcher).to_owned()).or_default();
            *reasons.entry(recording.name(batch.closed).to_owned()).or_default() += 1;
        }
        let count = batches.len() as u64;
        let mean_of = |what: fn(&Batch) -> u64| mean(batches.iter().map(what).sum::<u64>() as f64, count);
        LaneFigures {
            name: lane.track.name.clone(),
            device: lane.device.clone(),
            batches: count,
            failed: batches.iter().filter(|batch| batch.failed).count() as u64,
            mean_requests: mean_of(|batch| batch.requests),
            mean_rows: mean_of(|batch| batch.rows),
            mean_ns: mean(busy_ns as f64, count),
            busy_ns,
            occupancy: share(busy_ns, span.end - span.start),
            gaps,
            outside_ns: span.end - span.start - busy_ns - gaps.total_ns,
            closed,
        }
    }
}

impl Gaps {
    fn of(recording: &Recording, lane: &Lane) -> Gaps {
        let mut batchers: Vec<Name> = lane.batches.iter().map(|batch| batch.batcher).collect();
        batchers.sort_unstable();
        batchers.dedup();
        let depths = batchers
            .iter()
            .filter_map(|&batcher| recording.counter(&format!("queue depth {}", recording.name(batcher))));
        let queues = Queues::new(depths);
        let mut gaps = Gaps::default();
        let mut until = lane.batches.first().map_or(0, |batch| batch.begin_ns);
        for batch in &lane.batches {
            gaps.add(until, batch, &queues);
            until = until.max(batch.end_ns);
        }
        gaps
    }

    /// The gap from a time to a batch.
    fn add(&mut self, from: i64, batch: &Batch, queues: &Queues) {
        if batch.begin_ns <= from {
            return;
        }
        let closed = batch.closed_ns.clamp(from, batch.begin_ns);
        let empty = match queues.empty_ns(from, closed) {
            Some(empty) => empty,
            // Without the counter: the queue was not empty while the oldest of the requests was in it.
            None => (batch.closed_ns - batch.held_ns).clamp(from, closed) - from,
        };
        self.total_ns += batch.begin_ns - from;
        self.no_requests_ns += empty;
        self.not_enough_requests_ns += closed - from - empty;
        self.host_not_ready_ns += batch.begin_ns - closed;
    }
}

/// When all of some queues were empty.
struct Queues {
    /// From when it is so, and whether; `None` if the file does not say.
    empty: Option<Vec<(i64, bool)>>,
}

impl Queues {
    fn new<'a>(depths: impl Iterator<Item = &'a Counter>) -> Self {
        let mut changes: Vec<(i64, usize, bool)> = Vec::new();
        let mut count = 0;
        for (queue, counter) in depths.enumerate() {
            changes.extend(counter.samples.iter().map(|&(at, depth)| (at, queue, depth > 0.0)));
            count += 1;
        }
        changes.sort_by_key(|&(at, ..)| at);
        let mut filled = vec![false; count];
        let mut empty: Vec<(i64, bool)> = vec![(i64::MIN, true)];
        for (at, queue, is_filled) in changes {
            filled[queue] = is_filled;
            let now = !filled.contains(&true);
            if empty.last().is_some_and(|&(_, before)| before != now) {
                empty.push((at, now));
            }
        }
        Queues { empty: (count > 0).then_some(empty) }
    }

    fn empty_ns(&self, from: i64, to: i64) -> Option<i64> {
        let all = self.empty.as_ref()?;
        let mut index = all.partition_point(|&(at, _)| at <= from) - 1;
        let (mut now, mut sum) = (from, 0);
        while now < to {
            let next = all.get(index + 1).map_or(to, |&(at, _)| at.min(to));
            if all[index].1 {
                sum += next - now;
            }
            now = next;
            index += 1;
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_empty_together() {
        let counter = |samples: &[(i64, f64)]| Counter { name: String::new(), samples: samples.to_vec() };
        let counters =
            [counter(&[(10, 2.0), (20, 0.0)]), counter(&[(15, 1.0), (30, 0.0), (30, 4.0), (40, 0.0)])];
        let queues = Queues::new(counters.iter());
        let empty = |from, to| queues.empty_ns(from, to).unwrap();
        assert_eq!(
            (empty(0, 10), empty(0, 15), empty(10, 30), empty(35, 50), empty(50, 50)),
            (10, 10, 0, 10, 0)
        );
        assert_eq!(Queues::new([].into_iter()).empty_ns(0, 10), None);
    }
}
