//! The driver of a batcher: the one task that closes batches, and the tasks that run them.
//!
//! ```text
//!                  ┌──────────────── poked, or the time has come ───────────────┐
//!                  ▼                                                            │
//!   drive: look at the queue ──▶ wait ──────────────────────────────────────────┤
//!                  │                                                            │
//!                  ├──▶ lanes are others' ──▶ in line for one ──▶ look again ───┤
//!                  │                                                            │
//!                  └──▶ close ──▶ a free lane takes what is there now ──────────┘
//!                                        │
//!                                        ▼             fails: halves                 all answered
//!   run_batch (a task of its own):  pack, submit ──▶ await ◀────────▶ pack, submit ──────────────▶ end
//!                                                      │ the lane has died
//!                                                      └──────────────────────────▶ back to the queue
//! ```

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use asynchrotron_sync::{Batch, Lane, Taken, View};

use super::batcher::{Core, Request, nanoseconds};
use super::crowd::JobSide;
use super::decide::{Action, CloseReason};
use super::fixed::Key;
use super::offload::{Offload, Remedy, Trouble};
use super::stamp::Stamped;
use crate::failure::panic_message;
use crate::lock::lock;
use crate::timeline::{BatchEnds, Record, Recorder};

/// With so many lanes a request may die before it is taken for what kills them.
pub(super) const LANES_LOST_MAX: u32 = 3;

/// How long a request alone waits before it is tried again, after so many pauses; `None`: it has waited long enough.
pub(super) fn pause(taken: u32) -> Option<Duration> {
    (taken < 500).then(|| Duration::from_micros((100_u64 << taken.min(7)).min(10_000)))
}

type Requests<O> = Vec<Taken<Request<O>, <O as Offload>::Reply, <O as Offload>::Error>>;

/// Closes batches until it is aborted.
pub(super) async fn drive<O: Offload>(core: Arc<Core<O>>, job: JobSide) {
    let lanes = core.offload.lanes();
    loop {
        // Set before the queue is looked at: whoever changes it later sees that nobody watches the time.
        core.moving.armed.store(u64::MAX, Relaxed);
        let view = core.view();
        if lanes.is_closed() {
            refuse(&core, &job);
            core.queue.poked().await;
            continue;
        }
        match core.decide(&view, nanoseconds(&job.clock), 0) {
            Action::Wait => core.queue.poked().await,
            Action::WaitUntil(time) => {
                core.moving.armed.store(time, Relaxed);
                tokio::select! {
                    biased;
                    () = core.queue.poked() => {}
                    () = job.clock.sleep_until(Duration::from_nanos(time)) => {}
                }
            }
            Action::AwaitLane => {
                core.moving.in_line.store(true, Relaxed);
                let lane = lanes.take().await;
                core.moving.in_line.store(false, Relaxed);
                let now = nanoseconds(&job.clock);
                let view = core.view();
                if let Ok(lane) = lane
                    && let Action::Close(requests, reason) = core.decide(&view, now, 1)
                {
                    close(&core, &job, lane, group(&view), (requests, reason));
                }
            }
            Action::Close(requests, reason) => match lanes.try_take() {
                Some(lane) => close(&core, &job, lane, group(&view), (requests, reason)),
                // Somebody else was faster. Let whoever it was go on before looking again.
                None => tokio::task::yield_now().await,
            },
        }
    }
}

/// Under `Fixed`: what is closed.
fn group(view: &View) -> Option<Key> {
    view.front.map(|(key, _)| key)
}

/// Cuts a batch for a lane, and lets it run.
fn close<O: Offload>(
    core: &Arc<Core<O>>,
    job: &JobSide,
    lane: Lane<O::Lane>,
    group: Option<Key>,
    (requests, reason): (usize, CloseReason),
) {
    let (rows, bytes) = (core.config.rows_limit(), core.config.bytes_max);
    let cut = match group {
        Some(group) => core.queue.cut_group(group, rows, bytes),
        None => core.queue.cut_fitting(requests, rows, bytes),
    };
    let Some(mut batch) = cut else { return };
    let requests = batch.take_requests();
    let closed_at = nanoseconds(&job.clock);
    core.has_cut(requests.len(), closed_at);
    job.unblock(requests.iter().filter_map(|taken| taken.member));
    if let Some(recorder) = job.recorder.as_ref().filter(|recorder| recorder.is_open(closed_at)) {
        let queued = core.queue.view().queued as u32;
        recorder.push(Record::Closed { at: closed_at, batcher: job.index as u32, queued });
    }
    core.moving.on_lanes.fetch_add(requests.len(), Relaxed);
    let run = Run { requests: requests.len(), core: core.clone(), job: job.clone(), closed_at, reason };
    job.executor.spawn(run.run(lane, batch, requests));
}

/// There are no lanes any more: nobody waits for one in vain.
fn refuse<O: Offload>(core: &Core<O>, job: &JobSide) {
    let Some(mut batch) = core.queue.cut(usize::MAX) else { return };
    let requests = batch.take_requests();
    job.unblock(requests.iter().filter_map(|taken| taken.member));
    let error = core.offload.trouble(Trouble::Closed);
    let now = nanoseconds(&job.clock);
    let view = batch.end(requests.into_iter().map(|taken| (taken, Err(error.clone()))), now);
    core.look(view, now);
}

/// One batch on its way.
struct Run<O: Offload> {
    core: Arc<Core<O>>,
    job: JobSide,
    closed_at: u64,
    reason: CloseReason,
    /// How many it was closed with.
    requests: usize,
}

impl<O: Offload> Drop for Run<O> {
    fn drop(&mut self) {
        self.core.moving.on_lanes.fetch_sub(self.requests, Relaxed);
    }
}

impl<O: Offload> Run<O> {
    async fn run(
        self,
        lane: Lane<O::Lane>,
        batch: Batch<Request<O>, O::Reply, O::Error>,
        requests: Requests<O>,
    ) {
        let core = &*self.core;
        // Here, not where the batch is closed: there is one driver, and whatever it does for each request the next batch waits for.
        for taken in &requests {
            taken.request.sightings.closed(self.closed_at.saturating_sub(taken.ticket.pushed_at));
        }
        let waits = requests.iter().map(|taken| self.closed_at.saturating_sub(taken.ticket.pushed_at));
        lock(&core.tally).close(self.reason, &requests, waits, &core.config);
        let mut lane = Some(lane);
        // Parts that are still to be run, the next one last.
        let mut parts = vec![requests];
        let mut pauses = 0;
        while let Some(mut part) = parts.pop() {
            // Nobody waits for these any more: they cost nothing.
            part.retain(|taken| !taken.is_abandoned());
            if part.is_empty() {
                continue;
            }
            let Some(lane) = self.lane(&mut lane).await else {
                self.answer(&batch, part, |core| Err(core.offload.trouble(Trouble::Closed)));
                continue;
            };
            let Some(result) = self.attempt(lane, &part).await else { continue };
            match result {
                Ok(replies) => {
                    let answers = part.into_iter().zip(replies.into_iter().map(Ok));
                    if parts.is_empty() {
                        self.look(batch.end(answers, self.now()));
                        return;
                    }
                    self.look(batch.answer(answers, self.now()));
                }
                Err(error) => match core.offload.remedy(&error) {
                    Remedy::Split | Remedy::Later if part.len() > 1 => {
                        lock(&core.tally).splits += 1;
                        let second = part.split_off(part.len().div_ceil(2));
                        parts.extend([second, part]);
                    }
                    Remedy::GiveBack => {
                        let (dead, good) = judge(part);
                        self.answer(&batch, dead, |_| Err(error.clone()));
                        return self
                            .give_back(batch, good.into_iter().chain(parts.into_iter().flatten()).collect());
                    }
                    Remedy::Later if let Some(pause) = pause(pauses) => {
                        pauses += 1;
                        self.job.clock.sleep(pause).await;
                        parts.push(part);
                    }
                    Remedy::Split | Remedy::Later | Remedy::Fail => {
                        self.answer(&batch, part, |_| Err(error.clone()));
                    }
                },
            }
        }
        self.look(batch.end([], self.now()));
    }

    fn now(&self) -> u64 {
        nanoseconds(&self.job.clock)
    }

    fn look(&self, view: asynchrotron_sync::View) {
        self.core.look(view, self.now());
    }

    fn answer(
        &self,
        batch: &Batch<Request<O>, O::Reply, O::Error>,
        part: Requests<O>,
        answer: impl Fn(&Core<O>) -> Result<O::Reply, O::Error>,
    ) {
        let answers = part.into_iter().map(|taken| (taken, answer(&self.core)));
        self.look(batch.answer(answers, self.now()));
    }

    /// The lane that the batch was closed for; for parts of it, the next one in line.
    async fn lane(&self, first: &mut Option<Lane<O::Lane>>) -> Option<Lane<O::Lane>> {
        match first.take() {
            Some(lane) => Some(lane),
            None => self.core.offload.lanes().take().await.ok(),
        }
    }

    /// Packs, runs and unpacks some requests; a panic in there becomes an error. `None` as soon as nobody waits for any of them:
    /// a device that hangs then gets its lane back.
    async fn attempt(
        &self,
        lane: Lane<O::Lane>,
        part: &Requests<O>,
    ) -> Option<Result<Vec<O::Reply>, O::Error>> {
        let offload = &self.core.offload;
        let rows = self.core.config.padded(part.iter().map(|taken| taken.ticket.rows).sum());
        let begin = self.now();
        let trip = self.board(offload.lane_number(&lane), part, rows, begin);
        let batch: Vec<&O::Request> = part.iter().map(|taken| &taken.request.value).collect();
        // Unwind safety: the lane is gone either way, and requests are shared and immutable.
        let panicked = |panic: Box<dyn std::any::Any + Send>| {
            Err(offload.trouble(Trouble::Panicked(panic_message(&*panic))))
        };
        let mut left = false;
        let started = catch_unwind(AssertUnwindSafe(|| offload.start(lane, &batch, rows)));
        drop(batch);
        let (result, end) = match started {
            Ok(future) => {
                let mut future = pin!(Stamped::new(future, &self.job.clock));
                // All before this one have left.
                let mut waits = 0;
                poll_fn(|cx| {
                    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                    match polled {
                        Ok(Poll::Ready(ended)) => return Poll::Ready(Some(ended)),
                        Ok(Poll::Pending) => {}
                        Err(panic) => return Poll::Ready(Some((panicked(panic), self.now()))),
                    }
                    while part.get(waits).is_some_and(|taken| taken.poll_abandoned(cx).is_ready()) {
                        waits += 1;
                    }
                    if waits == part.len() { Poll::Ready(None) } else { Poll::Pending }
                })
                .await
                .unwrap_or_else(|| {
                    left = true;
                    (Err(offload.trouble(Trouble::Closed)), self.now())
                })
            }
            Err(panic) => (panicked(panic), self.now()),
        };
        self.land(trip, part, end, result.is_err());
        if left {
            return None;
        }
        let replies = match result {
            Ok(replies) if replies.len() == part.len() => replies,
            Ok(_) => return Some(Err(offload.trouble(Trouble::WrongReplies))),
            Err(error) => return Some(Err(error)),
        };
        self.core.learn(rows, end.saturating_sub(begin));
        Some(Ok(replies))
    }

    /// The lane has died with the batch.
    fn give_back(&self, batch: Batch<Request<O>, O::Reply, O::Error>, requests: Requests<O>) {
        // Nothing, if all that was in it has been given up.
        lock(&self.core.tally).given_back += u64::from(!requests.is_empty());
        requests.iter().for_each(|taken| taken.request.sightings.given_back());
        let slots: Vec<usize> = requests.iter().filter_map(|taken| taken.member).collect();
        for &slot in &slots {
            self.job.others().for_each(|other| other.block(slot, &self.job.clock));
        }
        let (left, view) = batch.put_back(requests);
        self.job.unblock(left.iter().filter_map(|taken| taken.member));
        drop(left);
        self.look(view);
        // Lanes may have closed with the one that died.
        self.core.queue.poke();
    }

    /// A part goes to the device.
    fn board(&self, lane: usize, part: &Requests<O>, rows: usize, begin: u64) -> BatchEnds {
        let recorder = self.job.recorder.as_ref().filter(|recorder| recorder.is_open(begin));
        let oldest = part.iter().map(|taken| taken.ticket.pushed_at).min().unwrap_or(begin);
        let weight: usize = part.iter().map(|taken| taken.ticket.rows).sum();
        let bytes: usize = part.iter().map(|taken| taken.ticket.bytes).sum();
        let trip = BatchEnds {
            at: begin,
            begin,
            closed: self.closed_at,
            oldest,
            // Nobody's, if it is not recorded.
            batch: recorder.map_or(0, Recorder::batch),
            batcher: self.job.index as u32,
            lane: lane as u32,
            requests: part.len() as u32,
            rows: weight as u32,
            padding: rows.saturating_sub(weight) as u32,
            bytes: bytes as u64,
            reason: Some(self.reason),
            failed: false,
        };
        if let Some(recorder) = recorder {
            let BatchEnds { batcher, lane, requests, bytes, .. } = trip;
            recorder.push(Record::BatchBegins { at: begin, batcher, lane, requests, bytes });
        }
        for taken in part {
            taken.request.sightings.on_device(begin, self.closed_at, trip.batch);
        }
        trip
    }

    /// It is back, or nobody waits for it any more.
    fn land(&self, trip: BatchEnds, part: &Requests<O>, at: u64, failed: bool) {
        for taken in part {
            taken.request.sightings.off_device(at.saturating_sub(trip.begin));
        }
        if let Some(recorder) = self.job.recorder.as_ref().filter(|_| trip.batch != 0) {
            recorder.push(Record::BatchEnds(BatchEnds { at, failed, ..trip }));
        }
    }
}

/// Requests that have been with too many dying lanes, and the others.
fn judge<O: Offload>(mut part: Requests<O>) -> (Requests<O>, Requests<O>) {
    part.iter_mut().for_each(|taken| taken.request.lanes_lost += 1);
    part.into_iter().partition(|taken| taken.request.lanes_lost >= LANES_LOST_MAX)
}
