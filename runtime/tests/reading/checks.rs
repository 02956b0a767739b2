//! A sound file has no problems; one that is broken in one way has exactly that one.

use serde_json::{Value, json};

use crate::jobs::{OnDevice, computing, demanded_inside, two_events};
use crate::sample::{DEVICES, Sample, WORKERS, us};

#[track_caller]
fn finds(breaks: impl FnOnce(&mut Sample), expected: &str) {
    let mut job = two_events();
    breaks(&mut job);
    let problems = job.problems();
    assert!(
        problems.len() == 1 && problems[0].contains(expected),
        "expected `{expected}`, found {problems:#?}"
    );
}

fn set(record: &mut Value, begin: i64, end: i64) {
    record["ts"] = us(begin).into();
    record["dur"] = us(end - begin).into();
}

fn state(name: &str, event: u64) -> impl Fn(&Value) -> bool + '_ {
    move |record| record["cat"] == "state" && record["name"] == name && record["args"]["event"] == event
}

fn arrow(phase: &str, id: u64) -> impl Fn(&Value) -> bool + '_ {
    move |record| record["cat"] == "flow" && record["ph"] == phase && record["id"] == id
}

#[test]
fn a_sound_file_has_no_problems() {
    for job in [two_events(), computing(3, 5, 40, 1_000), demanded_inside()] {
        assert_eq!(job.problems(), Vec::<String>::new());
    }
}

#[test]
fn states_that_do_not_partition_a_life_are_found() {
    finds(|job| set(job.find(state("ready", 1)), 70_000, 79_000), "states: slot 0: `clusterize` of event 1");
    finds(
        |job| set(job.find(state("ready", 1)), 70_000, 79_000),
        "has no state for 1.000 µs before `running`",
    );
    finds(
        |job| set(job.find(state("queued in batch", 2)), 33_000, 40_000),
        "has no state for 1.000 µs before `queued",
    );
    let within =
        |job: &mut Sample| job.slice(2, 1000, "state", "ready", (50_000, 60_000), json!({"event": 1}));
    finds(within, "has another state during `ready`");
    let at_end = |job: &mut Sample| {
        job.records.retain(|record| !(state("running", 1)(record) && record["ts"] == 80.0));
    };
    finds(at_end, "has no state for 10.000 µs at its end");
}

#[test]
fn children_outside_of_their_parents_are_found() {
    finds(
        |job| job.call(1, "late", 1, 95_000, &[("running", 105_000)]),
        "outside: slot 0 lane 1: `late` of event 1",
    );
    finds(
        |job| job.call(1, "lost", 3, 95_000, &[("running", 96_000)]),
        "outside: slot 0 lane 1: `lost` of event 3",
    );
    finds(|job| job.delivery(0, "sinks", 1, (101_000, 102_000)), "outside: the delivery of event 1");
    let orphan =
        |job: &mut Sample| job.slice(2, 1001, "state", "ready", (50_000, 60_000), json!({"event": 1}));
    finds(orphan, "outside: slot 0 lane 1: `ready` (line");
}

#[test]
fn slices_that_overlap_are_found() {
    finds(|job| job.poll(0, "more", 1, (85_000, 95_000)), "overlap: worker-0: `clusterize` (line");
    finds(
        |job| set(job.find(state("queued in batch", 1)), 24_001, 41_000),
        "overlap: slot 0: `queued in batch`",
    );
    finds(|job| job.delivery(0, "sinks", 1, (98_000, 101_000)), "overlap: slot 0: `delivery`");
    finds(|job| job.batch(0, 2, 0, (50_000, 60_000), ("age", 1), 1), "overlap: emulated lane 0: `clue`");
    let late = |job: &mut Sample| {
        let is = |record: &Value| {
            record["name"] == "prepare" && record["args"]["event"] == 1 && record["pid"] == 2
        };
        let call = job.find(is).clone();
        job.records.retain(|record| !is(record));
        job.add(call);
    };
    finds(late, "are written in the wrong order, both at 2.000 µs");
}

#[test]
fn arrows_that_lead_nowhere_are_found() {
    finds(|job| job.records.retain(|record| !arrow("s", 1)(record)), "flow: request 1 does not begin");
    finds(|job| job.arrow("f", WORKERS, 101, 1, 90_000), "flow: request 1 ends more than once");
    finds(|job| job.find(arrow("t", 2))["ts"] = 44.0.into(), "flow: request 2 passes outside of a batch");
    finds(|job| job.find(arrow("f", 1))["ts"] = 75.0.into(), "flow: request 1 ends outside of a poll");
    finds(|job| job.find(arrow("s", 1))["tid"] = 102.into(), "flow: request 1 begins outside of a poll");
    // One whose waiter left, and one that was split: both are fine.
    let mut job = two_events();
    job.records.retain(|record| !arrow("f", 2)(record));
    job.arrow("t", DEVICES, 10, 1, 60_000);
    assert_eq!(job.problems(), Vec::<String>::new());
}

#[test]
fn batches_outside_of_the_time_of_their_requests_are_found() {
    let batch = |record: &Value| record["cat"] == "batch";
    finds(|job| set(job.find(batch), 31_800, 70_000), "begins 0.100 µs before its request 2 is made");
    finds(|job| set(job.find(batch), 45_000, 72_500), "ends 0.400 µs after its request 2 goes on");
}

#[test]
fn missing_counters_and_times_before_the_origin_are_found() {
    for name in ["events in flight", "queue depth clue", "batch size clue", "occupancy emulated"] {
        finds(
            |job| job.records.retain(|record| record["name"] != name),
            &format!("counters: there is no `{name}`"),
        );
    }
    let poll = |record: &Value| record["cat"] == "asynchrotron";
    finds(|job| job.find(poll)["ts"] = (-0.001).into(), "is at -0.001 µs, before the origin");
    let counter = |record: &Value| record["ph"] == "C";
    finds(
        |job| job.find(counter)["ts"] = (-1.0).into(),
        "time: the counter `events in flight` is at -1.000 µs",
    );
}

#[test]
fn a_file_that_is_not_whole_says_so_and_not_of_each_thing_that_is_missing() {
    let loss =
        json!({"ph": "i", "pid": 1, "ts": 1.0, "cat": "job", "name": "records lost", "args": {"lost": 3}});
    let lossy = |job: &mut Sample| {
        job.add(loss).records.retain(|record| !arrow("s", 1)(record) && !state("ready", 1)(record));
    };
    finds(lossy, "incomplete: 3 records were lost");
    finds(
        |job| job.records.retain(|record| record["name"] != "trace ends"),
        "incomplete: there is no record `trace ends`",
    );
}

#[test]
fn of_each_kind_only_the_first_problems_are_told() {
    let mut job = OnDevice { slots: 1, events: 100, held: 0, takes: 1_000, pause: 0, closed: "age" }.job();
    job.records.retain(|record| record["name"] != "on device");
    let problems = job.problems();
    let of_states: Vec<_> = problems.iter().filter(|problem| problem.starts_with("states: ")).collect();
    assert_eq!((of_states.len(), of_states[20].as_str()), (21, "states: and 80 more"));
}
