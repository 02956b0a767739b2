//! Batches across events: physics events are small, devices want large batches.
//!
//! ```text
//!   event 17 ── submit ──┐                                                  ┌──▶ event 17 goes on
//!   event 18 ── submit ──┼──▶ queue ──▶ closed, and cut for a free lane ──▶ │ device │ ──┼──▶ event 18 goes on
//!   event 23 ── submit ──┘        ▲                                         └──▶ event 23 goes on
//!                                 │
//!                     decide(what is known) on every change
//! ```
//!
//! A [`Batcher`] belongs to one offloaded algorithm ([`Offload`]). Its rules, whatever the [policy](BatchPolicy):
//!
//! 1. While no lane is free nothing is closed: the batch grows until a lane takes it (late binding).
//! 2. When a lane is free and **nobody else can come** (every event in flight that may still ask has asked, is through, or
//!    waits elsewhere for something that waits for others), the batch is closed at once; under `Adaptive`, if it is a small one
//!    and other lanes work, at the latest when they have ended. No tail waits for a time-out, and no
//!    batch can be larger than what can be in flight.
//! 3. Else the policy says for what and how long it is held.
//!
//! An event that waits in one batcher's queue is not waited for by any other, so batchers never wait for each other.
//! Several batchers may share a device.
//!
//! # When something fails
//!
//! A batch that fails is split in two until the guilty requests stand alone; the others succeed. Too much for the device's
//! memory is the same. A lane that dies gives its batch back to the queue. The errors are those of the device, one for each
//! request that is concerned.
//!
//! # Cancel safety
//!
//! A request whose waiter has left (its event failed, or timed out) leaves the queue at once, or is left out where its batch is
//! packed; what is on the device already is computed and dropped.

mod batcher;
mod cost;
mod crowd;
mod decide;
mod driver;
mod fixed;
mod learnt;
mod moving;
mod offload;
mod policy;
mod report;
mod sightings;
mod stamp;

pub use asynchrotron_sync::{Closed, Lane, LanePool, Lost};
pub use batcher::Batcher;
pub use cost::Cost;
pub(crate) use crowd::{Crowd, JobSide, Phase, Presence};
pub use decide::CloseReason;
pub use offload::{Alone, Offload, Remedy, Trouble};
pub use policy::{BatchConfig, BatchPolicy};
pub use report::BatcherReport;
