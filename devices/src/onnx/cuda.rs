//! Models on GPUs: ONNX Runtime's CUDA provider on the lanes of a [`CudaDevice`](crate::cuda::CudaDevice).
//!
//! ```text
//!                                           the lane's stream
//!   blocks of a batch ──copied──▶ ┌───────────────────────────────────────┐ ──copied──▶ blocks
//!                                 │ inputs ──▶ the session's kernels ──▶ outputs │
//!   columns of an earlier kernel ─▶ └───────────────────────────────────────┘ ─▶ a later kernel
//!                 in place                                                  in place
//! ```
//!
//! Nothing waits: the session enqueues on the lane's own stream, is told not to synchronize, and the end is that of the whole
//! submission. A session belongs to one lane, and is made and run on that lane's thread: the libraries below it (cuBLAS, cuDNN) keep
//! handles per thread.
//!
//! The provider is two more libraries beside ONNX Runtime's own. They are loaded at run time, when a model first asks for them. Where they
//! are not, one line says what is missing.
//!
//! On a [mock](crate::cuda::mock) GPU, whose memory is the host's, all of this is the same but for the provider, which is the
//! processor.
//!
//! | file | noun |
//! |---|---|
//! | `model.rs` | [`CudaModel`] |
//! | `tensor.rs` | [`DeviceTensor`]: what goes in, and what comes out |
//! | `bound.rs` | one lane's session |
//! | `provider.rs` | the provider's libraries, and what to do where they are not |

#[allow(unsafe_code)] // a marked file: foreign calls
mod bound;
mod model;
mod provider;
mod tensor;

pub use model::CudaModel;
pub use tensor::DeviceTensor;
