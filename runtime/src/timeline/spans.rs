//! [`Spans`]: `tracing-chrome`, set up so that what it writes comes to the pen.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::Level;
use tracing::span::{Attributes, Id};
use tracing_chrome::{ChromeLayerBuilder, EventOrSpan, FlushGuard};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::pen::Pen;
use super::tap::{CLOCK, Tap};
use super::valve::{self, Valve};
use super::writer::ChromeClock;
use crate::lock::lock;

/// How often the clock is read to find the best reading.
const READINGS: usize = 16;
/// How long their way through the queue may take.
const READINGS_WAIT: Duration = Duration::from_secs(1);

/// The spans of the process, on their way into a timeline, until it is dropped.
pub(super) struct Spans {
    _guard: FlushGuard,
}

impl Spans {
    /// Makes the timeline the process's `tracing` subscriber.
    pub(super) fn subscribe(
        pen: Arc<Mutex<Pen>>,
        level: Arc<valve::Level>,
    ) -> Result<(Self, ChromeClock), anyhow::Error> {
        let ticks = Arc::default();
        let (layer, guard) = ChromeLayerBuilder::<Registry>::new()
            .writer(Tap::new(pen, level.clone(), Arc::clone(&ticks)))
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
        let layers = NameLayer.and_then(Valve::new(layer, level));
        let subscriber = tracing_subscriber::registry().with(layers).with(LevelFilter::INFO);
        tracing::subscriber::set_global_default(subscriber)
            .context("the timeline needs to be the only `tracing` subscriber of the process")?;
        let clock = read_clock(&guard, &ticks);
        Ok((Spans { _guard: guard }, clock))
    }
}

/// `tracing-chrome` does not say when its time began, so it is asked what time it is.
fn read_clock(guard: &FlushGuard, ticks: &Mutex<Vec<u64>>) -> ChromeClock {
    let origin = Instant::now();
    let nanoseconds = || origin.elapsed().as_nanos() as u64;
    let readings: Vec<(u64, u64)> = (0..READINGS)
        .map(|_| {
            let before = nanoseconds();
            tracing::event!(name: "clock", target: CLOCK, Level::INFO, {});
            (before, nanoseconds())
        })
        .collect();
    guard.flush();
    while lock(ticks).len() < READINGS && origin.elapsed() < READINGS_WAIT {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It reads its clock as soon as it is asked. This thread may lose its core meanwhile: the shortest question knows best.
    let ticks = std::mem::take(&mut *lock(ticks));
    let best = readings.iter().zip(&ticks).min_by_key(|((before, after), _)| after - before);
    ChromeClock { origin, offset: best.map_or(0, |(&(before, _), tick)| tick.saturating_sub(before)) }
}

/// Between the name of an algorithm and the number of its event: nothing that anybody writes.
pub(super) const SEPARATOR: char = '\u{2063}';

/// A span's name is fixed where it is made in the code; those of an algorithm and its event are arguments of it, kept here.
///
/// Arguments cost `tracing-chrome` more than all the rest, at both ends of every poll. So those of algorithms do not go to it as
/// such: the [tap](super::tap) finds the event behind the name.
struct AlgorithmName(String);

struct NameLayer;

struct NameVisitor(String);

/// Whether it is the span of an algorithm, of which [`NameLayer`] knows everything.
pub(super) fn is_algorithm(attributes: &Attributes<'_>) -> bool {
    attributes.metadata().target() == "asynchrotron"
}

impl tracing::field::Visit for NameVisitor {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "algorithm" {
            self.0 = value.to_owned();
        }
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "event" {
            self.0.push(SEPARATOR);
            self.0 += itoa::Buffer::new().format(value);
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl Layer<Registry> for NameLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, Registry>) {
        // A user's span may have such an argument, too.
        if !is_algorithm(attributes) {
            return;
        }
        let mut visitor = NameVisitor(String::new());
        attributes.record(&mut visitor);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(AlgorithmName(visitor.0));
        }
    }
}
