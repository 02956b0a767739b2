//! [`MockDriver`]: a GPU's driver made of host memory, for tests on machines without one.
//!
//! Its memory is the host's, copies happen when they are enqueued, and kernels are functions of the test. What takes time, and goes
//! wrong, is what the device's logic has to deal with: ends that come [later](MockConfig::latency), or never, calls that fail, a
//! context that is lost, memory that runs out.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::driver::{
    Address, Call, CudaEvent, Driver, Function, GpuInfo, Graph, Launch, Module, Pinned, Stream,
};
use super::mover::{self, Moves};
use super::{Fault, Image, KernelError, KernelSource, Severity};

/// What is in [`MockConfig::kept_image`].
const NOT_AN_IMAGE: &[u8] = b"for another GPU";

/// The device's own kernel, which needs no function of the test.
const MOVE: Function = Function(usize::MAX);

/// A kernel: gets how it was launched, and pointers to the values of its parameters.
pub type MockKernel = Arc<dyn Fn(Launch, &[*mut c_void]) + Send + Sync>;

/// What a mock GPU is like.
#[derive(Clone)]
pub struct MockConfig {
    /// Its number.
    pub ordinal: usize,
    /// How long after it was recorded an event is reached.
    pub latency: Duration,
    /// The memory that it has. (The host has as much as it takes.)
    pub memory_bytes: u64,
    /// Whether it admits that its memory is the host's: models then run on it, on the processor.
    pub memory_is_hosts: bool,
    /// By name.
    pub kernels: HashMap<String, MockKernel>,
    /// A file with device code that the driver does not take; compiled anew, it does.
    pub kept_image: Option<&'static str>,
    /// The number of the launch, from 1, that fails for itself.
    pub fail_nth: Option<u64>,
    /// Each launch whose number, from 1, is a multiple of this fails for itself.
    pub fail_every: Option<u64>,
    /// The number of the launch, from 1, that makes the context fail for good, when its end would have come.
    pub crash_nth: Option<u64>,
    /// The number of the launch, from 1, after which nothing on its stream is ever reached.
    pub hang_nth: Option<u64>,
}

impl Default for MockConfig {
    /// A quick GPU with a gibibyte of memory, on which nothing fails.
    fn default() -> Self {
        Self {
            ordinal: 0,
            latency: Duration::ZERO,
            memory_bytes: 1 << 30,
            memory_is_hosts: true,
            kernels: HashMap::new(),
            kept_image: None,
            fail_nth: None,
            fail_every: None,
            crash_nth: None,
            hang_nth: None,
        }
    }
}

/// A GPU's driver made of host memory.
pub struct MockDriver {
    config: MockConfig,
    info: GpuInfo,
    launches: AtomicU64,
    replays: AtomicU64,
    waits: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By event: when it is reached. Absent: it was not recorded, which counts as reached.
    events: HashMap<usize, Reach>,
    /// By its address: when a signal is set. Absent: nobody was told to.
    signals: HashMap<usize, Reach>,
    graphs: HashMap<usize, Vec<OwnedCall>>,
    /// Streams on which nothing ends any more.
    hung: Vec<usize>,
    /// By stream: before this nothing ends there, because it waits.
    waiting: HashMap<usize, Instant>,
    /// The context is gone from this time on.
    crashed: Option<Instant>,
    memory: BTreeMap<u64, Box<[u128]>>,
    used_bytes: u64,
    pinned_bytes: u64,
    kernels: Vec<MockKernel>,
}

#[derive(Clone, Copy)]
enum Reach {
    At(Instant),
    Never,
}

#[derive(Clone)]
struct OwnedCall {
    function: Function,
    launch: Launch,
    arguments: Vec<u64>,
}

impl OwnedCall {
    fn of(call: &Call<'_>) -> Self {
        Self { function: call.function, launch: call.launch, arguments: call.arguments.to_vec() }
    }
}

impl MockDriver {
    /// Such a GPU.
    pub fn new(config: MockConfig) -> Self {
        let info = GpuInfo {
            ordinal: config.ordinal,
            name: "a mock".into(),
            arch: "sm_00".into(),
            memory_bytes: config.memory_bytes,
            multiprocessors: 2,
            driver: "0.0".into(),
        };
        Self {
            config,
            info,
            launches: AtomicU64::new(0),
            replays: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Bytes that were not given back, of the GPU's memory and pinned.
    pub fn used_bytes(&self) -> u64 {
        let state = self.state();
        state.used_bytes + state.pinned_bytes
    }

    /// Launches of the test's kernels so far.
    pub fn launches(&self) -> u64 {
        self.launches.load(Ordering::Relaxed)
    }

    /// Launches of graphs so far.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }

    /// How often a stream was told to wait for an event.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Graphs that were not given back.
    pub fn graphs(&self) -> usize {
        self.state().graphs.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self) -> usize {
        // No two mocks have the same.
        static HANDLES: AtomicUsize = AtomicUsize::new(1);
        HANDLES.fetch_add(1, Ordering::Relaxed)
    }

    fn take(&self, bytes: usize, pinned: bool) -> Result<u64, Fault> {
        let mut state = self.state();
        alive(&state)?;
        if !pinned && state.used_bytes + bytes as u64 > self.config.memory_bytes {
            return Err(Fault::new(Severity::OutOfMemory, "the mock has no more memory"));
        }
        // Aligned to 256, as the real one's.
        let memory = vec![0_u128; bytes.div_ceil(16) + 16].into_boxed_slice();
        let address = (memory.as_ptr() as u64).next_multiple_of(256);
        *used(&mut state, pinned) += bytes as u64;
        state.memory.insert(address, memory);
        Ok(address)
    }

    fn give(&self, address: u64, bytes: usize, pinned: bool) {
        let mut state = self.state();
        assert!(state.memory.remove(&address).is_some(), "memory is given back once");
        *used(&mut state, pinned) -= bytes as u64;
    }

    /// What the device's own kernel does: small copies, and a signal behind everything on the stream.
    fn move_and_signal(&self, arguments: &[u64], stream: Stream) -> Result<(), Fault> {
        let (moves, signal) = Moves::read(arguments);
        for part in moves {
            match part.from {
                0 => self.fill(Address(part.to), 0, part.bytes as usize, stream)?,
                from => self.copy(part.to, from, part.bytes as usize)?,
            }
        }
        if signal != 0 {
            let mut state = self.state();
            alive(&state)?;
            let reach = self.reach(&state, stream);
            state.signals.insert(signal as usize, reach);
        }
        Ok(())
    }

    /// When what is enqueued now is reached.
    fn reach(&self, state: &State, stream: Stream) -> Reach {
        match state.hung.contains(&stream.0) {
            true => Reach::Never,
            false => {
                let at = Instant::now() + self.config.latency;
                Reach::At(state.waiting.get(&stream.0).map_or(at, |&waiting| at.max(waiting)))
            }
        }
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Fault> {
        alive(&self.state())?;
        // SAFETY: both lie in memory that `take` made and its owner has not given back; two blocks never overlap, and copies within
        // one are of distinct ranges.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }
}

fn used(state: &mut State, pinned: bool) -> &mut u64 {
    if pinned { &mut state.pinned_bytes } else { &mut state.used_bytes }
}

fn alive(state: &State) -> Result<(), Fault> {
    match state.crashed {
        Some(at) if at <= Instant::now() => Err(Fault::new(Severity::Fatal, "the mock's context is gone")),
        _ => Ok(()),
    }
}

impl Driver for MockDriver {
    fn info(&self) -> &GpuInfo {
        &self.info
    }

    fn memory_is_hosts(&self) -> bool {
        self.config.memory_is_hosts
    }

    fn bind(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn create_stream(&self) -> Result<Stream, Fault> {
        Ok(Stream(self.handle()))
    }

    fn destroy_stream(&self, _stream: Stream) {}

    fn create_event(&self, _sleeps: bool) -> Result<CudaEvent, Fault> {
        Ok(CudaEvent(self.handle()))
    }

    fn destroy_event(&self, event: CudaEvent) {
        self.state().events.remove(&event.0);
    }

    fn record(&self, event: CudaEvent, stream: Stream) -> Result<(), Fault> {
        let mut state = self.state();
        alive(&state)?;
        let reach = self.reach(&state, stream);
        state.events.insert(event.0, reach);
        Ok(())
    }

    fn wait(&self, stream: Stream, event: CudaEvent) -> Result<(), Fault> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        alive(&state)?;
        // The events of another mock are not known here: its kernels have run when it was asked to launch them.
        match state.events.get(&event.0).copied() {
            Some(Reach::At(at)) => {
                let waiting = state.waiting.entry(stream.0).or_insert(at);
                *waiting = at.max(*waiting);
            }
            Some(Reach::Never) => state.hung.push(stream.0),
            None => {}
        }
        Ok(())
    }

    fn is_reached(&self, event: CudaEvent) -> Result<bool, Fault> {
        let state = self.state();
        alive(&state)?;
        Ok(match state.events.get(&event.0) {
            Some(Reach::At(at)) => *at <= Instant::now(),
            Some(Reach::Never) => false,
            None => true,
        })
    }

    fn synchronize(&self, event: CudaEvent) -> Result<(), Fault> {
        while !self.is_reached(event)? {
            thread::sleep(Duration::from_micros(20));
        }
        Ok(())
    }

    fn pin(&self, bytes: usize) -> Result<Pinned, Fault> {
        self.take(bytes, true).map(|address| Pinned(address as usize))
    }

    fn unpin(&self, address: Pinned, bytes: usize) {
        self.give(address.0 as u64, bytes, true);
    }

    fn allocate(&self, bytes: usize, _stream: Stream) -> Result<Address, Fault> {
        self.take(bytes, false).map(Address)
    }

    fn free(&self, address: Address, bytes: usize, _stream: Stream) {
        self.give(address.0, bytes, false);
    }

    fn copy_in(&self, to: Address, from: Pinned, bytes: usize, _stream: Stream) -> Result<(), Fault> {
        self.copy(to.0, from.0 as u64, bytes)
    }

    fn copy_out(&self, to: Pinned, from: Address, bytes: usize, _stream: Stream) -> Result<(), Fault> {
        self.copy(to.0 as u64, from.0, bytes)
    }

    fn copy_across(
        &self,
        to: Address,
        (ordinal, from): (usize, Address),
        bytes: usize,
        _stream: Stream,
    ) -> Result<(), Fault> {
        assert_ne!(ordinal, self.config.ordinal, "it lies here");
        self.copy(to.0, from.0, bytes)
    }

    fn fill(&self, at: Address, byte: u8, bytes: usize, _stream: Stream) -> Result<(), Fault> {
        alive(&self.state())?;
        // SAFETY: as in `copy`.
        unsafe { std::ptr::write_bytes(at.0 as *mut u8, byte, bytes) };
        Ok(())
    }

    fn compile(&self, source: &KernelSource, anew: bool) -> Result<Image, KernelError> {
        let file = self.config.kept_image.filter(|_| !anew);
        let code = file.map_or_else(|| source.name.as_bytes().to_vec(), |_| NOT_AN_IMAGE.to_vec());
        Ok(Image { code, file: file.map(PathBuf::from) })
    }

    fn load(&self, image: &[u8]) -> Result<Module, Fault> {
        alive(&self.state())?;
        if image == NOT_AN_IMAGE {
            return Err(Fault::new(Severity::Ordinary, "the mock does not know this image"));
        }
        Ok(Module(self.handle()))
    }

    fn function(&self, _module: Module, name: &str) -> Result<Function, Fault> {
        if name == mover::KERNEL {
            return Ok(MOVE);
        }
        let Some(kernel) = self.config.kernels.get(name) else {
            return Err(Fault::new(Severity::Ordinary, format!("the mock has no kernel `{name}`")));
        };
        let mut state = self.state();
        state.kernels.push(kernel.clone());
        Ok(Function(state.kernels.len() - 1))
    }

    fn launch(&self, call: Call<'_>, stream: Stream) -> Result<(), Fault> {
        if call.function == MOVE {
            return self.move_and_signal(call.arguments, stream);
        }
        let number = self.launches.fetch_add(1, Ordering::Relaxed) + 1;
        let mut state = self.state();
        alive(&state)?;
        let of_many = self.config.fail_every.is_some_and(|every| number.is_multiple_of(every));
        if of_many || self.config.fail_nth == Some(number) {
            return Err(Fault::new(Severity::Ordinary, format!("the mock fails launch {number}")));
        }
        if self.config.crash_nth == Some(number) {
            state.crashed = Some(Instant::now() + self.config.latency);
        }
        if self.config.hang_nth == Some(number) {
            state.hung.push(stream.0);
        }
        let kernel = state.kernels[call.function.0].clone();
        drop(state);
        let mut arguments = call.arguments.to_vec();
        let pointers: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        kernel(call.launch, &pointers);
        Ok(())
    }

    fn graph(&self, calls: &[Call<'_>]) -> Result<Graph, Fault> {
        alive(&self.state())?;
        let graph = self.handle();
        self.state().graphs.insert(graph, calls.iter().map(OwnedCall::of).collect());
        Ok(Graph(graph))
    }

    fn change(&self, graph: Graph, index: usize, call: Call<'_>) -> Result<(), Fault> {
        let mut state = self.state();
        alive(&state)?;
        let old = &mut state.graphs.get_mut(&graph.0).expect("it was not given back")[index];
        assert_eq!(old.function, call.function, "a call is changed for one of the same kernel");
        *old = OwnedCall::of(&call);
        Ok(())
    }

    fn replay(&self, graph: Graph, stream: Stream) -> Result<(), Fault> {
        let calls = self.state().graphs[&graph.0].clone();
        self.replays.fetch_add(1, Ordering::Relaxed);
        for OwnedCall { function, launch, arguments } in &calls {
            self.launch(Call { function: *function, launch: *launch, arguments }, stream)?;
        }
        Ok(())
    }

    fn destroy_graph(&self, graph: Graph) {
        assert!(self.state().graphs.remove(&graph.0).is_some(), "a graph is given back once");
    }

    fn is_signalled(&self, signal: Pinned) -> bool {
        let state = self.state();
        match state.signals.get(&signal.0) {
            // What was to come after the crash does not come.
            Some(Reach::At(at)) => *at <= Instant::now() && state.crashed.is_none_or(|crashed| crashed > *at),
            Some(Reach::Never) | None => false,
        }
    }

    fn reset_signal(&self, signal: Pinned) {
        self.state().signals.remove(&signal.0);
    }

    fn is_idle(&self, _stream: Stream) -> Result<bool, Fault> {
        alive(&self.state())?;
        Ok(false)
    }

    fn call_back(&self, stream: Stream, then: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        let state = self.state();
        alive(&state)?;
        // As the real one: it is never called after a crash, nor on a stream that hangs.
        if state.hung.contains(&stream.0) || state.crashed.is_some() {
            return Ok(());
        }
        let latency = self.config.latency;
        thread::spawn(move || {
            thread::sleep(latency);
            then();
        });
        Ok(())
    }
}

impl fmt::Debug for MockDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockDriver").field("ordinal", &self.config.ordinal).finish_non_exhaustive()
    }
}
