//! [`CriticalPath`]: what bounded an event at each time of its life.
//!
//! The walk goes from the end of the event back to its begin. What ended last is what the event ended with; before that,
//! whatever ended when this began: an algorithm's life begins when the last of its inputs is there. So the walk goes along
//! one algorithm's states, then on to the algorithm that it had waited for. An algorithm that was suspended until another's
//! product was there (`ctx.get`) hands over to that one, and is taken up again where the other began.
//!
//! The segments partition the event's life: each nanosecond is somebody's, if only `nothing recorded`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::events::completed;
use super::intervals::share;
use super::percentiles::rank;
use super::recording::{DeliveryKind, Event, Name, Recording, State, StateKind};

/// What bounded an event at each time of its life, in the order of time. The segments' durations sum to the life.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CriticalPath {
    /// The event's number.
    pub event: u64,
    /// From when its slot took it.
    pub begin_ns: i64,
    /// Until the slot was free for the next.
    pub life_ns: i64,
    /// Without a break.
    pub segments: Vec<Segment>,
}

/// A part of a critical path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Segment {
    pub step: Step,
    pub duration_ns: i64,
    /// Of the event's life.
    pub share: f64,
}

/// What an event can be bounded by: an algorithm in a state, its delivery, or nothing that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[allow(missing_docs)]
pub struct Step {
    /// `None` of a delivery, and of what was not recorded.
    pub algorithm: Option<String>,
    pub what: &'static str,
    pub batcher: Option<String>,
}

/// How much of the time of all completed events a step bounded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct PathShare {
    pub step: Step,
    pub total_ns: i64,
    /// Of the lives of all completed events.
    pub share: f64,
}

/// The same as a [`Step`], small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bound {
    Algorithm(Name, StateKind, Option<Name>),
    Delivery(DeliveryKind),
    Nothing,
}

/// Two things that are noted one after the other by the same thread.
const AT_ONCE_NS: i64 = 1_000;
/// The end of an algorithm, and that its consumer was woken by it.
const WAKING_NS: i64 = 5_000;

impl CriticalPath {
    /// Of the slowest events, the slowest first, and of the median event.
    pub(super) fn of_some(
        recording: &Recording,
        slowest: usize,
    ) -> (Vec<CriticalPath>, Option<CriticalPath>) {
        let mut events: Vec<&Event> = completed(recording).map(|(_, event)| event).collect();
        events.sort_by_key(|event| (event.life_ns(), event.begin_ns, event.id));
        let median = rank(events.len(), 50).map(|index| Self::of(recording, events[index]));
        let slowest = events.iter().rev().take(slowest).map(|event| Self::of(recording, event));
        (slowest.collect(), median)
    }

    fn of(recording: &Recording, event: &Event) -> CriticalPath {
        let life_ns = event.life_ns();
        let segments = walk(recording, event).into_iter().map(|(bound, duration_ns)| Segment {
            step: bound.step(recording),
            duration_ns,
            share: share(duration_ns, life_ns),
        });
        CriticalPath { event: event.id, begin_ns: event.begin_ns, life_ns, segments: segments.collect() }
    }
}

/// Of all completed events together, the largest part first.
pub(super) fn event_time(recording: &Recording) -> Vec<(Bound, i64)> {
    let mut totals: BTreeMap<Bound, i64> = BTreeMap::new();
    for (_, event) in completed(recording) {
        for (bound, duration) in walk(recording, event) {
            *totals.entry(bound).or_default() += duration;
        }
    }
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_cached_key(|(bound, total)| (std::cmp::Reverse(*total), bound.step(recording)));
    totals
}

impl Bound {
    pub(super) fn step(self, recording: &Recording) -> Step {
        let text = |name: Name| Some(recording.name(name).to_owned());
        match self {
            Bound::Algorithm(name, kind, batcher) => {
                Step { algorithm: text(name), what: kind.name(), batcher: batcher.and_then(text) }
            }
            Bound::Delivery(kind) => Step { algorithm: None, what: kind.name(), batcher: None },
            Bound::Nothing => Step { algorithm: None, what: "nothing recorded", batcher: None },
        }
    }
}

impl DeliveryKind {
    fn name(self) -> &'static str {
        match self {
            DeliveryKind::AwaitingTurn => "delivery: awaiting turn",
            DeliveryKind::Sinks => "delivery: sinks",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.algorithm {
            Some(algorithm) => write!(f, "{algorithm}: {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

/// The segments of an event, in the order of time.
fn walk(recording: &Recording, event: &Event) -> Vec<(Bound, i64)> {
    let mut walk = Walk {
        recording,
        begin: event.begin_ns,
        now: event.end_ns,
        parts: Parts::of(recording, event),
        waiting: Vec::new(),
        segments: Vec::new(),
    };
    while walk.now > walk.begin {
        // Those whose lives are used up are done with.
        while walk.waiting.last().is_some_and(|&call| recording.calls[call].begin_ns >= walk.now) {
            walk.waiting.pop();
        }
        match walk.waiting.last() {
            Some(&call) => walk.along(call),
            None => walk.find(),
        }
    }
    walk.segments.reverse();
    walk.segments
}

struct Walk<'a> {
    recording: &'a Recording,
    begin: i64,
    /// How far back it is.
    now: i64,
    parts: Parts,
    /// The call that it is in, as the last, and those that had been suspended for it.
    waiting: Vec<usize>,
    segments: Vec<(Bound, i64)>,
}

impl Walk<'_> {
    fn back_to(&mut self, time: i64, bound: Bound) {
        let time = time.clamp(self.begin, self.now);
        let duration = self.now - time;
        match self.segments.last_mut() {
            Some((last, sum)) if *last == bound => *sum += duration,
            _ if duration > 0 => self.segments.push((bound, duration)),
            _ => {}
        }
        self.now = time;
    }

    /// One state back in the life of a call, which began before now.
    fn along(&mut self, index: usize) {
        let call = &self.recording.calls[index];
        let states = &self.recording.states[call.states.clone()];
        let Some(state) = states.iter().rev().find(|state| state.begin_ns < self.now) else {
            return self.back_to(call.begin_ns, Bound::Nothing);
        };
        if state.end_ns < self.now {
            return self.back_to(state.end_ns, Bound::Nothing);
        }
        // A call is as ready after a batch as after anything else.
        let waits = matches!(state.kind, StateKind::Queued | StateKind::AwaitingLane | StateKind::OnDevice);
        let bound = Bound::Algorithm(call.algorithm, state.kind, state.batcher.filter(|_| waits));
        if let Some(producer) = self.producer(state) {
            self.back_to(self.recording.calls[producer].end_ns, bound);
            self.waiting.push(producer);
            return;
        }
        self.back_to(state.begin_ns.max(call.begin_ns), bound);
    }

    /// The call that a suspended one waited for: it ended just now.
    fn producer(&self, state: &State) -> Option<usize> {
        if state.kind != StateKind::Suspended {
            return None;
        }
        let calls = &self.recording.calls;
        let ended =
            self.parts.ended(self.now).take_while(|part| part.end > state.begin_ns.max(self.now - WAKING_NS));
        let mut calls_ended = ended.filter_map(|part| part.call);
        calls_ended.find(|&call| calls[call].begin_ns < self.now && !self.waiting.contains(&call))
    }

    /// On to what ended when the last began.
    fn find(&mut self) {
        let is_before = |part: &&Part| part.begin < self.now && part.end > self.begin;
        let earlier = self.parts.ended(self.now).find(is_before);
        let later = self.parts.ended_within(self.now, self.now + AT_ONCE_NS).find(is_before);
        // What ended a little later counts only if nothing ended just then.
        let part = match (earlier, later) {
            (Some(earlier), Some(later)) if self.now - earlier.end > AT_ONCE_NS => later,
            (Some(part), _) | (None, Some(part)) => part,
            (None, None) => return self.back_to(self.begin, Bound::Nothing),
        };
        let Part { begin, end, call, delivery } = *part;
        self.back_to(end, Bound::Nothing);
        match (call, delivery) {
            (Some(call), _) => self.waiting.push(call),
            (None, Some(kind)) => self.back_to(begin, Bound::Delivery(kind)),
            (None, None) => {}
        }
    }
}

/// A call or a delivery.
struct Part {
    begin: i64,
    end: i64,
    call: Option<usize>,
    delivery: Option<DeliveryKind>,
}

/// All of an event, by their ends.
struct Parts(Vec<Part>);

impl Parts {
    fn of(recording: &Recording, event: &Event) -> Self {
        let calls = event.calls.clone().map(|index| {
            let call = &recording.calls[index];
            Part { begin: call.begin_ns, end: call.end_ns, call: Some(index), delivery: None }
        });
        let deliveries = recording.deliveries[event.deliveries.clone()].iter().map(|delivery| Part {
            begin: delivery.begin_ns,
            end: delivery.end_ns,
            call: None,
            delivery: Some(delivery.kind),
        });
        let mut parts: Vec<Part> = calls.chain(deliveries).filter(|part| part.end > part.begin).collect();
        parts.sort_by_key(|part| (part.end, part.begin));
        Parts(parts)
    }

    /// Those that had ended, the last one first.
    fn ended(&self, by: i64) -> impl Iterator<Item = &Part> {
        self.0[..self.0.partition_point(|part| part.end <= by)].iter().rev()
    }

    /// Those that ended after a time and not after another, the first one first.
    fn ended_within(&self, after: i64, by: i64) -> impl Iterator<Item = &Part> {
        let begun = self.0.partition_point(|part| part.end <= after);
        self.0[begun..].iter().take_while(move |part| part.end <= by)
    }
}
