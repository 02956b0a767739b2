//! [`Assembly`]: records become a [`Recording`].
//!
//! Slices are written when they have ended, by whoever noticed; so what belongs together is found at the end, by track,
//! time and event, and not by the order of the file.

use std::collections::HashMap;

use super::record::Record;
use super::recording::{
    Batch, Call, Counter, Delivery, DeliveryKind, End, Event, Flow, FlowEnd, Job, Lane, Poll, Recording,
    State, StateKind, Track, Worker,
};

const WORKERS: u64 = 1;
const SLOTS: u64 = 2;
const DEVICES: u64 = 3;

/// What our own slices on workers are marked with.
const OURS: &str = "asynchrotron";

#[derive(Default)]
pub(super) struct Assembly {
    recording: Recording,
    /// Of each track, its index among those of its kind.
    workers: HashMap<u64, usize>,
    slots: HashMap<u64, usize>,
    lanes: HashMap<u64, usize>,
    thread_names: HashMap<(u64, u64), String>,
    /// Slices that have begun; of those that are not ours, only that they have.
    open: HashMap<(u64, u64), Vec<Option<Poll>>>,
    flows: HashMap<u64, Flow>,
    counters: HashMap<String, usize>,
}

impl Assembly {
    pub(super) fn take(&mut self, record: &Record<'_>, line: u32) {
        self.recording.records += 1;
        let category = record.cat.text().unwrap_or_default();
        let pid = record.pid.whole().unwrap_or_default();
        match (&*record.ph, pid, category) {
            ("M", ..) => self.take_name(record, pid),
            ("X", WORKERS, OURS) => {
                let poll = self.poll(record, record.end_ns(), line);
                self.add_poll(record, poll);
            }
            ("X", SLOTS, _) => self.take_slot(record, category, line),
            ("X", DEVICES, "batch") => self.take_batch(record, line),
            ("B", ..) => {
                let poll = (category == OURS).then(|| self.poll(record, 0, line));
                self.open.entry((pid, tid(record))).or_default().push(poll);
            }
            ("E", ..) => match self.open.entry((pid, tid(record))).or_default().pop() {
                Some(Some(poll)) => self.add_poll(record, Poll { end_ns: record.ts_ns(), ..poll }),
                Some(None) => {}
                None => self.recording.ends_alone += 1,
            },
            ("s" | "t" | "f", _, "flow") => self.take_flow(record, pid, line),
            ("C", ..) => self.take_sample(record),
            ("i" | "I", _, "job") => self.take_job(record),
            _ => {}
        }
    }

    fn take_name(&mut self, record: &Record<'_>, pid: u64) {
        if let (Some("thread_name"), Some(name)) = (record.name.text(), record.args.text("name")) {
            self.thread_names.insert((pid, tid(record)), name.to_owned());
        }
    }

    fn poll(&mut self, record: &Record<'_>, end_ns: i64, line: u32) -> Poll {
        let algorithm = self.recording.names.intern(record.name.text().unwrap_or_default());
        Poll { begin_ns: record.ts_ns(), end_ns, algorithm, event: record.args.whole("event"), line }
    }

    fn add_poll(&mut self, record: &Record<'_>, poll: Poll) {
        let workers = &mut self.recording.workers;
        let index = *self.workers.entry(tid(record)).or_insert_with(|| {
            workers.push(Worker { track: track(WORKERS, record), polls: Vec::new() });
            workers.len() - 1
        });
        workers[index].polls.push(poll);
    }

    fn take_slot(&mut self, record: &Record<'_>, category: &str, line: u32) {
        let Recording { slots, names, events, calls, states, deliveries, .. } = &mut self.recording;
        let index = *self.slots.entry(tid(record)).or_insert_with(|| {
            slots.push(track(SLOTS, record));
            slots.len() - 1
        });
        let (arguments, name) = (&record.args, record.name.text().unwrap_or_default());
        let (begin_ns, end_ns) = (record.ts_ns(), record.end_ns());
        let event = arguments.whole("event");
        match category {
            "event" => {
                if let Some(slot) = arguments.whole("slot") {
                    slots[index].slot = Some(slot);
                }
                events.push(Event {
                    id: event.unwrap_or_default(),
                    track: index,
                    begin_ns,
                    end_ns,
                    failed: arguments.text("failed").map(|cause| names.intern(cause)),
                    unfinished: arguments.get("unfinished").truth(),
                    calls: 0..0,
                    deliveries: 0..0,
                    line,
                });
            }
            "algorithm" => calls.push(Call {
                algorithm: names.intern(name),
                event: event.unwrap_or_default(),
                track: index,
                begin_ns,
                end_ns,
                polls: arguments.whole("polls").unwrap_or_default(),
                failed: arguments.get("failed").truth(),
                abandoned: arguments.get("abandoned").truth(),
                states: 0..0,
                line,
            }),
            "state" => states.push(State {
                kind: StateKind::of(name),
                event,
                track: index,
                begin_ns,
                end_ns,
                batcher: arguments.text("batcher").map(|batcher| names.intern(batcher)),
                rows: arguments.whole("rows").unwrap_or_default(),
                batch: arguments.whole("batch"),
                line,
            }),
            "delivery" => {
                let kind = match name {
                    "awaiting turn" => DeliveryKind::AwaitingTurn,
                    _ => DeliveryKind::Sinks,
                };
                let event = event.unwrap_or_default();
                deliveries.push(Delivery { kind, event, track: index, begin_ns, end_ns, line });
            }
            _ => {}
        }
    }

    fn take_batch(&mut self, record: &Record<'_>, line: u32) {
        let Recording { lanes, names, .. } = &mut self.recording;
        let index = *self.lanes.entry(tid(record)).or_insert_with(|| {
            lanes.push(Lane { track: track(DEVICES, record), device: String::new(), batches: Vec::new() });
            lanes.len() - 1
        });
        let arguments = &record.args;
        let whole = |name: &str| arguments.whole(name).unwrap_or_default();
        let begin_ns = record.ts_ns();
        lanes[index].batches.push(Batch {
            id: whole("batch"),
            batcher: names.intern(record.name.text().unwrap_or_default()),
            begin_ns,
            end_ns: record.end_ns(),
            requests: whole("requests"),
            rows: whole("rows"),
            padding: whole("padding"),
            bytes: whole("bytes"),
            closed: names.intern(arguments.text("closed").unwrap_or("unknown")),
            closed_ns: arguments.get("closed_us").nanoseconds().unwrap_or(begin_ns),
            held_ns: arguments.get("held_us").nanoseconds().unwrap_or_default(),
            failed: arguments.get("failed").truth(),
            line,
        });
    }

    fn take_flow(&mut self, record: &Record<'_>, pid: u64, line: u32) {
        let Some(id) = record.id.whole() else { return };
        let flow = self.flows.entry(id).or_insert_with(|| Flow { id, ..Flow::default() });
        let ends = match &*record.ph {
            "s" => &mut flow.submitted,
            "t" => &mut flow.batched,
            _ => &mut flow.resumed,
        };
        ends.push(FlowEnd { pid, tid: tid(record), at_ns: record.ts_ns(), line });
    }

    fn take_sample(&mut self, record: &Record<'_>) {
        let (Some(name), Some(value)) = (record.name.text(), record.args.get("value").real()) else { return };
        let counters = &mut self.recording.counters;
        let index = self.counters.get(name).copied().unwrap_or_else(|| {
            counters.push(Counter { name: name.to_owned(), samples: Vec::new() });
            self.counters.insert(name.to_owned(), counters.len() - 1);
            counters.len() - 1
        });
        counters[index].samples.push((record.ts_ns(), value));
    }

    fn take_job(&mut self, record: &Record<'_>) {
        let arguments = &record.args;
        let whole = |name: &str| arguments.whole(name).unwrap_or_default();
        let text = |name: &str| arguments.text(name).unwrap_or_default().to_owned();
        match record.name.text() {
            Some("trace begins") => {
                let start = arguments.get("window_start_s").real();
                let length = arguments.get("window_length_s").real();
                self.recording.job = Job {
                    version: whole("version"),
                    chain: text("chain"),
                    threads: whole("threads"),
                    slots: whole("slots"),
                    level: text("level"),
                    every: whole("every").max(1),
                    clock: text("clock"),
                    window_s: length.map(|length| (start.unwrap_or(0.0), length)),
                };
            }
            Some("trace ends") => {
                let end = End { records: whole("records"), events: whole("events"), failed: whole("failed") };
                self.recording.end = Some(end);
                // The sum of the losses that were said on the way, unless one of those was lost.
                self.recording.lost = self.recording.lost.max(whole("lost"));
            }
            Some("records lost") => self.recording.lost += whole("lost"),
            _ => {}
        }
    }

    pub(super) fn finish(mut self, source: &str, cut_short: Option<String>) -> Recording {
        self.recording.source = source.to_owned();
        self.recording.cut_short = cut_short;
        self.name_tracks();
        let Recording { workers, lanes, flows, counters, .. } = &mut self.recording;
        for worker in &mut *workers {
            // A poll that lies within another ends no later; of two that are the same, the outer one began first in the file.
            worker.polls.sort_by_key(|poll| (poll.begin_ns, std::cmp::Reverse(poll.end_ns), poll.line));
        }
        workers.sort_by_key(|worker| worker.track.tid);
        for lane in &mut *lanes {
            lane.batches.sort_by_key(|batch| (batch.begin_ns, batch.end_ns));
        }
        lanes.sort_by_key(|lane| lane.track.tid);
        flows.extend(self.flows.into_values());
        flows.sort_by_key(|flow| flow.id);
        counters.iter_mut().for_each(|counter| counter.samples.sort_by_key(|(at, _)| *at));
        link(&mut self.recording);
        self.recording
    }

    /// The name of a track may come after what is on it, or never; and workers and lanes that did nothing have but a name.
    fn name_tracks(&mut self) {
        let Recording { workers, slots, lanes, .. } = &mut self.recording;
        for (&(pid, tid), name) in &self.thread_names {
            let track = Track { pid, tid, ..Track::default() };
            if pid == WORKERS && name.starts_with("worker-") && !self.workers.contains_key(&tid) {
                workers.push(Worker { track, polls: Vec::new() });
            } else if pid == DEVICES && !self.lanes.contains_key(&tid) {
                lanes.push(Lane { track, device: String::new(), batches: Vec::new() });
            }
        }
        let tracks = (workers.iter_mut().map(|worker| &mut worker.track))
            .chain(slots.iter_mut())
            .chain(lanes.iter_mut().map(|lane| &mut lane.track));
        for track in tracks {
            match self.thread_names.remove(&(track.pid, track.tid)) {
                Some(name) => track.name = name,
                None => track.name = format!("track {}", track.tid),
            }
            let number =
                track.name.strip_prefix("slot ").and_then(|rest| rest.split(' ').next()?.parse().ok());
            track.slot = if track.pid == SLOTS { number.or(track.slot) } else { None };
        }
        for lane in lanes {
            let name = &lane.track.name;
            lane.device = name.rsplit_once(" lane ").map_or(name.as_str(), |(device, _)| device).to_owned();
        }
    }
}

fn tid(record: &Record<'_>) -> u64 {
    record.tid.whole().unwrap_or_default()
}

fn track(pid: u64, record: &Record<'_>) -> Track {
    Track { pid, tid: tid(record), name: String::new(), slot: None }
}

/// Calls and deliveries find their events, states their calls.
fn link(recording: &mut Recording) {
    let Recording { slots, events, calls, states, deliveries, .. } = recording;
    events.sort_by_key(|event| (event.begin_ns, event.line));
    let mut by_id: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        by_id.entry(event.id).or_default().push(index);
    }
    // An event that was read twice (a retry of the whole job, say) is told apart by slot and time.
    let event_of = |id: u64, track: usize, begin_ns: i64, end_ns: i64| -> usize {
        let all = by_id.get(&id).map_or(&[][..], Vec::as_slice);
        let distance = |&&index: &&usize| {
            let event = &events[index];
            let outside = (event.begin_ns - begin_ns).max(0) + (end_ns - event.end_ns).max(0);
            (slots[event.track].slot != slots[track].slot, outside)
        };
        all.iter().min_by_key(distance).copied().unwrap_or(usize::MAX)
    };
    let of_calls = sort_by_owner(calls, |call| {
        (event_of(call.event, call.track, call.begin_ns, call.end_ns), call.begin_ns, call.end_ns)
    });
    let of_deliveries = sort_by_owner(deliveries, |delivery| {
        let Delivery { event, track, begin_ns, end_ns, .. } = *delivery;
        (event_of(event, track, begin_ns, end_ns), begin_ns, end_ns)
    });
    for (index, range) in of_calls {
        events[index].calls = range;
    }
    for (index, range) in of_deliveries {
        events[index].deliveries = range;
    }

    // Calls on a track do not overlap: of those that have begun, the one that a state belongs to is among the last.
    let mut by_track: Vec<Vec<usize>> = vec![Vec::new(); slots.len()];
    for (index, call) in calls.iter().enumerate() {
        by_track[call.track].push(index);
    }
    for track in &mut by_track {
        track.sort_by_key(|&index| (calls[index].begin_ns, calls[index].end_ns, calls[index].line));
    }
    let call_of = |state: &State| -> usize {
        let track = &by_track[state.track];
        let begun = track.partition_point(|&index| calls[index].begin_ns <= state.begin_ns);
        let is_own = |&&index: &&usize| state.event.is_none_or(|event| event == calls[index].event);
        let mut candidates = track[..begun].iter().rev().filter(is_own).take(2);
        let within = candidates.clone().find(|&&index| state.end_ns <= calls[index].end_ns);
        // One that reaches beyond its call is still that call's; `check` says so.
        let reaching = || candidates.find(|&&index| state.begin_ns < calls[index].end_ns);
        within.or_else(reaching).copied().unwrap_or(usize::MAX)
    };
    let of_states = sort_by_owner(states, |state| (call_of(state), state.begin_ns, state.end_ns));
    for (index, range) in of_states {
        calls[index].states = range;
    }
}

/// Sorts by owner and time; gives the range of each owner. `usize::MAX` is nobody.
fn sort_by_owner<T>(
    all: &mut Vec<T>,
    key: impl Fn(&T) -> (usize, i64, i64),
) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut keyed: Vec<((usize, i64, i64), T)> = all.drain(..).map(|one| (key(&one), one)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    let mut ranges: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    for (index, ((owner, ..), one)) in keyed.into_iter().enumerate() {
        match ranges.last_mut() {
            Some((last, range)) if *last == owner => range.end = index + 1,
            _ if owner != usize::MAX => ranges.push((owner, index..index + 1)),
            _ => {}
        }
        all.push(one);
    }
    ranges
}
