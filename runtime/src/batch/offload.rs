//! [`Offload`]: how a batch of requests is packed, run and unpacked.

use std::fmt;

use asynchrotron_sync::{Lane, LanePool, Lost};

/// An algorithm that runs somewhere else, many requests at a time: how its requests are packed into a batch, run on a
/// lane, and unpacked. This is where its data layout lives.
///
/// Devices implement it for their steps; there is rarely a need to implement it by hand.
///
/// # Examples
///
/// A "device" that doubles numbers at once:
///
/// ```
/// use asynchrotron::batch::{Lane, LanePool, Lost, Offload, Trouble};
///
/// struct Double { lanes: LanePool<()> }
///
/// impl Offload for Double {
///     type Request = u64;
///     type Reply = u64;
///     type Error = Failed;
///     type Lane = ();
///
///     fn name(&self) -> &str { "double" }
///     fn rows(&self, _: &u64) -> usize { 1 }
///     fn trouble(&self, trouble: Trouble) -> Failed { Failed(trouble.to_string()) }
///     fn lanes(&self) -> &LanePool<()> { &self.lanes }
///     fn lane_number(&self, _: &()) -> usize { 0 }
///     fn start(&self, lane: Lane<()>, batch: &[&u64], _rows: usize)
///         -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static
///     {
///         let doubled = batch.iter().map(|&&x| 2 * x).collect();
///         async move { drop(lane); Ok(doubled) }
///     }
/// }
///
/// #[derive(Clone, Debug)]
/// struct Failed(String);
/// impl From<Lost> for Failed { fn from(lost: Lost) -> Self { Failed(lost.to_string()) } }
/// impl std::fmt::Display for Failed {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
/// }
/// impl std::error::Error for Failed {}
/// ```
pub trait Offload: Send + Sync + 'static {
    /// What one event asks for. Kept until its batch has succeeded, so that a failed batch can be split.
    type Request: Send + Sync + 'static;
    /// What it gets.
    type Reply: Send + 'static;
    /// What a submission fails with; given to every request that it concerns.
    type Error: std::error::Error + Clone + From<Lost> + Send + Sync + 'static;
    /// What a lane is.
    type Lane: Send + 'static;

    /// Its name in reports, timelines and errors.
    fn name(&self) -> &str;

    /// The weight of a request.
    fn rows(&self, request: &Self::Request) -> usize;

    /// The size of a request. 0 by default.
    fn bytes(&self, _request: &Self::Request) -> usize {
        0
    }

    /// The lanes on which batches run. They may be shared with others.
    fn lanes(&self) -> &LanePool<Self::Lane>;

    /// The name of the device, for timelines. `device` by default.
    fn device(&self) -> &str {
        "device"
    }

    /// A number of the lane, for timelines: each has its own, from 0.
    fn lane_number(&self, lane: &Self::Lane) -> usize;

    /// Packs a batch of at least one request, submits it, and gives a future of the replies: one for each request, in the
    /// same order. `rows` is the weight of the batch, padding included.
    ///
    /// The future is polled on a worker. Dropping it at any time must be safe; the lane goes back when the device is done.
    fn start(
        &self,
        lane: Lane<Self::Lane>,
        batch: &[&Self::Request],
        rows: usize,
    ) -> impl Future<Output = Result<Vec<Self::Reply>, Self::Error>> + Send + 'static;

    /// Runs one request without a batcher ([`Off`](super::BatchPolicy::Off)), once, and tells where it is; nothing, if it is
    /// computed on the caller's thread. `rows` is its weight, padding included. By default waits for a lane and
    /// [starts](Self::start) a batch of one.
    fn run_alone(
        &self,
        request: &Self::Request,
        rows: usize,
        tell: &(dyn Fn(Alone) + Sync),
    ) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send {
        async move {
            tell(Alone::InLine);
            let lane = self.lanes().take().await.map_err(|_| self.trouble(Trouble::Closed))?;
            tell(Alone::OnLane(self.lane_number(&lane)));
            let mut replies = self.start(lane, &[request], rows).await?;
            match (replies.pop(), replies.is_empty()) {
                (Some(reply), true) => Ok(reply),
                _ => Err(self.trouble(Trouble::WrongReplies)),
            }
        }
    }

    /// The error for what the batcher itself found.
    fn trouble(&self, trouble: Trouble) -> Self::Error;

    /// What can be done about a failure. [`Remedy::Split`] by default.
    fn remedy(&self, _error: &Self::Error) -> Remedy {
        Remedy::Split
    }
}

/// Where a request is that [runs alone](Offload::run_alone).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// It waits for a lane.
    InLine,
    /// It is on the lane of this number.
    OnLane(usize),
}

/// What can be done about a failed submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// One of its requests may be guilty, or there were too many: both halves are tried alone, and so on, until every request
    /// has succeeded or failed alone.
    Split,
    /// There is no room for it now, beside what else is on the device: as [`Split`](Self::Split), but a request alone is tried again,
    /// after a pause, for some five seconds.
    Later,
    /// The lane has died, and the batch is as good as before: it goes back to the queue, for another lane.
    GiveBack,
    /// Nothing: all of its requests fail.
    Fail,
}

/// What a batcher finds wrong by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The lanes are closed, or the last one has died.
    Closed,
    /// Packing or unpacking panicked, with this message.
    Panicked(String),
    /// There was not one reply for each request.
    WrongReplies,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the lanes are closed"),
            Self::Panicked(message) => write!(f, "packing or unpacking panicked: {message}"),
            Self::WrongReplies => f.write_str("there was not one reply for each request"),
        }
    }
}
