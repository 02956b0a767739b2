//! [`RealDriver`]: NVIDIA's driver, through cudarc; found at run time.
//!
//! # Which thread calls
//!
//! CUDA's calls are safe from any thread as long as the context is bound to it. A lane's calls are made for whoever holds the lane by
//! one thread at a time, so no two threads ever enqueue on the same stream: by the holder's, or, where much is on its way, by the
//! device's own, because the driver's state then stays with one core: its calls take several times as long where threads alternate,
//! also under a lock. A thread binds the context before it enqueues (some 30 ns if it is bound already), because tasks move
//! between workers and workers between GPUs. Models (ONNX Runtime) are called from a fixed
//! thread per lane: their libraries keep handles per thread. Looking at a signal, or asking whether an event is reached, needs no
//! context, so every thread may.

mod graph;

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use cudarc::driver::{DriverError, result, sys};

use self::graph::RealGraph;
use super::compiler::Nvrtc;
use super::driver::{
    ARGUMENTS_MAX, Address, Call, CudaEvent, Driver, Function, GpuInfo, Graph, Launch, Module, Pinned, Stream,
};
use super::{Fault, Image, Images, KernelError, KernelSource, Severity};

/// The calls are those of this version; a driver that lacks one of them would not say so before it is called.
const CUDA_MIN: i32 = 13_000;

/// As `13.0`.
fn version_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// One GPU, through NVIDIA's driver. Holds its primary context.
pub(super) struct RealDriver {
    info: GpuInfo,
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: the driver's handles are process-wide, and its calls may be made from any thread.
unsafe impl Send for RealDriver {}
// SAFETY: as above.
unsafe impl Sync for RealDriver {}

impl RealDriver {
    /// How many GPUs there are, or why none can be used, in one line.
    pub(super) fn count() -> Result<usize, String> {
        // SAFETY: only looks for the library. cudarc panics where it is missing, hence first.
        if !unsafe { sys::is_culib_present() } {
            return Err("NVIDIA's driver library (libcuda.so.1) is not installed".into());
        }
        connect();
        result::init().map_err(|error| format!("NVIDIA's driver does not start: {}", text(error)))?;
        let mut version = 0;
        // SAFETY: writes to a number that lives as long as the call.
        unsafe { sys::cuDriverGetVersion(&mut version) };
        if version < CUDA_MIN {
            let (is, needs) = (version_text(version), version_text(CUDA_MIN));
            return Err(format!(
                "NVIDIA's driver is too old: it is one for CUDA {is}, and {needs} is needed"
            ));
        }
        let count = result::device::get_count().map_err(text)?;
        if count <= 0 { Err("NVIDIA's driver finds no GPU".into()) } else { Ok(count as usize) }
    }

    /// Opens the GPU of this number.
    pub(super) fn open(ordinal: usize) -> Result<Self, Fault> {
        let device = result::device::get(ordinal as i32).map_err(|error| fault("cuDeviceGet", error))?;
        let attribute = |attribute| {
            // SAFETY: `device` comes from the driver.
            unsafe { result::device::get_attribute(device, attribute) }
                .map_err(|error| fault("cuDeviceGetAttribute", error))
        };
        use sys::CUdevice_attribute as Attribute;
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        // SAFETY: `device` comes from the driver.
        let memory = unsafe { result::device::total_mem(device) };
        let memory_bytes = memory.map_err(|error| fault("cuDeviceTotalMem", error))? as u64;
        let name = result::device::get_name(device).map_err(|error| fault("cuDeviceGetName", error))?;
        let mut version = 0;
        // SAFETY: writes to a number that lives as long as the call.
        unsafe { sys::cuDriverGetVersion(&mut version) };
        // SAFETY: `device` comes from the driver; released on drop.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(|error| fault("cuDevicePrimaryCtxRetain", error))?;
        let info = GpuInfo {
            ordinal,
            name,
            arch: format!("sm_{major}{minor}"),
            memory_bytes,
            multiprocessors: multiprocessors as u32,
            driver: version_text(version),
        };
        let this = Self { info, device, context };
        this.bind()?;
        this.keep_memory()?;
        this.open_memory_to_others()?;
        CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner).insert(ordinal, context as usize);
        Ok(this)
    }

    /// Other GPUs read its memory themselves, where they can: what comes from a pool is for one GPU only, unless it is told so. Where
    /// they cannot, copies go through the host.
    fn open_memory_to_others(&self) -> Result<(), Fault> {
        let pool = self.memory_pool()?;
        let others = (0..result::device::get_count().unwrap_or(0)).filter_map(|other| {
            let other = result::device::get(other).ok().filter(|other| *other != self.device)?;
            let mut reaches = 0;
            // SAFETY: both come from the driver; writes to a number that lives as long as the call.
            let asked = unsafe { sys::cuDeviceCanAccessPeer(&mut reaches, other, self.device) };
            (asked.result().is_ok() && reaches != 0).then_some(other)
        });
        for other in others {
            let access = sys::CUmemAccessDesc {
                location: sys::CUmemLocation {
                    type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                    id: other,
                },
                flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
            };
            // SAFETY: the pool is the device's, the description lives as long as the call.
            let _ = unsafe { sys::cuMemPoolSetAccess(pool, &access, 1) };
        }
        Ok(())
    }

    /// Where the driver's memory comes from.
    fn memory_pool(&self) -> Result<sys::CUmemoryPool, Fault> {
        // SAFETY: the device comes from the driver.
        unsafe { result::device::get_default_mem_pool(self.device) }
            .map_err(|error| fault("cuDeviceGetDefaultMemPool", error))
    }

    /// The driver's own pool keeps what is given back to it: it may be asked for again.
    fn keep_memory(&self) -> Result<(), Fault> {
        let mut all = u64::MAX;
        let pool = self.memory_pool()?;
        // SAFETY: the pool is the device's; the attribute is a 64-bit number that lives as long as the call.
        unsafe {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, (&raw mut all).cast())
                .map_err(|error| fault("cuMemPoolSetAttribute", error))
        }
    }
}

/// By number, of the GPUs that were opened.
static CONTEXTS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn context_of(ordinal: usize) -> Option<sys::CUcontext> {
    let contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    contexts.get(&ordinal).map(|&context| context as sys::CUcontext)
}

/// Lets as many streams as possible run beside each other. Streams share the GPU's queues, eight by default, and one that shares
/// waits behind the other's events. (16 streams of equal kernels then reach half of what they could.) The driver reads how many it
/// shall make from the environment, and nowhere else.
fn connect() {
    const VARIABLE: &str = "CUDA_DEVICE_MAX_CONNECTIONS";
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if std::env::var_os(VARIABLE).is_none() {
            // SAFETY: Rust's own accesses to the environment are locked. Foreign code that reads it without a lock does so when a
            // library starts; devices are discovered before a job starts its threads.
            unsafe { std::env::set_var(VARIABLE, "32") };
        }
    });
}

impl Drop for RealDriver {
    fn drop(&mut self) {
        // SAFETY: retained in `open`.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl fmt::Debug for RealDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealDriver").field("info", &self.info).finish_non_exhaustive()
    }
}

fn stream_of(stream: Stream) -> sys::CUstream {
    stream.0 as sys::CUstream
}

fn event_of(event: CudaEvent) -> sys::CUevent {
    event.0 as sys::CUevent
}

// SAFETY (for every call in here): handles come from the same driver and are given back once, by their owners in this module's
// parent; addresses come from its pools, which keep a block until everything enqueued that uses it has ended.
impl Driver for RealDriver {
    fn info(&self) -> &GpuInfo {
        &self.info
    }

    fn bind(&self) -> Result<(), Fault> {
        // SAFETY: the context is retained.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| fault("cuCtxSetCurrent", error))
    }

    fn create_stream(&self) -> Result<Stream, Fault> {
        result::stream::create(result::stream::StreamKind::NonBlocking)
            .map(|stream| Stream(stream as usize))
            .map_err(|error| fault("cuStreamCreate", error))
    }

    fn destroy_stream(&self, stream: Stream) {
        // SAFETY: see above.
        let _ = unsafe { result::stream::destroy(stream_of(stream)) };
    }

    fn create_event(&self, sleeps: bool) -> Result<CudaEvent, Fault> {
        use sys::CUevent_flags as Flags;
        let sleep = if sleeps { Flags::CU_EVENT_BLOCKING_SYNC as u32 } else { 0 };
        let flags = Flags::CU_EVENT_DISABLE_TIMING as u32 | sleep;
        let mut event = std::ptr::null_mut();
        // SAFETY: writes to a pointer that lives as long as the call.
        unsafe { sys::cuEventCreate(&mut event, flags) }
            .result()
            .map(|()| CudaEvent(event as usize))
            .map_err(|error| fault("cuEventCreate", error))
    }

    fn destroy_event(&self, event: CudaEvent) {
        // SAFETY: see above.
        let _ = unsafe { result::event::destroy(event_of(event)) };
    }

    fn record(&self, event: CudaEvent, stream: Stream) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { result::event::record(event_of(event), stream_of(stream)) }
            .map_err(|error| fault("cuEventRecord", error))
    }

    fn wait(&self, stream: Stream, event: CudaEvent) -> Result<(), Fault> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: see above; whoever has memory that the event is of keeps it.
        unsafe { result::stream::wait_event(stream_of(stream), event_of(event), flags) }
            .map_err(|error| fault("cuStreamWaitEvent", error))
    }

    fn is_reached(&self, event: CudaEvent) -> Result<bool, Fault> {
        // SAFETY: see above.
        match unsafe { result::event::query(event_of(event)) } {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(fault("cuEventQuery", error)),
        }
    }

    fn synchronize(&self, event: CudaEvent) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { result::event::synchronize(event_of(event)) }
            .map_err(|error| fault("cuEventSynchronize", error))
    }

    fn pin(&self, bytes: usize) -> Result<Pinned, Fault> {
        // SAFETY: the memory is written before it is read; `Pinned` is given back once.
        unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }
            .map(|address| Pinned(address as usize))
            .map_err(|error| fault("cuMemHostAlloc", error))
    }

    fn unpin(&self, address: Pinned, _bytes: usize) {
        // SAFETY: see above.
        let _ = unsafe { result::free_host(address.0 as *mut c_void) };
    }

    fn allocate(&self, bytes: usize, stream: Stream) -> Result<Address, Fault> {
        // SAFETY: see above.
        unsafe { result::malloc_async(stream_of(stream), bytes) }
            .map(Address)
            .map_err(|error| fault("cuMemAllocAsync", error))
    }

    fn free(&self, address: Address, _bytes: usize, stream: Stream) {
        // SAFETY: see above.
        let _ = unsafe { result::free_async(address.0, stream_of(stream)) };
    }

    fn copy_in(&self, to: Address, from: Pinned, bytes: usize, stream: Stream) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { sys::cuMemcpyHtoDAsync_v2(to.0, from.0 as *const c_void, bytes, stream_of(stream)) }
            .result()
            .map_err(|error| fault("cuMemcpyHtoDAsync", error))
    }

    fn copy_out(&self, to: Pinned, from: Address, bytes: usize, stream: Stream) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { sys::cuMemcpyDtoHAsync_v2(to.0 as *mut c_void, from.0, bytes, stream_of(stream)) }
            .result()
            .map_err(|error| fault("cuMemcpyDtoHAsync", error))
    }

    fn copy_across(
        &self,
        to: Address,
        (ordinal, from): (usize, Address),
        bytes: usize,
        stream: Stream,
    ) -> Result<(), Fault> {
        let Some(context) = context_of(ordinal) else {
            return Err(Fault::new(Severity::Ordinary, format!("GPU {ordinal} is not open")));
        };
        // Where one GPU cannot reach the other the driver stages the copy.
        // SAFETY: see above; who has memory of the other GPU keeps its context.
        unsafe { sys::cuMemcpyPeerAsync(to.0, self.context, from.0, context, bytes, stream_of(stream)) }
            .result()
            .map_err(|error| fault("cuMemcpyPeerAsync", error))
    }

    fn fill(&self, at: Address, byte: u8, bytes: usize, stream: Stream) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { result::memset_d8_async(at.0, byte, bytes, stream_of(stream)) }
            .map_err(|error| fault("cuMemsetD8Async", error))
    }

    fn compile(&self, source: &KernelSource, anew: bool) -> Result<Image, KernelError> {
        let (images, arch) = (Images::of_environment(), &self.info.arch);
        if anew { images.make(source, arch, &Nvrtc) } else { images.get(source, arch, &Nvrtc) }
    }

    fn load(&self, image: &[u8]) -> Result<Module, Fault> {
        // SAFETY: a cubin that the compiler made, kept until the call returns.
        unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map(|module| Module(module as usize))
            .map_err(|error| fault("cuModuleLoadData", error))
    }

    fn function(&self, module: Module, name: &str) -> Result<Function, Fault> {
        let name =
            CString::new(name).map_err(|_| Fault::new(Severity::Ordinary, "a kernel's name has a NUL"))?;
        // SAFETY: the module is never unloaded.
        unsafe { result::module::get_function(module.0 as sys::CUmodule, name) }
            .map(|function| Function(function as usize))
            .map_err(|error| fault("cuModuleGetFunction", error))
    }

    fn launch(&self, call: Call<'_>, stream: Stream) -> Result<(), Fault> {
        let Launch { grid, block, shared_bytes } = call.launch;
        // SAFETY: see above; the driver reads the arguments before it returns. A kernel that runs out of its buffers is stopped
        // by the GPU, which cannot reach unpinned memory of the host.
        let launched = with_pointers(call.arguments, |arguments| unsafe {
            result::launch_kernel(
                call.function.0 as sys::CUfunction,
                grid.into(),
                block.into(),
                shared_bytes,
                stream_of(stream),
                arguments,
            )
        });
        launched.map_err(|error| fault("cuLaunchKernel", error))
    }

    fn graph(&self, calls: &[Call<'_>]) -> Result<Graph, Fault> {
        Ok(Graph(Box::into_raw(Box::new(RealGraph::new(calls)?)) as usize))
    }

    fn change(&self, graph: Graph, index: usize, call: Call<'_>) -> Result<(), Fault> {
        // SAFETY: made by `graph`, and not given back yet.
        unsafe { &*(graph.0 as *const RealGraph) }.change(index, call)
    }

    fn replay(&self, graph: Graph, stream: Stream) -> Result<(), Fault> {
        // SAFETY: as above.
        unsafe { &*(graph.0 as *const RealGraph) }.launch(stream_of(stream))
    }

    fn destroy_graph(&self, graph: Graph) {
        // SAFETY: made by `graph`, and given back once.
        drop(unsafe { Box::from_raw(graph.0 as *mut RealGraph) });
    }

    fn is_signalled(&self, signal: Pinned) -> bool {
        // SAFETY: aligned pinned memory of this module's parent, which nobody but the GPU and this accesses meanwhile.
        unsafe { AtomicU32::from_ptr(signal.0 as *mut u32) }.load(Ordering::Acquire) != 0
    }

    fn reset_signal(&self, signal: Pinned) {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(signal.0 as *mut u32) }.store(0, Ordering::Release);
    }

    fn is_idle(&self, stream: Stream) -> Result<bool, Fault> {
        // SAFETY: see above.
        match unsafe { sys::cuStreamQuery(stream_of(stream)) }.result() {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(fault("cuStreamQuery", error)),
        }
    }

    fn call_back(&self, stream: Stream, then: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        unsafe extern "C" fn call(then: *mut c_void) {
            // SAFETY: made by `into_raw` below, and called once.
            let then = unsafe { Box::from_raw(then.cast::<Box<dyn FnOnce() + Send>>()) };
            // Nothing may unwind into the driver.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(then));
        }
        // Leaks if it is never called: after a fatal error, once per stream.
        let then = Box::into_raw(Box::new(then)).cast::<c_void>();
        // SAFETY: see above.
        unsafe { result::stream::launch_host_function(stream_of(stream), call, then) }
            .map_err(|error| fault("cuLaunchHostFunc", error))
    }
}

/// Arguments as the driver takes them: a pointer to each.
fn with_pointers<R>(arguments: &[u64], call: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
    let mut pointers = [std::ptr::null_mut::<c_void>(); ARGUMENTS_MAX];
    for (pointer, argument) in pointers.iter_mut().zip(arguments) {
        *pointer = std::ptr::from_ref(argument).cast_mut().cast();
    }
    call(&mut pointers[..arguments.len()])
}

fn text(error: DriverError) -> String {
    let part = |part: Result<&std::ffi::CStr, _>| {
        part.map_or_else(
            |_| "unknown".to_owned(),
            |text: &std::ffi::CStr| text.to_string_lossy().into_owned(),
        )
    };
    format!("{} ({}): {}", part(error.error_name()), error.0 as u32, part(error.error_string()))
}

fn fault(call: &str, error: DriverError) -> Fault {
    use sys::CUresult as Code;
    let severity = match error.0 {
        Code::CUDA_ERROR_OUT_OF_MEMORY => Severity::OutOfMemory,
        // What CUDA's documentation calls an inconsistent state: the process must end the context to go on.
        Code::CUDA_ERROR_ILLEGAL_ADDRESS
        | Code::CUDA_ERROR_LAUNCH_FAILED
        | Code::CUDA_ERROR_LAUNCH_TIMEOUT
        | Code::CUDA_ERROR_ASSERT
        | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | Code::CUDA_ERROR_MISALIGNED_ADDRESS
        | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | Code::CUDA_ERROR_INVALID_PC
        | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | Code::CUDA_ERROR_DEINITIALIZED
        | Code::CUDA_ERROR_UNKNOWN => Severity::Fatal,
        _ => Severity::Ordinary,
    };
    Fault::new(severity, format!("{call}: {}", text(error)))
}
