//! [`Batcher`]: collects the requests of many events in flight, and hands them to the lanes of a device.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use asynchrotron_sync::{BatchQueue, Pushed, Ticket, View};
use tokio::task::AbortHandle;

use super::crowd::{Crowd, JobSide};
use super::decide::{Action, CloseReason, Group, State, decide, nobody_else};
use super::driver::{LANES_LOST_MAX, drive, pause};
use super::fixed::Book;
use super::learnt::Learnt;
use super::moving::Moving;
use super::offload::{Offload, Remedy};
use super::policy::{BatchConfig, BatchPolicy};
use super::report::{BatchTally, BatcherReport};
use super::sightings::{Lonely, Sightings};
use super::stamp::Stamped;
use crate::clock;
use crate::event::{EventContext, EventId};
use crate::lock::lock;
use crate::time::Clock;
use crate::timeline::DeviceInfo;

/// Collects the requests of many events in flight into batches, and hands them to the lanes of a device. Clones are the same
/// batcher.
///
/// An algorithm that is one offloaded step joins a chain with [`Chain::offload`](crate::Chain::offload); one that calls
/// [`submit`](Self::submit) somewhere inside says so with [`Chain::uses`](crate::Chain::uses). That is how the scheduler
/// knows who can still come, and no batch waits for somebody who cannot.
///
/// # Examples
///
/// ```
/// # use asynchrotron::batch::{BatchConfig, Batcher, Lane, LanePool, Lost, Offload, Trouble};
/// # struct Double { lanes: LanePool<()> }
/// # impl Offload for Double {
/// #     type Request = u64; type Reply = u64; type Error = Failed; type Lane = ();
/// #     fn name(&self) -> &str { "double" }
/// #     fn rows(&self, _: &u64) -> usize { 1 }
/// #     fn trouble(&self, trouble: Trouble) -> Failed { Failed(trouble.to_string()) }
/// #     fn lanes(&self) -> &LanePool<()> { &self.lanes }
/// #     fn lane_number(&self, _: &()) -> usize { 0 }
/// #     fn start(&self, lane: Lane<()>, batch: &[&u64], _rows: usize)
/// #         -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static
/// #     {
/// #         let doubled = batch.iter().map(|&&x| 2 * x).collect();
/// #         async move { drop(lane); Ok(doubled) }
/// #     }
/// # }
/// # #[derive(Clone, Debug)]
/// # struct Failed(String);
/// # impl From<Lost> for Failed { fn from(lost: Lost) -> Self { Failed(lost.to_string()) } }
/// # impl std::fmt::Display for Failed {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
/// # }
/// # impl std::error::Error for Failed {}
/// use asynchrotron::prelude::*;
///
/// let double = Batcher::new(Double { lanes: LanePool::new([()]) }, BatchConfig::default());
///
/// let mut chain = Chain::new("doubling");
/// let x = chain.source::<u64>("x");
/// let using = double.clone();
/// let doubled = chain.algorithm("double", (x,), move |ctx: EventContext, x: std::sync::Arc<u64>| {
///     let double = using.clone();
///     async move { double.submit(&ctx, *x).await } // suspends: queued in a batch, on the device, resumed
/// });
/// chain.uses(doubled, &double);
/// chain.sink("check", doubled, |event: EventId, x: std::sync::Arc<u64>| { ensure!(*x == 2 * event.0); Ok(()) });
///
/// let report = Scheduler::default().run(chain, source::from_iter(0..1000_u64))?;
/// assert_eq!(report.batchers[0].requests, 1000);
/// # Ok::<(), Error>(())
/// ```
pub struct Batcher<O: Offload> {
    pub(crate) core: Arc<Core<O>>,
}

/// A request on its way through the queue.
pub(crate) struct Request<O: Offload> {
    pub(super) value: O::Request,
    /// Who waits for it.
    pub(super) sightings: Sightings,
    /// How many lanes have died with it.
    pub(super) lanes_lost: u32,
}

pub(super) type Queue<O> = BatchQueue<Request<O>, <O as Offload>::Reply, <O as Offload>::Error>;
type InQueue<'a, O> = Pushed<Request<O>, <O as Offload>::Reply, <O as Offload>::Error, &'a Queue<O>>;

pub(crate) struct Core<O: Offload> {
    pub(super) offload: O,
    pub(super) config: BatchConfig,
    pub(super) queue: Queue<O>,
    pub(super) tally: Mutex<BatchTally>,
    learnt: Learnt,
    /// Under `Fixed`: who belongs together.
    book: Option<Mutex<Book>>,
    pub(super) moving: Moving,
    drains: AtomicBool,
    job: Mutex<Option<Attached>>,
}

/// While a job uses the batcher.
struct Attached {
    side: JobSide,
    driver: AbortHandle,
}

impl<O: Offload> Batcher<O> {
    /// A batcher for what `offload` does.
    pub fn new(offload: O, config: BatchConfig) -> Self {
        let book = match config.policy {
            BatchPolicy::Fixed(size) => Some(Mutex::new(Book::new(size))),
            _ => None,
        };
        let core = Core {
            offload,
            config,
            queue: BatchQueue::new(),
            tally: Mutex::default(),
            learnt: Learnt::default(),
            book,
            moving: Moving::new(),
            drains: AtomicBool::new(false),
            job: Mutex::new(None),
        };
        core.queue.close(); // until a job opens it
        Batcher { core: Arc::new(core) }
    }

    /// What is offloaded.
    pub fn offload(&self) -> &O {
        &self.core.offload
    }

    /// How batches are formed.
    pub fn config(&self) -> &BatchConfig {
        &self.core.config
    }

    /// Computes one request in a batch with those of other events.
    ///
    /// # Errors
    /// The [`Offload::Error`] of this request alone: if a batch fails, it is split until the guilty request is found. Also
    /// if the chain does not say that the algorithm [uses](crate::Chain::uses) this batcher.
    ///
    /// # Cancel safety
    /// May be dropped at any time. A request that is still in the queue leaves it and costs nothing; one that is on the device
    /// is computed, and the reply dropped.
    pub async fn submit(&self, ctx: &EventContext, request: O::Request) -> Result<O::Reply, anyhow::Error> {
        self.submit_first(ctx, request, 0).await
    }

    /// The same, for a request that goes before all that wait with a lower priority. (0 is what
    /// [`submit`](Self::submit) has; of no effect under `Off` and `Fixed`.)
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    ///
    /// # Cancel safety
    /// As [`submit`](Self::submit).
    pub async fn submit_first(
        &self,
        ctx: &EventContext,
        request: O::Request,
        priority: u32,
    ) -> Result<O::Reply, anyhow::Error> {
        let core = &*self.core;
        let presence = ctx.group.presence();
        let index = presence.crowds().iter().position(|crowd| crowd.identity() == core.identity());
        let Some(index) = index else {
            anyhow::bail!(
                "algorithm `{}` submits to the batcher `{}`, and the chain does not say so: add `chain.uses(…)`",
                ctx.algorithm(),
                core.offload.name()
            );
        };
        let clock = ctx.group.clock();
        let sightings = Sightings::new(ctx);
        if core.config.policy == BatchPolicy::Off {
            return Ok(core.run_alone(&request, index, &sightings, clock, None).await?);
        }
        if core.nobody_else() {
            let _gone = Gone::new(&*presence.crowds()[index], presence.slot(), clock);
            let reason = nobody_else(core.drains.load(Relaxed));
            return Ok(core.run_alone(&request, index, &sightings, clock, Some(reason)).await?);
        }
        let now = nanoseconds(clock);
        let order = match &core.book {
            Some(book) => {
                let (group, request) = lock(book).number(ctx.id().0, ctx.node);
                (group, request, ctx.id().0)
            }
            None => (u64::from(u32::MAX - priority), 0, 0),
        };
        let ticket = Ticket {
            order,
            rows: core.offload.rows(&request),
            bytes: core.offload.bytes(&request),
            pushed_at: now,
            deadline: deadline(ctx, now),
        };
        let others = Others { crowds: presence.crowds(), index, slot: presence.slot() };
        others.each(|crowd, slot| crowd.block(slot, clock));
        let request = Request { value: request, sightings: sightings.clone(), lanes_lost: 0 };
        let (pushed, view) = Queue::<O>::push_by(&core.queue, Some(presence.slot()), request, ticket);
        sightings.submitted(now, index, ticket.rows, view.queued);
        if view.closed {
            others.each(|crowd, slot| crowd.unblock(&[slot], clock));
        } else if let Some(book) = &core.book {
            lock(book).note(ctx.id().0, ctx.node);
        }
        core.look(view, now);
        Ok(Waiting { core, clock, others, sightings, pushed: Some(pushed) }.await?)
    }
}

/// The event's deadline on the job's clock.
fn deadline(ctx: &EventContext, now: u64) -> u64 {
    match ctx.group.deadline() {
        0 => u64::MAX,
        deadline => now.saturating_add(clock::nanoseconds(deadline.saturating_sub(clock::now()))),
    }
}

/// The other batchers of a job, which a slot that waits here does not come to.
struct Others<'a> {
    crowds: &'a [Arc<dyn Crowd>],
    index: usize,
    slot: usize,
}

impl Others<'_> {
    fn each(&self, tell: impl Fn(&dyn Crowd, usize)) {
        for (index, crowd) in self.crowds.iter().enumerate() {
            if index != self.index {
                tell(&**crowd, self.slot);
            }
        }
    }
}

/// A slot whose request goes without the queue: until that is back, nobody waits for it there.
struct Gone<'a> {
    crowd: &'a dyn Crowd,
    slot: usize,
    clock: &'a Clock,
}

impl<'a> Gone<'a> {
    fn new(crowd: &'a dyn Crowd, slot: usize, clock: &'a Clock) -> Self {
        crowd.block(slot, clock);
        Gone { crowd, slot, clock }
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.crowd.unblock(&[self.slot], self.clock);
    }
}

/// A request that waits for its reply.
struct Waiting<'a, O: Offload> {
    core: &'a Core<O>,
    clock: &'a Clock,
    others: Others<'a>,
    sightings: Sightings,
    /// `None` once answered.
    pushed: Option<InQueue<'a, O>>,
}

impl<O: Offload> Future for Waiting<'_, O> {
    type Output = Result<O::Reply, O::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pushed = self.pushed.as_mut().expect("polled after it was ready");
        let reply = std::task::ready!(Pin::new(pushed).poll(cx));
        self.pushed = None;
        self.sightings.answered(nanoseconds(self.clock));
        Poll::Ready(reply)
    }
}

impl<O: Offload> Drop for Waiting<'_, O> {
    fn drop(&mut self) {
        let Some(pushed) = self.pushed.take() else { return };
        let (was_queued, view) = pushed.leave();
        self.sightings.left(nanoseconds(self.clock), self.others.index, view.queued);
        lock(&self.core.tally).left += u64::from(was_queued);
        if was_queued {
            self.others.each(|crowd, slot| crowd.unblock(&[slot], self.clock));
        }
        self.core.look(view, nanoseconds(self.clock));
    }
}

pub(super) fn nanoseconds(clock: &Clock) -> u64 {
    u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX)
}

impl<O: Offload> Core<O> {
    /// Whether a request would be closed at once, as a batch of its own: then the way through the queue, the driver and a task for
    /// the batch, four changes of task instead of none or two, is saved.
    fn nobody_else(&self) -> bool {
        // Where batches run, which is nearly always if many are in flight, the queue need not be asked.
        if self.book.is_some()
            || self.moving.on_lanes.load(Relaxed) > 0
            || self.offload.lanes().counts().1 == 0
        {
            return false;
        }
        let View { queued, running, coming, closed, .. } = self.queue.view();
        (queued, running, coming, closed) == (0, 0, 1, false)
    }

    /// Without a queue; but as in one, a lane that dies gives the request back.
    async fn run_alone(
        &self,
        request: &O::Request,
        index: usize,
        sightings: &Sightings,
        clock: &Clock,
        reason: Option<CloseReason>,
    ) -> Result<O::Reply, O::Error> {
        let (rows, bytes) = (self.offload.rows(request), self.offload.bytes(request));
        lock(&self.tally).alone(reason, rows, &self.config);
        let padded = self.config.padded(rows);
        let lonely = Lonely::new(sightings, index, (rows, padded), bytes, reason);
        let tell = |place| lonely.tell(place, nanoseconds(clock));
        let (mut lanes_lost, mut pauses) = (0, 0);
        loop {
            let run = self.offload.run_alone(request, padded, &tell);
            // When the device was done is not when that is noticed; but to know it costs an allocation.
            let (ended, at) = match sightings.is_recorded() {
                true => Stamped::new(run, clock).await,
                false => (run.await, 0),
            };
            if lonely.has_travelled() {
                lonely.end(at, nanoseconds(clock), ended.is_err());
            }
            match ended.as_ref().map_err(|error| self.offload.remedy(error)) {
                Err(Remedy::GiveBack) => lanes_lost += 1,
                Err(Remedy::Later) if let Some(pause) = pause(pauses) => {
                    pauses += 1;
                    clock.sleep(pause).await;
                    continue;
                }
                _ => lanes_lost = LANES_LOST_MAX,
            }
            if lanes_lost >= LANES_LOST_MAX {
                if lonely.has_travelled() {
                    sightings.answered(nanoseconds(clock));
                }
                return ended;
            }
            lock(&self.tally).given_back += 1;
        }
    }

    /// What the queue looks like now.
    pub(super) fn view(&self) -> View {
        if self.book.is_some() { self.queue.view_front() } else { self.queue.view() }
    }

    /// What is to be done, seen from a driver that holds so many free lanes.
    pub(super) fn decide(&self, view: &View, now: u64, lanes_held: usize) -> Action {
        let (lanes, available) = self.offload.lanes().counts();
        // A lane is usually back in its pool before the replies of its batch are here. Whoever gets them will come again, so until
        // then it counts as taken.
        let own = lanes.saturating_sub(view.running);
        let lanes_free = available.min(own).max(lanes_held);
        if view.queued == 0 || lanes_free == 0 {
            self.moving.let_go();
        } else {
            self.moving.hold(now, view.queued);
        }
        let lanes_foreign = own.saturating_sub(available);
        if view.queued == 0 || lanes_free + lanes_foreign == 0 {
            // What `decide` would say, without reading all that is known: under load this is the usual case.
            return Action::Wait;
        }
        let group = self.book.as_ref().zip(view.front).map(|(book, (key, requests))| {
            let is_complete = requests >= self.config.requests_limit() || lock(book).is_complete(key);
            Group { requests, is_complete }
        });
        // To be in line for a lane is as good as to hold one.
        let in_line_since = view.oldest.unwrap_or(now);
        let state = State {
            queue: *view,
            lanes_free,
            lanes_foreign,
            lanes,
            on_lanes: self.moving.on_lanes.load(Relaxed),
            held_since: match lanes_held {
                0 => self.moving.held_since.load(Relaxed).min(now),
                _ => in_line_since,
            },
            held_with: self.moving.held_with.load(Relaxed),
            drains: self.drains.load(Relaxed),
            group,
            now,
        };
        let knowledge = self.learnt.read(view);
        match decide(&self.config, &knowledge, &state) {
            Action::AwaitLane => {
                // Only with something to close: who takes a lane to find that it is too early, and gives it on to another
                // who finds the same, keeps a worker busy until it is not.
                let in_hand = State { lanes_free: 1, held_since: in_line_since, ..state };
                match decide(&self.config, &knowledge, &in_hand) {
                    Action::Close(..) => Action::AwaitLane,
                    other => other,
                }
            }
            action => action,
        }
    }

    /// Whoever has changed the queue looks whether there is something to do for the driver.
    pub(super) fn look(&self, view: View, now: u64) {
        let view = if self.book.is_some() && view.queued > 0 { self.queue.view_front() } else { view };
        let wake = match self.decide(&view, now, 0) {
            Action::Wait => view.queued > 0 && self.offload.lanes().is_closed(),
            Action::WaitUntil(time) => time < self.moving.armed.load(Relaxed),
            Action::AwaitLane => !self.moving.in_line.load(Relaxed),
            Action::Close(..) => true,
        };
        if wake {
            self.queue.poke();
        }
    }

    /// Fewer can come. Of many, one less changes what is best by so little that it is soon enough if whoever pushes next looks,
    /// or the driver, when the time has come that it has set itself. That nobody can come is for nobody else to see.
    fn look_if_last(&self, view: View, clock: &Clock) {
        if view.coming == 0 && view.queued > 0 {
            self.look(view, nanoseconds(clock));
        }
    }

    /// A batch was cut: what comes next is not held yet.
    pub(super) fn has_cut(&self, requests: usize, now: u64) {
        self.moving.held_since.store(0, Relaxed);
        self.learnt.learn_rate(requests, now);
    }

    pub(super) fn learn(&self, rows: usize, duration_ns: u64) {
        let mut tally = lock(&self.tally);
        tally.fit.add(rows, duration_ns);
        if let Some(cost) = tally.fit.cost() {
            self.learnt.learn_cost(cost);
        }
    }

    /// Whether anything is ever in the queue.
    fn has_queue(&self) -> bool {
        self.config.policy != BatchPolicy::Off
    }

    /// Something has changed that is not in the queue. For what happens rarely, or under `Fixed`.
    fn look_again(&self) {
        let now = lock(&self.job).as_ref().map(|job| nanoseconds(&job.side.clock));
        if let Some(now) = now.filter(|_| self.has_queue()) {
            self.look(self.queue.view(), now);
        }
    }
}

impl<O: Offload> Crowd for Core<O> {
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn policy(&self) -> BatchPolicy {
        self.config.policy
    }

    fn open(self: Arc<Self>, side: JobSide) -> Result<(), anyhow::Error> {
        let mut job = lock(&self.job);
        if job.is_some() {
            anyhow::bail!("the batcher `{}` is in use by another job", self.offload.name());
        }
        self.queue.reopen();
        lock(&self.tally).restart();
        // The driver of the job before was dropped wherever it stood.
        self.moving.in_line.store(false, Relaxed);
        self.moving.held_since.store(0, Relaxed);
        self.drains.store(false, Relaxed);
        self.learnt.closed_at.store(0, Relaxed); // the time between jobs tells nothing
        if let Some(book) = &self.book {
            lock(book).open(side.users.clone());
        }
        let driver = side.executor.spawn(drive(self.clone(), side.clone())).abort_handle();
        *job = Some(Attached { side, driver });
        Ok(())
    }

    fn close(&self) {
        let job = lock(&self.job).take();
        if let Some(job) = job {
            job.driver.abort();
            job.side.unblock(self.queue.close().into_iter());
        }
    }

    fn arrive(&self, slot: usize, clock: &Clock) {
        if self.has_queue() {
            // More who can come make nothing due.
            self.queue.arrive(slot, nanoseconds(clock));
        }
    }

    fn depart(&self, slot: usize, clock: &Clock) {
        if self.has_queue() {
            self.look_if_last(self.queue.depart(slot), clock);
        }
    }

    fn block(&self, slot: usize, clock: &Clock) {
        if self.has_queue() {
            self.look_if_last(self.queue.block(slot), clock);
        }
    }

    fn unblock(&self, slots: &[usize], clock: &Clock) {
        if self.has_queue() {
            self.queue.unblock(slots, nanoseconds(clock));
        }
    }

    fn announce(&self, event: EventId) {
        if let Some(book) = &self.book {
            lock(book).announce(event.0);
            self.look_again();
        }
    }

    fn pass(&self, event: EventId, user: Option<u32>) {
        if let Some(book) = &self.book {
            match user {
                Some(user) => lock(book).pass(event.0, user),
                None => lock(book).pass_all(event.0),
            }
            self.look_again();
        }
    }

    fn drain(&self) {
        self.drains.store(true, Relaxed);
        if let Some(book) = &self.book {
            lock(book).drain();
        }
        self.look_again();
    }

    fn restart(&self) {
        self.drains.store(false, Relaxed);
        if let Some(book) = &self.book {
            lock(book).restart();
        }
        lock(&self.tally).restart();
    }

    fn device(&self) -> DeviceInfo {
        let (name, lanes) = (self.offload.device().to_owned(), self.offload.lanes());
        DeviceInfo { name, identity: lanes.identity() }
    }

    fn queue(&self) -> View {
        self.queue.view()
    }

    fn report(&self) -> BatcherReport {
        let name = self.offload.name();
        lock(&self.tally).report(name, &self.config)
    }
}

impl<O: Offload> Clone for Batcher<O> {
    fn clone(&self) -> Self {
        Batcher { core: self.core.clone() }
    }
}

impl<O: Offload> fmt::Debug for Batcher<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("name", &self.offload().name())
            .field("policy", &self.config().policy)
            .field("queue", &self.core.queue)
            .finish_non_exhaustive()
    }
}
