//! ONNX Runtime as a device: models on lanes. Feature `onnx`.
//!
//! ```text
//!                 known to be shorter than 1 ms
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
//! What a row gives does not depend on what the rows beside it hold. The last bits may depend on how many there are, and on the
//! place of a row among them, where an operator takes the last few numbers of a piece of memory in another way than those before
//! (`tests/onnx_bits.rs`; one thread per session, ONNX Runtime 1.31.1, AMD EPYC):
//!
//! | operators | depends on the number of rows | on the place |
//! |---|---|---|
//! | dense layers (`Gemm`, `MatMul` with the weights on the right, `transA` or not), convolutions, `Relu`, `Sigmoid`, `Tanh`, `Softmax` | no | no |
//! | `MatMul` with the weights on the left, `[feature][row]` | one row differs from several, by 1e-6 | no |
//! | `Softplus`, `Elu`, `Log`, `Sin` | by 1e-7 | by 1e-7 |
//!
//! Where such bits matter, use batches whose events do not depend on chance: [`Fixed`](asynchrotron::batch::BatchPolicy::Fixed).
//!
//! | file | noun |
//! |---|---|
//! | `library.rs` | the library: where it is, and what to do where it is not |
//! | `device.rs` | [`OnnxDevice`] |
//! | `source.rs` | [`ModelSource`]: a model's bytes, their hash, and the optimised graph ahead of time |
//! | `model.rs` | [`OnnxModel`]: sessions, warm-up, runs |
//! | `session.rs` | one lane's session |
//! | `ports.rs` | what a model says of its inputs and outputs |
//! | `cuda.rs`, `cuda/` | `CudaModel`: models on GPUs, with the feature `cuda` |
//! | `draft.rs` | [`ModelDraft`]: models made on the spot |

#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod draft;
mod library;
mod model;
mod ports;
mod runs;
mod session;
mod source;

#[cfg(feature = "cuda")]
pub use cuda::{CudaModel, DeviceTensor};
pub use device::{OnnxConfig, OnnxDevice};
pub use draft::{Attribute, ModelDraft};
pub use library::LibraryMissing;
pub use model::{ModelConfig, OnnxModel};
pub use source::ModelSource;
