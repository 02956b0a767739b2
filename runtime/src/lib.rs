//! Asynchrotron: a coroutine-style async scheduler for event reconstruction.
//!
//! A physicist writes each algorithm as a straight-line `async fn` from data products to a data product, and composes
//! them into a [`Chain`]. A [`Scheduler`] runs the chain on the events of a [`Source`]: it keeps many events in flight,
//! suspends an algorithm while it waits for a device, and hands what the [`Sink`]s want to them.
//!
//! ```
//! use std::sync::Arc;
//! use asynchrotron::prelude::*;
//!
//! struct Hits(Vec<f32>);
//! struct Clusters(Vec<f32>);
//!
//! async fn calibrate(raw: Arc<Vec<u16>>, gain: Arc<f32>) -> Result<Hits> {
//!     Ok(Hits(raw.iter().map(|&adc| f32::from(adc) * *gain).collect()))
//! }
//!
//! async fn clusterize(ctx: EventContext, hits: Arc<Hits>) -> Result<Clusters> {
//!     ensure!(!hits.0.is_empty(), "event {} is empty", ctx.id());
//!     tokio::task::yield_now().await; // a device would work here, and this event would be suspended
//!     Ok(Clusters(vec![hits.0.iter().sum()]))
//! }
//!
//! let mut chain = Chain::new("calorimeter");
//! let raw = chain.source::<Vec<u16>>("raw");
//! let gain = chain.conditions("gain", Arc::new(0.25_f32));
//! let hits = chain.algorithm("calibrate", (raw, gain), calibrate);
//! let clusters = chain.algorithm("clusterize", (hits,), clusterize);
//! chain.sink("print", clusters, |event: EventId, clusters: Arc<Clusters>| {
//!     println!("event {event}: {:?} MeV", clusters.0);
//!     Ok(())
//! });
//!
//! let events = (1..=1000).map(|n| vec![n as u16; 8]);
//! let report = Scheduler::new(Config { slots: 64, ..Config::default() }).run(chain, source::from_iter(events))?;
//! assert_eq!(report.events, 1000);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Promises
//!
//! What programs may rely on. What is not here is today's behaviour, and may change.
//!
//! **Demand.** An algorithm runs in an event if and only if a sink wants its product, directly or through algorithms that
//! run, or an algorithm that runs asks for it with [`EventContext::get`]; then it runs exactly once (once per attempt, if
//! the event is [retried](OnError)), and all who want its product share one object. A failure is shared in the same way.
//!
//! **Concurrency.** Algorithms of an event that do not need each other's products do not wait for each other's
//! suspensions, nor do algorithms of different events. With fewer slots than workers, those that do not suspend spread
//! over the workers, too. An algorithm that neither ends nor suspends keeps its worker: the scheduler cannot interrupt
//! it.
//!
//! **Fairness.** Every event that can go on is polled again after finitely many others. A source is asked for the next
//! event as long as there is a free slot. Nothing is promised on the order in which events that can go on do so.
//!
//! **Bounds.** No more events are in flight than there are slots, and no event is read before there is a slot for it. A
//! slow sink, or one that must wait for an earlier event because the job is ordered, keeps slots occupied, and so holds the
//! source back. The queue of a [batcher](batch) holds no more than events in flight have asked for. There are no other queues.
//!
//! **Batches.** A request to a [batcher](batch) is held only while an event in flight can still join its batch, or while no
//! lane is free. A failed batch is split until the guilty request stands alone. Which requests shared a batch has no influence
//! on anything but time, if the device computes each of them for itself; where it does not,
//! [`fixed=N`](batch::BatchPolicy::Fixed) makes that a function of the events' numbers alone.
//!
//! **Order.** Events get to a sink one at a time; in the order of the source if the sink is
//! [ordered](Chain::ordered_sink) or the job is ([`Config::ordered`]), else in that in which they finish. Events that fail are
//! left out, and nothing of them gets to any sink. (What [`Chain::for_each`] adds is an algorithm: it runs when its inputs
//! are there.)
//!
//! **Failure.** An error, a panic, or a time-out of an algorithm costs its event and no other. Nobody waits for a product
//! that will never come: whoever awaits a failed product gets its [`Failure`].
//!
//! **Cancellation.** An event ends early if one of its demanded products has failed, or its deadline has passed. Its
//! suspended algorithms are then dropped where they stand, before the slot goes on to the next event. An algorithm must
//! therefore be content to be dropped at any of its `.await`s; buffers that a device still works on stay with the device.
//!
//! **The end.** A job ends when its source does, when it has read as many events as it was asked to, when it is asked to
//! [stop](Stop), or when an event or sink fails for good. In every case the events in flight are finished first, and then
//! [`Sink::finish`] is called for each sink. What was handed to a sink stays.
//!
//! **Results** do not depend on the number of workers, slots and lanes, on how batches formed, nor on tracing.
//!
//! # Today's behaviour
//!
//! A slot is one long-lived task on tokio's work-stealing executor, and polls all algorithms of its event itself: an
//! algorithm that never suspends costs an allocation and no scheduling, and one that does costs one wake-up. With fewer slots
//! than workers each algorithm is a task of its own instead. Products live until their event ends.
//! Waiting for a [time](time::Clock) is exact to some tens of microseconds.
//!
//! # Code map
//!
//! | module | one noun | knows |
//! |---|---|---|
//! | `chain`, `algorithm`, `handle` | what a user composes | types |
//! | `plan` | the chain, frozen for a run | which products the sinks demand |
//! | `group` | the tasks and products of one event | when an algorithm is polled, and by whom |
//! | `slot`, `feed`, `scheduler` | events in flight | policies, order, deadlines, the end |
//! | [`batch`] | requests of many events, side by side | who can still come |
//! | `failure`, `policy` | what goes wrong | causes and consequences |
//! | [`time`](mod@time) | the clock: real or simulated | who rings |
//! | [`harvest`] | work elsewhere whose end is found by asking | who asks, and when |
//! | `meter`, `observer`, `tally`, `report`, [`timeline`] | where the time went | ticks |
//! | `monitor`, `snapshot` | what is going on now | where the meters are |
//!
//! The runtime does not know that GPUs exist, nor any physics, nor any file format. All hand-written waiting is in the
//! crate `asynchrotron-sync`, where it is model-checked.
#![forbid(unsafe_code)]

mod algorithm;
pub mod batch;
mod chain;
mod clock;
mod config;
mod event;
mod failure;
mod feed;
mod group;
mod handle;
pub mod harvest;
mod lock;
mod meter;
mod monitor;
mod observer;
mod plan;
mod policy;
mod progress;
mod report;
mod scheduler;
mod seat;
mod sink;
mod slot;
mod snapshot;
pub mod source;
mod stop;
mod tally;
pub mod time;
pub mod timeline;

pub use algorithm::{Algorithm, Offloaded, Plain, WithContext};
pub use chain::{AlgorithmInfo, Chain, ChainError};
pub use config::Config;
pub use event::{EventContext, EventId, Get};
pub use failure::{EventFailure, Failure, FailureKind};
pub use handle::{Handle, Inputs};
pub use monitor::Monitor;
pub use policy::{OnError, Then, read_quarantine};
pub use progress::{Progress, Ticker};
pub use report::{AlgorithmReport, Latency, Report};
pub use scheduler::{RunError, Scheduler};
pub use sink::Sink;
pub use snapshot::{Activity, AlgorithmStatus, BatcherStatus, EventStatus, Snapshot, Unfinished};
pub use source::{Read, Source};
pub use stop::Stop;

/// What an algorithm fails with: any error; see the crate [`anyhow`].
pub use anyhow::{self, Error};

/// What an algorithm returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a chain is usually written with.
pub mod prelude {
    pub use crate::{
        Chain, Config, Error, EventContext, EventId, Handle, Read, Report, Result, Scheduler, Sink, Source,
        source,
    };
    pub use anyhow::{Context as _, anyhow, bail, ensure};
}

/// The example of the README runs, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
