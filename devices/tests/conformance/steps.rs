//! Steps whose progress a test can see and steer, and buffers that are counted.

use std::cell::Cell;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use asynchrotron_devices::{Device, Step};

/// Counts the buffers that are alive.
#[derive(Default)]
pub(crate) struct Tracker(Arc<()>);

/// A buffer on its way through a device.
#[derive(Debug)]
pub(crate) struct Buffer(#[allow(dead_code)] Arc<()>);

impl Tracker {
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer(self.0.clone())
    }

    pub(crate) fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// The input of a [`Held`] step.
pub(crate) struct HeldInput {
    running: Sender<()>,
    open: Receiver<()>,
    buffer: Buffer,
}

/// The test's end of a [`Held`] step. Dropping it opens it.
pub(crate) struct Hold {
    running: Receiver<()>,
    seen: Cell<bool>,
    open: Sender<()>,
}

pub(crate) fn held(buffer: Buffer) -> (HeldInput, Hold) {
    let ((running, is_running), (open, wait)) = (channel(), channel());
    (HeldInput { running, open: wait, buffer }, Hold { running: is_running, seen: Cell::new(false), open })
}

impl Hold {
    pub(crate) fn is_running(&self) -> bool {
        if self.running.try_recv().is_ok() {
            self.seen.set(true);
        }
        self.seen.get()
    }

    pub(crate) fn wait_until_running(&self) {
        if !self.seen.get() {
            self.running.recv().expect("the step was dropped before it ran");
            self.seen.set(true);
        }
    }

    pub(crate) fn open(&self) {
        let _ = self.open.send(()); // nobody there: the step was cancelled
    }
}

/// Tells when it runs, and goes on when it is opened.
pub(crate) struct Held;

impl Step for Held {
    type Input = HeldInput;
    type Output = Buffer;

    fn name(&self) -> &str {
        "held"
    }

    fn rows(&self, _: &HeldInput) -> usize {
        1
    }

    fn may_block(&self) -> bool {
        true
    }

    fn on_host(&self, input: HeldInput) -> anyhow::Result<Buffer> {
        let _ = input.running.send(());
        let _ = input.open.recv();
        Ok(input.buffer)
    }
}

/// A [`Held`] step that counts how many run at a time.
#[derive(Default)]
pub(crate) struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Step for Crowd {
    type Input = HeldInput;
    type Output = Buffer;

    fn name(&self) -> &str {
        "crowd"
    }

    fn rows(&self, _: &HeldInput) -> usize {
        1
    }

    fn may_block(&self) -> bool {
        true
    }

    fn on_host(&self, input: HeldInput) -> anyhow::Result<Buffer> {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let output = Held.on_host(input);
        self.now.fetch_sub(1, Ordering::SeqCst);
        output
    }
}

/// The sum, in the order of the input.
pub(crate) struct Sum;

impl Step for Sum {
    type Input = Vec<f32>;
    type Output = f32;

    fn name(&self) -> &str {
        "sum"
    }

    fn rows(&self, input: &Vec<f32>) -> usize {
        input.len()
    }

    fn on_host(&self, input: Vec<f32>) -> anyhow::Result<f32> {
        Ok(input.iter().sum())
    }
}

/// The input in ascending order, in the same buffer.
pub(crate) struct Sorted;

impl Step for Sorted {
    type Input = Vec<u32>;
    type Output = Vec<u32>;

    fn name(&self) -> &str {
        "sorted"
    }

    fn rows(&self, input: &Vec<u32>) -> usize {
        input.len()
    }

    fn on_host(&self, mut input: Vec<u32>) -> anyhow::Result<Vec<u32>> {
        input.sort_unstable();
        Ok(input)
    }
}

/// More rows out than in.
pub(crate) struct Spread {
    pub(crate) factor: usize,
}

impl Step for Spread {
    type Input = Vec<u32>;
    type Output = Vec<u64>;

    fn name(&self) -> &str {
        "spread"
    }

    fn rows(&self, input: &Vec<u32>) -> usize {
        input.len()
    }

    fn bytes(&self, input: &Vec<u32>) -> usize {
        size_of_val(&input[..])
    }

    fn on_host(&self, input: Vec<u32>) -> anyhow::Result<Vec<u64>> {
        Ok(input.iter().flat_map(|&number| std::iter::repeat_n(u64::from(number), self.factor)).collect())
    }
}

/// The error of a [`Failing`] step.
#[derive(Debug, PartialEq)]
pub(crate) struct Unlucky(pub(crate) usize);

impl fmt::Display for Unlucky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} is unlucky", self.0)
    }
}

impl std::error::Error for Unlucky {}

/// Always fails.
pub(crate) struct Failing;

impl Step for Failing {
    type Input = (Buffer, usize);
    type Output = ();

    fn name(&self) -> &str {
        "failing"
    }

    fn rows(&self, _: &(Buffer, usize)) -> usize {
        1
    }

    fn on_host(&self, (_buffer, n): (Buffer, usize)) -> anyhow::Result<()> {
        Err(Unlucky(n).into())
    }
}

/// Always panics.
pub(crate) struct Panicking;

impl Step for Panicking {
    type Input = Buffer;
    type Output = ();

    fn name(&self) -> &str {
        "panicking"
    }

    fn rows(&self, _: &Buffer) -> usize {
        1
    }

    fn on_host(&self, _buffer: Buffer) -> anyhow::Result<()> {
        resume_unwind(Box::new("out of cheese")) // a panic that does not print
    }
}

/// Drops a device when it is told to.
pub(crate) struct Dropping;

impl Step for Dropping {
    type Input = (Receiver<()>, Arc<dyn Device>);
    type Output = ();

    fn name(&self) -> &str {
        "dropping"
    }

    fn rows(&self, _: &Self::Input) -> usize {
        1
    }

    fn may_block(&self) -> bool {
        true
    }

    fn on_host(&self, (wait, device): Self::Input) -> anyhow::Result<()> {
        wait.recv()?;
        drop(device);
        Ok(())
    }
}
