//! [`Tap`]: what `tracing-chrome` writes, taken apart and written again with everything else.
//!
//! `tracing-chrome` numbers threads from 0 within process 1, and Perfetto's importer takes thread 0 for the process's main
//! thread, number 1: two workers on one track. It also writes every argument as text. So its stream is taken apart at
//! the line ends: workers in order from 100, other threads from 1000, numbers as numbers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::assembler::Sheet as _;
use super::item::{Item, OTHERS_FROM, Track, Value, WORKERS, WORKERS_FROM, worker};
use super::pen::Pen;
use super::spans::SEPARATOR;
use super::valve::Level;
use crate::lock::lock;

/// Events of this target tell the tap which time it is, and are not written.
pub(super) const CLOCK: &str = "asynchrotron::clock";

/// With fewer records in the queue than this the tap waits for more, for so long.
const FEW: u64 = 1000;
const GATHER: Duration = Duration::from_millis(20);

pub(super) struct Tap {
    pen: Arc<Mutex<Pen>>,
    level: Arc<Level>,
    /// Times of clock events, in nanoseconds.
    ticks: Arc<Mutex<Vec<u64>>>,
    line: Vec<u8>,
    tracks: HashMap<u64, Track>,
    /// Of threads that have not shown anything yet.
    names: HashMap<u64, String>,
    others: u32,
}

/// A line of the stream.
#[derive(Deserialize)]
struct Line<'a> {
    ph: &'a str,
    #[serde(default)]
    tid: u64,
    #[serde(default)]
    ts: f64,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    cat: Cow<'a, str>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

impl Tap {
    pub(super) fn new(pen: Arc<Mutex<Pen>>, level: Arc<Level>, ticks: Arc<Mutex<Vec<u64>>>) -> Self {
        Tap { pen, level, ticks, line: Vec::new(), tracks: HashMap::new(), names: HashMap::new(), others: 0 }
    }

    /// A bracket of the array, or a record and a comma.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        let text = text.strip_suffix(b",").unwrap_or(text);
        if !matches!(text, b"" | b"[" | b"]") {
            // What is no record of its could not be shown.
            if let Ok(record) = serde_json::from_slice(text) {
                self.rewrite(&record);
            }
        }
        self.line = line;
        self.line.clear();
    }

    fn rewrite(&mut self, record: &Line<'_>) {
        if record.ph == "M" {
            return self.name(record);
        }
        self.level.left.fetch_add(1, Relaxed);
        let at = (record.ts * 1e3).round().max(0.0) as u64;
        if record.cat == CLOCK {
            return lock(&self.ticks).push(at);
        }
        let track = self.tracks.get(&record.tid).copied();
        let track = track.unwrap_or(Track { pid: WORKERS, tid: OTHERS_FROM + record.tid as u32 });
        let mut pen = lock(&self.pen);
        if let Some(name) = self.names.remove(&record.tid) {
            pen.put(&Item::Thread { track, name: &name });
        }
        if record.ph == "E" {
            return pen.put(&Item::End { track, at });
        }
        let arguments = arguments(record.args);
        let mut arguments: Vec<(&str, Value<'_>)> =
            arguments.iter().map(|(key, value)| (&**key, plain(value))).collect();
        let (name, event) = match record.name.split_once(SEPARATOR) {
            Some((name, event)) => (name, event.parse().ok()),
            None => (&*record.name, None),
        };
        arguments.extend(event.map(|event| ("event", Value::Count(event))));
        let (category, arguments) = (&*record.cat, &*arguments);
        match record.ph {
            "B" => pen.put(&Item::Begin { track, at, category, name, arguments }),
            _ => pen.put(&Item::Instant { track, at, category, name, arguments }),
        }
    }

    fn name(&mut self, record: &Line<'_>) {
        let arguments = arguments(record.args);
        let name = arguments.iter().find(|(key, _)| key == "name").and_then(|(_, value)| value.as_str());
        let name = name.unwrap_or("unnamed");
        let tid = worker(name).map_or(OTHERS_FROM + self.others, |number| WORKERS_FROM + number);
        self.others += u32::from(worker(name).is_none());
        let track = Track { pid: WORKERS, tid };
        self.tracks.insert(record.tid, track);
        self.names.insert(record.tid, name.to_owned());
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        // To wake a thread costs whoever does it more than all else. So this one, which would sleep whenever the queue is empty, and
        // be woken by every span, lets some gather.
        if self.level.waiting() < FEW {
            std::thread::sleep(GATHER);
        }
        Ok(bytes.len())
    }

    /// Errors are the pen's: `tracing-chrome` would panic.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end_line();
    }
}

fn arguments(arguments: Option<&RawValue>) -> Vec<(String, serde_json::Value)> {
    let map = arguments.and_then(|text| serde_json::from_str::<serde_json::Map<_, _>>(text.get()).ok());
    map.unwrap_or_default()
        .into_iter()
        .map(|(key, value)| {
            // Undoes the `{:?}`: `"17"` was a number, and `"\"clusterize\""` a text.
            let parsed = value.as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            (key, parsed.filter(|parsed| !parsed.is_null()).unwrap_or(value))
        })
        .collect()
}

fn plain(value: &serde_json::Value) -> Value<'_> {
    match value {
        serde_json::Value::Bool(flag) => Value::Flag(*flag),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Number(number) => match number.as_u64() {
            Some(count) => Value::Count(count),
            None => number.as_f64().map_or(Value::Text("?"), Value::Number),
        },
        _ => Value::Text("…"),
    }
}
