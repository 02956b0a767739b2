//! [`Driver`]: the few calls of a GPU's driver that the device is built on; the real one and a mock implement it.

use std::fmt;

use super::{Fault, Image, KernelError, KernelSource};

/// A queue of the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream(pub usize);

/// A point on a stream: a CUDA event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CudaEvent(pub usize);

/// Loaded device code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Module(pub usize);

/// A kernel in a [`Module`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function(pub usize);

/// An address in the GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub u64);

/// An address in pinned memory of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pinned(pub usize);

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks, in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block, in x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: u32,
}

impl Launch {
    /// One thread for each of `threads`, in blocks of `block`: one block at least.
    pub fn for_each(threads: usize, block: u32) -> Self {
        let blocks = threads.div_ceil(block as usize).clamp(1, i32::MAX as usize);
        Self::blocks(blocks as u32, block)
    }

    /// So many blocks of so many threads.
    pub fn blocks(blocks: u32, block: u32) -> Self {
        Self { grid: [blocks, 1, 1], block: [block, 1, 1], shared_bytes: 0 }
    }

    /// The same, with so much dynamic shared memory.
    #[must_use]
    pub fn with_shared(self, shared_bytes: u32) -> Self {
        Self { shared_bytes, ..self }
    }
}

/// A kernel, how it is launched, and the values of its parameters: of each its bytes, from the lowest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The kernel.
    pub function: Function,
    /// Its threads.
    pub launch: Launch,
    /// As many as the kernel has parameters, and not more than [`ARGUMENTS_MAX`].
    pub arguments: &'a [u64],
}

/// The most parameters that a kernel can have.
pub const ARGUMENTS_MAX: usize = 48;

/// Kernels, one after the other, that are launched as one: a CUDA graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Graph(pub usize);

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number among those that the driver shows.
    pub ordinal: usize,
    /// As `NVIDIA H200`.
    pub name: String,
    /// As `sm_90`.
    pub arch: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// The driver's version, as `13.0`.
    pub driver: String,
}

/// The calls of one GPU's driver.
///
/// Handles are plain numbers, so that the device's logic is the same code with a mock. Everything but
/// [`is_reached`](Self::is_reached) and [`synchronize`](Self::synchronize) needs the GPU's context
/// [bound](Self::bind) to the calling thread.
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// What it drives.
    fn info(&self) -> &GpuInfo;

    /// Whether its memory is the host's, so that libraries compute on it with the processor: a mock. `false` by default.
    fn memory_is_hosts(&self) -> bool {
        false
    }

    /// Makes its context the calling thread's.
    fn bind(&self) -> Result<(), Fault>;

    /// A queue that runs beside all others.
    fn create_stream(&self) -> Result<Stream, Fault>;
    /// Gives it back, when what is on it has ended.
    fn destroy_stream(&self, stream: Stream);

    /// A point that is on no stream yet. `sleeps`: whoever [synchronizes](Self::synchronize) with it sleeps instead of spinning; such
    /// a point interrupts the processor, and streams that share one of the GPU's queues wait for each other's.
    fn create_event(&self, sleeps: bool) -> Result<CudaEvent, Fault>;
    /// Gives it back.
    fn destroy_event(&self, event: CudaEvent);
    /// Puts the point behind everything that is on the stream.
    fn record(&self, event: CudaEvent, stream: Stream) -> Result<(), Fault>;
    /// What is enqueued on the stream from now on waits, on the GPU, until the GPU has got there: it was recorded, perhaps on a stream of
    /// another GPU.
    fn wait(&self, stream: Stream, event: CudaEvent) -> Result<(), Fault>;
    /// Whether the GPU has got there, or what keeps it from ever getting there. Any thread may ask.
    fn is_reached(&self, event: CudaEvent) -> Result<bool, Fault>;
    /// Blocks the calling thread, asleep, until the GPU has got there. Any thread may.
    fn synchronize(&self, event: CudaEvent) -> Result<(), Fault>;

    /// Pinned memory, cached (not write-combined).
    fn pin(&self, bytes: usize) -> Result<Pinned, Fault>;
    /// Gives it back.
    fn unpin(&self, address: Pinned, bytes: usize);
    /// Memory of the GPU, in the order of the stream.
    fn allocate(&self, bytes: usize, stream: Stream) -> Result<Address, Fault>;
    /// Gives it back, in the order of the stream.
    fn free(&self, address: Address, bytes: usize, stream: Stream);

    /// Host → GPU, in the order of the stream. The memory must stay until then.
    fn copy_in(&self, to: Address, from: Pinned, bytes: usize, stream: Stream) -> Result<(), Fault>;
    /// GPU → host, in the order of the stream. The memory must stay until then.
    fn copy_out(&self, to: Pinned, from: Address, bytes: usize, stream: Stream) -> Result<(), Fault>;
    /// From the GPU of this number, which is another one and open, in the order of the stream. The memory must stay until then.
    fn copy_across(
        &self,
        to: Address,
        from: (usize, Address),
        bytes: usize,
        stream: Stream,
    ) -> Result<(), Fault>;
    /// Sets each byte, in the order of the stream.
    fn fill(&self, at: Address, byte: u8, bytes: usize, stream: Stream) -> Result<(), Fault>;

    /// Device code for this GPU: from a file, if it lies in one, or compiled. `anew`: compiled in any case.
    fn compile(&self, source: &KernelSource, anew: bool) -> Result<Image, KernelError>;
    /// Makes compiled code callable.
    fn load(&self, image: &[u8]) -> Result<Module, Fault>;
    /// The kernel of this name.
    fn function(&self, module: Module, name: &str) -> Result<Function, Fault>;
    /// Runs a kernel, in the order of the stream.
    fn launch(&self, call: Call<'_>, stream: Stream) -> Result<(), Fault>;
    /// Prepares kernels to be launched as one, each after the one before.
    fn graph(&self, calls: &[Call<'_>]) -> Result<Graph, Fault>;
    /// From the next [`replay`](Self::replay) on, this call takes the place of that with this index, which has the same kernel.
    fn change(&self, graph: Graph, index: usize, call: Call<'_>) -> Result<(), Fault>;
    /// Runs all kernels of a graph, in the order of the stream. What runs already is not changed by what is changed later.
    fn replay(&self, graph: Graph, stream: Stream) -> Result<(), Fault>;
    /// Gives it back, when it has ended.
    fn destroy_graph(&self, graph: Graph);

    /// Whether the word of pinned memory that a kernel was told to set has been set, and all that it wrote before is visible. No call
    /// of the driver's: any thread may look at any time.
    fn is_signalled(&self, signal: Pinned) -> bool;
    /// Takes it back, while no kernel has it.
    fn reset_signal(&self, signal: Pinned);
    /// Whether everything on the stream has ended, or what keeps it from ever ending.
    fn is_idle(&self, stream: Stream) -> Result<bool, Fault>;
    /// Calls `then` on a thread of the driver's when everything on the stream has ended, **unless it ended with an error**. `then`
    /// must not call the driver.
    fn call_back(&self, stream: Stream, then: Box<dyn FnOnce() + Send>) -> Result<(), Fault>;
}
