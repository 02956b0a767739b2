//! Arrows: a request, from the poll that made it, through its batch, to the poll that went on.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::check::{Problems, us};
use super::recording::{Batch, Flow, FlowEnd, Lane, Recording};

pub(super) fn check_flows(recording: &Recording, problems: &mut Problems) {
    problems.kind("flow");
    let polls: HashMap<u64, Vec<(i64, i64)>> = recording
        .workers
        .iter()
        .map(|worker| {
            let polls = worker.polls.iter().map(|poll| (poll.begin_ns, poll.end_ns));
            (worker.track.tid, merged(polls))
        })
        .collect();
    let lanes: HashMap<u64, &Lane> = recording.lanes.iter().map(|lane| (lane.track.tid, lane)).collect();
    for flow in &recording.flows {
        check_flow(recording, flow, &polls, &lanes, problems);
    }
}

fn check_flow(
    recording: &Recording,
    flow: &Flow,
    polls: &HashMap<u64, Vec<(i64, i64)>>,
    lanes: &HashMap<u64, &Lane>,
    problems: &mut Problems,
) {
    let id = flow.id;
    let whole = recording.is_whole();
    for (ends, what) in [(&flow.submitted, "begins"), (&flow.resumed, "ends")] {
        if ends.len() > 1 {
            problems.add(|| {
                format!("request {id} {what} more than once (lines {} and {})", ends[0].line, ends[1].line)
            });
        }
        for end in ends {
            let is_within = end.pid == 1 && polls.get(&end.tid).is_some_and(|polls| within(polls, end.at_ns));
            if whole && !is_within {
                problems.add(|| format!("request {id} {what} outside of a poll (line {})", end.line));
            }
        }
    }
    if whole && flow.submitted.is_empty() {
        let line = flow.batched.iter().chain(&flow.resumed).map(|end| end.line).min().unwrap_or(0);
        problems.add(|| format!("request {id} does not begin (line {line})"));
    }
    let (submitted, resumed) = (flow.submitted.first(), flow.resumed.first());
    if let (Some(submitted), Some(resumed)) = (submitted, resumed)
        && resumed.at_ns < submitted.at_ns
    {
        problems.add(|| format!("request {id} ends before it begins (line {})", resumed.line));
    }
    for step in &flow.batched {
        let lane = lanes.get(&step.tid).filter(|_| step.pid == 3);
        let begin = submitted.map_or(i64::MIN, |end| end.at_ns);
        let end = resumed.map_or(i64::MAX, |end| end.at_ns);
        let Some(batch) = lane.and_then(|lane| batch_at(lane, step, begin..=end)) else {
            if whole {
                problems.add(|| format!("request {id} passes outside of a batch (line {})", step.line));
            }
            continue;
        };
        if let Some(early) = submitted.map(|end| end.at_ns - batch.begin_ns).filter(|ns| *ns > 0) {
            problems.add(|| {
                format!(
                    "batch {} (line {}) begins {} before its request {id} is made",
                    batch.id,
                    batch.line,
                    us(early)
                )
            });
        }
        if let Some(late) = resumed.map(|end| batch.end_ns - end.at_ns).filter(|ns| *ns > 0) {
            problems.add(|| {
                format!(
                    "batch {} (line {}) ends {} after its request {id} goes on",
                    batch.id,
                    batch.line,
                    us(late)
                )
            });
        }
    }
}

fn batch_at<'a>(lane: &'a Lane, step: &FlowEnd, window: RangeInclusive<i64>) -> Option<&'a Batch> {
    let begun = lane.batches.partition_point(|batch| batch.begin_ns <= step.at_ns);
    // At the time where one ends and the next begins, it may be either: the one that can be.
    let mut last = lane.batches[..begun].iter().rev().take(2).filter(|batch| batch.end_ns >= step.at_ns);
    let can_be = |batch: &&Batch| window.contains(&batch.begin_ns) && window.contains(&batch.end_ns);
    last.clone().find(can_be).or_else(|| last.next())
}

/// The times covered by intervals that come in the order of their begins.
fn merged(intervals: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for (begin, end) in intervals {
        match all.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => all.push((begin, end)),
        }
    }
    all
}

fn within(intervals: &[(i64, i64)], at: i64) -> bool {
    let begun = intervals.partition_point(|(begin, _)| *begin <= at);
    begun > 0 && intervals[begun - 1].1 >= at
}
