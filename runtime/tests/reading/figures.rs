//! Exact figures of small files.

use std::collections::BTreeMap;

use asynchrotron::timeline::reading::{Analysis, CriticalPath, Difference, StateKind};
use serde_json::json;

use crate::jobs::{OnDevice, computing, demanded_inside, two_events};
use crate::sample::{DEVICES, Sample};

fn chain(path: &CriticalPath) -> Vec<(String, i64)> {
    path.segments.iter().map(|segment| (segment.step.to_string(), segment.duration_ns)).collect()
}

fn named<'a>(steps: impl IntoIterator<Item = (&'a str, i64)>) -> Vec<(String, i64)> {
    steps.into_iter().map(|(step, ns)| (step.to_owned(), ns)).collect()
}

#[test]
fn events_algorithms_and_workers_are_counted_to_the_nanosecond() {
    let analysis = two_events().analysis();
    assert_eq!(analysis.span_ns, 150_000);
    let events = &analysis.events;
    assert_eq!((events.completed, events.failed, events.unfinished), (2, 0, 0));
    assert_eq!((events.latency.p50_ns, events.latency.max_ns, events.mean_ns), (100_000, 140_000, 120_000.0));
    assert_eq!((events.per_second * 1e-3).round(), 13.0);
    assert_eq!(events.slots_in_use, 240.0 / 300.0);

    let [clusterize, prepare] = analysis.algorithms.as_slice() else { panic!("{analysis}") };
    assert_eq!((clusterize.name.as_str(), clusterize.calls, clusterize.polls), ("clusterize", 2, 4));
    assert_eq!(
        (clusterize.life_ns, clusterize.life.p50_ns, clusterize.life.p90_ns),
        (166_999, 67_999, 99_000)
    );
    let states: BTreeMap<StateKind, i64> =
        clusterize.states.iter().map(|figures| (figures.state, figures.total_ns)).collect();
    let expected = [
        (StateKind::Running, 2_000 + 10_000 + 1_000 + 58_000),
        (StateKind::Queued, 15_999 + 8_000),
        (StateKind::AwaitingLane, 10_000),
        (StateKind::OnDevice, 50_000),
        (StateKind::Ready, 12_000),
    ];
    assert_eq!(states, BTreeMap::from(expected));
    assert_eq!((prepare.name.as_str(), prepare.life_ns), ("prepare", 40_001));

    let [first, second] = analysis.workers.as_slice() else { panic!("{analysis}") };
    assert_eq!(
        (first.name.as_str(), first.busy_ns, first.polls, first.tiny_polls),
        ("worker-0", 32_001, 3, 0)
    );
    assert_eq!(
        (second.name.as_str(), second.busy_ns, second.polls, second.tiny_polls),
        ("worker-1", 79_000, 3, 1)
    );
    assert_eq!(second.tiny_ns, 1_000);
}

#[test]
fn a_poll_within_a_poll_counts_once_as_busy_and_twice_as_a_poll() {
    let mut job = Sample::new(1, 1);
    let mut span = |phase: &str, cat: &str, name: &str, ts: f64| {
        job.add(json!({"ph": phase, "pid": 1, "tid": 100, "cat": cat, "name": name, "ts": ts, "args": {"event": "one"}}));
    };
    span("B", "asynchrotron", "outer", 1.0);
    span("B", "a user's", "inside", 2.0);
    span("B", "asynchrotron", "inner", 3.5);
    span("E", "asynchrotron", "inner", 4.0);
    span("E", "a user's", "inside", 5.0);
    span("E", "asynchrotron", "outer", 10.0);
    span("B", "a user's", "elsewhere", 11.0);
    span("E", "a user's", "elsewhere", 12.0);
    job.end(0);
    let worker = &job.analysis().workers[0];
    assert_eq!((worker.busy_ns, worker.polls, worker.tiny_polls), (9_000, 2, 1));
    assert_eq!(job.problems(), Vec::<String>::new());
}

#[test]
fn the_critical_path_goes_back_along_what_ended_last() {
    let analysis = two_events().analysis();
    let [slowest, faster] = analysis.slowest.as_slice() else { panic!("{analysis}") };
    assert_eq!((slowest.event, slowest.life_ns, faster.event), (2, 140_000, 1));
    assert_eq!(analysis.median.as_ref(), Some(faster));
    let expected = [
        ("nothing recorded", 1_000),
        ("prepare: running", 20_000),
        ("clusterize: running", 1_000),
        ("clusterize: queued in batch", 8_000),
        ("clusterize: awaiting lane", 5_000),
        ("clusterize: on device", 25_000),
        ("clusterize: ready", 2_000),
        ("clusterize: running", 58_000),
        ("nothing recorded", 1_000),
        ("delivery: awaiting turn", 8_000),
        ("delivery: sinks", 10_500),
        ("nothing recorded", 500),
    ];
    assert_eq!(chain(slowest), named(expected));
    let all: i64 = analysis.event_time.iter().map(|part| part.total_ns).sum();
    assert_eq!(all, 240_000);
    assert_eq!(
        (analysis.event_time[0].step.to_string().as_str(), analysis.event_time[0].total_ns),
        ("clusterize: running", 71_000)
    );
}

#[test]
fn the_critical_path_goes_into_what_was_demanded_inside() {
    let analysis = demanded_inside().analysis();
    let expected = [
        ("outer: running", 10_000),
        ("outer: suspended", 500),
        ("first: ready", 1_500),
        ("first: running", 8_000),
        ("inner: running", 9_500),
        ("outer: suspended", 500),
        ("outer: ready", 1_000),
        ("outer: running", 19_000),
    ];
    assert_eq!(chain(&analysis.slowest[0]), named(expected));
}

#[test]
fn gaps_between_batches_are_split_by_why() {
    let mut job = Sample::new(1, 1);
    job.name_track(DEVICES, 10, "emulated lane 0");
    job.name_track(DEVICES, 11, "emulated lane 1");
    job.batch(0, 1, 2, (10_000, 20_000), ("best size", 9_000), 1_000);
    // From 20 on nobody waits; from 26 on somebody does; closed at 30, and begun at 33.
    job.batch(0, 2, 4, (33_000, 43_000), ("age", 30_000), 4_000);
    // Closed while the last one was on the lane: the host had all the time, and took more.
    job.batch(0, 3, 6, (45_000, 50_000), ("full", 40_000), 9_000);
    let check = |job: &Sample| {
        let analysis = job.analysis();
        let [lane, idle] = analysis.lanes.as_slice() else { panic!("{analysis}") };
        assert_eq!(
            (lane.name.as_str(), lane.device.as_str(), lane.batches),
            ("emulated lane 0", "emulated", 3)
        );
        assert_eq!((lane.mean_requests, lane.mean_rows), (4.0, 200.0));
        assert_eq!((lane.busy_ns, lane.occupancy, lane.outside_ns), (25_000, 25.0 / 40.0, 0));
        let gaps = lane.gaps;
        assert_eq!((gaps.total_ns, gaps.no_requests_ns), (15_000, 6_000));
        assert_eq!((gaps.not_enough_requests_ns, gaps.host_not_ready_ns), (4_000, 5_000));
        let reasons =
            [("age", 1), ("best size", 1), ("full", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(lane.closed["clue"], BTreeMap::from(reasons));
        assert_eq!(
            (idle.batches, idle.occupancy, idle.outside_ns),
            (0, 0.0, 40_000),
            "a lane without a batch"
        );
    };
    // By how long the oldest request was held; and by the counter.
    check(&job);
    job.counter(
        DEVICES,
        "queue depth clue",
        &[(0, 1.0), (20_000, 0.0), (26_000, 1.0), (30_000, 0.0), (31_000, 5.0)],
    );
    check(&job);
}

#[test]
fn what_became_slower_is_said_with_how_much_and_chance_is_not() {
    let before = computing(1, 2, 100, 10_000).analysis();
    let same = Difference::between(&before, &before);
    assert!(same.states.is_empty() && same.caveats.is_empty(), "{same}");
    assert!(same.job.iter().all(|change| !change.is_significant()), "{same}");
    assert_eq!(same.within_noise, 2);

    let after = computing(1, 2, 100, 15_000).analysis();
    let slower = Difference::between(&before, &after);
    assert_eq!((slower.job[0].what.as_str(), slower.job[0].is_significant()), ("throughput", true));
    assert!((slower.job[0].ratio.unwrap() - 2.0 / 3.0).abs() < 1e-9);
    let [running, ready] = slower.states.as_slice() else { panic!("{slower}") };
    assert_eq!(
        (running.what.as_str(), running.before, running.change),
        ("find_pulses: running", 10_000.0, 5_000.0)
    );
    assert_eq!((ready.what.as_str(), ready.ratio), ("find_pulses: ready", Some(1.5)));
    assert_eq!(slower.within_noise, 0);

    // What differs by chance: the mean of 99 and of 100 calls that are all alike but one.
    let other = computing(2, 2, 100, 10_000).analysis();
    let caveats = Difference::between(&before, &other).caveats;
    assert_eq!(caveats, ["threads: 1 before, 2 after"]);

    let device =
        OnDevice { slots: 2, events: 50, held: 0, takes: 9_000, pause: 0, closed: "alone" }.job().analysis();
    let text = Difference::between(&before, &device).to_string();
    for part in ["emulated, occupied", "clusterize: on device", "new", "find_pulses: running"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn the_text_and_the_json_have_everything() {
    let mut job = two_events();
    job.add(json!({"ph": "i", "s": "g", "pid": 1, "ts": 1.0, "cat": "job", "name": "records lost", "args": {"lost": 42}}));
    let analysis: Analysis = job.analysis();
    let text = analysis.to_string();
    for part in [
        "sample.json: sample, 2 threads, 2 slots, level light, real time",
        "WARNING: 42 records were lost: the figures are incomplete",
        "2 events in 150.0µs, 13333.3 events/s",
        "awaiting lane",
        "emulated lane 0   16.7 %",
        "batches of clue closed: 1 best size",
        "worker-1   52.7 %",
        "29.6 %   35.5µs  clusterize: running",
        "slowest: event 2, 140.0µs",
        "What would shorten the job most",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let json = serde_json::to_value(&analysis).unwrap();
    assert_eq!(json["completeness"]["lost"], 42);
    assert_eq!(json["algorithms"][0]["states"][1]["state"], "queued");
    assert_eq!(json["algorithms"][0]["states"][1]["total_ns"], 23_999);
    assert_eq!(json["slowest"][0]["segments"][1]["step"]["algorithm"], "prepare");
}
