//! [`OpenEvent`]: what is known of an event in flight, and its slices when it is over.

use std::collections::BTreeMap;

use super::assembler::Sheet;
use super::item::{Item, Step, Track, Value};
use super::life::{Boarding, Call, PollTimes, Request};
use super::record::{EventEnds, JobInfo, Outcome, Poll};
use super::recorder::Note;

/// Polls of one call that are kept; what an algorithm does beyond is shown as one poll from the last of them to its end.
const POLLS_KEPT: usize = 10_000;

pub(super) struct OpenEvent {
    pub(super) slot: u32,
    pub(super) event: u64,
    begin: u64,
    calls: Vec<Call>,
    /// Of calls that have not ended: the node, and its place among the calls.
    open: Vec<(u32, usize)>,
    requests: Vec<Request>,
    /// Ends of arrows whose polls have not ended.
    arrows: Vec<Arrow>,
    /// The lane of each call.
    lanes: Vec<usize>,
}

/// The end of an arrow in a poll of an algorithm.
#[derive(Clone, Copy)]
pub(super) struct Arrow {
    node: u32,
    pub(super) flow: u64,
    pub(super) at: u64,
    pub(super) step: Step,
}

impl OpenEvent {
    pub(super) fn new(slot: u32, event: u64, begin: u64) -> Self {
        let (calls, open, requests, arrows, lanes) = Default::default();
        OpenEvent { slot, event, begin, calls, open, requests, arrows, lanes }
    }

    /// Adds a poll; gives the arrows that leave or reach it.
    pub(super) fn poll(&mut self, poll: &Poll) -> Vec<Arrow> {
        let known = self.open.iter().position(|(node, _)| *node == poll.node);
        let place = match known {
            // An event that is tried again begins its algorithms anew.
            Some(place) if poll.paused.is_some() => place,
            other => {
                other.map(|place| self.open.swap_remove(place));
                let (node, polls, failed) = (poll.node, Vec::new(), false);
                self.calls.push(Call { node, polls, abandoned: None, failed });
                self.open.push((poll.node, self.calls.len() - 1));
                self.open.len() - 1
            }
        };
        let call = &mut self.calls[self.open[place].1];
        let Poll { woken, begin, end, .. } = *poll;
        let paused = poll.paused.unwrap_or(begin);
        let is_full = call.polls.len() == POLLS_KEPT;
        match call.polls.last_mut() {
            Some(last) if is_full => last.end = end,
            _ => call.polls.push(PollTimes { paused, woken, begin, end }),
        }
        if poll.outcome != Outcome::Pending {
            call.failed = poll.outcome == Outcome::Failed;
            self.open.swap_remove(place);
        }
        let (mut here, others): (Vec<Arrow>, _) =
            std::mem::take(&mut self.arrows).into_iter().partition(|arrow| arrow.node == poll.node);
        self.arrows = others;
        // Of what was submitted elsewhere (in a task of the user's, say) nothing leads here.
        here.retain(|arrow| (poll.begin..=poll.end).contains(&arrow.at));
        let (begin, requests) = (poll.begin, &self.requests);
        here.retain_mut(|arrow| {
            if arrow.step == Step::Start {
                return true;
            }
            let request = requests.iter().rev().find(|request| request.flow == arrow.flow);
            let Some(last) = request.and_then(|request| request.boardings.last()) else { return true };
            // At the very edge of a slice it might miss it; but it cannot come before its batch has ended.
            arrow.at = begin.max(last.end).min(arrow.at).midpoint(arrow.at);
            // Whoever ran while its batch did has not waited for it: Perfetto would turn the arrow around.
            begin > last.begin
        });
        here
    }

    pub(super) fn abandon(&mut self, node: u32, at: u64) {
        if let Some(place) = self.open.iter().position(|(other, _)| *other == node) {
            let (_, call) = self.open.swap_remove(place);
            self.calls[call].abandoned = Some(at);
        }
    }

    pub(super) fn submit(&mut self, request: Request) {
        let Request { node, flow, pushed: at, .. } = request;
        self.arrows.push(Arrow { node, flow, at, step: Step::Start });
        self.requests.push(request);
    }

    pub(super) fn board(&mut self, flow: u64, boarding: Boarding) {
        // The latest are the likeliest.
        if let Some(request) = self.requests.iter_mut().rev().find(|request| request.flow == flow) {
            request.boardings.push(boarding);
        }
    }

    pub(super) fn resume(&mut self, node: u32, flow: u64, at: u64, ends: &BTreeMap<u64, u64>) {
        if let Some(request) = self.requests.iter_mut().rev().find(|request| request.flow == flow) {
            request.answered = at;
            land(request, ends);
        }
        self.arrows.push(Arrow { node, flow, at, step: Step::End });
    }

    /// Looks up when the batches of requests ended, as far as they have.
    pub(super) fn land(&mut self, ends: &BTreeMap<u64, u64>) {
        self.requests.iter_mut().for_each(|request| land(request, ends));
    }

    /// Gives each call a lane on which it overlaps no other, the lowest there is. Says how many lanes that takes. Calls that
    /// have not ended have come to `until`.
    pub(super) fn lay_out(&mut self, until: u64) -> usize {
        for (_, call) in self.open.drain(..) {
            self.calls[call].abandoned = Some(until);
        }
        self.calls.sort_by_key(Call::begin);
        let mut ends: Vec<u64> = Vec::new();
        self.lanes.clear();
        for call in &self.calls {
            let free = ends.iter().position(|&end| end <= call.begin());
            let lane = free.unwrap_or_else(|| {
                ends.push(0);
                ends.len() - 1
            });
            ends[lane] = call.end();
            self.lanes.push(lane);
        }
        ends.len()
    }

    /// Writes all slices of the event. Without an end it is unfinished, and has lived `until` now.
    pub(super) fn write(
        &self,
        job: &JobInfo,
        end: Option<&EventEnds>,
        note: Option<&Note>,
        until: u64,
        track: &dyn Fn(usize) -> Track,
        sheet: &mut dyn Sheet,
    ) {
        let last = self.calls.iter().map(Call::end).max().unwrap_or(self.begin);
        let event_end = end.map_or(until, |end| end.at).max(last).max(self.begin);
        let event = ("event", Value::Count(self.event));
        let mut arguments = vec![event, ("slot", Value::Count(self.slot.into()))];
        let cause = note.map(|note| format!("{}: {}", note.algorithm, note.cause));
        match end {
            None => arguments.push(("unfinished", Value::Flag(true))),
            Some(end) if end.failed => {
                arguments.push(("failed", Value::Text(cause.as_deref().unwrap_or("cause not recorded"))));
            }
            Some(_) => {}
        }
        sheet.put(&Item::Slice {
            track: track(0),
            begin: self.begin,
            end: event_end,
            category: "event",
            name: "event",
            number: Some(self.event),
            arguments: &arguments,
        });
        for (call, &lane) in self.calls.iter().zip(&self.lanes) {
            self.write_call(job, call, track(lane), sheet);
        }
        if let Some(end) = end {
            let on_first_lane = self.calls.iter().zip(&self.lanes).filter(|(_, lane)| **lane == 0);
            let over = on_first_lane.map(|(call, _)| call.end()).max().unwrap_or(0).max(end.over);
            let turn = end.turn.max(over);
            for (name, begin, end) in [("awaiting turn", over, turn), ("sinks", turn, end.at)] {
                if end > begin {
                    let arguments = &[event];
                    let (track, category, number) = (track(0), "delivery", None);
                    sheet.put(&Item::Slice { track, begin, end, category, name, number, arguments });
                }
            }
        }
    }

    fn write_call(&self, job: &JobInfo, call: &Call, track: Track, sheet: &mut dyn Sheet) {
        let event = ("event", Value::Count(self.event));
        let mut arguments = vec![event, ("polls", Value::Count(call.polls.len() as u64))];
        let flags = [("failed", call.failed), ("abandoned", call.abandoned.is_some())];
        arguments
            .extend(flags.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| (name, Value::Flag(true))));
        let name = job.nodes.get(call.node as usize).map_or("", |name| &**name);
        let (begin, end, number) = (call.begin(), call.end(), None);
        let arguments = &*arguments;
        sheet.put(&Item::Slice { track, begin, end, category: "algorithm", name, number, arguments });
        for state in call.states(&self.requests) {
            let mut arguments = vec![event];
            if let Some(request) = state.request.and_then(|request| self.requests.get(request)) {
                if let Some(batcher) = job.batchers.get(request.batcher as usize) {
                    arguments.push(("batcher", Value::Text(&batcher.name)));
                }
                arguments.push(("rows", Value::Count(request.rows.into())));
                let on_board = request.boardings.iter().rfind(|boarding| boarding.begin <= state.begin);
                arguments.extend(on_board.map(|boarding| ("batch", Value::Count(boarding.batch))));
            }
            let (begin, end, name, arguments) = (state.begin, state.end, state.kind.as_str(), &*arguments);
            sheet.put(&Item::Slice { track, begin, end, category: "state", name, number, arguments });
        }
    }
}

fn land(request: &mut Request, ends: &BTreeMap<u64, u64>) {
    for boarding in &mut request.boardings {
        if let Some(&end) = ends.get(&boarding.batch) {
            boarding.end = boarding.end.min(end);
        }
    }
}
