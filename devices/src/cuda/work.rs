//! [`Work`]: what a step enqueues on a lane.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;

use super::driver::{ARGUMENTS_MAX, Address, Call, CudaEvent, Driver, Function, Launch, Pinned, Stream};
use super::lane_stream::LaneStream;
use super::memory::{ALIGNMENT, DeviceSlice, Download, Staged};
use super::pool::Block;
use super::ready::Ready;
use super::recording::{Interrupted, Recording};
use super::shared::Shared;
use super::{Fault, Kernel, KernelError, KernelSource, Severity};
use crate::LaneId;

/// A lane, while a step enqueues on it.
pub struct Work<'a> {
    shared: &'a Arc<Shared>,
    stream: Stream,
    lane: LaneId,
    held: Held,
    /// Of the GPU's memory, that this submission has taken.
    own_bytes: u64,
    /// What is to be enqueued; `None`: everything is, at once.
    recording: Option<Recording>,
    /// To be put behind what was enqueued at once; there is one before anything is.
    event: Option<CudaEvent>,
    /// What a method that returns no error has met. Nothing more is enqueued.
    fault: Option<Fault>,
}

/// What becomes of what a step asks for.
pub(super) enum Start {
    /// It is recorded, with this kernel for small copies.
    Recording(Function),
    /// It is enqueued at once, and this is put behind it.
    AtOnce(CudaEvent),
}

/// What a step has asked for.
pub(super) struct Asked {
    pub(super) held: Held,
    /// If nothing of it was enqueued yet.
    pub(super) recording: Option<Recording>,
    /// If something was.
    pub(super) event: Option<CudaEvent>,
    pub(super) fault: Option<Fault>,
}

/// What stays until the GPU is done.
#[derive(Default)]
pub(super) struct Held {
    /// Memory that the submission has taken, and that its output can be.
    taken: Vec<Arc<Block>>,
    /// Other memory.
    blocks: Vec<Arc<Block>>,
    others: Vec<Box<dyn Any + Send>>,
}

impl Held {
    /// What the submission leaves in its memory is handed on ahead.
    pub(super) fn hand_on(&self, ready: &Arc<Ready>) {
        self.taken.iter().for_each(|block| block.hand_on(ready));
    }

    /// Why something that is waited for has not come yet.
    pub(super) fn is_late(&self) -> Option<Fault> {
        self.blocks.iter().find_map(|block| block.ready()?.is_late())
    }
}

/// The value of one parameter of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Little-endian, as all GPUs and their hosts are.
    bits: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, stream: Stream, lane: LaneId, start: Start) -> Self {
        let (recording, event) = match start {
            Start::Recording(mover) => {
                let mut recording = shared.replays(lane).spare();
                recording.begin(mover);
                (Some(recording), None)
            }
            Start::AtOnce(event) => (None, Some(event)),
        };
        Self { shared, stream, lane, held: Held::default(), own_bytes: 0, recording, event, fault: None }
    }

    pub(super) fn into_asked(self) -> Asked {
        let Self { held, recording, event, fault, .. } = self;
        Asked { held, recording, event, fault }
    }

    /// From now on everything is enqueued at once; what was recorded, now.
    fn enqueue_at_once(&mut self) {
        let Some(mut recording) = self.recording.take() else { return };
        match self.shared.events.take() {
            Ok(event) => {
                self.event = Some(event);
                if self.fault.is_none() {
                    let enqueued = recording.enqueue(&*self.shared.driver, self.stream);
                    self.fault = enqueued.err().map(|Interrupted { fault, .. }| fault);
                }
            }
            // Nobody could say when what a library enqueues has ended.
            Err(fault) => self.fault = Some(Fault::new(Severity::Fatal, fault.text().clone())),
        }
    }

    /// Records, or else enqueues.
    fn ask(
        &mut self,
        record: impl FnOnce(&mut Recording),
        enqueue: impl FnOnce(&dyn Driver, Stream) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if let Some(recording) = &mut self.recording {
            record(recording);
            return Ok(());
        }
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => enqueue(&*self.shared.driver, self.stream),
        }
    }

    /// The lane.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The lane's stream, for libraries that enqueue on it: a `CUstream`. What was asked for before is on it when this returns;
    /// what else is asked for is enqueued at once, one by one, by this thread.
    pub fn stream(&mut self) -> Stream {
        self.enqueue_at_once();
        self.stream
    }

    /// The same, for libraries that keep it.
    pub fn lane_stream(&mut self) -> LaneStream {
        self.enqueue_at_once();
        LaneStream::new(self.shared.clone(), self.stream, self.lane)
    }

    /// The number of the GPU among those that its driver shows.
    pub fn ordinal(&self) -> usize {
        self.shared.driver.info().ordinal
    }

    /// The multiprocessors of the GPU.
    pub fn multiprocessors(&self) -> u32 {
        self.shared.driver.info().multiprocessors
    }

    /// A kernel; compiled, if it has to be, and loaded at the first call.
    ///
    /// # Errors
    /// [`KernelError`]: with the compiler's log, if that is what it was.
    pub fn kernel(&self, source: &'static KernelSource, name: &'static str) -> Result<Kernel, KernelError> {
        self.shared.kernel(self.lane, source, name)
    }

    /// Memory of the GPU with whatever is in it.
    ///
    /// # Errors
    /// [`Fault`]: out of memory, usually.
    pub fn allocate<T: Pod>(&mut self, len: usize) -> Result<DeviceSlice<T>, Fault> {
        let block =
            self.shared.memory.take_beside(len * size_of::<T>(), self.own_bytes, Some(self.stream))?;
        self.own_bytes += block.bytes() as u64;
        let block = Arc::new(block);
        self.held.taken.push(block.clone());
        Ok(DeviceSlice::new(block, 0, len))
    }

    /// Memory of the GPU with zero in each byte.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn zeros<T: Pod>(&mut self, len: usize) -> Result<DeviceSlice<T>, Fault> {
        let slice = self.allocate(len)?;
        self.fill(&slice, 0)?;
        Ok(slice)
    }

    /// Sets each byte.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn fill<T: Pod>(&mut self, slice: &DeviceSlice<T>, byte: u8) -> Result<(), Fault> {
        if slice.is_empty() {
            return Ok(());
        }
        self.keep(slice);
        let (at, bytes) = (slice.address(), slice.bytes());
        self.ask(
            |recording| recording.fill(at, byte, bytes),
            |driver, stream| driver.fill(at, byte, bytes, stream),
        )
    }

    /// Pinned memory to be filled and [sent](Self::send).
    ///
    /// # Errors
    /// [`Fault`].
    pub fn stage<T: Pod>(&mut self, len: usize) -> Result<Staged<T>, Fault> {
        Ok(Staged::new(self.shared.pinned.take(len * size_of::<T>())?, len))
    }

    /// Copies what was staged to the GPU.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn send<T: Pod>(&mut self, staged: Staged<T>) -> Result<DeviceSlice<T>, Fault> {
        let len = staged.len();
        let slice = self.allocate::<T>(len)?;
        let block = Arc::new(staged.into_block());
        self.held.blocks.push(block.clone());
        if len > 0 {
            let (to, from, bytes) = (slice.address(), Pinned(block.address() as usize), slice.bytes());
            self.ask(
                |recording| recording.copy_in(to, from, bytes),
                |driver, stream| driver.copy_in(to, from, bytes, stream),
            )?;
        }
        Ok(slice)
    }

    /// A copy of these values on the GPU. They go through pinned memory: a copy from any other would wait for the GPU.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn upload<T: Pod>(&mut self, values: &[T]) -> Result<DeviceSlice<T>, Fault> {
        let mut staged = self.stage(values.len())?;
        staged.copy_from_slice(values);
        self.send(staged)
    }

    /// Makes memory that lies on a GPU, perhaps another one, readable here, in the order of the stream: itself, or a copy of as many
    /// elements on this GPU.
    ///
    /// ```text
    ///   it lies on this GPU ────▶ the same memory, not copied
    ///   it lies on another ─────▶ (1) memory of this GPU ──▶ (2) a copy into it, GPU to GPU, on this lane's stream
    /// ```
    ///
    /// Both are kept until this GPU is done. What was handed on [ahead](super::Finish::ahead) is waited for on the GPU, by what is asked
    /// for from now on at least. All else was handed on after its end was found. Where the GPUs cannot reach each other, the driver
    /// stages the copy through the host.
    ///
    /// # Errors
    /// [`Fault`]; it costs this step only if what it lies on has failed for good, or if what was handed on ahead has.
    pub fn fetch<T: Pod>(&mut self, slice: &DeviceSlice<T>) -> Result<DeviceSlice<T>, Fault> {
        self.take_up(slice)?;
        if slice.ordinal() == self.ordinal() {
            return Ok(slice.clone());
        }
        // To read from a context that is gone would be this GPU's failure as well.
        if slice.block().is_lost() {
            let text = format!("what GPU {} has left is lost: it has failed", slice.ordinal());
            return Err(Fault::new(Severity::Ordinary, text));
        }
        let copy = self.allocate::<T>(slice.len())?;
        if !slice.is_empty() {
            let (to, from, bytes) = (copy.address(), (slice.ordinal(), slice.address()), slice.bytes());
            self.ask(
                |recording| recording.copy_across(to, from, bytes),
                |driver, stream| driver.copy_across(to, from, bytes, stream),
            )?;
        }
        Ok(copy)
    }

    /// Runs a kernel. The arguments must be those that it takes, in its order.
    ///
    /// # Errors
    /// [`Fault`], if it was enqueued at once. What goes wrong later, or in the kernel itself, the waiter is told.
    ///
    /// # Panics
    /// With more than 48 arguments.
    pub fn launch(&mut self, kernel: Kernel, launch: Launch, arguments: &[Argument]) -> Result<(), Fault> {
        let mut bits = [0_u64; ARGUMENTS_MAX];
        let bits = &mut bits[..arguments.len()];
        bits.iter_mut().zip(arguments).for_each(|(bits, argument)| *bits = argument.bits);
        let call = Call { function: kernel.function, launch, arguments: bits };
        self.ask(|recording| recording.call(call), |driver, stream| driver.launch(call, stream))
    }

    /// Copies these elements to the host; they can be read when the GPU is done.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn download<T: Pod>(&mut self, slice: &DeviceSlice<T>) -> Result<Download<T>, Fault> {
        let block = Arc::new(self.shared.pinned.take(slice.bytes())?);
        self.held.taken.push(block.clone());
        self.keep(slice);
        if !slice.is_empty() {
            let (to, from, bytes) = (Pinned(block.address() as usize), slice.address(), slice.bytes());
            self.ask(
                |recording| recording.copy_out(to, from, bytes),
                |driver, stream| driver.copy_out(to, from, bytes, stream),
            )?;
        }
        Ok(Download::new(block, slice.len()))
    }

    /// Keeps memory of this GPU until it is done, and waits for it there if it was handed on [ahead](super::Finish::ahead). (What
    /// `work` itself gave is kept.) If that has failed, so does this step.
    pub fn keep<T: Pod>(&mut self, slice: &DeviceSlice<T>) {
        if let Err(fault) = self.take_up(slice) {
            self.fault.get_or_insert(fault);
        }
    }

    fn take_up<T: Pod>(&mut self, slice: &DeviceSlice<T>) -> Result<(), Fault> {
        let block = slice.block();
        self.held.blocks.push(block.clone());
        let Some(ready) = block.ready() else { return Ok(()) };
        let Some(event) = ready.awaited()? else { return Ok(()) };
        self.ask(|recording| recording.wait(event), |driver, stream| driver.wait(stream, event))
    }

    /// Keeps anything else until the GPU is done.
    pub fn keep_other(&mut self, other: impl Any + Send) {
        self.held.others.push(Box::new(other));
    }

    /// One block for several slices: see [`Region`].
    ///
    /// # Errors
    /// [`Fault`].
    pub fn region(&mut self, bytes: usize) -> Result<Region, Fault> {
        Ok(Region { whole: self.allocate::<u8>(bytes)?, used: 0 })
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// A block of the GPU's memory that is cut into slices: one request and one copy instead of several.
#[derive(Debug)]
pub struct Region {
    whole: DeviceSlice<u8>,
    used: usize,
}

impl Region {
    /// How many bytes a slice takes in a region, its alignment included.
    pub fn bytes_of<T: Pod>(len: usize) -> usize {
        (len * size_of::<T>()).next_multiple_of(ALIGNMENT)
    }

    /// The next slice.
    ///
    /// # Panics
    /// If it does not fit any more.
    pub fn cut<T: Pod>(&mut self, len: usize) -> DeviceSlice<T> {
        let begin = self.used;
        self.used += Self::bytes_of::<T>(len);
        self.whole.part(begin..begin + len * size_of::<T>()).cast()
    }

    /// All of it.
    pub fn whole(&self) -> &DeviceSlice<u8> {
        &self.whole
    }
}

impl<T: Pod> From<&DeviceSlice<T>> for Argument {
    fn from(slice: &DeviceSlice<T>) -> Self {
        let Address(bits) = slice.address();
        Self { bits }
    }
}

macro_rules! arguments {
    ($($number:ty: $bits:expr,)+) => {
        $(impl From<$number> for Argument {
            fn from(value: $number) -> Self {
                let bits: fn($number) -> u64 = $bits;
                Self { bits: bits(value) }
            }
        })+
    };
}

arguments! {
    u32: u64::from,
    i32: |value| u64::from(value as u32),
    f32: |value| u64::from(value.to_bits()),
    u64: |value| value,
    i64: |value| value as u64,
    f64: f64::to_bits,
}
