//! Jobs that are limited by one thing are told that thing, and nothing that would not help.

use serde_json::json;

use crate::jobs::{OnDevice, computing};
use crate::sample::Sample;

fn advice(job: &Sample) -> Vec<String> {
    job.analysis().advice.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_first(job: &Sample, first: &str, parts: &[&str], never: &[&str]) {
    let advice = advice(job);
    assert!(
        advice.first().is_some_and(|advice| advice.contains(first)),
        "`{first}` is not the first of {advice:#?}"
    );
    for part in parts {
        assert!(advice.iter().any(|advice| advice.contains(part)), "no `{part}` in {advice:#?}");
    }
    for part in never {
        assert!(!advice.iter().any(|advice| advice.contains(part)), "`{part}` in {advice:#?}");
    }
}

#[test]
fn busy_workers_are_the_limit() {
    assert_first(
        &computing(2, 16, 400, 20_000),
        "algorithm `find_pulses` runs 100.0 % of all worker time in use, and workers are 100.0 % busy",
        &["waiting for a worker, while workers are 100.0 % busy: more workers"],
        &["more slots", "source", "tiny", "lane"],
    );
}

#[test]
fn slots_are_the_limit_where_workers_are_idle() {
    assert_first(
        &computing(4, 1, 100, 20_000),
        "algorithm `find_pulses` runs (20.0µs a call)",
        &["the 1 slots are all in use (100.0 %) while workers are 75.0 % idle: more slots"],
        &["more workers", "faster step", "source"],
    );
}

#[test]
fn a_device_that_is_full_is_the_limit_whatever_else_is_idle() {
    assert_first(
        &OnDevice { slots: 8, events: 200, held: 0, takes: 50_000, pause: 500, closed: "lane free" }.job(),
        "the lanes of `emulated` are 99.0 % occupied",
        &["the device limits: more lanes, or larger batches (mean batch 1.0)"],
        &["more slots", "more workers", "another policy"],
    );
    assert_first(
        &OnDevice { slots: 8, events: 200, held: 0, takes: 50_000, pause: 500, closed: "full" }.job(),
        "more lanes, or a higher limit of the batch size (100.0 % of batches are closed for `full`, mean batch 1.0)",
        &[],
        &["more slots"],
    );
}

#[test]
fn batches_that_are_held_for_long_are_the_limit() {
    assert_first(
        &OnDevice { slots: 4, events: 100, held: 80_000, takes: 10_000, pause: 0, closed: "age" }.job(),
        "of event time is queued in batch of `clue`, with the lanes of `emulated` 43.8 % occupied (100.0 % of batches are \
         closed for `age`): a lower age limit, or another policy",
        &["more slots"],
        &["more lanes", "more workers"],
    );
}

#[test]
fn time_on_an_idle_device_is_hidden_by_more_slots() {
    let job = OnDevice { slots: 1, events: 100, held: 0, takes: 60_000, pause: 0, closed: "nobody else" };
    let mut job = job.job();
    job.name_track(3, 11, "emulated lane 1");
    assert_first(&job, "more slots", &["lanes 49.8 % occupied at most"], &["faster step", "more lanes"]);
    // Without the number of slots there is no telling; the device is slow in any case.
    job.find(|record| record["name"] == "trace begins")["args"]["slots"] = 0.into();
    assert_first(&job, "is spent on the device by `clue` (60.0µs for a batch of 1.0)", &[], &["more slots"]);
}

#[test]
fn sinks_and_order_are_told_apart() {
    let delivered = |turn: i64, sinks: i64, apart: i64| {
        let mut job = Sample::new(2, 2);
        for event in 0..50_u64 {
            let begin = event as i64 * apart;
            let slot = event % 2;
            job.event(slot, event, (begin, begin + 10_000 + turn + sinks));
            job.call(10 * slot, "assess", event, begin, &[("running", begin + 10_000)]);
            job.poll(slot, "assess", event, (begin, begin + 10_000));
            job.delivery(slot, "awaiting turn", event, (begin + 10_000, begin + 10_000 + turn));
            job.delivery(slot, "sinks", event, (begin + 10_000 + turn, begin + 10_000 + turn + sinks));
        }
        job.end(50);
        job
    };
    let full = delivered(0, 50_000, 50_000);
    assert_first(&full, "the sinks are busy for 99.6 % of the job", &[], &["more slots", "unordered"]);
    let ordered = delivered(80_000, 1_000, 60_000);
    assert_first(
        &ordered,
        "87.9 % of event time is spent waiting for earlier events",
        &[],
        &["faster sinks"],
    );
}

#[test]
fn a_slow_source_is_told() {
    let mut job = Sample::new(2, 4);
    for event in 0..50_u64 {
        let begin = event as i64 * 100_000;
        job.event(0, event, (begin, begin + 10_000));
        job.call(0, "assess", event, begin, &[("running", begin + 10_000)]);
        job.poll(0, "assess", event, (begin, begin + 10_000));
    }
    job.end(50);
    let text =
        "only 0.1 of 4 slots hold an event on average, and workers are 5.1 % busy: the source is too slow";
    assert!(advice(&job).iter().any(|advice| advice == text), "{:#?}", advice(&job));
}

/// Events one after the other, each with one call that goes through these states, and polled while it runs.
fn one_by_one(threads: u64, events: u64, states: &[(&str, i64)], life: i64) -> Sample {
    let mut job = Sample::new(threads, 4);
    job.name_track(3, 10, "emulated lane 0");
    for event in 0..events {
        let begin = event as i64 * life;
        let states: Vec<(&str, i64)> = states.iter().map(|&(state, until)| (state, begin + until)).collect();
        let mut from = begin;
        for &(state, until) in &states {
            if state == "running" {
                job.poll(0, "clusterize", event, (from, until));
            }
            from = until;
        }
        job.event(0, event, (begin, from));
        job.call(0, "clusterize", event, begin, &states);
    }
    job.end(events);
    job
}

#[test]
fn that_workers_come_late_is_told_with_why() {
    let wakes = one_by_one(2, 10, &[("running", 5_000), ("ready", 15_000), ("running", 20_000)], 40_000);
    assert_first(
        &wakes,
        "50.0 % of event time is spent ready",
        &[
            "although workers are only 13.2 % busy: 10.0µs each time, about what waking a thread costs: fewer suspensions",
        ],
        &["more slots", "more workers"],
    );
    let long = one_by_one(1, 10, &[("running", 50_000), ("ready", 130_000), ("running", 140_000)], 200_000);
    assert_first(
        &long,
        "long polls are in the way (of `clusterize`, up to 50.0µs): split them",
        &[],
        &["more workers"],
    );
    let late = one_by_one(1, 10, &[("running", 5_000), ("ready", 90_000), ("running", 95_000)], 200_000);
    assert_first(
        &late,
        "workers come late, 85.0µs each time, and not because of long polls",
        &[],
        &["more workers"],
    );
    let mut burst = late.clone();
    burst.batch(0, 1, 8, (5_000, 6_000), ("age", 5_000), 0);
    assert_first(&burst, "all at once when a batch ends (it has 8.0 requests)", &[], &["long polls"]);
}

#[test]
fn a_lane_that_is_waited_for_at_times_and_a_host_that_is_late_are_told() {
    let states = [("running", 5_000), ("awaiting lane", 40_000), ("on device", 50_000), ("running", 51_000)];
    let mut waits = one_by_one(2, 10, &states, 60_000);
    for event in 0..10_i64 {
        let at = 60_000 * event;
        waits.batch(0, event as u64, 1, (at + 40_000, at + 50_000), ("best size", at + 40_000), 0);
    }
    let text =
        "68.6 % of event time a batch of `clue` awaits a lane of `emulated`, though they are 16.9 % occupied";
    assert_first(&waits, text, &[], &["host is not ready"]);

    let mut late = one_by_one(2, 10, &[("running", 5_000), ("on device", 55_000)], 60_000);
    for event in 0..10_i64 {
        let at = 60_000 * event;
        late.batch(0, event as u64, 1, (at + 15_000, at + 55_000), ("best size", at + 5_000), 0);
    }
    let text =
        "the lanes of `emulated` are idle for 15.1 % of the time with a batch that is closed but not begun";
    assert_first(&late, "is spent on the device by `clue`", &[text], &["more slots"]);
}

#[test]
fn suspensions_tiny_polls_and_failures_are_told() {
    let mut job = one_by_one(1, 40, &[("running", 1_000), ("suspended", 9_000), ("running", 10_000)], 10_000);
    let parts = [
        "20.0 % of event time algorithm `clusterize` runs (2.0µs a call)",
        "100.0 % of polls are tiny (less than 2 µs), together 20.0 % of the time of all workers",
    ];
    let suspended = "80.0 % of event time is spent suspended, mostly in `clusterize`";
    assert_first(&job, suspended, &parts, &["failed", "lane"]);
    for event in 0..10 {
        let is = |record: &serde_json::Value| record["cat"] == "event" && record["args"]["event"] == event;
        job.find(is)["args"]["failed"] = "clusterize: a cause".into();
    }
    assert_first(&job, suspended, &["25.0 % of the time of events went into 10 that failed (of 40)"], &[]);
}

#[test]
fn nothing_is_said_of_workers_where_the_file_does_not_tell() {
    for (key, value) in [("clock", json!("simulated")), ("every", json!(10))] {
        let mut job = computing(4, 1, 100, 20_000);
        job.find(|record| record["name"] == "trace begins")["args"][key] = value;
        let advice = advice(&job);
        assert!(
            advice.iter().all(|advice| !advice.contains("idle") && !advice.contains("busy")),
            "{advice:#?}"
        );
    }
    let mut job = computing(4, 1, 100, 20_000);
    job.find(|record| record["name"] == "trace begins")["args"]["window_length_s"] = 0.1.into();
    assert!(!advice(&job).iter().any(|advice| advice.contains("slots")), "{:#?}", advice(&job));
    assert_eq!(advice(Sample::new(2, 2).end(0)), Vec::<String>::new(), "nor of an empty job");
}
