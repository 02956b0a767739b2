//! Models: what they take and give, requests of events side by side, and the step that runs one.
//!
//! ```text
//!   event 17: 3 rows ──┐                                            ┌──▶ 3 rows of output
//!   event 18: 1 row  ──┼─▶ one block per input ─▶ model ─▶ blocks ──┼──▶ 1 row
//!   event 23: 5 rows ──┘   [feature][row] or [row][feature]         └──▶ 5 rows
//! ```
//!
//! Nothing here needs ONNX Runtime: an [`Inference`] with a body for the host runs on any device.
//!
//! | file | noun |
//! |---|---|
//! | `block.rs`, `packing.rs`, `any_block.rs` | [`Block`], [`AnyBlock`], [`Blocks`]: rows as one piece of memory |
//! | `signature.rs` | [`Signature`], [`Port`]: names, types and shapes |
//! | `request.rs` | [`ModelRequest`]: what an event asks; [`Rows`], [`Inputs`] |
//! | `step.rs` | [`Inference`]: the step |
//! | `report.rs` | [`ModelReport`]: times and hash of a model that was loaded |
//! | `mlp.rs` | [`Mlp`]: a small dense network in plain Rust, the reference |
//! | `error.rs` | [`ModelError`] |
//!
//! # What crosses
//!
//! | what | from → to | copies |
//! |---|---|---|
//! | columns of a packed collection that is a batch by itself | event → model | none |
//! | columns of collections, for `[feature][row]` | events → block → model | one, a column per event at a time; the model reads the block in place |
//! | columns of collections, for `[row][feature]` | events → block → model | one, number by number |
//! | outputs | model → block → events | one, and one more where they are split |
//! | on a GPU: blocks, and outputs | host → GPU → host | one more each way into pinned memory, and one over the bus |
//! | on a GPU: columns that a kernel has made there | kernel → model | none |

mod any_block;
mod block;
mod error;
mod mlp;
mod packing;
mod report;
mod request;
mod signature;
mod step;

pub use any_block::{AnyBlock, BlockElement, BlockType, Blocks};
pub use block::{Block, Order};
pub use error::ModelError;
pub use mlp::{Activation, Layer, Mlp};
pub use report::ModelReport;
pub use request::{Inputs, ModelRequest, Rows};
pub use signature::{Port, Signature};
pub use step::{HostBody, Inference, PackedBatch};
