//! The timeline file, in a process of its own: there is one timeline per process.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron::timeline::{Timeline, TimelineConfig};
use common::{Collected, config, suspend};
use serde_json::Value;

fn chain() -> (Chain, Collected<u64>) {
    let mut chain = Chain::new("traced");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("unpack", (x,), async |x: Arc<u64>| {
        tracing::info_span!("inner", hits = *x).in_scope(|| Ok::<_, Error>(*x + 1))
    });
    let z = chain.algorithm("fit", (y,), async |y: Arc<u64>| {
        suspend().await;
        Ok::<_, Error>(*y * 2)
    });
    let out = Collected::of(&mut chain, z);
    (chain, out)
}

#[test]
fn every_poll_is_a_slice_on_its_workers_track_named_by_its_algorithm() {
    const EVENTS: u64 = 50;
    let (untraced, reference) = chain();
    Scheduler::new(Config { ordered: true, ..config(2, 4) })
        .run(untraced, source::from_iter(0..EVENTS))
        .unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let timeline = Timeline::create(&path, TimelineConfig::default()).unwrap();
    assert!(
        Timeline::create(folder.path().join("second.json"), TimelineConfig::default()).is_err(),
        "there is one timeline with spans per process"
    );
    let (traced, out) = chain();
    let config = Config { timeline: Some(timeline.recorder()), ordered: true, ..config(2, 4) };
    let report = Scheduler::new(config).run(traced, source::from_iter(0..EVENTS)).unwrap();
    timeline.finish().unwrap();
    assert_eq!(out.all(), reference.all(), "tracing does not change results");

    let records: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut open: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    let mut polls: BTreeMap<&str, u64> = BTreeMap::new();
    let mut events: BTreeSet<u64> = BTreeSet::new();
    let mut workers: BTreeMap<u64, &str> = BTreeMap::new();
    for record in &records {
        if record["pid"] != 1 {
            continue;
        }
        let name = record["name"].as_str().unwrap_or_default();
        let stack = open.entry(record["tid"].as_u64().unwrap_or(0)).or_default();
        match record["ph"].as_str().unwrap() {
            "B" => {
                if name == "inner" {
                    assert_eq!(stack.last(), Some(&"unpack"), "a user's span lies inside its algorithm");
                } else {
                    events.insert(record["args"]["event"].as_u64().expect("a number"));
                }
                *polls.entry(name).or_default() += 1;
                stack.push(name);
            }
            "E" => assert!(stack.pop().is_some(), "every end has a beginning"),
            "M" if name == "thread_name" => {
                workers.insert(record["tid"].as_u64().unwrap(), record["args"]["name"].as_str().unwrap());
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "every slice ends");
    let polled = |name| report.algorithm(name).unwrap().polls;
    assert_eq!((polls["unpack"], polls["fit"], polls["inner"]), (polled("unpack"), polled("fit"), EVENTS));
    assert_eq!(events, (0..EVENTS).collect());
    for (tid, name) in workers {
        assert!(tid >= 100 && name == format!("worker-{}", tid - 100), "{name} has track {tid}");
    }
}
