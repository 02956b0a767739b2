//! [`Recording`]: what a step asks of its lane's stream, before anything of it is enqueued.
//!
//! So that somebody else can enqueue it: the driver is quickest where one thread calls it, and hands its state from core to core where
//! many do. And so that kernels which are launched again and again, with other arguments, can be launched as one.

use std::ops::Range;

use super::Fault;
use super::driver::{ARGUMENTS_MAX, Address, Call, CudaEvent, Driver, Function, Launch, Pinned, Stream};
use super::mover::{MOVE_MAX, Moves, Part};

/// Something for a stream to do.
#[derive(Clone, Debug)]
enum Operation {
    /// The range is its arguments'.
    Call(Function, Launch, Range<usize>),
    CopyIn(Address, Pinned, usize),
    CopyOut(Pinned, Address, usize),
    /// From a GPU of this number.
    CopyAcross(Address, (usize, Address), usize),
    Fill(Address, u8, usize),
}

/// What a step asks of its lane's stream, in order.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// What everything else waits for. Not in line with it, so that kernels that take up what others have left can be launched as one.
    waits: Vec<CudaEvent>,
    operations: Vec<Operation>,
    arguments: Vec<u64>,
    /// At the end of it: others may join them.
    moves: Moves,
    /// Whether there is anything but calls.
    copies: bool,
    /// The device's own kernel, for small copies.
    mover: Option<Function>,
}

/// Why not all of a recording was enqueued.
#[derive(Debug)]
pub(super) struct Interrupted {
    pub(super) fault: Fault,
    /// Whether anything was.
    pub(super) under_way: bool,
}

impl Recording {
    /// Empties it, for a submission whose small copies this kernel makes.
    pub(super) fn begin(&mut self, mover: Function) {
        self.waits.clear();
        self.operations.clear();
        self.arguments.clear();
        self.moves = Moves::default();
        self.copies = false;
        self.mover = Some(mover);
    }

    /// Everything, also what was asked for before, waits for this.
    pub(super) fn wait(&mut self, event: CudaEvent) {
        if !self.waits.contains(&event) {
            self.waits.push(event);
        }
    }

    pub(super) fn call(&mut self, call: Call<'_>) {
        self.end_moves();
        self.push_call(call.function, call.launch, call.arguments.iter().copied());
    }

    pub(super) fn copy_in(&mut self, to: Address, from: Pinned, bytes: usize) {
        if bytes <= MOVE_MAX {
            return self.move_part(to.0, from.0 as u64, bytes);
        }
        self.push_copy(Operation::CopyIn(to, from, bytes));
    }

    pub(super) fn copy_out(&mut self, to: Pinned, from: Address, bytes: usize) {
        if bytes <= MOVE_MAX {
            return self.move_part(to.0 as u64, from.0, bytes);
        }
        self.push_copy(Operation::CopyOut(to, from, bytes));
    }

    pub(super) fn copy_across(&mut self, to: Address, from: (usize, Address), bytes: usize) {
        self.push_copy(Operation::CopyAcross(to, from, bytes));
    }

    pub(super) fn fill(&mut self, at: Address, byte: u8, bytes: usize) {
        if bytes <= MOVE_MAX && byte == 0 {
            return self.move_part(at.0, 0, bytes);
        }
        self.push_copy(Operation::Fill(at, byte, bytes));
    }

    /// Behind everything else: the word at this address is set.
    pub(super) fn signal(&mut self, signal: Pinned) {
        if !self.moves.can_signal() {
            self.end_moves();
        }
        self.push_moves(signal.0 as u64);
    }

    fn move_part(&mut self, to: u64, from: u64, bytes: usize) {
        let part = Part { to, from, bytes: bytes as u64 };
        if !self.moves.push(part) {
            self.end_moves();
            self.moves.push(part);
        }
    }

    fn push_copy(&mut self, operation: Operation) {
        self.end_moves();
        self.copies = true;
        self.operations.push(operation);
    }

    fn end_moves(&mut self) {
        if !self.moves.is_empty() {
            self.push_moves(0);
        }
    }

    fn push_moves(&mut self, signal: u64) {
        let moves = std::mem::take(&mut self.moves);
        let mover = self.mover.expect("a recording begins");
        self.push_call(mover, moves.launch(), moves.arguments(signal));
    }

    fn push_call(&mut self, function: Function, launch: Launch, arguments: impl Iterator<Item = u64>) {
        let begin = self.arguments.len();
        self.arguments.extend(arguments);
        assert!(
            self.arguments.len() - begin <= ARGUMENTS_MAX,
            "a kernel has {ARGUMENTS_MAX} parameters at most"
        );
        self.operations.push(Operation::Call(function, launch, begin..self.arguments.len()));
    }

    /// The calls, if there is nothing else.
    pub(super) fn calls(&self) -> Option<impl Iterator<Item = Call<'_>>> {
        let calls = self.operations.iter().filter_map(|operation| match operation {
            Operation::Call(function, launch, range) => {
                Some(Call { function: *function, launch: *launch, arguments: &self.arguments[range.clone()] })
            }
            _ => None,
        });
        (!self.copies).then_some(calls)
    }

    /// Enqueues what everything else waits for, unless that was done. Says whether there was anything.
    pub(super) fn enqueue_waits(&mut self, driver: &dyn Driver, stream: Stream) -> Result<bool, Interrupted> {
        for (index, &event) in self.waits.iter().enumerate() {
            driver.wait(stream, event).map_err(|fault| Interrupted { fault, under_way: index > 0 })?;
        }
        let waits = !self.waits.is_empty();
        self.waits.clear();
        Ok(waits)
    }

    /// Enqueues everything, one by one.
    pub(super) fn enqueue(&mut self, driver: &dyn Driver, stream: Stream) -> Result<(), Interrupted> {
        self.enqueue_waits(driver, stream)?;
        self.end_moves();
        for (index, operation) in self.operations.iter().enumerate() {
            let enqueued = match *operation {
                Operation::Call(function, launch, ref range) => driver
                    .launch(Call { function, launch, arguments: &self.arguments[range.clone()] }, stream),
                Operation::CopyIn(to, from, bytes) => driver.copy_in(to, from, bytes, stream),
                Operation::CopyOut(to, from, bytes) => driver.copy_out(to, from, bytes, stream),
                Operation::CopyAcross(to, from, bytes) => driver.copy_across(to, from, bytes, stream),
                Operation::Fill(at, byte, bytes) => driver.fill(at, byte, bytes, stream),
            };
            enqueued.map_err(|fault| Interrupted { fault, under_way: index > 0 })?;
        }
        Ok(())
    }
}
