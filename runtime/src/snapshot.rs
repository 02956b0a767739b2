//! [`Snapshot`]: what a running job is doing.

use std::fmt;
use std::time::Duration;

use crate::batch::BatcherReport;
use crate::event::EventId;

/// What a running job is doing: [`Monitor::snapshot`](crate::Monitor::snapshot). Prints as a table.
///
/// Nothing is stopped to look, so this is not one moment: events go on while others are looked at, and one that is between two
/// states may be found in neither. What hangs does not move, and is shown as it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the chain.
    pub chain: String,
    /// Time since the first event was asked for, by the job's [clock](crate::time::Clock).
    pub elapsed: Duration,
    /// Events that are complete. Of the warm-up, while that lasts.
    pub events: u64,
    /// Events given up, for whatever reason.
    pub failed: u64,
    /// Events that the job will run in total, if that is known.
    pub total: Option<u64>,
    /// Worker threads.
    pub threads: usize,
    /// Slots.
    pub slots: usize,
    /// One entry for each algorithm, in the order of the chain.
    pub algorithms: Vec<AlgorithmStatus>,
    /// One entry for each batcher that the chain uses.
    pub batchers: Vec<BatcherStatus>,
    /// The events in flight, the oldest first.
    pub in_flight: Vec<EventStatus>,
}

/// In how many events in flight an algorithm does what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct AlgorithmStatus {
    /// Its name in the chain.
    pub name: String,
    pub running: usize,
    pub ready: usize,
    pub inputs: usize,
    pub queued: usize,
    pub awaiting_lane: usize,
    pub on_device: usize,
    pub elsewhere: usize,
}

/// What a batcher holds now, and what it has done so far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatcherStatus {
    /// Requests in its queue.
    pub queued: usize,
    /// Their rows.
    pub rows: usize,
    /// Batches that are closed and have not ended.
    pub running: usize,
    /// What it has done so far.
    pub report: BatcherReport,
}

/// An event in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStatus {
    /// Its number.
    pub event: EventId,
    /// The slot that it is in.
    pub slot: usize,
    /// For how long.
    pub age: Duration,
    /// Its algorithms that have begun and not ended, in the order of the chain. If there are none, a sink takes its products, or
    /// it waits for its turn.
    pub unfinished: Vec<Unfinished>,
}

/// An algorithm of an event in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Its name in the chain.
    pub algorithm: String,
    /// What it does.
    pub activity: Activity,
    /// For how long: since it was polled if it runs, was woken if it is ready, and else was suspended.
    pub age: Duration,
}

/// What an algorithm does that has begun and not ended. Batchers are named; if an algorithm uses several, all of them are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// It is on a worker.
    Running,
    /// It can go on, but waits for a worker.
    Ready,
    /// It waits for the products of these algorithms, which have not ended.
    Inputs(Vec<String>),
    /// Its request is in the queue of a batcher.
    Queued(Vec<String>),
    /// Its request waits for a lane of a device: its batch is closed, or it goes without one.
    AwaitingLane(Vec<String>),
    /// Its request is on a device.
    OnDevice(Vec<String>),
    /// It is suspended, and the scheduler does not know in what: a timer, a lock, a device that is used without a batcher, a
    /// product that it demanded on its way.
    Elsewhere,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, names, link) = match self {
            Self::Running => return f.write_str("running"),
            Self::Ready => return f.write_str("ready, waiting for a worker"),
            Self::Elsewhere => return f.write_str("suspended"),
            Self::Inputs(names) => ("waiting for", names, ", "),
            Self::Queued(names) => ("queued in batch", names, " or "),
            Self::AwaitingLane(names) => ("awaiting lane", names, " or "),
            Self::OnDevice(names) => ("on device", names, " or "),
        };
        f.write_str(text)?;
        // Inputs that have just ended are none that it waits for.
        if names.is_empty() {
            return if matches!(self, Self::Inputs(_)) { f.write_str(" inputs") } else { Ok(()) };
        }
        names
            .iter()
            .enumerate()
            .try_for_each(|(i, name)| write!(f, "{}`{name}`", if i == 0 { " " } else { link }))
    }
}

impl AlgorithmStatus {
    pub(crate) fn of(name: String) -> Self {
        AlgorithmStatus { name, ..AlgorithmStatus::default() }
    }

    pub(crate) fn count(&mut self, activity: &Activity) {
        *match activity {
            Activity::Running => &mut self.running,
            Activity::Ready => &mut self.ready,
            Activity::Inputs(_) => &mut self.inputs,
            Activity::Queued(_) => &mut self.queued,
            Activity::AwaitingLane(_) => &mut self.awaiting_lane,
            Activity::OnDevice(_) => &mut self.on_device,
            Activity::Elsewhere => &mut self.elsewhere,
        } += 1;
    }
}

/// Lines that a dump has at most: enough to see what hangs.
const LINES_MAX: usize = 1000;

impl Snapshot {
    /// Events per second, those that failed included, since the job began.
    pub fn rate(&self) -> f64 {
        (self.events + self.failed) as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The entry of an algorithm.
    pub fn algorithm(&self, name: &str) -> Option<&AlgorithmStatus> {
        self.algorithms.iter().find(|algorithm| algorithm.name == name)
    }

    /// Prints which algorithm of which event in flight waits for what, and for how long: why a job hangs. At most a thousand
    /// lines, of the oldest events.
    pub fn dump(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| self.write_dump(f))
    }

    fn write_dump(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, elapsed) = (self.in_flight.len(), self.elapsed);
        writeln!(f, "{count} events in flight after {elapsed:.1?}, the oldest first")?;
        // The first line, and the last if not all are shown.
        let mut lines = 2;
        for (shown, event) in self.in_flight.iter().enumerate() {
            lines += 1 + event.unfinished.len();
            if lines > LINES_MAX {
                return writeln!(f, "and {} more", count - shown);
            }
            write!(f, "{event}")?;
        }
        Ok(())
    }

    fn write_algorithms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.algorithms.iter().map(|algorithm| algorithm.name.chars().count());
        let width = names.max().unwrap_or(0).max(9);
        writeln!(
            f,
            "  {:<width$} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
            "algorithm", "running", "ready", "inputs", "queued", "lane", "device", "suspended"
        )?;
        for algorithm in &self.algorithms {
            let AlgorithmStatus { name, running, ready, inputs, queued, awaiting_lane, on_device, elsewhere } =
                algorithm;
            writeln!(
                f,
                "  {name:<width$} {running:>8} {ready:>8} {inputs:>8} {queued:>8} {awaiting_lane:>8} {on_device:>8} \
                 {elsewhere:>9}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.events + self.failed)?;
        if let Some(total) = self.total {
            write!(f, " of {total}")?;
        }
        write!(f, " events in {:.1} s, {:.1} events/s", self.elapsed.as_secs_f64(), self.rate())?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        let (in_flight, slots, threads) = (self.in_flight.len(), self.slots, self.threads);
        writeln!(f, "; {in_flight} in flight, {slots} slots, {threads} threads")?;
        self.write_algorithms(f)?;
        self.batchers.iter().try_for_each(|batcher| write!(f, "{batcher}"))
    }
}

impl fmt::Display for BatcherStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queued, rows, running, report } = self;
        let BatcherReport { name, policy, batches, .. } = report;
        write!(
            f,
            "  batcher {name} ({policy}): {queued} requests queued ({rows} rows), {running} batches on their way; \
             {batches} batches of {:.2} so far",
            report.mean_requests()
        )?;
        for (i, (reason, batches)) in report.reasons.iter().enumerate() {
            write!(f, "{}{batches} {reason}", if i == 0 { ", closed: " } else { ", " })?;
        }
        writeln!(f)
    }
}

impl fmt::Display for EventStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  event {} in slot {} for {:.1?}", self.event, self.slot, self.age)?;
        if self.unfinished.is_empty() {
            writeln!(f, "    no algorithm: a sink takes it, or it waits for its turn")?;
        }
        for Unfinished { algorithm, activity, age } in &self.unfinished {
            writeln!(f, "    {algorithm}: {activity} for {age:.1?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(events: u64) -> Snapshot {
        let second = Duration::from_secs(1);
        let step = |algorithm: &str, activity, age| Unfinished { algorithm: algorithm.into(), activity, age };
        let unfinished = vec![
            step("calibrate", Activity::OnDevice(vec!["a".into(), "b".into()]), second),
            step("clusterize", Activity::Inputs(vec!["calibrate".into()]), 2 * second),
        ];
        let mut algorithms = ["calibrate", "clusterize"].map(|name| AlgorithmStatus::of(name.into()));
        for _ in 0..events {
            unfinished.iter().zip(&mut algorithms).for_each(|(step, status)| status.count(&step.activity));
        }
        let status = |event| EventStatus {
            event: EventId(event),
            slot: event as usize,
            age: 3 * second,
            unfinished: unfinished.clone(),
        };
        Snapshot {
            chain: "chain".into(),
            elapsed: 4 * second,
            events: 6,
            failed: 2,
            total: Some(40),
            threads: 2,
            slots: 16,
            algorithms: algorithms.into(),
            batchers: Vec::new(),
            in_flight: (0..events).map(status).collect(),
        }
    }

    #[test]
    fn a_table_counts_the_states_of_each_algorithm() {
        assert_eq!(
            snapshot(3).to_string(),
            "8 of 40 events in 4.0 s, 2.0 events/s, 2 failed; 3 in flight, 16 slots, 2 threads\n  \
             algorithm   running    ready   inputs   queued     lane   device suspended\n  \
             calibrate         0        0        0        0        0        3         0\n  \
             clusterize        0        0        3        0        0        0         0\n"
        );
    }

    #[test]
    fn a_dump_says_what_each_algorithm_waits_for() {
        let mut snapshot = snapshot(1);
        let sunk = EventStatus { event: EventId(7), unfinished: Vec::new(), ..snapshot.in_flight[0].clone() };
        snapshot.in_flight.push(sunk);
        assert_eq!(
            snapshot.dump().to_string(),
            "2 events in flight after 4.0s, the oldest first\n  \
             event 0 in slot 0 for 3.0s\n    \
             calibrate: on device `a` or `b` for 1.0s\n    \
             clusterize: waiting for `calibrate` for 2.0s\n  \
             event 7 in slot 0 for 3.0s\n    \
             no algorithm: a sink takes it, or it waits for its turn\n"
        );
    }

    #[test]
    fn a_dump_of_very_many_events_ends_with_how_many_more_there_are() {
        let text = snapshot(5000).dump().to_string();
        assert_eq!(text.lines().count(), 998);
        assert!(text.ends_with("\nand 4668 more\n"), "{}", &text[text.len() - 80..]);
    }
}
