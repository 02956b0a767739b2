//! A slot: the place of one event in flight, as one long-lived task that runs event after event.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use asynchrotron_sync::Turnstile;
use tracing::Level;

use crate::batch::Phase;
use crate::clock::{self, Ticks};
use crate::event::EventId;
use crate::failure::{EventFailure, Failure, FailureKind};
use crate::feed::{Fed, Feed};
use crate::group::Group;
use crate::handle::Product;
use crate::lock::lock;
use crate::plan::Plan;
use crate::policy::{OnError, Quarantine, Then};
use crate::seat::Seat;
use crate::source::Source;
use crate::stop::Stop;
use crate::tally::{Latencies, SlotTally, Tally, count};
use crate::time::{Clock, Sleep};
use crate::timeline::{EventEnds, Note, Record, Recorder};

/// What all slots of a job share.
pub(crate) struct Job<S> {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed<S>,
    /// Whether no event will be read any more in this phase.
    pub(crate) drains: AtomicBool,
    pub(crate) order: Option<Turnstile>,
    pub(crate) on_error: OnError,
    pub(crate) quarantine: Mutex<Option<Quarantine>>,
    /// Ends this job; what the user's [`Stop`] does as well, which may be shared by other jobs.
    pub(crate) end: Stop,
    pub(crate) tally: Tally,
    /// Why the job ends with an error.
    pub(crate) fatal: Mutex<Option<anyhow::Error>>,
}

/// How long a slot goes from event to event before it lets others run, if no algorithm suspends in between.
const TURN: Duration = Duration::from_micros(200);

/// Runs events in one slot until the feed has no more.
pub(crate) async fn run_slot<S: Source>(job: Arc<Job<S>>, tally: Arc<SlotTally>, seat: Arc<Seat>) {
    let has_batchers = !job.plan.crowds.is_empty();
    let mut run = pin!(run_events(&job, &tally, &seat));
    // What a batcher waits for are events that can come: after each poll it is told whether this one still can.
    poll_fn(|cx| {
        let polled = run.as_mut().poll(cx);
        if has_batchers && polled.is_pending() {
            seat.presence.suspended();
        }
        polled
    })
    .await;
}

async fn run_events<S: Source>(job: &Job<S>, tally: &SlotTally, seat: &Arc<Seat>) {
    let group = Group::new(job.plan.clone(), seat.clone());
    let mut slot = Slot { group, timer: None, job, tally, recorder: None, turn: 0 };
    let turn = clock::ticks(TURN);
    let mut latencies = Latencies::default();
    let mut turn_began = clock::now();
    loop {
        seat.presence.enter(Phase::Waiting);
        let Fed { ticket, is_last, read } = match job.feed.next().await {
            Ok(Some(fed)) => fed,
            Ok(None) => {
                job.drain();
                break;
            }
            Err(error) => {
                job.end(error.context("the source cannot be read on"));
                job.drain();
                break;
            }
        };
        if is_last {
            job.drain();
        }
        let begin = clock::now();
        tally.event.store(read.event.0, Relaxed);
        tally.begun.store(begin, Relaxed);
        tally.busy.store(true, Relaxed);
        slot.open(read.event, begin);
        let result = match read.product {
            Ok(product) => slot.run_event(read.event, product, begin).await,
            Err(error) => {
                let source = job.plan.nodes[job.plan.source].name.clone();
                Err(Failure::root(FailureKind::Unreadable, source, error))
            }
        };
        seat.presence.over(read.event);
        if result.is_err() {
            // Before it waits for its turn: what it has asked of others shall not be done for nobody.
            Group::cancel(&mut slot.group).await;
        }
        let (failed, over) = (result.is_err(), if slot.recorder.is_some() { clock::now() } else { 0 });
        slot.deliver(ticket, read.event, result).await;
        Group::cancel(&mut slot.group).await;
        tally.busy.store(false, Relaxed);
        let now = clock::now();
        slot.close(failed, over, now);
        if latencies.keep(now.saturating_sub(begin)) {
            job.tally.record_latencies(&mut latencies);
        }
        // Who was rung is older than the next event. Where time is simulated, turns must not depend on real time.
        let others_wait = job.clock.ring_due() || job.clock.is_simulated();
        if others_wait || now.saturating_sub(turn_began) > turn {
            tokio::task::yield_now().await;
            turn_began = clock::now();
        }
    }
    job.tally.record_latencies(&mut latencies);
}

struct Slot<'a, S> {
    group: Arc<Group>,
    timer: Option<Sleep>,
    job: &'a Job<S>,
    tally: &'a SlotTally,
    /// Where the event is recorded, if it is.
    recorder: Option<&'a Recorder>,
    /// When its turn had come, if it had to wait for it and that is recorded.
    turn: Ticks,
}

impl<S: Source> Slot<'_, S> {
    /// An event is in the slot.
    fn open(&mut self, event: EventId, begin: Ticks) {
        self.recorder = self.job.plan.recorder_of(event);
        if let Some(recorder) = self.recorder {
            let (at, slot) = (self.job.clock.at_ns(begin), self.number());
            recorder.push(Record::EventBegins { at, slot, event: event.0 });
            self.turn = 0;
        }
    }

    /// It is not any more.
    fn close(&mut self, failed: bool, over: Ticks, now: Ticks) {
        if let Some(recorder) = self.recorder.take() {
            let [at, over, turn] = [now, over, self.turn].map(|ticks| self.job.clock.at_ns(ticks));
            recorder.push(Record::EventEnds(EventEnds { at, slot: self.number(), failed, over, turn }));
        }
    }

    fn number(&self) -> u32 {
        self.group.presence().slot() as u32
    }

    /// Runs the algorithms of an event, again after a failure as often as the policy says.
    async fn run_event(&mut self, event: EventId, product: S::Product, begin: Ticks) -> Result<(), Failure> {
        let product: Product = Arc::new(product);
        let mut begin = begin;
        for _ in 0..self.job.on_error.retries {
            match self.attempt(event, product.clone(), begin).await {
                Ok(()) => return Ok(()),
                // A job that is to end does not begin anything again.
                Err(failure) if self.job.feed.is_closing() => return Err(failure),
                Err(_) => {
                    count(&self.tally.retried);
                    Group::cancel(&mut self.group).await;
                    begin = clock::now();
                }
            }
        }
        self.attempt(event, product, begin).await
    }

    async fn attempt(&mut self, event: EventId, product: Product, begin: Ticks) -> Result<(), Failure> {
        let deadline = self.job.plan.deadline.map_or(0, |deadline| begin.saturating_add(deadline));
        Group::begin(&mut self.group, event, product, deadline, self.recorder.is_some());
        let (group, timer, clock) = (&self.group, &mut self.timer, &self.job.clock);
        let (mut first, mut timed) = (true, false);
        poll_fn(|cx| {
            if let Poll::Ready(result) = group.poll(std::mem::take(&mut first), cx) {
                return Poll::Ready(result);
            }
            // Only an event that suspends needs a timer.
            if deadline != 0 {
                if !timed {
                    timed = true;
                    *timer = Some(clock.sleep(clock::duration(deadline.saturating_sub(clock::now()))));
                }
                let expired = timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_ready());
                if expired {
                    return Poll::Ready(Err(group.timed_out()));
                }
            }
            // Whoever this wakes can run now that this event does not.
            clock.ring_due();
            Poll::Pending
        })
        .await
    }

    /// Hands the products of an event to the sinks, or its failure to the policy; to sinks that want the order of the
    /// source, when the event's turn has come.
    async fn deliver(&mut self, ticket: u64, event: EventId, result: Result<(), Failure>) {
        let mut written = match &result {
            Ok(()) => self.write(event, false).await,
            Err(_) => Ok(()),
        };
        // Failed events wait for their turn as well: a slot never runs ahead of an event that others wait for.
        let turn = match &self.job.order {
            Some(order) => {
                self.group.presence().enter(Phase::Waiting);
                let turn = order.wait(ticket).await;
                self.group.presence().enter(Phase::Delivering);
                if self.recorder.is_some() {
                    self.turn = clock::now();
                }
                Some(turn)
            }
            None => None,
        };
        if written.is_ok() && result.is_ok() && turn.is_some() {
            written = self.write(event, true).await;
        }
        match (result, written) {
            (Ok(()), Ok(())) => count(&self.tally.events),
            (Ok(()), Err(error)) => self.job.end(error),
            (Err(failure), _) => self.fail(EventFailure { event, failure }),
        }
        drop(turn);
    }

    /// Writes to the sinks that want the order of the source, or to those that do not.
    async fn write(&mut self, event: EventId, ordered: bool) -> Result<(), anyhow::Error> {
        for outlet in self.job.plan.outlets.iter().filter(|outlet| outlet.is_sink(ordered)) {
            outlet.write(event, self.group.product(outlet.node)).await.with_context(|| {
                format!("the sink `{}` failed at event {event}", outlet.name().unwrap_or_default())
            })?;
        }
        Ok(())
    }

    fn fail(&mut self, failed: EventFailure) {
        count(&self.tally.failed);
        if self.job.plan.traced || self.recorder.is_some() {
            let (event, failure) = (failed.event.0, &failed.failure);
            let (algorithm, cause) = (failure.algorithm(), failure.to_string());
            if self.job.plan.traced {
                tracing::event!(name: "event failed", target: "asynchrotron", Level::ERROR, event, algorithm, cause);
            }
            if let Some(recorder) = self.recorder {
                let (at, slot, algorithm) = (self.job.clock.now_ns(), self.number(), algorithm.to_owned());
                recorder.note(Note { at, slot, event, algorithm, cause });
            }
        }
        if failed.failure.kind() == FailureKind::TimedOut {
            count(&self.tally.timed_out);
        }
        match &self.job.on_error.then {
            Then::Stop => self.job.end(anyhow::Error::new(failed.clone())),
            Then::Skip => {}
            Then::Quarantine(_) => {
                let mut quarantine = lock(&self.job.quarantine);
                if let Some(Err(error)) = quarantine.as_mut().map(|file| file.note(&failed)) {
                    self.job.end(error);
                }
            }
        }
        self.job.tally.keep(failed);
    }
}

impl<S> Drop for Slot<'_, S> {
    /// A slot that is dropped in the middle of an event (the executor shuts down) frees what is suspended in it, whose
    /// contexts hold the group that holds it.
    fn drop(&mut self) {
        self.group.clear();
        self.group.presence().leave();
    }
}

impl<S> Job<S> {
    /// No event will be read any more in this phase: nobody waits for one.
    fn drain(&self) {
        if !self.plan.crowds.is_empty() && !self.drains.swap(true, Relaxed) {
            self.tally.slots.iter().for_each(|(_, seat)| seat.presence.set_drains(true));
            self.plan.crowds.iter().for_each(|crowd| crowd.drain());
        }
    }

    /// After the warm-up: another phase begins, and what was counted is forgotten.
    pub(crate) fn restart(&self) {
        self.tally.restart();
        self.drains.store(false, Relaxed);
        self.tally.slots.iter().for_each(|(_, seat)| seat.presence.set_drains(false));
        self.plan.crowds.iter().for_each(|crowd| crowd.restart());
    }

    /// Ends the job with an error; the first one counts.
    pub(crate) fn end(&self, error: anyhow::Error) {
        lock(&self.fatal).get_or_insert(error);
        self.end.drain();
    }
}
