//! The timeline: what every worker did, as a Chrome trace to be opened in [Perfetto](https://ui.perfetto.dev).
//!
//! ```no_run
//! use asynchrotron::prelude::*;
//! use asynchrotron::timeline::Timeline;
//!
//! # let mut chain = Chain::new("sum");
//! # let x = chain.source::<i32>("x");
//! # chain.sink("print", x, |_: EventId, _: std::sync::Arc<i32>| Ok(()));
//! let timeline = Timeline::to_file("trace.json")?;
//! let config = Config { traced: true, ..Config::default() };
//! let report = Scheduler::new(config).run(chain, source::from_iter([1, 2, 3]))?;
//! timeline.finish()?;
//! # Ok::<(), Error>(())
//! ```
//!
//! There is a track for each worker, and on it a slice for each poll of an algorithm, named by the algorithm, with the
//! event as an argument; polls that only find the inputs not there yet are left out. A producer that an algorithm demands on
//! its way, with `ctx.get`, may lie inside its slice, and so do a user's own [`tracing`] spans. An event that is given up
//! is marked by an instant, `event failed`, with the algorithm and the cause. Slices are wall time: a worker that the
//! operating system took off its core seems to work.
//!
//! Where events wait for a [batcher](crate::batch), there is a track for each slot, with slices for its events' time in the queue
//! and on the device, and one for each lane, with a slice for each batch: how many requests, and why it was closed.
//!
//! Everything goes through `tracing`: the scheduler makes spans if [`Config::traced`](crate::Config::traced) is set, and
//! a [`Timeline`] writes whatever spans there are. Without a timeline they go to whatever subscriber the program has.

mod chrome;
pub mod reading;
mod tracks;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use tracing::Level;
use tracing::span::{Attributes, Id};
use tracing_chrome::{ChromeLayerBuilder, EventOrSpan, FlushGuard};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::event::EventId;
use crate::lock::lock;
use chrome::ChromeWriter;

/// What became of the file: the first error in writing it.
pub(crate) type Trouble = Arc<Mutex<Option<io::Error>>>;

/// A Chrome trace that is being written. Dropping it finishes the file as well, but cannot say whether that worked.
pub struct Timeline {
    path: PathBuf,
    guard: Option<FlushGuard>,
    trouble: Trouble,
}

impl Timeline {
    /// Starts to write all spans of the process, of level info and above, to a file.
    ///
    /// # Errors
    /// If the file cannot be made, or if the process already has a `tracing` subscriber: there can be only one.
    pub fn to_file(path: impl AsRef<Path>) -> Result<Timeline, anyhow::Error> {
        let path = path.as_ref().to_owned();
        let file =
            File::create(&path).with_context(|| format!("cannot write the trace {}", path.display()))?;
        let trouble = Trouble::default();
        let (layer, guard) = ChromeLayerBuilder::<Registry>::new()
            .writer(ChromeWriter::new(file, trouble.clone()))
            .include_args(true)
            .include_locations(false)
            .name_fn(Box::new(|what| match what {
                EventOrSpan::Event(event) => event.metadata().name().to_owned(),
                EventOrSpan::Span(span) => match span.extensions().get::<AlgorithmName>() {
                    Some(AlgorithmName(name)) => name.clone(),
                    None => span.name().to_owned(),
                },
            }))
            .build();
        // The names are stored before the layer that reads them sees the span.
        let subscriber =
            tracing_subscriber::registry().with(NameLayer.and_then(layer)).with(LevelFilter::INFO);
        tracing::subscriber::set_global_default(subscriber)
            .context("the timeline needs to be the only `tracing` subscriber of the process")?;
        Ok(Timeline { path, guard: Some(guard), trouble })
    }

    /// Ends the trace: everything recorded so far is in the file, and the file is complete.
    ///
    /// # Errors
    /// If not everything could be written (a full disk, say). The file holds what could, and opens in Perfetto.
    pub fn finish(mut self) -> Result<(), anyhow::Error> {
        // Ends the writing thread and waits for it.
        drop(self.guard.take());
        match lock(&self.trouble).take() {
            None => Ok(()),
            Some(error) => {
                Err(error).with_context(|| format!("the trace {} is incomplete", self.path.display()))
            }
        }
    }
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timeline({})", self.path.display())
    }
}

/// A slice of a track that is no thread's: what an event, or a lane, did from one time to another. It is recorded when it
/// has ended, and put where it belongs by [`Tracks`](tracks::Tracks).
pub(crate) struct Slice {
    pub(crate) track: &'static str,
    pub(crate) number: usize,
    /// In nanoseconds, as the next two.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) now: u64,
}

impl Slice {
    pub(crate) fn emit(&self, name: &str, event: Option<EventId>) {
        let Self { track, number, begin, end, now } = *self;
        let event = event.map(|event| event.0);
        tracing::event!(
            name: "slice", target: "asynchrotron", Level::INFO,
            slice = name, track, number, begin, end, now, event
        );
    }
}

/// A span's name is fixed where it is made in the code; that of an algorithm is an argument of it, kept here.
struct AlgorithmName(String);

struct NameLayer;

struct NameVisitor(Option<String>);

impl tracing::field::Visit for NameVisitor {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "algorithm" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl Layer<Registry> for NameLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, Registry>) {
        let mut visitor = NameVisitor(None);
        attributes.record(&mut visitor);
        if let (Some(name), Some(span)) = (visitor.0, ctx.span(id)) {
            span.extensions_mut().insert(AlgorithmName(name));
        }
    }
}
