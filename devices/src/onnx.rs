//! ONNX Runtime as a device: models on lanes. Feature `onnx`.
//!
//! ```text
//!                 known to be shorter than 10 µs
//!   submit ──┬─────────────────────────────────▶ on the caller's thread ──┐
//!            └─▶ the lane's driver thread ────────────────────────────────┴─▶ the lane's session ─▶ lane back ─▶ completion
//! ```
//!
//! A [model](OnnxModel) is read once and has a session for each lane: `Run` of one session is not safe for several threads, and
//! behind a lock two threads are no faster than one. A lane carries one submission at a time, so a session is never waited for.
//! The library's own `run_async` is not used: it needs a second thread per session, and a dropped call gives up memory that the
//! library still writes to.
//!
//! The library is loaded at run time, from where `ORT_DYLIB_PATH` says, else from beside the program, else from where the build
//! found or put it. Where there is none, [`Devices`](crate::Devices) says so, and everything else works.
//!
//! # Bits
//!
//! What a row gives does not depend on the rows beside it. It may depend on *how many* there are: the library's matrix product
//! takes other paths for other numbers of rows, which add in another order, and the last bits differ (for networks of 10 to 512 wide
//! layers, by 1e-6 of the largest output at most). Where bits matter, use batches whose rows are the same in each run:
//! [`Fixed`](asynchrotron::batch::BatchPolicy::Fixed), or [one allowed size](ModelConfig::sizes).
//!
//! | file | noun |
//! |---|---|
//! | `library.rs` | the library: where it is, and what to do where it is not |
//! | `device.rs` | [`OnnxDevice`] |
//! | `source.rs` | [`ModelSource`]: a model's bytes, their hash, and the optimised graph ahead of time |
//! | `model.rs` | [`OnnxModel`]: sessions, warm-up, runs |
//! | `session.rs` | one lane's session |
//! | `ports.rs` | what a model says of its inputs and outputs |
//! | `report.rs` | [`ModelReport`]: times and hash |
//! | `draft.rs` | [`ModelDraft`]: models made on the spot |

mod device;
mod draft;
mod library;
mod model;
mod ports;
mod report;
mod session;
mod source;

pub use device::{OnnxConfig, OnnxDevice};
pub use draft::{Attribute, ModelDraft};
pub use library::LibraryMissing;
pub use model::{ModelConfig, OnnxModel};
pub use report::ModelReport;
pub use source::ModelSource;
