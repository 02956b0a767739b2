//! [`Advice`]: the few things that would shorten the job most.
//!
//! Each rule looks at one way of losing time, says what share of the events' time, or of the job's, goes that way, and what would
//! help. A rule holds its tongue where something else is the limit: more slots are no help to a device that is full,
//! nor more workers to one that is not.

use std::fmt;

use serde::Serialize;

use super::critical_path::Bound;
use super::evidence::{BatcherEvidence, Evidence};
use super::intervals::share;
use super::percentiles::Time;
use super::recording::{DeliveryKind, Name, StateKind};
use super::workers::WorkerFigures;

/// One thing that would shorten the job, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// A sentence.
    pub text: String,
    /// How much time it is about.
    pub share: f64,
    /// Of what.
    pub of: Share,
}

/// What a share of time is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// The time of all events that were completed.
    EventTime,
    /// The time of the job.
    JobTime,
    /// The time of all workers.
    WorkerTime,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// So much is worth a word.
const WORTH: f64 = 0.02;
/// Workers or lanes that are so busy are a limit.
const BUSY: f64 = 0.8;
/// Below, they are not.
const IDLE: f64 = 0.7;
/// What waking a thread costs, about.
const WAKING_NS: f64 = 20_000.0;

impl Advice {
    const MOST: usize = 5;

    /// The most important first.
    pub(super) fn draw(evidence: &Evidence<'_>) -> Vec<Advice> {
        if evidence.events.completed == 0 {
            return Vec::new();
        }
        let mut all = Vec::new();
        let slots = slots(evidence);
        for (name, batcher) in evidence.batchers() {
            all.extend(batches(evidence, name, &batcher, slots.is_some()));
        }
        all.extend(slots);
        all.extend(ready(evidence));
        all.extend(running(evidence));
        all.extend(source(evidence));
        all.extend(host(evidence));
        all.extend(delivery(evidence));
        all.extend(suspended(evidence));
        all.extend(tiny_polls(evidence));
        all.extend(failures(evidence));
        all.retain(|advice| advice.share >= WORTH);
        all.sort_by(|a, b| b.share.total_cmp(&a.share));
        all.truncate(Self::MOST);
        all
    }
}

fn of_events(share: f64, text: String) -> Advice {
    Advice { text, share, of: Share::EventTime }
}

fn of_job(share: f64, text: String) -> Advice {
    Advice { text, share, of: Share::JobTime }
}

struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", 100.0 * self.0)
    }
}

/// The slots are full, and nothing else is.
fn slots(evidence: &Evidence<'_>) -> Option<Advice> {
    let (in_use, busy) = (evidence.slots_in_use()?, evidence.workers_busy()?);
    let limit = evidence.highest_occupancy().max(evidence.sinks_busy());
    // Where events wait for workers, though these are idle, more of them would wait.
    if in_use < 0.9 || busy >= BUSY || limit >= BUSY || evidence.in_state(StateKind::Ready) >= 0.5 {
        return None;
    }
    let devices = match evidence.lanes.is_empty() {
        true => String::new(),
        false => format!(" and lanes {} occupied at most", Percent(evidence.highest_occupancy())),
    };
    let (idle, slots) = (Percent(1.0 - busy), evidence.recording.job.slots);
    let in_use = Percent(in_use);
    let text = format!(
        "the {slots} slots are all in use ({in_use}) while workers are {idle} idle{devices}: more slots"
    );
    // Until the next thing is full.
    Some(of_job(1.0 - busy.max(limit), text))
}

/// Calls that can go on wait for a worker.
fn ready(evidence: &Evidence<'_>) -> Option<Advice> {
    let ready = evidence.in_state(StateKind::Ready);
    let spent = format!("{} of event time is spent ready, waiting for a worker", Percent(ready));
    let mean = evidence.mean_ready_ns();
    let text = match evidence.workers_busy() {
        None => format!("{spent}: more workers, if there are none idle"),
        Some(busy) if busy >= IDLE => {
            format!("{spent}, while workers are {} busy: more workers", Percent(busy))
        }
        Some(busy) => {
            let spent = format!("{spent}, although workers are only {} busy", Percent(busy));
            let batchers = evidence.batchers();
            let largest = batchers.iter().map(|(_, batcher)| batcher.mean_requests).fold(0.0, f64::max);
            if mean < WAKING_NS {
                format!(
                    "{spent}: {} each time, about what waking a thread costs: fewer suspensions",
                    Time::from(mean)
                )
            } else if largest >= 2.0 {
                format!(
                    "{spent}: they are needed all at once when a batch ends (it has {largest:.1} requests): smaller batches, \
                     or more workers"
                )
            } else {
                match evidence.longest_poll() {
                    // One that ends later than others begin to wait, and not by much less than they do.
                    Some((algorithm, longest)) if 2.0 * longest as f64 >= mean => format!(
                        "{spent}: long polls are in the way (of `{algorithm}`, up to {}): split them",
                        Time(longest)
                    ),
                    _ => format!(
                        "{spent}: workers come late, {} each time, and not because of long polls: is the machine busy with \
                         something else?",
                        Time::from(mean)
                    ),
                }
            }
        }
    };
    Some(of_events(ready, text))
}

/// Algorithms that compute: where workers are the limit, each costs everybody; elsewhere it costs its own event.
fn running(evidence: &Evidence<'_>) -> Vec<Advice> {
    let busy = evidence.workers_busy();
    let all: i64 = evidence.algorithms.iter().map(|figures| figures.total_ns(StateKind::Running)).sum();
    let mut advice: Vec<Advice> = evidence
        .algorithms
        .iter()
        .filter_map(|figures| {
            let name = &figures.name;
            let total = figures.total_ns(StateKind::Running);
            let each = Time::from(total as f64 / figures.calls.max(1) as f64);
            if let Some(busy) = busy.filter(|&busy| busy >= IDLE) {
                let of_running = total as f64 / all.max(1) as f64;
                let text = format!(
                    "algorithm `{name}` runs {} of all worker time in use, and workers are {} busy ({each} a call): make it \
                     faster",
                    Percent(of_running),
                    Percent(busy)
                );
                return (of_running >= 0.15)
                    .then_some(Advice { text, share: of_running * busy, of: Share::WorkerTime });
            }
            let path = evidence.path(|bound| {
                matches!(bound, Bound::Algorithm(own, StateKind::Running, _) if evidence.recording.name(own) == name)
            });
            let text = format!(
                "{} of event time algorithm `{name}` runs ({each} a call): make it faster, or let parts of it run concurrently",
                Percent(path)
            );
            (path >= 0.2).then(|| of_events(path, text))
        })
        .collect();
    advice.sort_by(|a, b| b.share.total_cmp(&a.share));
    advice.truncate(2);
    advice
}

/// Nothing is full.
fn source(evidence: &Evidence<'_>) -> Option<Advice> {
    let (in_use, busy) = (evidence.slots_in_use()?, evidence.workers_busy()?);
    let slots = evidence.recording.job.slots;
    let limit = busy.max(evidence.highest_occupancy()).max(evidence.sinks_busy());
    // At the beginning and the end of a job slots are empty in any case.
    if in_use >= 0.5 || limit >= 0.5 || evidence.events.completed < 4 * slots {
        return None;
    }
    let text = format!(
        "only {:.1} of {slots} slots hold an event on average, and workers are {} busy: the source is too slow",
        in_use * slots as f64,
        Percent(busy)
    );
    Some(of_job(1.0 - in_use, text))
}

fn batches(evidence: &Evidence<'_>, name: Name, batcher: &BatcherEvidence, more_slots: bool) -> Vec<Advice> {
    let in_state = |state: StateKind| {
        evidence.path(
            |bound| matches!(bound, Bound::Algorithm(_, kind, Some(own)) if (kind, own) == (state, name)),
        )
    };
    let [queued, awaiting, on_device] =
        [StateKind::Queued, StateKind::AwaitingLane, StateKind::OnDevice].map(in_state);
    let BatcherEvidence { name, mean_requests, closed: (reason, of_closed), .. } = batcher;
    let occupancy = evidence.occupancy(&batcher.devices);
    let lanes: Vec<String> = batcher.devices.iter().map(|device| format!("`{device}`")).collect();
    let (lanes, occupied) = (lanes.join(" and "), Percent(occupancy));
    let mostly = format!("{} of batches are closed for `{reason}`", Percent(*of_closed));

    if occupancy >= BUSY {
        let share = queued + awaiting + on_device;
        let larger = match (reason.as_str(), *of_closed >= 0.5) {
            ("full", true) => {
                format!("a higher limit of the batch size ({mostly}, mean batch {mean_requests:.1})")
            }
            ("alone", true) => "batches (requests go alone)".to_owned(),
            _ => format!("larger batches (mean batch {mean_requests:.1})"),
        };
        let text = format!(
            "the lanes of {lanes} are {occupied} occupied, and {} of event time is spent waiting for `{name}` ({} of it on the \
             device): the device limits: more lanes, or {larger}",
            Percent(share),
            Percent(on_device / share.max(f64::MIN_POSITIVE))
        );
        return vec![of_events(share, text)];
    }
    let remedy = match reason.as_str() {
        "lane free" | "alone" => "more lanes",
        "age" => "a lower age limit, or another policy",
        "full" | "best size" => "smaller batches, or another policy",
        _ => "another policy",
    };
    let mut advice = vec![
        of_events(
            queued,
            format!(
                "{} of event time is queued in batch of `{name}`, with the lanes of {lanes} {occupied} occupied ({mostly}): \
                 {remedy}",
                Percent(queued)
            ),
        ),
        of_events(
            awaiting,
            format!(
                "{} of event time a batch of `{name}` awaits a lane of {lanes}, though they are {occupied} occupied: batches come \
                 at the same time: more lanes",
                Percent(awaiting)
            ),
        ),
    ];
    // More slots hide this time; where those are advised, it is not said twice.
    if on_device >= 0.2 && !more_slots {
        let each = Time::from(batcher.mean_ns);
        advice.push(of_events(
            on_device,
            format!(
                "{} of event time is spent on the device by `{name}` ({each} for a batch of {mean_requests:.1}), with the lanes of \
                 {lanes} {occupied} occupied: a faster step",
                Percent(on_device)
            ),
        ));
    }
    advice
}

/// Batches are closed, and do not begin.
fn host(evidence: &Evidence<'_>) -> Vec<Advice> {
    let of_device = |device: &str| {
        let lanes: Vec<_> = evidence.lanes.iter().filter(|lane| lane.device == device).collect();
        let all = (lanes.len() as i64 * evidence.span_ns).max(1) as f64;
        let waiting = lanes.iter().map(|lane| lane.gaps.host_not_ready_ns).sum::<i64>() as f64 / all;
        let busy = lanes.iter().map(|lane| lane.busy_ns).sum::<i64>() as f64 / all;
        // A device that is idle anyhow can wait.
        (waiting >= 0.05 && busy + waiting >= 0.6).then(|| {
            let (waiting, busy) = (Percent(waiting), Percent(busy));
            format!(
                "the lanes of `{device}` are idle for {waiting} of the time with a batch that is closed but not begun (occupied: \
                 {busy}): the host is not ready: less work before a submission, or more workers"
            )
        })
        .map(|text| of_job(waiting, text))
    };
    evidence.devices().into_iter().filter_map(of_device).collect()
}

fn delivery(evidence: &Evidence<'_>) -> Vec<Advice> {
    let (sinks, turn) =
        (evidence.in_delivery(DeliveryKind::Sinks), evidence.in_delivery(DeliveryKind::AwaitingTurn));
    let busy = evidence.sinks_busy();
    if busy >= BUSY {
        let text = format!(
            "the sinks are busy for {} of the job, and events spend {} of their time on delivery: faster sinks",
            Percent(busy),
            Percent(sinks + turn)
        );
        return vec![of_job(busy, text)];
    }
    vec![
        of_events(sinks, format!("{} of event time is spent in sinks: faster sinks", Percent(sinks))),
        of_events(
            turn,
            format!(
                "{} of event time is spent waiting for earlier events, because the job is ordered: unordered sinks if the order \
                 does not matter, or more slots",
                Percent(turn)
            ),
        ),
    ]
}

fn suspended(evidence: &Evidence<'_>) -> Option<Advice> {
    let by_algorithm = evidence.event_time.iter().filter_map(|&(bound, ns)| match bound {
        Bound::Algorithm(name, StateKind::Suspended, _) => Some((name, ns)),
        _ => None,
    });
    let (name, _) = by_algorithm.max_by_key(|&(_, ns)| ns)?;
    let share = evidence.in_state(StateKind::Suspended);
    let text = format!(
        "{} of event time is spent suspended, mostly in `{}`, on something that is neither a batch nor an algorithm of the event (a \
         timer, a device without a batcher): see what it awaits",
        Percent(share),
        evidence.recording.name(name)
    );
    Some(of_events(share, text))
}

fn tiny_polls(evidence: &Evidence<'_>) -> Option<Advice> {
    evidence.workers_busy()?;
    let sum = |what: fn(&WorkerFigures) -> i64| evidence.workers.iter().map(what).sum::<i64>();
    let (polls, tiny) = (sum(|worker| worker.polls as i64), sum(|worker| worker.tiny_polls as i64));
    let of_workers = share(sum(|worker| worker.tiny_ns), evidence.worker_time_ns());
    let text = format!(
        "{} of polls are tiny (less than 2 µs), together {} of the time of all workers, and what is between polls comes on top: join \
         small algorithms",
        Percent(share(tiny, polls)),
        Percent(of_workers)
    );
    (2 * tiny >= polls).then_some(Advice { text, share: of_workers, of: Share::WorkerTime })
}

fn failures(evidence: &Evidence<'_>) -> Option<Advice> {
    let share = evidence.failed_time();
    let failed = evidence.events.failed;
    let text = format!(
        "{} of the time of events went into {failed} that failed (of {}): see why they do",
        Percent(share),
        evidence.recording.events.len()
    );
    Some(of_events(share, text))
}
