//! [`Sightings`]: what a batcher notes of a request on its way, for the algorithm's meter and for timelines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::decide::CloseReason;
use super::offload::Alone;
use crate::event::EventContext;
use crate::meter::Wait;
use crate::seat::Signals;
use crate::timeline::{BatchEnds, Record, Recorder, Submitted};

/// The algorithm that waits for a request.
#[derive(Clone)]
pub(super) struct Sightings {
    signals: Arc<Signals>,
    recorder: Option<Recorder>,
    slot: u32,
    node: u32,
    /// The number of the request in timelines; 0 if its event is in none.
    flow: u64,
}

impl Sightings {
    pub(super) fn new(ctx: &EventContext) -> Self {
        let recorder = ctx.group.recorder().cloned();
        let flow = recorder.as_ref().map_or(0, Recorder::flow);
        let slot = ctx.group.presence().slot() as u32;
        Sightings { signals: ctx.group.signals().clone(), recorder, slot, node: ctx.node, flow }
    }

    /// Whether a timeline shows it.
    pub(super) fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    fn wait_in(&self, place: Wait) {
        self.signals.meters[self.node as usize].wait_in(place);
    }

    /// It has joined the queue of a batcher, as one of so many.
    pub(super) fn submitted(&self, at: u64, batcher: usize, rows: usize, queued: usize) {
        self.wait_in(Wait::Queued);
        if let Some(recorder) = &self.recorder {
            let Self { slot, node, flow, .. } = *self;
            let (batcher, rows, queued) = (batcher as u32, rows as u32, queued as u32);
            recorder.push(Record::Submitted(Submitted { at, slot, node, flow, batcher, rows, queued }));
        }
    }

    /// Its batch was closed, after so long.
    pub(super) fn closed(&self, waited_ns: u64) {
        self.wait_in(Wait::AwaitingLane);
        self.signals.meters[self.node as usize].queued_ns.fetch_add(waited_ns, Relaxed);
    }

    /// It stands in the queue again.
    pub(super) fn given_back(&self) {
        self.wait_in(Wait::Queued);
    }

    pub(super) fn on_device(&self, at: u64, closed: u64, batch: u64) {
        self.wait_in(Wait::OnDevice);
        if let Some(recorder) = &self.recorder {
            let Self { slot, flow, .. } = *self;
            recorder.push(Record::Boarded { at, slot, flow, closed, batch });
        }
    }

    pub(super) fn off_device(&self, took_ns: u64) {
        self.wait_in(Wait::Elsewhere);
        self.signals.meters[self.node as usize].device_ns.fetch_add(took_ns, Relaxed);
    }

    /// Its waiter has the answer.
    pub(super) fn answered(&self, at: u64) {
        self.wait_in(Wait::Elsewhere);
        if let Some(recorder) = &self.recorder {
            let Self { slot, node, flow, .. } = *self;
            recorder.push(Record::Resumed { at, slot, node, flow });
        }
    }

    /// Its waiter has left the queue.
    pub(super) fn left(&self, at: u64, batcher: usize, queued: usize) {
        self.wait_in(Wait::Elsewhere);
        if let Some(recorder) = &self.recorder {
            recorder.push(Record::Left { at, batcher: batcher as u32, queued: queued as u32 });
        }
    }
}

/// A request that goes without a batch.
pub(super) struct Lonely<'a> {
    sightings: &'a Sightings,
    batcher: usize,
    rows: usize,
    padding: usize,
    bytes: usize,
    /// Why it went at once; `None` if there are no batches.
    reason: Option<CloseReason>,
    pushed: AtomicU64,
    begun: AtomicU64,
    lane: AtomicU64,
    batch: AtomicU64,
}

impl<'a> Lonely<'a> {
    /// The rows come without padding, and with it.
    pub(super) fn new(
        sightings: &'a Sightings,
        batcher: usize,
        (rows, padded): (usize, usize),
        bytes: usize,
        reason: Option<CloseReason>,
    ) -> Self {
        let [pushed, begun, lane, batch] = [(); 4].map(|()| AtomicU64::new(0));
        let padding = padded.saturating_sub(rows);
        Lonely { sightings, batcher, rows, padding, bytes, reason, pushed, begun, lane, batch }
    }

    /// Where it is now.
    pub(super) fn tell(&self, place: Alone, now: u64) {
        match place {
            // A lane that died is followed by another wait; the request is still the same.
            Alone::InLine if self.has_travelled() => self.sightings.closed(0),
            Alone::InLine => {
                self.pushed.store(now.max(1), Relaxed);
                self.sightings.submitted(now, self.batcher, self.rows, 0);
                self.sightings.closed(0);
            }
            Alone::OnLane(lane) => {
                self.begun.store(now.max(1), Relaxed);
                self.lane.store(lane as u64, Relaxed);
                if let Some(recorder) = &self.sightings.recorder {
                    let (batcher, lane, requests) = (self.batcher as u32, lane as u32, 1);
                    self.batch.store(recorder.batch(), Relaxed);
                    recorder.push(Record::BatchBegins {
                        at: now,
                        batcher,
                        lane,
                        requests,
                        bytes: self.bytes as u64,
                    });
                }
                self.sightings.on_device(now, self.pushed.load(Relaxed), self.batch.load(Relaxed));
            }
        }
    }

    /// The device is done with it.
    pub(super) fn end(&self, woken: u64, now: u64, failed: bool) {
        let begin = self.begun.swap(0, Relaxed);
        if begin == 0 {
            return;
        }
        // It may have been woken last when it got its lane.
        let at = if woken > begin { woken } else { now.max(begin) };
        self.sightings.off_device(at - begin);
        if let Some(recorder) = &self.sightings.recorder {
            let (closed, lane) = (self.pushed.load(Relaxed), self.lane.load(Relaxed) as u32);
            recorder.push(Record::BatchEnds(BatchEnds {
                at,
                begin,
                closed,
                oldest: closed,
                batch: self.batch.load(Relaxed),
                batcher: self.batcher as u32,
                lane,
                requests: 1,
                rows: self.rows as u32,
                padding: self.padding as u32,
                bytes: self.bytes as u64,
                reason: self.reason,
                failed,
            }));
        }
    }

    /// Whether it has gone to another thread or device: else there is nothing to be seen of it.
    pub(super) fn has_travelled(&self) -> bool {
        self.pushed.load(Relaxed) != 0
    }
}

impl Drop for Lonely<'_> {
    /// Its waiter has left.
    fn drop(&mut self) {
        if self.begun.load(Relaxed) != 0 {
            self.end(0, 0, true);
        }
    }
}
