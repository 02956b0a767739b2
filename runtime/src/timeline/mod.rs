//! The timeline: what every worker, event and device lane did, to be opened in [Perfetto](https://ui.perfetto.dev).
//!
//! ```no_run
//! use asynchrotron::prelude::*;
//! use asynchrotron::timeline::{Timeline, TimelineConfig};
//!
//! # let mut chain = Chain::new("sum");
//! # let x = chain.source::<i32>("x");
//! # chain.sink("print", x, |_: EventId, _: std::sync::Arc<i32>| Ok(()));
//! let timeline = Timeline::create("trace.json.gz", TimelineConfig::default())?;
//! let config = Config { timeline: Some(timeline.recorder()), ..Config::default() };
//! let report = Scheduler::new(config).run(chain, source::from_iter([1, 2, 3]))?;
//! println!("{report}{}", timeline.finish()?);
//! # Ok::<(), Error>(())
//! ```
//!
//! # What it shows
//!
//! | group | tracks | slices |
//! |---|---|---|
//! | workers | one for each worker | a poll of an algorithm, named by it; a user's own [`tracing`] spans inside |
//! | events in flight | one for each slot, more where an event's algorithms run at the same time | event > algorithm > state |
//! | devices | one for each lane | a batch: requests, rows, bytes, why it was closed |
//!
//! The states of an algorithm fill its life, from when its inputs are there to its end: *running*, *queued in batch*,
//! *awaiting lane*, *on device*, *ready* (it can go on, and waits for a worker), *suspended* (it waits for anything else).
//! After its algorithms, an ordered event may be *awaiting turn*, and then there are the *sinks*. Arrows lead from the poll that submitted
//! a request to its batch, and on to the poll that resumed. Counters: events in flight, events/s, the queue and the batches of each
//! batcher, batches and bytes on each device. An event that failed says so, with the algorithm and the cause.
//!
//! Slices of polls are wall time: a worker that the operating system took off its core seems to work. Where time is
//! [simulated](crate::time::Clock::simulated), so is the timeline's, and computing takes none.
//!
//! # What it costs
//!
//! Whoever has something to tell puts a [record](Recorder) of a few words into a ring of its thread, and never waits. What
//! comes to a full ring is lost, counted, and said: in the file, and in the [`TimelineReport`]. At the level
//! [`Full`](Level::Full) polls, and whatever else makes spans, go through `tracing` and `tracing-chrome`, within a bound of ours;
//! that is several times the price, see `bench trace`. [A window of time](TimelineConfig::window) or [every Nth
//! event](TimelineConfig::every) cost as much less.
//!
//! # When something goes wrong
//!
//! The job goes on, and its result stands. The file is written several times a second, and can be read as far as it goes, if the process
//! is killed; if the disk is full, what was written stands, and [`Timeline::finish`] says so.

mod anchors;
mod assembler;
mod event;
mod item;
mod json;
mod lane_track;
mod life;
mod output;
mod pen;
mod perfetto;
pub mod reading;
mod record;
mod recorder;
mod spans;
mod tap;
mod valve;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

use crate::lock::lock;
use item::Encoder;
use output::Output;
use pen::Pen;
pub(crate) use record::{BatchEnds, DeviceInfo, EventEnds, JobInfo, Outcome, Poll, Record, Submitted};
pub(crate) use recorder::Note;
pub use recorder::Recorder;
use spans::Spans;
pub(crate) use valve::Muted;
use writer::Writing;

/// How much of what happens is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Level {
    /// Everything but spans: cheap. Any number of such timelines may be written at a time.
    Light,
    /// The polls of algorithms are spans, and a user's own [`tracing`] spans lie inside them. The timeline is the process's
    /// only subscriber, for good. Only in real time.
    #[default]
    Full,
}

impl Level {
    /// As the command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Full => "full",
        }
    }
}

/// What a timeline records, and how much.
#[derive(Clone, Debug)]
pub struct TimelineConfig {
    /// [`Full`](Level::Full) by default.
    pub level: Level,
    /// Only events whose number is a multiple of this. 1 by default: all of them.
    pub every: u64,
    /// Only what begins so long after the job did, and for so long. The whole job by default.
    pub window: Option<(Duration, Duration)>,
    /// Records that a thread's ring has room for. 32768 by default, about 3 MB for each thread.
    pub ring_records: usize,
}

impl Default for TimelineConfig {
    fn default() -> Self {
        TimelineConfig { level: Level::default(), every: 1, window: None, ring_records: 1 << 15 }
    }
}

/// A timeline that is being written. Dropping it finishes the file as well, but cannot say whether that worked.
pub struct Timeline {
    path: PathBuf,
    recorder: Recorder,
    pen: Arc<Mutex<Pen>>,
    spans: Option<Spans>,
    writing: Option<Writing>,
}

impl Timeline {
    /// Starts to write a timeline. The name says the format: `.json`, `.json.gz` (Chrome's, packed or not) or `.pftrace`
    /// (Perfetto's own, half the size).
    ///
    /// # Errors
    /// If the file cannot be made, or if the level is [`Full`](Level::Full) and the process already has a `tracing`
    /// subscriber: there can be only one.
    pub fn create(path: impl AsRef<Path>, config: TimelineConfig) -> Result<Timeline, anyhow::Error> {
        crate::clock::calibrate();
        let path = path.as_ref().to_owned();
        let ends_with = |end: &str| path.to_string_lossy().ends_with(end);
        let encoder: Box<dyn Encoder> = match ends_with(".pftrace") {
            true => Box::<perfetto::PerfettoProtobuf>::default(),
            false => Box::<json::ChromeJson>::default(),
        };
        let output = Output::create(&path, ends_with(".gz"))
            .with_context(|| format!("cannot write the trace {}", path.display()))?;
        let pen = Arc::new(Mutex::new(Pen::new(encoder, output)));
        let recorder = Recorder::new(&config);
        let valve = Arc::new(valve::Level::default());
        let (spans, clock) = match config.level {
            Level::Light => (None, None),
            Level::Full => {
                let (spans, clock) = Spans::subscribe(pen.clone(), valve.clone())?;
                (Some(spans), Some(clock))
            }
        };
        let writing = Writing::start(&config, recorder.clone(), pen.clone(), valve, clock)
            .context("cannot start the thread that writes the trace")?;
        Ok(Timeline { path, recorder, pen, spans, writing: Some(writing) })
    }

    /// What connects jobs to this timeline: see [`Config::timeline`](crate::Config::timeline). One job at a time.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Ends the timeline: everything recorded so far is in the file, and the file is complete.
    ///
    /// # Errors
    /// If not everything could be written (a full disk, say). The file holds what could, and opens in Perfetto.
    pub fn finish(mut self) -> Result<TimelineReport, anyhow::Error> {
        self.end()
    }

    fn end(&mut self) -> Result<TimelineReport, anyhow::Error> {
        // What is in the queue of `tracing-chrome` comes first.
        drop(self.spans.take());
        let Some(writing) = self.writing.take() else { anyhow::bail!("the timeline is finished already") };
        let finished = writing.finish();
        let mut pen = lock(&self.pen);
        let path = self.path.clone();
        let written = pen.finish();
        let (lost, events) = finished.map_err(|panic| {
            anyhow::anyhow!("writing the trace panicked: {}", crate::failure::panic_message(&*panic))
        })?;
        let lost = lost + pen.unwritten;
        match written {
            Ok(bytes) => Ok(TimelineReport { path, records: pen.records, lost, events, bytes }),
            Err(error) => Err(error).with_context(|| {
                format!("the trace {} is incomplete, {lost} records are lost", path.display())
            }),
        }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        if self.writing.is_some() {
            let _ = self.end();
        }
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeline({})", self.path.display())
    }
}

/// What became of a timeline. Prints as a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineReport {
    /// The file.
    pub path: PathBuf,
    /// Pieces in the file: slices, arrows, counters.
    pub records: u64,
    /// Records that there was no room for.
    pub lost: u64,
    /// Events in the file.
    pub events: u64,
    /// The size of the file, before it was packed.
    pub bytes: u64,
}

impl fmt::Display for TimelineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, records, lost, events, bytes } = self;
        let lost = match lost {
            0 => "none lost".to_owned(),
            lost => format!("{lost} LOST (fewer events, a window, or the level `light` lose none)"),
        };
        let megabytes = *bytes as f64 / 1e6;
        writeln!(
            f,
            "  timeline: {events} events, {records} records, {lost}; {} ({megabytes:.1} MB)",
            path.display()
        )
    }
}
