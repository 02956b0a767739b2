//! What batches leave on the timeline. In a process of its own: there is one timeline per process.

mod common;

use std::collections::BTreeMap;

use asynchrotron::batch::BatchPolicy;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::timeline::Timeline;
use common::device::Square;
use common::{Collected, config};
use serde_json::Value;

#[test]
fn events_are_seen_queued_and_on_the_device_and_batches_on_their_lane() {
    const EVENTS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let timeline = Timeline::to_file(&path).unwrap();
    let (batcher, batches) = Square::new(&Clock::real(), 2).batcher(BatchPolicy::Size(4));
    let mut chain = Chain::new("traced");
    let x = chain.source::<u64>("x");
    let y = chain.offload("square", (x,), &batcher);
    let out = Collected::of(&mut chain, y);
    let config = Config { traced: true, ..config(2, 16) };
    Scheduler::new(config).run(chain, source::from_iter(0..EVENTS)).unwrap();
    timeline.finish().unwrap();
    assert_eq!(out.all().len() as u64, EVENTS);

    let records: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut names = BTreeMap::new();
    let mut tracks: BTreeMap<(u64, u64), Vec<&Value>> = BTreeMap::new();
    for record in &records {
        let track = (record["pid"].as_u64().unwrap(), record["tid"].as_u64().unwrap_or_default());
        if record["name"] == "thread_name" {
            names.insert(track, record["args"]["name"].as_str().unwrap().to_owned());
        }
        assert_ne!(record["name"], "slice", "put on its track: {record}");
        if record["ph"] == "X" {
            tracks.entry(track).or_default().push(record);
        }
    }
    let (mut queued, mut on_device, mut on_lanes) = (Vec::new(), Vec::new(), 0);
    for (track, slices) in &tracks {
        let name = &names[track];
        let mut last_end = 0;
        for slice in slices {
            let [begin, duration] =
                ["ts", "dur"].map(|us| (1e3 * slice[us].as_f64().unwrap()).round() as u64);
            assert!(begin >= last_end, "{name}: slices overlap at {begin}");
            last_end = begin + duration;
            let event = slice["args"]["event"].as_u64();
            match slice["name"].as_str().unwrap() {
                "square: queued in batch" if name.starts_with("slot ") => queued.extend(event),
                "square: on device" if name.starts_with("slot ") => on_device.extend(event),
                batch if name.starts_with("lane ") && batch.starts_with("square × ") => on_lanes += 1,
                other => panic!("{other} on {name}"),
            }
        }
    }
    queued.sort_unstable();
    on_device.sort_unstable();
    assert_eq!(queued, (0..EVENTS).collect::<Vec<_>>());
    assert_eq!(on_device, queued);
    assert_eq!(on_lanes, batches.lock().unwrap().len());
}
