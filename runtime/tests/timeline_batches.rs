//! What jobs with batchers leave on a light timeline, of which there may be several in a process.

mod common;

use std::path::Path;
use std::time::Duration;

use asynchrotron::batch::BatchPolicy;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::timeline::reading::{Recording, StateKind, check};
use asynchrotron::timeline::{Level, Timeline, TimelineConfig, TimelineReport};
use common::device::Square;
use common::{Collected, config};

const EVENTS: u64 = 60;

fn light() -> TimelineConfig {
    TimelineConfig { level: Level::Light, ..TimelineConfig::default() }
}

/// Squares numbers on a device of two lanes, and reads the timeline of that.
fn job(
    path: &Path,
    policy: BatchPolicy,
    clock: Clock,
    timeline: TimelineConfig,
) -> (Recording, TimelineReport) {
    let timeline = Timeline::create(path, timeline).unwrap();
    let (batcher, _) = Square::new(&clock, 2).batcher(policy);
    let mut chain = Chain::new("traced");
    let x = chain.source::<u64>("x");
    let y = chain.offload("square", (x,), &batcher);
    let out = Collected::of(&mut chain, y);
    let threads = if clock.is_simulated() { 1 } else { 2 };
    let config = Config { timeline: Some(timeline.recorder()), clock, ..config(threads, 16) };
    Scheduler::new(config).run(chain, source::from_iter(0..EVENTS)).unwrap();
    assert_eq!(out.all().len() as u64, EVENTS);
    let report = timeline.finish().unwrap();
    (Recording::open(path).unwrap(), report)
}

#[test]
fn events_are_followed_into_their_batches_and_back() {
    let folder = tempfile::tempdir().unwrap();
    for (name, policy) in [
        ("size.json", BatchPolicy::Size(4)),
        ("off.json.gz", BatchPolicy::Off),
        ("adaptive.json", BatchPolicy::default()),
    ] {
        let (recording, report) = job(&folder.path().join(name), policy, Clock::real(), light());
        assert_eq!(check(&recording), Vec::<String>::new(), "{name}");
        assert_eq!((report.lost, report.events), (0, EVENTS), "{name}");
        assert_eq!(recording.events.len() as u64, EVENTS, "{name}");
        let requests: u64 =
            recording.lanes.iter().flat_map(|lane| &lane.batches).map(|batch| batch.requests).sum();
        assert_eq!(requests, EVENTS, "{name}");
        // One each; but who is answered before it has come to wait, because its worker lost its core, never waited.
        let on_device = recording.states.iter().filter(|state| state.kind == StateKind::OnDevice);
        let mut waited: Vec<u64> = on_device.filter_map(|state| state.event).collect();
        let states = waited.len();
        waited.dedup();
        assert!(states > 0 && waited.len() == states, "{name}: {waited:?}");
    }
}

#[test]
fn a_timeline_of_simulated_time_is_in_simulated_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("simulated.json");
    let run = || job(&path, BatchPolicy::Size(4), Clock::simulated(), light()).0;
    let (first, second) = (run(), run());
    assert_eq!(check(&first), Vec::<String>::new());
    let batches = |recording: &Recording| -> Vec<(i64, i64)> {
        recording
            .lanes
            .iter()
            .flat_map(|lane| &lane.batches)
            .map(|batch| (batch.begin_ns, batch.end_ns))
            .collect()
    };
    assert!(!batches(&first).is_empty());
    assert_eq!(batches(&first), batches(&second), "the same job takes the same time");
}

#[test]
fn every_nth_event_is_recorded_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let config = TimelineConfig { every: 7, ..light() };
    let (recording, _) = job(&folder.path().join("some.json"), BatchPolicy::Size(4), Clock::real(), config);
    assert_eq!(check(&recording), Vec::<String>::new());
    let mut events: Vec<u64> = recording.events.iter().map(|event| event.id).collect();
    events.sort_unstable();
    assert_eq!(events, (0..EVENTS).step_by(7).collect::<Vec<_>>());
}

#[test]
fn outside_its_window_nothing_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        TimelineConfig { window: Some((Duration::from_secs(3600), Duration::from_secs(1))), ..light() };
    let (recording, report) =
        job(&folder.path().join("none.json"), BatchPolicy::Size(4), Clock::real(), config);
    assert_eq!((recording.events.len(), report.events, report.lost), (0, 0, 0));
}

#[test]
fn what_a_full_ring_cannot_take_is_counted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lossy.json");
    let config = TimelineConfig { ring_records: 4, ..light() };
    let (recording, report) = job(&path, BatchPolicy::Size(4), Clock::real(), config);
    assert!(report.lost > 0);
    assert_eq!(recording.lost, report.lost);
    assert!(report.to_string().contains("LOST"), "{report}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("records lost"));
}
