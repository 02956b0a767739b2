//! [`Tracks`]: slices of slots and lanes, put in order.
//!
//! A slice is recorded when it has ended, by whichever worker noticed; so they come a little out of order. And they may overlap a
//! little: a lane is given back before it is known that it is free, and an event can wait for two things at once. Perfetto
//! drops slices that overlap without lying within each other. So some are kept back on each track until they can be written in
//! order, each ending where the next one begins, at the latest.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

/// So many slices are kept back on a track.
const KEPT_BACK: usize = 32;

/// Processes, to Perfetto: groups of tracks. The workers are process 1.
const SLOTS: u64 = 2;
const LANES: u64 = 3;
const FIRST_TRACK: u64 = 10;

#[derive(Default)]
pub(super) struct Tracks {
    /// From the clock of the slices to that of the file. A worker can lose its core between reading the one and the other, so the
    /// smallest difference seen is the true one.
    offset: Option<i64>,
    tracks: HashMap<(u64, u64), Track>,
}

#[derive(Default)]
struct Track {
    /// By their beginnings, in nanoseconds; the second number tells apart those that begin together.
    kept: BTreeMap<(i64, u64), Slice>,
    added: u64,
    /// Where the last slice that was written ends, in the time of the file.
    end: i64,
}

struct Slice {
    end: i64,
    name: Value,
    event: Value,
}

impl Tracks {
    /// Takes a slice from the record made at its end; gives the records that can be written now.
    pub(super) fn add(&mut self, record: &Value) -> Vec<Value> {
        let arguments = &record["args"];
        let is_lane = arguments["track"] == "lane";
        let (process, group) = if is_lane { (LANES, "lane") } else { (SLOTS, "slot") };
        let number = arguments["number"].as_u64().unwrap_or_default();
        let ns = |name: &str| arguments[name].as_i64().unwrap_or_default();
        let recorded = (record["ts"].as_f64().unwrap_or_default() * 1e3) as i64;
        let offset = recorded - ns("now");
        let offset = self.offset.map_or(offset, |smallest| smallest.min(offset));
        self.offset = Some(offset);
        let (begin, end) = (ns("begin"), ns("end"));

        let mut records = Vec::new();
        let track = self.tracks.entry((process, number)).or_insert_with(|| {
            let name = |what: &str, name: String| {
                json!({"ph": "M", "pid": process, "tid": FIRST_TRACK + number, "name": what, "args": {"name": name}})
            };
            records.push(name("process_name", format!("{group}s")));
            records.push(name("thread_name", format!("{group} {number}")));
            Track::default()
        });
        track.added += 1;
        let slice = Slice { end, name: arguments["slice"].clone(), event: arguments["event"].clone() };
        track.kept.insert((begin, track.added), slice);
        if track.kept.len() > KEPT_BACK {
            records.extend(track.next(process, number, offset));
        }
        records
    }

    /// Everything that was kept back.
    pub(super) fn finish(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        for (&(process, number), track) in &mut self.tracks {
            while !track.kept.is_empty() {
                records.extend(track.next(process, number, self.offset.unwrap_or(0)));
            }
        }
        records
    }
}

impl Track {
    /// The first slice that was kept back.
    fn next(&mut self, process: u64, number: u64, offset: i64) -> Option<Value> {
        let ((begin, _), Slice { end, name, event }) = self.kept.pop_first()?;
        let next = self.kept.first_key_value().map_or(i64::MAX, |((begin, _), _)| *begin);
        let begin = (begin + offset).max(self.end);
        let end = (end.min(next).saturating_add(offset)).max(begin);
        self.end = end;
        let us = |ns: i64| ns as f64 / 1e3;
        let arguments = if event.is_null() { json!({}) } else { json!({ "event": event }) };
        Some(json!({
            "ph": "X", "pid": process, "tid": FIRST_TRACK + number, "name": name,
            "ts": us(begin), "dur": us(end - begin), "args": arguments,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded as the time `now` of a clock that is 1 µs ahead of the file's, or later.
    fn record(late_ns: u64, now: u64, begin: u64, end: u64) -> Value {
        let arguments =
            json!({"slice": "s", "track": "lane", "number": 2, "now": now, "begin": begin, "end": end});
        json!({"name": "slice", "ts": (now - 1000 + late_ns) as f64 / 1e3, "args": arguments})
    }

    #[test]
    fn slices_that_come_late_and_overlap_are_put_in_order_and_clipped() {
        let mut tracks = Tracks::default();
        // From 5 to 9, from 1 to 6, from 2 to 3, from 9 to 12 µs in the file.
        let records = [(0, 11, 6, 10), (7, 12, 2, 7), (0, 12, 3, 4), (3000, 14, 10, 13)];
        let records =
            records.map(|(late, now, begin, end)| record(late, 1000 * now, 1000 * begin, 1000 * end));
        let mut written: Vec<Value> = records.iter().flat_map(|record| tracks.add(record)).collect();
        written.extend(tracks.finish());
        let slices: Vec<_> = written.iter().filter(|record| record["ph"] == "X").collect();
        let times: Vec<_> =
            slices.iter().map(|slice| (slice["ts"].as_f64(), slice["dur"].as_f64())).collect();
        assert_eq!(
            times,
            [(1.0, 1.0), (2.0, 1.0), (5.0, 4.0), (9.0, 3.0)].map(|(ts, dur)| (Some(ts), Some(dur)))
        );
        assert_eq!(written[1]["args"]["name"], "lane 2");
    }
}
