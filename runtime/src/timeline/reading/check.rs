//! [`check`]: whether a recording is whole and sound.

use std::collections::BTreeSet;

use super::arrows::check_flows;
use super::nesting::check_nesting;
use super::recording::{Call, Recording, Track};

/// Of each kind, so many problems are told.
const MOST: usize = 20;

/// What is wrong with a recording, a line for each problem; nothing if it is whole and sound:
///
/// * it is not cut short, and nothing was lost;
/// * no time is before the origin, and nothing ends before it begins;
/// * slices of a track overlap only if one lies within the other, and what lies within comes later in the file;
/// * the states of a call partition its life;
/// * states lie within calls, calls and deliveries within events;
/// * arrows begin and end within polls, pass through batches, and a batch lies between the two ends of each of its requests;
/// * where there are batches, there are counters of them.
///
/// If the file is not whole, or is a window of time, things may be missing, and it is not said of each that is.
pub fn check(recording: &Recording) -> Vec<String> {
    let mut problems = Problems::default();
    check_whole(recording, &mut problems);
    check_times(recording, &mut problems);
    check_nesting(recording, &mut problems);
    check_children(recording, &mut problems);
    check_flows(recording, &mut problems);
    if recording.is_whole() {
        check_partition(recording, &mut problems);
        check_counters(recording, &mut problems);
    }
    problems.finish()
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Problems {
    all: Vec<String>,
    kind: &'static str,
    of_kind: usize,
}

impl Problems {
    /// From now on, problems are of this kind.
    pub(super) fn kind(&mut self, kind: &'static str) {
        if self.of_kind > MOST {
            self.all.push(format!("{}: and {} more", self.kind, self.of_kind - MOST));
        }
        (self.kind, self.of_kind) = (kind, 0);
    }

    /// The text is made only if it is told.
    pub(super) fn add(&mut self, text: impl FnOnce() -> String) {
        self.of_kind += 1;
        if self.of_kind <= MOST {
            self.all.push(format!("{}: {}", self.kind, text()));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.kind("");
        self.all
    }
}

/// A time of the file, as it is written there.
pub(super) fn us(ns: i64) -> String {
    format!("{:.3} µs", ns as f64 / 1e3)
}

fn check_whole(recording: &Recording, problems: &mut Problems) {
    problems.kind("incomplete");
    if let Some(why) = &recording.cut_short {
        problems.add(|| format!("the file is cut short: {why}"));
    } else if recording.end.is_none() {
        problems.add(|| "there is no record `trace ends`".into());
    }
    if recording.lost > 0 {
        problems.add(|| format!("{} records were lost", recording.lost));
    }
    if recording.ends_alone > 0 && recording.is_whole() {
        problems.add(|| format!("{} slices end without having begun", recording.ends_alone));
    }
}

fn check_times(recording: &Recording, problems: &mut Problems) {
    problems.kind("time");
    let slots = (recording.events.iter().map(|one| (one.begin_ns, one.end_ns, one.line)))
        .chain(recording.calls.iter().map(|one| (one.begin_ns, one.end_ns, one.line)))
        .chain(recording.states.iter().map(|one| (one.begin_ns, one.end_ns, one.line)))
        .chain(recording.deliveries.iter().map(|one| (one.begin_ns, one.end_ns, one.line)));
    let polls = recording.workers.iter().flat_map(|worker| &worker.polls);
    let batches = recording.lanes.iter().flat_map(|lane| &lane.batches);
    let flows = recording.flows.iter();
    let arrows = flows.flat_map(|flow| flow.submitted.iter().chain(&flow.batched).chain(&flow.resumed));
    let all = slots
        .chain(polls.map(|one| (one.begin_ns, one.end_ns, one.line)))
        .chain(batches.map(|one| (one.begin_ns, one.end_ns, one.line)))
        .chain(arrows.map(|end| (end.at_ns, end.at_ns, end.line)));
    for (begin, end, line) in all {
        if begin < 0 {
            problems.add(|| format!("line {line} is at {}, before the origin", us(begin)));
        } else if end < begin {
            problems.add(|| format!("line {line} ends {} before it begins", us(begin - end)));
        }
    }
    for counter in &recording.counters {
        if let Some(&(at, _)) = counter.samples.first().filter(|(at, _)| *at < 0) {
            problems.add(|| format!("the counter `{}` is at {}, before the origin", counter.name, us(at)));
        }
    }
}

/// What lies within what: calls and deliveries within events, states within calls.
fn check_children(recording: &Recording, problems: &mut Problems) {
    problems.kind("outside");
    let Recording { events, calls, states, deliveries, .. } = recording;
    for event in events {
        let is_outside = |track: usize, begin: i64, end: i64| {
            let apart = end <= event.begin_ns || begin >= event.end_ns;
            // On the event's own track this is an overlap.
            let beyond = begin < event.begin_ns || end > event.end_ns;
            beyond && (apart || track != event.track)
        };
        for call in &calls[event.calls.clone()] {
            if is_outside(call.track, call.begin_ns, call.end_ns) {
                problems.add(|| format!("{} is not within the event", describe(recording, call)));
            }
        }
        for delivery in &deliveries[event.deliveries.clone()] {
            if is_outside(delivery.track, delivery.begin_ns, delivery.end_ns) {
                let (id, line) = (event.id, delivery.line);
                problems.add(|| format!("the delivery of event {id} (line {line}) is not within the event"));
            }
        }
    }
    if !recording.is_whole() {
        return;
    }
    let owned = events.iter().map(|event| event.calls.end).max().unwrap_or(0);
    for call in &calls[owned..] {
        problems.add(|| format!("{} is of no event", describe(recording, call)));
    }
    let owned = events.iter().map(|event| event.deliveries.end).max().unwrap_or(0);
    for delivery in &deliveries[owned..] {
        problems.add(|| {
            format!("the delivery of event {} (line {}) is of no event", delivery.event, delivery.line)
        });
    }
    let owned = calls.iter().map(|call| call.states.end).max().unwrap_or(0);
    for state in &states[owned..] {
        let track = &recording.slots[state.track].name;
        problems.add(|| format!("{track}: `{}` (line {}) is of no algorithm", state.kind.name(), state.line));
    }
}

fn check_partition(recording: &Recording, problems: &mut Problems) {
    problems.kind("states");
    for call in &recording.calls {
        let mut until = call.begin_ns;
        for state in &recording.states[call.states.clone()] {
            let name = state.kind.name();
            if state.begin_ns > until {
                let gap = state.begin_ns - until;
                problems.add(|| {
                    format!("{} has no state for {} before `{name}`", describe(recording, call), us(gap))
                });
            } else if state.begin_ns < until && state.end_ns <= until {
                problems.add(|| format!("{} has another state during `{name}`", describe(recording, call)));
            }
            // Where states overlap without lying within each other, that was said.
            until = until.max(state.end_ns);
        }
        if until < call.end_ns {
            let gap = call.end_ns - until;
            problems.add(|| format!("{} has no state for {} at its end", describe(recording, call), us(gap)));
        }
    }
}

fn check_counters(recording: &Recording, problems: &mut Problems) {
    problems.kind("counters");
    let mut wanted = BTreeSet::new();
    if !recording.events.is_empty() {
        wanted.insert("events in flight".to_owned());
    }
    for lane in recording.lanes.iter().filter(|lane| !lane.batches.is_empty()) {
        wanted.insert(format!("occupancy {}", lane.device));
        for batch in &lane.batches {
            let batcher = recording.name(batch.batcher);
            wanted.insert(format!("queue depth {batcher}"));
            wanted.insert(format!("batch size {batcher}"));
        }
    }
    for name in wanted {
        if recording.counter(&name).is_none() {
            problems.add(|| format!("there is no `{name}`"));
        }
    }
}

fn describe(recording: &Recording, call: &Call) -> String {
    let Track { name, .. } = &recording.slots[call.track];
    format!("{name}: `{}` of event {} (line {})", recording.name(call.algorithm), call.event, call.line)
}
