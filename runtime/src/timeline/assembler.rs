//! [`Assembler`]: makes a timeline of records.
//!
//! Records come in the order of their times. What belongs to an event is kept until the event ends, and then written as a whole,
//! outer slices before inner ones: Perfetto needs that order where two begin at the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::event::{Arrow, OpenEvent};
use super::item::{
    DEVICES, EVENTS, Item, JOB, LANES_FROM, OTHERS_FROM, SLOTS_FROM, Step, Track, Value, WORKERS,
    WORKERS_FROM, worker,
};
use super::lane_track::LaneTrack;
use super::life::{Boarding, Request};
use super::record::{BatchEnds, EventEnds, JobInfo, Poll, Record, Submitted};
use super::recorder::Note;

/// Where items go.
pub(super) trait Sheet {
    fn put(&mut self, item: &Item<'_>);

    /// The time in the file, in nanoseconds, for those that stand in arguments.
    fn time(&self, at: u64) -> u64;
}

/// How events/s are counted, in nanoseconds.
const RATE_INTERVAL: u64 = 100_000_000;

/// Ends of batches that are remembered: a request may look for them a little later.
const BATCHES_KEPT: usize = 4096;

/// What a timeline shows of the workers' polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Polls {
    /// Slices of polls are made of records.
    Recorded,
    /// They come from elsewhere.
    Elsewhere,
}

pub(super) struct Assembler {
    polls: Polls,
    job: Option<Arc<JobInfo>>,
    threads: HashMap<String, Track>,
    slots: BTreeMap<u32, OpenEvent>,
    slot_lanes: HashMap<u32, usize>,
    device_lanes: BTreeMap<(usize, u32), LaneTrack>,
    /// Per device: batches on it, and their bytes.
    on_device: Vec<(u64, u64)>,
    batch_ends: BTreeMap<u64, u64>,
    /// The requests of batches that have not ended.
    boarded: HashMap<u64, Vec<u64>>,
    notes: HashMap<(u32, u64), Note>,
    rate: Rate,
    pub(super) events: u64,
    pub(super) failed: u64,
    /// The time of the last record.
    last: u64,
    /// Records whose beginnings were lost.
    pub(super) orphans: u64,
}

#[derive(Default)]
struct Rate {
    begin: u64,
    events: u64,
    last: f64,
}

impl Assembler {
    pub(super) fn new(polls: Polls) -> Self {
        Assembler {
            polls,
            job: None,
            threads: HashMap::new(),
            slots: BTreeMap::new(),
            slot_lanes: HashMap::new(),
            device_lanes: BTreeMap::new(),
            on_device: Vec::new(),
            batch_ends: BTreeMap::new(),
            boarded: HashMap::new(),
            notes: HashMap::new(),
            rate: Rate::default(),
            events: 0,
            failed: 0,
            last: 0,
            orphans: 0,
        }
    }

    /// The track of a thread.
    pub(super) fn thread(&mut self, name: &str, sheet: &mut dyn Sheet) -> Track {
        if let Some(track) = self.threads.get(name) {
            return *track;
        }
        let others = self.threads.keys().filter(|name| worker(name).is_none()).count() as u32;
        let tid = worker(name).map_or(OTHERS_FROM + others, |number| WORKERS_FROM + number);
        let track = Track { pid: WORKERS, tid };
        self.threads.insert(name.to_owned(), track);
        // Where polls come from elsewhere, so do the names of tracks.
        if self.polls == Polls::Recorded && worker(name).is_some() {
            sheet.put(&Item::Thread { track, name });
        }
        track
    }

    pub(super) fn begin_job(
        &mut self,
        at: u64,
        job: Arc<JobInfo>,
        level: &str,
        every: u64,
        window: Option<(f64, f64)>,
        sheet: &mut dyn Sheet,
    ) {
        self.finish(sheet);
        let text = |text| Value::Text(text);
        let mut arguments = vec![
            ("version", Value::Count(2)),
            ("chain", text(&*job.chain)),
            ("threads", Value::Count(job.threads as u64)),
            ("slots", Value::Count(job.slots as u64)),
            ("level", text(level)),
            ("every", Value::Count(every)),
            ("clock", text(if job.is_simulated { "simulated" } else { "real" })),
        ];
        if let Some((start, length)) = window {
            arguments.extend([
                ("window_start_s", Value::Number(start)),
                ("window_length_s", Value::Number(length)),
            ]);
        }
        sheet.put(&Item::Instant {
            track: JOB,
            at,
            category: "job",
            name: "trace begins",
            arguments: &arguments,
        });
        self.boarded.clear();
        self.on_device = vec![(0, 0); job.devices.len()];
        self.device_lanes.clear();
        self.rate = Rate { begin: at, ..Rate::default() };
        self.job = Some(job);
        self.count_in_flight(at, sheet);
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.insert((note.slot, note.event), note);
    }

    /// Takes the next record, made by the thread of that track.
    pub(super) fn add(&mut self, record: &Record, thread: Track, sheet: &mut dyn Sheet) {
        let Some(job) = self.job.clone() else { return self.orphans += 1 };
        self.last = self.last.max(record.at());
        match *record {
            // Both are the writer's to look up.
            Record::JobBegins { .. } | Record::Failed { .. } => {}
            Record::EventBegins { at, slot, event } => {
                if let Some(unfinished) = self.slots.remove(&slot) {
                    self.write_event(&job, unfinished, None, sheet);
                }
                self.slots.insert(slot, OpenEvent::new(slot, event, at));
                self.count_in_flight(at, sheet);
            }
            Record::EventEnds(end) => self.end_event(&job, &end, sheet),
            Record::Poll(poll) => self.poll(&job, &poll, thread, sheet),
            Record::Abandoned { at, slot, node } => match self.slots.get_mut(&slot) {
                Some(open) => open.abandon(node, at),
                None => self.orphans += 1,
            },
            Record::Submitted(submitted) => self.submit(&job, &submitted, sheet),
            Record::Resumed { at, slot, node, flow } => {
                if let Some(open) = self.slots.get_mut(&slot) {
                    open.resume(node, flow, at, &self.batch_ends);
                }
            }
            Record::Left { at, batcher, queued } | Record::Closed { at, batcher, queued } => {
                count_queue(&job, batcher, at, queued, sheet);
            }
            Record::Boarded { at, slot, flow, closed, batch } => {
                self.boarded.entry(batch).or_default().push(flow);
                if let Some(open) = self.slots.get_mut(&slot) {
                    open.board(flow, Boarding { batch, closed, begin: at, end: u64::MAX });
                }
            }
            Record::BatchBegins { at, batcher, lane, requests, bytes } => {
                let Some(info) = job.batchers.get(batcher as usize) else { return self.orphans += 1 };
                self.lane(&job, info.device, lane, sheet).begin(at);
                let name = format!("batch size {}", info.name);
                sheet.put(&Item::Counter { pid: DEVICES, at, name: &name, value: requests.into() });
                self.count_on_device(&job, info.device, at, (1, bytes as i64), sheet);
            }
            Record::BatchEnds(batch) => self.end_batch(&job, &batch, sheet),
        }
    }

    fn end_event(&mut self, job: &JobInfo, end: &EventEnds, sheet: &mut dyn Sheet) {
        let Some(open) = self.slots.remove(&end.slot) else { return self.orphans += 1 };
        self.write_event(job, open, Some(end), sheet);
        self.events += u64::from(!end.failed);
        self.failed += u64::from(end.failed);
        self.count_in_flight(end.at, sheet);
        self.pass(end.at, sheet);
        self.rate.events += 1;
    }

    fn write_event(
        &mut self,
        job: &JobInfo,
        mut open: OpenEvent,
        end: Option<&EventEnds>,
        sheet: &mut dyn Sheet,
    ) {
        let note = self.notes.remove(&(open.slot, open.event));
        let most = job.nodes.len().max(1);
        // A power of ten, so that the number of a track can be read.
        let stride = 10_u32.pow((most as u32 + 1).ilog10() + 1);
        let slot = open.slot;
        let track = |lane: usize| {
            let lane = (lane as u32).min(stride - 1);
            Track { pid: EVENTS, tid: SLOTS_FROM + slot * stride + lane }
        };
        open.land(&self.batch_ends);
        let lanes = open.lay_out(end.map_or(self.last, |end| end.at));
        let known = self.slot_lanes.entry(open.slot).or_default();
        for lane in *known..lanes.max(1) {
            let name = match lane {
                0 => format!("slot {}", open.slot),
                lane => format!("slot {} lane {lane}", open.slot),
            };
            sheet.put(&Item::Thread { track: track(lane), name: &name });
        }
        *known = (*known).max(lanes.max(1));
        open.write(job, end, note.as_ref(), self.last, &track, sheet);
    }

    fn poll(&mut self, job: &JobInfo, poll: &Poll, thread: Track, sheet: &mut dyn Sheet) {
        let Some(open) = self.slots.get_mut(&poll.slot) else { return self.orphans += 1 };
        if self.polls == Polls::Recorded {
            let name = job.nodes.get(poll.node as usize).map_or("", |name| &**name);
            let arguments = [("event", Value::Count(open.event))];
            let (begin, end) = (poll.begin, poll.end);
            sheet.put(&Item::Slice {
                track: thread,
                begin,
                end,
                category: "asynchrotron",
                name,
                number: None,
                arguments: &arguments,
            });
        }
        for Arrow { flow: id, at, step, .. } in open.poll(poll) {
            sheet.put(&Item::Flow { track: thread, at, id, step });
        }
    }

    fn submit(&mut self, job: &JobInfo, submitted: &Submitted, sheet: &mut dyn Sheet) {
        let Submitted { at, slot, node, flow, batcher, rows, queued } = *submitted;
        match self.slots.get_mut(&slot) {
            Some(open) => {
                let boardings = Vec::new();
                open.submit(Request { node, flow, batcher, rows, pushed: at, boardings, answered: u64::MAX });
            }
            None => self.orphans += 1,
        }
        count_queue(job, batcher, at, queued, sheet);
    }

    fn end_batch(&mut self, job: &JobInfo, batch: &BatchEnds, sheet: &mut dyn Sheet) {
        let Some(info) = job.batchers.get(batch.batcher as usize) else { return self.orphans += 1 };
        let lane = self.lane(job, info.device, batch.lane, sheet);
        let (track, (begin, end)) = (lane.track, lane.place(batch.begin, batch.at));
        self.batch_ends.insert(batch.batch, batch.at);
        if self.batch_ends.len() > BATCHES_KEPT {
            self.batch_ends.pop_first();
        }
        let us = |ns: u64| Value::Number(ns as f64 / 1e3);
        let mut arguments = vec![
            ("batch", Value::Count(batch.batch)),
            ("requests", Value::Count(batch.requests.into())),
            ("rows", Value::Count(batch.rows.into())),
            ("padding", Value::Count(batch.padding.into())),
            ("bytes", Value::Count(batch.bytes)),
            ("closed", Value::Text(batch.reason.map_or("alone", |reason| reason.as_str()))),
            ("closed_us", us(sheet.time(batch.closed))),
            ("held_us", us(batch.closed.saturating_sub(batch.oldest))),
        ];
        if batch.failed {
            arguments.push(("failed", Value::Flag(true)));
        }
        let name = &*info.name;
        sheet.put(&Item::Slice {
            track,
            begin,
            end,
            category: "batch",
            name,
            number: None,
            arguments: &arguments,
        });
        for id in self.boarded.remove(&batch.batch).unwrap_or_default() {
            sheet.put(&Item::Flow { track, at: begin.midpoint(end), id, step: Step::Next });
        }
        self.count_on_device(job, info.device, batch.at, (-1, -(batch.bytes as i64)), sheet);
    }

    /// The track of a device's lane.
    fn lane(&mut self, job: &JobInfo, device: usize, lane: u32, sheet: &mut dyn Sheet) -> &mut LaneTrack {
        // Devices in order, with room for lanes that come later.
        let tid = LANES_FROM + (device as u32) * 100_000 + lane;
        let track = Track { pid: DEVICES, tid };
        self.device_lanes.entry((device, lane)).or_insert_with(|| {
            let name = format!("{} lane {lane}", job.devices[device].name);
            sheet.put(&Item::Thread { track, name: &name });
            LaneTrack::new(track)
        })
    }

    fn count_in_flight(&self, at: u64, sheet: &mut dyn Sheet) {
        let value = self.slots.len() as f64;
        sheet.put(&Item::Counter { pid: EVENTS, at, name: "events in flight", value });
    }

    fn count_on_device(
        &mut self,
        job: &JobInfo,
        device: usize,
        at: u64,
        change: (i64, i64),
        sheet: &mut dyn Sheet,
    ) {
        let (batches, bytes) = &mut self.on_device[device];
        *batches = batches.saturating_add_signed(change.0);
        *bytes = bytes.saturating_add_signed(change.1);
        let name = &job.devices[device].name;
        for (what, value) in [("occupancy", *batches), ("bytes", *bytes)] {
            let name = format!("{what} {name}");
            sheet.put(&Item::Counter { pid: DEVICES, at, name: &name, value: value as f64 });
        }
    }

    /// Time has come to `at`: the rates of the intervals before are known.
    fn pass(&mut self, at: u64, sheet: &mut dyn Sheet) {
        while at >= self.rate.begin + RATE_INTERVAL {
            let value = self.rate.events as f64 * (1e9 / RATE_INTERVAL as f64);
            if value != self.rate.last || value != 0.0 {
                sheet.put(&Item::Counter { pid: EVENTS, at: self.rate.begin, name: "events/s", value });
            }
            let idle = if value == 0.0 { (at - self.rate.begin) / RATE_INTERVAL } else { 1 };
            self.rate = Rate { begin: self.rate.begin + idle * RATE_INTERVAL, events: 0, last: value };
        }
    }

    /// Writes events that have not ended, as far as they have come.
    pub(super) fn finish(&mut self, sheet: &mut dyn Sheet) {
        let Some(job) = self.job.clone() else { return };
        for (_, open) in std::mem::take(&mut self.slots) {
            self.write_event(&job, open, None, sheet);
        }
        let length = self.last.saturating_sub(self.rate.begin);
        if self.rate.events > 0 && length > 0 {
            let value = (self.rate.events as f64 * 1e9 / length as f64).round();
            sheet.put(&Item::Counter { pid: EVENTS, at: self.rate.begin, name: "events/s", value });
        }
        self.rate.events = 0;
        for name in ["events in flight", "events/s"] {
            sheet.put(&Item::Counter { pid: EVENTS, at: self.last, name, value: 0.0 });
        }
    }

    /// The time of the last record.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

fn count_queue(job: &JobInfo, batcher: u32, at: u64, queued: u32, sheet: &mut dyn Sheet) {
    if let Some(batcher) = job.batchers.get(batcher as usize) {
        let name = format!("queue depth {}", batcher.name);
        sheet.put(&Item::Counter { pid: DEVICES, at, name: &name, value: queued.into() });
    }
}
