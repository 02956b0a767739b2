//! [`Sample`]: a small timeline, written by hand.
#![allow(unreachable_pub)]

use asynchrotron::timeline::reading::{Analysis, Recording, check};
use serde_json::{Value, json};

pub const WORKERS: u64 = 1;
pub const SLOTS: u64 = 2;
pub const DEVICES: u64 = 3;

/// A file of which each record can still be changed.
#[derive(Clone, Default)]
pub struct Sample {
    pub records: Vec<Value>,
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

/// As the file has them. Doubles print with as few digits as tell them apart, so three decimals stay three.
pub fn us(ns: i64) -> f64 {
    ns as f64 / 1e3
}

impl Sample {
    /// A job that has begun.
    pub fn new(threads: u64, slots: u64) -> Self {
        let mut sample = Sample::default();
        for (pid, name) in [(WORKERS, "workers"), (SLOTS, "events in flight"), (DEVICES, "devices")] {
            sample.add(json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}));
        }
        sample.add(json!({
            "ph": "i", "s": "g", "pid": 1, "tid": 0, "ts": 0.0, "cat": "job", "name": "trace begins",
            "args": {"version": 2, "chain": "sample", "threads": threads, "slots": slots, "level": "light", "every": 1,
                "clock": "real"}
        }));
        for worker in 0..threads {
            sample.name_track(WORKERS, 100 + worker, &format!("worker-{worker}"));
        }
        for slot in 0..slots {
            sample.name_track(SLOTS, 1000 + 10 * slot, &format!("slot {slot}"));
            sample.name_track(SLOTS, 1000 + 10 * slot + 1, &format!("slot {slot} lane 1"));
        }
        sample
    }

    pub fn add(&mut self, record: Value) -> &mut Self {
        self.records.push(record);
        self
    }

    pub fn name_track(&mut self, pid: u64, tid: u64, name: &str) {
        self.add(json!({"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}));
    }

    pub fn slice(&mut self, pid: u64, tid: u64, cat: &str, name: &str, at: (i64, i64), args: Value) {
        self.add(json!({"ph": "X", "pid": pid, "tid": tid, "cat": cat, "name": name, "ts": us(at.0),
            "dur": us(at.1 - at.0), "args": args}));
    }

    pub fn poll(&mut self, worker: u64, algorithm: &str, event: u64, at: (i64, i64)) {
        self.slice(WORKERS, 100 + worker, "asynchrotron", algorithm, at, json!({"event": event}));
    }

    pub fn event(&mut self, slot: u64, event: u64, at: (i64, i64)) {
        let arguments = json!({"event": event, "slot": slot});
        self.slice(SLOTS, 1000 + 10 * slot, "event", &format!("event {event}"), at, arguments);
    }

    /// A call from a time on, with its states one after the other, each until a time. `track` is slot · 10 + lane.
    pub fn call(&mut self, track: u64, algorithm: &str, event: u64, begin: i64, states: &[(&str, i64)]) {
        let end = states.last().map_or(begin, |(_, end)| *end);
        let polls = states.iter().filter(|(state, _)| *state == "running").count();
        let arguments = json!({"event": event, "polls": polls});
        self.slice(SLOTS, 1000 + track, "algorithm", algorithm, (begin, end), arguments);
        let mut from = begin;
        for &(state, until) in states {
            let arguments = match state {
                "queued in batch" | "awaiting lane" | "on device" => {
                    json!({"event": event, "batcher": "clue", "rows": 50})
                }
                // Until it is known that the batch has ended, and then until a worker comes.
                "ready" if states.windows(2).any(|pair| pair[0] == (state, until) && pair[1].0 == state) => {
                    json!({"event": event, "batcher": "clue"})
                }
                _ => json!({ "event": event }),
            };
            self.slice(SLOTS, 1000 + track, "state", state, (from, until), arguments);
            from = until;
        }
    }

    pub fn delivery(&mut self, slot: u64, what: &str, event: u64, at: (i64, i64)) {
        self.slice(SLOTS, 1000 + 10 * slot, "delivery", what, at, json!({"event": event}));
    }

    /// A batch of the batcher `clue`.
    pub fn batch(
        &mut self,
        lane: u64,
        id: u64,
        requests: u64,
        at: (i64, i64),
        closed: (&str, i64),
        held: i64,
    ) {
        let (reason, closed) = closed;
        let arguments = json!({"batch": id, "requests": requests, "rows": 50 * requests, "padding": 0,
            "bytes": 400 * requests, "closed": reason, "closed_us": us(closed), "held_us": us(held)});
        self.slice(DEVICES, 10 + lane, "batch", "clue", at, arguments);
    }

    pub fn arrow(&mut self, phase: &str, pid: u64, tid: u64, id: u64, at: i64) {
        let mut record = json!({"ph": phase, "pid": pid, "tid": tid, "cat": "flow", "name": "request", "id": id, "ts": us(at)});
        if phase == "f" {
            record["bp"] = "e".into();
        }
        self.add(record);
    }

    pub fn counter(&mut self, pid: u64, name: &str, samples: &[(i64, f64)]) {
        for &(at, value) in samples {
            self.add(json!({"ph": "C", "pid": pid, "name": name, "ts": us(at), "args": {"value": value}}));
        }
    }

    pub fn end(&mut self, events: u64) -> &mut Self {
        let records = self.records.len();
        self.add(json!({
            "ph": "i", "s": "g", "pid": 1, "tid": 0, "ts": 0.0, "cat": "job", "name": "trace ends",
            "args": {"records": records, "lost": 0, "events": events, "failed": 0}
        }))
    }

    /// The first record that is this.
    pub fn find(&mut self, is: impl Fn(&Value) -> bool) -> &mut Value {
        self.records.iter_mut().find(|record| is(record)).expect("there is such a record")
    }

    pub fn text(&self) -> String {
        let lines: Vec<String> = self.records.iter().map(Value::to_string).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }

    #[track_caller]
    pub fn recording(&self) -> Recording {
        Recording::from_reader("sample.json", self.text().as_bytes()).unwrap()
    }

    #[track_caller]
    pub fn analysis(&self) -> Analysis {
        Analysis::of(&self.recording())
    }

    #[track_caller]
    pub fn problems(&self) -> Vec<String> {
        check(&self.recording())
    }
}
