//! Slices of a track: each lies within another, or apart from it. Perfetto drops those that do not.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::check::{Problems, us};
use super::recording::{Name, Recording, StateKind, Track};

#[derive(Clone, Copy)]
struct Slice {
    begin: i64,
    end: i64,
    /// What lies within the other if they are the same: an event, an algorithm, a state.
    depth: u8,
    line: u32,
    label: Label,
}

#[derive(Clone, Copy)]
enum Label {
    Name(Name),
    Event(u64),
    State(StateKind),
    Delivery,
}

pub(super) fn check_nesting(recording: &Recording, problems: &mut Problems) {
    problems.kind("overlap");
    for worker in &recording.workers {
        let slices = worker.polls.iter().map(|poll| Slice {
            begin: poll.begin_ns,
            end: poll.end_ns,
            depth: 0,
            line: poll.line,
            label: Label::Name(poll.algorithm),
        });
        check_track(recording, &worker.track, slices.collect(), problems);
    }
    for lane in &recording.lanes {
        let slices = lane.batches.iter().map(|batch| Slice {
            begin: batch.begin_ns,
            end: batch.end_ns,
            depth: 0,
            line: batch.line,
            label: Label::Name(batch.batcher),
        });
        // Batches do not lie within each other, either.
        let slices: Vec<Slice> = slices.collect();
        for pair in slices.windows(2) {
            if pair[1].begin < pair[0].end && pair[1].end <= pair[0].end {
                problems.add(|| said(recording, &lane.track, &pair[0], &pair[1], "overlap"));
            }
        }
        check_track(recording, &lane.track, slices, problems);
    }
    for (track, slices) in of_slots(recording) {
        check_track(recording, &recording.slots[track], slices, problems);
    }
}

fn of_slots(recording: &Recording) -> BTreeMap<usize, Vec<Slice>> {
    let mut all: BTreeMap<usize, Vec<Slice>> = BTreeMap::new();
    let mut add = |track: usize, begin: i64, end: i64, depth: u8, line: u32, label: Label| {
        all.entry(track).or_default().push(Slice { begin, end, depth, line, label });
    };
    for event in &recording.events {
        add(event.track, event.begin_ns, event.end_ns, 0, event.line, Label::Event(event.id));
    }
    for call in &recording.calls {
        add(call.track, call.begin_ns, call.end_ns, 1, call.line, Label::Name(call.algorithm));
    }
    for delivery in &recording.deliveries {
        add(delivery.track, delivery.begin_ns, delivery.end_ns, 1, delivery.line, Label::Delivery);
    }
    for state in &recording.states {
        add(state.track, state.begin_ns, state.end_ns, 2, state.line, Label::State(state.kind));
    }
    all
}

fn check_track(recording: &Recording, track: &Track, mut slices: Vec<Slice>, problems: &mut Problems) {
    slices.sort_by_key(|slice| (slice.begin, Reverse(slice.end), slice.depth, slice.line));
    let mut open: Vec<Slice> = Vec::new();
    for slice in slices {
        while open.last().is_some_and(|outer| outer.end <= slice.begin) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            if slice.end > outer.end {
                problems.add(|| said(recording, track, outer, &slice, "overlap"));
                // Told once: what follows is compared with what was sound.
                continue;
            }
            let begin_together = slice.begin == outer.begin && slice.end > slice.begin;
            if begin_together && slice.line < outer.line {
                problems
                    .add(|| said(recording, track, outer, &slice, "are written in the wrong order, both"));
            }
        }
        open.push(slice);
    }
}

fn said(recording: &Recording, track: &Track, outer: &Slice, slice: &Slice, what: &str) -> String {
    let label = |slice: &Slice| match slice.label {
        Label::Name(name) => recording.name(name).to_owned(),
        Label::Event(id) => format!("event {id}"),
        Label::State(kind) => kind.name().to_owned(),
        Label::Delivery => "delivery".to_owned(),
    };
    let (first, second) = (label(outer), label(slice));
    let (line, other, at) = (outer.line, slice.line, us(slice.begin));
    format!("{}: `{first}` (line {line}) and `{second}` (line {other}) {what} at {at}", track.name)
}
