//! [`Monitor`]: a look into a running job.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Ticks;
use crate::event::EventId;
use crate::lock::lock;
use crate::meter::{Doing, Stage, Wait};
use crate::plan::Plan;
use crate::seat::Seat;
use crate::slot::Job;
use crate::snapshot::{Activity, AlgorithmStatus, BatcherStatus, EventStatus, Snapshot, Unfinished};
use crate::tally::SlotTally;
use crate::time::Clock;

/// A look into a running job, from any thread. Clones look into the same one.
///
/// Given to a job by its [configuration](crate::Config::monitor). It costs the job nothing until it is asked, and nothing that
/// it does waits for a worker: it also answers while all of them are stuck.
///
/// # Examples
///
/// ```
/// use asynchrotron::{Monitor, prelude::*};
///
/// let monitor = Monitor::new();
/// let mut chain = Chain::new("watched");
/// let x = chain.source::<u64>("x");
/// let here = monitor.clone();
/// let y = chain.algorithm("look", (x,), move |_: std::sync::Arc<u64>| {
///     let snapshot = here.snapshot();
///     async move { Ok::<_, Error>(snapshot.map_or(0, |snapshot| snapshot.in_flight.len())) }
/// });
/// chain.sink("check", y, |_, seen: std::sync::Arc<usize>| { ensure!(*seen == 1); Ok(()) });
/// let config = Config { slots: 1, monitor: Some(monitor.clone()), ..Config::default() };
/// Scheduler::new(config).run(chain, source::from_iter(0..3_u64))?;
/// assert!(monitor.snapshot().is_none(), "the job is over");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Monitor(Arc<Mutex<Option<Arc<Watched>>>>);

impl Monitor {
    /// A monitor that no job has yet.
    pub fn new() -> Self {
        Monitor::default()
    }

    /// What the job is doing; `None` if none runs. Of several jobs with the same monitor, the one that began last.
    pub fn snapshot(&self) -> Option<Snapshot> {
        // Held to the end: a job that is over is freed by its own thread, not by who happens to look at it.
        lock(&self.0).as_ref().map(|watched| watched.look())
    }

    /// A job begins.
    pub(crate) fn attach(&self, watched: Watched) -> Watch {
        let watched = Arc::new(watched);
        let before = lock(&self.0).replace(watched.clone());
        drop(before);
        Watch { monitor: self.clone(), watched }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

/// While a job can be looked into.
pub(crate) struct Watch {
    monitor: Monitor,
    watched: Arc<Watched>,
}

impl Watch {
    /// The phase that counts begins.
    pub(crate) fn begins(&self, at: Duration, total: Option<u64>) {
        *lock(&self.watched.phase) = (at, total);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = lock(&self.monitor.0);
        if watched.as_ref().is_some_and(|watched| Arc::ptr_eq(watched, &self.watched)) {
            *watched = None;
        }
    }
}

/// What there is to be seen of a job.
pub(crate) struct Watched {
    plan: Arc<Plan>,
    clock: Clock,
    slots: Vec<(Arc<SlotTally>, Arc<Seat>)>,
    threads: usize,
    /// When what counts began, and how many events there will be.
    phase: Mutex<(Duration, Option<u64>)>,
}

impl Watched {
    pub(crate) fn new<S>(job: &Job<S>, threads: usize) -> Self {
        Watched {
            plan: job.plan.clone(),
            clock: job.clock.clone(),
            slots: job.tally.slots.clone(),
            threads,
            phase: Mutex::new((job.clock.now(), None)),
        }
    }

    fn look(&self) -> Snapshot {
        let (begin, total) = *lock(&self.phase);
        let batchers = self.plan.crowds.iter().map(|crowd| {
            let (queue, report) = (crowd.queue(), crowd.report());
            BatcherStatus { queued: queue.queued, rows: queue.rows, running: queue.running, report }
        });
        let batchers: Vec<_> = batchers.collect();
        let sum = |count: fn(&SlotTally) -> u64| self.slots.iter().map(|(tally, _)| count(tally)).sum();
        // By place in the plan, which has more than algorithms.
        let status = |name: &Arc<str>| AlgorithmStatus::of(name.to_string());
        let mut algorithms: Vec<_> = self.plan.nodes.iter().map(|node| status(&node.name)).collect();
        let mut in_flight = Vec::new();
        for (slot, (tally, seat)) in self.slots.iter().enumerate() {
            if tally.busy.load(Relaxed) {
                in_flight.push(self.look_at(slot, (tally, seat), &batchers, &mut algorithms));
            }
        }
        in_flight.sort_by(|a, b| b.age.cmp(&a.age).then(a.event.cmp(&b.event)));
        let algorithms =
            algorithms.into_iter().zip(&self.plan.nodes).filter(|(_, node)| node.start.is_some());
        Snapshot {
            chain: self.plan.name.to_string(),
            elapsed: self.clock.now().saturating_sub(begin),
            events: sum(|tally| tally.events.load(Relaxed)),
            failed: sum(|tally| tally.failed.load(Relaxed)),
            total,
            threads: self.threads,
            slots: self.slots.len(),
            algorithms: algorithms.map(|(status, _)| status).collect(),
            batchers,
            in_flight,
        }
    }

    fn look_at(
        &self,
        slot: usize,
        (tally, seat): (&SlotTally, &Seat),
        batchers: &[BatcherStatus],
        algorithms: &mut [AlgorithmStatus],
    ) -> EventStatus {
        let begun = tally.begun.load(Relaxed);
        let meters = &seat.signals.meters;
        // Which of them it is, if it uses several, the meters do not know.
        let used = |node: usize| {
            let used = self.plan.nodes[node].uses.iter();
            used.map(|&index| batchers[index].report.name.clone()).collect()
        };
        let mut unfinished = Vec::new();
        for (node, _) in self.plan.algorithms() {
            let meter = &meters[node];
            let Some((doing, since)) = meter.doing() else { continue };
            let activity = match doing {
                Doing::Ready => Activity::Ready,
                Doing::Inputs => Activity::Inputs(self.missing(node, seat)),
                Doing::Running if meter.stage() == Stage::Inputs => match self.missing(node, seat) {
                    missing if missing.is_empty() => Activity::Running,
                    // It has demanded them within its own poll: they are what runs.
                    missing => Activity::Inputs(missing),
                },
                Doing::Running => Activity::Running,
                Doing::Waiting(Wait::Elsewhere) => Activity::Elsewhere,
                Doing::Waiting(Wait::Queued) => Activity::Queued(used(node)),
                Doing::Waiting(Wait::AwaitingLane) => Activity::AwaitingLane(used(node)),
                Doing::Waiting(Wait::OnDevice) => Activity::OnDevice(used(node)),
            };
            algorithms[node].count(&activity);
            let algorithm = self.plan.nodes[node].name.to_string();
            // What is older than the event is left from an earlier one.
            unfinished.push(Unfinished { algorithm, activity, age: self.age(since.max(begun)) });
        }
        EventStatus { event: EventId(tally.event.load(Relaxed)), slot, age: self.age(begun), unfinished }
    }

    /// The inputs of an algorithm whose own algorithms have not ended.
    fn missing(&self, node: usize, seat: &Seat) -> Vec<String> {
        let inputs = self.plan.nodes[node].inputs.iter().copied();
        let missing = inputs.filter(|&input| seat.signals.meters[input].stage() != Stage::Idle);
        missing.map(|input| self.plan.nodes[input].name.to_string()).collect()
    }

    /// By the job's clock, whichever thread asks.
    fn age(&self, since: Ticks) -> Duration {
        Duration::from_nanos(self.clock.now_ns().saturating_sub(self.clock.at_ns(since)))
    }
}
