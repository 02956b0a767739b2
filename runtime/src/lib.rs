//! Asynchrotron: a coroutine-style async scheduler for event reconstruction.
#![forbid(unsafe_code)]

mod algorithm;
mod chain;
mod clock;
mod config;
mod event;
mod failure;
mod feed;
mod group;
mod handle;
mod meter;
mod plan;
mod policy;
mod progress;
mod report;
mod scheduler;
mod sink;
mod slot;
pub mod source;
mod stop;
mod tally;
pub mod timeline;

pub use algorithm::{Algorithm, Plain, WithContext};
pub use chain::{AlgorithmInfo, Chain, ChainError};
pub use config::Config;
pub use event::{EventContext, EventId, Get};
pub use failure::{EventFailure, Failure, FailureKind};
pub use handle::{Handle, Inputs};
pub use policy::{OnError, Then, read_quarantine};
pub use progress::{Progress, Ticker};
pub use report::{AlgorithmReport, Latency, Report};
pub use scheduler::{RunError, Scheduler};
pub use sink::Sink;
pub use source::{Read, Source};
pub use stop::Stop;

/// What an algorithm fails with: any error; see the crate [`anyhow`].
pub use anyhow::{self, Error};

/// What an algorithm returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a chain is usually written with.
pub mod prelude {
    pub use crate::{
        Chain, Config, Error, EventContext, EventId, Handle, Read, Report, Result, Scheduler, Sink, Source, source,
    };
    pub use anyhow::{Context as _, anyhow, bail, ensure};
}
