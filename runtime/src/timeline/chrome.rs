//! [`ChromeWriter`]: what `tracing-chrome` writes, made fit for Perfetto.
//!
//! `tracing-chrome` numbers threads from 0 within process 1, and Perfetto's importer takes thread 0 for the process's main
//! thread, number 1: two workers on one track. It also writes every argument as text. So its stream is taken apart at
//! the line ends, and each record is written again: workers in order from 100, other threads from 1000, numbers as numbers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};

use super::Trouble;
use super::tracks::Tracks;
use crate::lock::lock;

const WORKERS_FROM: u64 = 100;
const OTHERS_FROM: u64 = 1000;

pub(super) struct ChromeWriter {
    file: BufWriter<File>,
    trouble: Trouble,
    line: Vec<u8>,
    threads: HashMap<u64, u64>,
    /// Of slots and lanes.
    tracks: Tracks,
    empty: bool,
}

impl ChromeWriter {
    pub(super) fn new(file: File, trouble: Trouble) -> Self {
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut writer = ChromeWriter {
            file,
            trouble,
            line: Vec::new(),
            threads: HashMap::new(),
            tracks: Tracks::default(),
            empty: true,
        };
        writer.record(&json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "workers"}}));
        writer
    }

    /// A line of the stream: a bracket of the array, or a record and a comma.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii();
        let line = line.strip_suffix(b",").unwrap_or(line);
        if !matches!(line, b"" | b"[" | b"]") {
            match serde_json::from_slice(line) {
                Ok(record) => self.rewrite(record),
                Err(error) => self.note(error.into()),
            }
        }
    }

    fn rewrite(&mut self, mut record: Value) {
        if let Some(thread) = record["tid"].as_u64() {
            if record["name"] == "thread_name" {
                let worker = record["args"]["name"].as_str().and_then(|name| name.strip_prefix("worker-"));
                let number = worker.and_then(|number| number.parse::<u64>().ok());
                if let Some(number) = number {
                    self.threads.insert(thread, WORKERS_FROM + number);
                }
            }
            record["tid"] = self.threads.get(&thread).copied().unwrap_or(OTHERS_FROM + thread).into();
        }
        if let Some(arguments) = record["args"].as_object_mut() {
            arguments.values_mut().for_each(plain);
        }
        if record["name"] == "slice" {
            let ready = self.tracks.add(&record);
            return ready.iter().for_each(|record| self.record(record));
        }
        self.record(&record);
    }

    fn record(&mut self, record: &Value) {
        let separator: &[u8] = if std::mem::take(&mut self.empty) { b"[\n" } else { b",\n" };
        let written = self
            .file
            .write_all(separator)
            .and_then(|()| serde_json::to_writer(&mut self.file, record).map_err(io::Error::from));
        if let Err(error) = written {
            self.note(error);
        }
    }

    /// The first error counts. Nothing is reported to `tracing-chrome`, which would panic.
    fn note(&self, error: io::Error) {
        lock(&self.trouble).get_or_insert(error);
    }
}

impl Write for ChromeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.flush() {
            self.note(error);
        }
        Ok(())
    }
}

impl Drop for ChromeWriter {
    fn drop(&mut self) {
        self.end_line();
        let kept = self.tracks.finish();
        kept.iter().for_each(|record| self.record(record));
        if let Err(error) = self.file.write_all(b"\n]\n").and_then(|()| self.file.flush()) {
            self.note(error);
        }
    }
}

/// Undoes the `{:?}` of an argument: `"17"` was a number, and `"\"clusterize\""` a text.
fn plain(argument: &mut Value) {
    let parsed = argument.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(parsed @ (Value::Number(_) | Value::String(_) | Value::Bool(_))) = parsed {
        *argument = parsed;
    }
}
