//! GPUs: lanes are streams, and what ends on them is awaited.
//!
//! Nothing of CUDA is needed to build this, and the driver and the compiler (NVRTC) are found at run time.
//!
//! | file | noun |
//! |---|---|
//! | `device.rs` | [`CudaDevice`]: one GPU |
//! | `body.rs`, `work.rs`, `memory.rs` | [`CudaBody`] and [`Work`]: what a step enqueues; the memory it sees |
//! | `lane_stream.rs` | [`LaneStream`]: a stream for libraries that keep it |
//! | `flight.rs`, `engine.rs`, `expectation.rs`, `driver_thread.rs` | a submission on its way, how its end is learnt, and when it is worth asking |
//! | `recording.rs`, `replays.rs`, `mover.rs` | what a step asks for, enqueued later; as a graph; small copies by a kernel |
//! | `events.rs`, `ready.rs` | points that go round; the one that others wait for on the GPU |
//! | `columns.rs` | [`DeviceColumns`]: collections on a GPU |
//! | `pool.rs` | memory that goes round |
//! | `kernel.rs`, `compiler.rs`, `images.rs` | [`KernelSource`]: device code, compiled once, and kept on disk |
//! | `nvtx.rs` | names of submissions, for profilers |
//! | `driver.rs`, `real.rs`, `mock.rs` | [`Driver`]: the calls that all this is built on; NVIDIA's, and one for tests |
//!
//! Unsafe code is in `real.rs` and below it, `compiler.rs`, `nvtx.rs` (foreign calls), `memory.rs` (views of pinned memory) and `mock.rs`.

mod body;
mod columns;
#[allow(unsafe_code)] // a marked file: foreign calls
mod compiler;
mod device;
mod driver;
mod driver_thread;
mod engine;
mod events;
mod expectation;
mod fault;
mod flight;
mod images;
mod kernel;
mod lane_stream;
mod memory;
#[allow(unsafe_code)] // a marked file: host memory that plays a GPU's
pub mod mock;
mod mover;
#[allow(unsafe_code)] // a marked file: foreign calls
mod nvtx;
mod pool;
mod ready;
#[allow(unsafe_code)] // a marked file: foreign calls
mod real;
mod recording;
mod replays;
mod shared;
mod work;

pub use body::{CudaBody, Finish};
pub use columns::{ColumnsDownload, DeviceColumns};
pub use device::{CudaConfig, CudaDevice, MemoryCounts};
pub use driver::{
    ARGUMENTS_MAX, Address, Call, CudaEvent, Driver, Function, GpuInfo, Graph, Launch, Module, Pinned, Stream,
};
pub use engine::Waiting;
pub use fault::{Fault, Severity};
pub use images::{BuildError, Built, Image, Images, build_kernels, compiler_version};
pub use kernel::{Kernel, KernelError, KernelSource};
pub use lane_stream::LaneStream;
pub use memory::{DeviceSlice, Download, Landed, PinnedBytes, Staged};
pub use mover::MOVE;
pub use pool::PoolCounts;
pub use work::{Argument, Region, Work};
