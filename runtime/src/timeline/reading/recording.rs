//! [`Recording`]: a timeline as typed slices.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Error, ensure};
use serde::Serialize;

use super::assembly::Assembly;
use super::lines::Lines;

/// A timeline, as it was written: workers, slots, devices, and what links them. Times are nanoseconds from the file's origin.
///
/// Spans that are not ours, and records that are not known, are left out.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recording {
    /// The file.
    pub source: String,
    /// What ran.
    pub job: Job,
    /// What the last record says; `None` if there is none, because the job crashed.
    pub end: Option<End>,
    /// Records that were lost while it was written.
    pub lost: u64,
    /// Why the file is not whole, if it is not.
    pub cut_short: Option<String>,
    /// Records that were read, ours or not.
    pub records: u64,
    /// Threads with polls.
    pub workers: Vec<Worker>,
    /// Tracks of slots: one for each slot, and one for each more algorithm that ran at the same time.
    pub slots: Vec<Track>,
    /// By their begin.
    pub events: Vec<Event>,
    /// By their event, then by their begin; those without an event come last.
    pub calls: Vec<Call>,
    /// By their call, then by their begin; those without a call come last.
    pub states: Vec<State>,
    /// By their event, then by their begin; those without an event come last.
    pub deliveries: Vec<Delivery>,
    /// Paths into devices.
    pub lanes: Vec<Lane>,
    /// By their number.
    pub flows: Vec<Flow>,
    /// Values over time.
    pub counters: Vec<Counter>,
    pub(super) names: Names,
    /// Slices that end without having begun, by their track.
    pub(super) ends_alone: u64,
}

/// What ran, and what of it was recorded.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// Of the format.
    pub version: u64,
    /// The name of the chain.
    pub chain: String,
    /// Worker threads.
    pub threads: u64,
    /// Events in flight at most.
    pub slots: u64,
    /// `light` or `full`.
    pub level: String,
    /// One of so many events was recorded.
    pub every: u64,
    /// `real` or `simulated`.
    pub clock: String,
    /// Where only a part of the time was recorded: from when, and for how long.
    pub window_s: Option<(f64, f64)>,
}

/// What the last record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct End {
    pub records: u64,
    pub events: u64,
    pub failed: u64,
}

/// A text of the file, stored once: [`Recording::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// A row of the picture.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs)]
pub struct Track {
    pub pid: u64,
    pub tid: u64,
    pub name: String,
    /// The slot, of those that are a slot's.
    pub slot: Option<u64>,
}

/// A thread that polls algorithms.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Worker {
    pub track: Track,
    /// By their begin, outer ones first.
    pub polls: Vec<Poll>,
}

/// One poll of an algorithm.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Poll {
    pub begin_ns: i64,
    pub end_ns: i64,
    pub algorithm: Name,
    pub event: Option<u64>,
    pub line: u32,
}

/// An event, from when its slot took it to when the slot was free for the next.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Event {
    pub id: u64,
    /// An index of [`Recording::slots`].
    pub track: usize,
    pub begin_ns: i64,
    pub end_ns: i64,
    /// The algorithm and the cause.
    pub failed: Option<Name>,
    pub unfinished: bool,
    /// Indices of [`Recording::calls`].
    pub calls: Range<usize>,
    /// Indices of [`Recording::deliveries`].
    pub deliveries: Range<usize>,
    pub line: u32,
}

/// The life of one call of an algorithm.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Call {
    pub algorithm: Name,
    pub event: u64,
    /// An index of [`Recording::slots`].
    pub track: usize,
    pub begin_ns: i64,
    pub end_ns: i64,
    pub polls: u64,
    pub failed: bool,
    pub abandoned: bool,
    /// Indices of [`Recording::states`].
    pub states: Range<usize>,
    pub line: u32,
}

/// What a call did for some time.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct State {
    pub kind: StateKind,
    pub event: Option<u64>,
    /// An index of [`Recording::slots`].
    pub track: usize,
    pub begin_ns: i64,
    pub end_ns: i64,
    pub batcher: Option<Name>,
    pub rows: u64,
    /// The [`Batch::id`] of what it is in.
    pub batch: Option<u64>,
    pub line: u32,
}

/// What a call can be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// On a worker.
    Running,
    /// Its request waits for a batch to close.
    Queued,
    /// Its batch waits for a lane.
    AwaitingLane,
    /// Its batch is on a lane.
    OnDevice,
    /// It can go on, and waits for a worker.
    Ready,
    /// It waits for something else: a product, a timer, a device without a batcher.
    Suspended,
    /// What it did was lost.
    Lost,
    /// A state that this version does not know.
    Other,
}

impl StateKind {
    /// All of them, in the order of a call's life.
    pub const ALL: [StateKind; 8] = [
        StateKind::Running,
        StateKind::Queued,
        StateKind::AwaitingLane,
        StateKind::OnDevice,
        StateKind::Ready,
        StateKind::Suspended,
        StateKind::Lost,
        StateKind::Other,
    ];

    /// As the file names it.
    pub fn name(self) -> &'static str {
        match self {
            StateKind::Running => "running",
            StateKind::Queued => "queued in batch",
            StateKind::AwaitingLane => "awaiting lane",
            StateKind::OnDevice => "on device",
            StateKind::Ready => "ready",
            StateKind::Suspended => "suspended",
            StateKind::Lost => "lost",
            StateKind::Other => "other",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(StateKind::Other)
    }
}

/// What became of an event's products.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Delivery {
    pub kind: DeliveryKind,
    pub event: u64,
    /// An index of [`Recording::slots`].
    pub track: usize,
    pub begin_ns: i64,
    pub end_ns: i64,
    pub line: u32,
}

/// What a finished event waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryKind {
    /// Events before it, because the job is ordered.
    AwaitingTurn,
    /// The sinks.
    Sinks,
}

/// An independent path into a device.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Lane {
    pub track: Track,
    /// The name without the number of the lane.
    pub device: String,
    /// By their begin.
    pub batches: Vec<Batch>,
}

/// Requests of several events in one submission.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Batch {
    pub id: u64,
    pub batcher: Name,
    pub begin_ns: i64,
    pub end_ns: i64,
    pub requests: u64,
    pub rows: u64,
    pub padding: u64,
    pub bytes: u64,
    /// Why it was closed.
    pub closed: Name,
    pub closed_ns: i64,
    /// How long its oldest request had waited then.
    pub held_ns: i64,
    pub failed: bool,
    pub line: u32,
}

/// A request, from the poll that made it to the poll that went on with its result.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Flow {
    pub id: u64,
    pub submitted: Vec<FlowEnd>,
    pub batched: Vec<FlowEnd>,
    pub resumed: Vec<FlowEnd>,
}

/// Where an arrow begins or ends.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct FlowEnd {
    pub pid: u64,
    pub tid: u64,
    pub at_ns: i64,
    pub line: u32,
}

/// A value over time; each holds until the next.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Counter {
    pub name: String,
    /// By their time.
    pub samples: Vec<(i64, f64)>,
}

impl Recording {
    /// Reads a file of [`Timeline`](crate::timeline::Timeline), zipped or not. One that is cut short is read as far as it goes.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a timeline of ours: says the line, and what was expected.
    pub fn open(path: impl AsRef<Path>) -> Result<Recording, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let is_folder = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        ensure!(!is_folder, "{name} is a folder: expected a timeline");
        Recording::from_reader(&name, file)
    }

    /// The same, from bytes; the name is for messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_reader(name: &str, reader: impl Read) -> Result<Recording, Error> {
        let mut lines = Lines::new(name, reader)?;
        let mut assembly = Assembly::default();
        lines.for_each(|record, line| assembly.take(&record, line))?;
        let recording = assembly.finish(name, lines.cut_short());
        ensure!(
            recording.job.version > 0,
            "{name}: expected a record `trace begins` with a version: this is not a timeline of ours, or an old one"
        );
        ensure!(
            recording.job.version <= Job::VERSION,
            "{name} is of version {}, and this program reads up to {}",
            recording.job.version,
            Job::VERSION
        );
        Ok(recording)
    }

    /// The text.
    pub fn name(&self, name: Name) -> &str {
        &self.names.texts[name.0 as usize]
    }

    /// The counter of this name.
    pub fn counter(&self, name: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.name == name)
    }

    /// From the first begin of a slice to the last end of one; zero if there are none.
    pub fn span_ns(&self) -> Range<i64> {
        let polls = self.workers.iter().flat_map(|worker| &worker.polls);
        let batches = self.lanes.iter().flat_map(|lane| &lane.batches);
        let slices = (self.events.iter().map(|event| (event.begin_ns, event.end_ns)))
            .chain(polls.map(|poll| (poll.begin_ns, poll.end_ns)))
            .chain(batches.map(|batch| (batch.begin_ns, batch.end_ns)));
        let span = slices.reduce(|(begin, end), (b, e)| (begin.min(b), end.max(e)));
        span.map_or(0..0, |(begin, end)| begin..end)
    }

    /// Whether everything that happened while it recorded is in it, so that what is missing was forgotten.
    pub(super) fn is_whole(&self) -> bool {
        self.lost == 0 && self.cut_short.is_none() && self.end.is_some() && self.job.window_s.is_none()
    }
}

impl Job {
    pub(super) const VERSION: u64 = 2;
}

/// Texts, each stored once.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    pub(super) fn intern(&mut self, text: &str) -> Name {
        if let Some(&number) = self.numbers.get(text) {
            return Name(number);
        }
        let number =
            u32::try_from(self.texts.len()).expect("a line for each text, and lines are counted in u32");
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        Name(number)
    }
}
