//! [`Job`]: one submission inside a device, with the types of its step erased.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use asynchrotron_sync::{Completion, Signaller, completion};

#[cfg(feature = "onnx")]
use crate::LaneId;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::{DeviceError, DeviceErrorKind, Step};

/// Which of a step's bodies runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Host,
    /// On this lane.
    #[cfg(feature = "onnx")]
    Onnx(LaneId),
}

/// Where a step's body for a GPU is to be enqueued from.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enqueue {
    Anywhere,
    OnLanesThread,
}

/// What came of enqueueing a step on a GPU.
#[cfg(feature = "cuda")]
#[derive(Debug)]
pub(crate) enum Enqueued {
    /// The GPU has it.
    OnItsWay,
    /// The step failed or panicked; the job knows.
    Failed,
    /// The GPU failed.
    Faulted(cuda::Fault),
}

/// What goes with a job, and ends with it.
pub(crate) trait Attached: Send + 'static {
    /// Right before the waiter hears of the end: an output, or an error. Dropped right after. If the output was handed on ahead, when
    /// the device is done.
    fn release(&mut self, has_output: bool);
}

/// One submission inside a device: a step, its input and the other end of the [`Completion`].
///
/// ```text
///   QUEUED ──compute_on_host──▶ COMPUTED ──complete──▶ (the waiter has the output, or the error)
///      │  └─enqueue─▶ ENQUEUED ──land──▲  │
///      │                 └──hand_on──▶ HANDED ON (the waiter has the output) ──complete or fail──▶ (what is attached hears of it)
///      └───────────────fail / drop────────┴─────────▶ (the waiter has that error, or `Lost`)
/// ```
///
/// Whatever a device does with a job, its waiter hears of it.
pub struct Job {
    inner: Box<dyn AnyJob>,
}

impl Job {
    pub(crate) fn new<S: Step>(
        device: &str,
        step: Arc<S>,
        input: S::Input,
    ) -> (Self, Completion<S::Output, DeviceError>) {
        let (signaller, completion) = completion();
        let (rows, bytes, lies_on) = (step.rows(&input), step.bytes(&input), step.lies_on(&input));
        let stage = Stage::Queued(input);
        let inner = Box::new(TypedJob {
            device: device.into(),
            step,
            rows,
            bytes,
            lies_on,
            stage,
            attached: None,
            signaller: Some(signaller),
        });
        (Self { inner }, completion)
    }

    /// The name of the step.
    pub fn step(&self) -> &str {
        self.inner.step()
    }

    /// The weight of the input.
    pub fn rows(&self) -> usize {
        self.inner.rows()
    }

    /// The bytes of the input that cross to a device with a memory of its own.
    pub fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    /// The number of the GPU on which the input [lies](Step::lies_on).
    pub fn lies_on(&self) -> Option<usize> {
        self.inner.lies_on()
    }

    /// Whether the step's body for the host [may wait](Step::may_block) for something other than the processor.
    pub fn may_block(&self) -> bool {
        self.inner.may_block()
    }

    /// Whether the waiter has left. `true` is final: the job can be dropped before it costs anything.
    pub fn is_abandoned(&self) -> bool {
        self.inner.is_abandoned()
    }

    /// Ready when the waiter has left; until then the waker of the latest poll is kept, and woken when that happens.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_abandoned(cx)
    }

    /// Keeps the step's [placeholder](Step::placeholder) as the output, and frees the input. Says `false`, and does nothing, if
    /// the step has none, or was computed.
    pub fn pretend(&mut self) -> bool {
        self.inner.pretend()
    }

    /// Runs the step's body for the host on this thread and keeps the output. The first call uses up the input; others do
    /// nothing. Errors and panics of the step are kept as well.
    pub fn compute_on_host(&mut self) {
        self.inner.compute(Body::Host);
    }

    pub(crate) fn compute(&mut self, body: Body) {
        self.inner.compute(body);
    }

    /// Keeps something until the end, whatever it is: see [`Attached`].
    pub(crate) fn attach(&mut self, other: impl Attached) {
        self.inner.attach(Box::new(other));
    }

    /// Whether, and from where, the step can be enqueued on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda(&self) -> Option<Enqueue> {
        self.inner.cuda()
    }

    /// Enqueues the step's body for a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn enqueue(&mut self, work: &mut cuda::Work<'_>) -> Enqueued {
        self.inner.enqueue(work)
    }

    /// Whether the output is to be handed on [ahead](cuda::Finish::ahead).
    #[cfg(feature = "cuda")]
    pub(crate) fn is_ahead(&self) -> bool {
        self.inner.is_ahead()
    }

    /// Hands that output to the waiter, and wakes it. The job goes on to its end, of which only what is attached hears.
    #[cfg(feature = "cuda")]
    pub(crate) fn hand_on(&mut self) {
        self.inner.hand_on();
    }

    /// The GPU is done: makes the output.
    #[cfg(feature = "cuda")]
    pub(crate) fn land(&mut self, landed: &cuda::Landed) {
        self.inner.land(landed);
    }

    /// Hands what was computed to the waiter and wakes it.
    pub fn complete(mut self) {
        self.inner.complete();
    }

    /// Hands a failure of the device to the waiter and wakes it.
    pub fn fail(mut self, kind: DeviceErrorKind) {
        self.inner.fail(kind);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("step", &self.step()).field("rows", &self.rows()).finish_non_exhaustive()
    }
}

trait AnyJob: Send {
    fn step(&self) -> &str;
    fn rows(&self) -> usize;
    fn bytes(&self) -> usize;
    fn lies_on(&self) -> Option<usize>;
    fn may_block(&self) -> bool;
    fn is_abandoned(&self) -> bool;
    fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()>;
    fn pretend(&mut self) -> bool;
    fn compute(&mut self, body: Body);
    #[cfg(feature = "cuda")]
    fn cuda(&self) -> Option<Enqueue>;
    #[cfg(feature = "cuda")]
    fn enqueue(&mut self, work: &mut cuda::Work<'_>) -> Enqueued;
    #[cfg(feature = "cuda")]
    fn is_ahead(&self) -> bool;
    #[cfg(feature = "cuda")]
    fn hand_on(&mut self);
    #[cfg(feature = "cuda")]
    fn land(&mut self, landed: &cuda::Landed);
    fn attach(&mut self, other: Box<dyn Attached>);
    fn complete(&mut self);
    fn fail(&mut self, kind: DeviceErrorKind);
}

enum Stage<S: Step> {
    Queued(S::Input),
    #[cfg(feature = "cuda")]
    Enqueued(cuda::Finish<S::Output>),
    /// The waiter has the output; the device is not done.
    #[cfg(feature = "cuda")]
    HandedOn,
    Computed(Result<S::Output, DeviceError>),
    /// Completed, or the waiter's to be told that it is lost.
    Gone,
}

struct TypedJob<S: Step> {
    device: Box<str>,
    step: Arc<S>,
    rows: usize,
    bytes: usize,
    lies_on: Option<usize>,
    stage: Stage<S>,
    attached: Option<Box<dyn Attached>>,
    /// `None` once completed.
    signaller: Option<Signaller<S::Output, DeviceError>>,
}

impl<S: Step> AnyJob for TypedJob<S> {
    fn step(&self) -> &str {
        self.step.name()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn lies_on(&self) -> Option<usize> {
        self.lies_on
    }

    fn may_block(&self) -> bool {
        self.step.may_block()
    }

    fn is_abandoned(&self) -> bool {
        self.signaller.as_ref().is_none_or(Signaller::is_abandoned)
    }

    fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.signaller.as_ref().map_or(Poll::Ready(()), |signaller| signaller.poll_abandoned(cx))
    }

    fn pretend(&mut self) -> bool {
        let Stage::Queued(input) = &self.stage else { return false };
        // A placeholder that panics is none; what it may have left half done is dropped with the input.
        let output = catch_unwind(AssertUnwindSafe(|| self.step.placeholder(input))).ok().flatten();
        let Some(output) = output else { return false };
        self.stage = Stage::Computed(Ok(output));
        true
    }

    fn compute(&mut self, body: Body) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Queued(input) => Stage::Computed(compute(body, &self.device, &*self.step, input)),
            other => other,
        };
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self) -> Option<Enqueue> {
        let body = self.step.on_cuda()?;
        Some(if body.needs_lanes_thread() { Enqueue::OnLanesThread } else { Enqueue::Anywhere })
    }

    #[cfg(feature = "cuda")]
    fn enqueue(&mut self, work: &mut cuda::Work<'_>) -> Enqueued {
        let (Stage::Queued(input), Some(body)) =
            (std::mem::replace(&mut self.stage, Stage::Gone), self.step.on_cuda())
        else {
            return Enqueued::Failed;
        };
        // Unwind safety: as in `compute`.
        let cause = match catch_unwind(AssertUnwindSafe(|| body.enqueue(input, work))) {
            Ok(Ok(finish)) => {
                self.stage = Stage::Enqueued(finish);
                return Enqueued::OnItsWay;
            }
            Ok(Err(cause)) => cause,
            Err(payload) => {
                let error = DeviceError::panicked(&self.device, self.step.name(), &*payload);
                self.stage = Stage::Computed(Err(error));
                return Enqueued::Failed;
            }
        };
        if let Some(fault) = cause.chain().find_map(cuda::Fault::of_device) {
            return Enqueued::Faulted(fault.clone());
        }
        let kind = DeviceErrorKind::Step(Arc::new(cause));
        self.stage = Stage::Computed(Err(DeviceError::new(&self.device, self.step.name(), kind)));
        Enqueued::Failed
    }

    #[cfg(feature = "cuda")]
    fn is_ahead(&self) -> bool {
        matches!(&self.stage, Stage::Enqueued(finish) if finish.is_ahead())
    }

    #[cfg(feature = "cuda")]
    fn hand_on(&mut self) {
        let output = match std::mem::replace(&mut self.stage, Stage::HandedOn) {
            Stage::Enqueued(finish) => finish.into_ahead().map_err(Stage::Enqueued),
            other => Err(other),
        };
        match output {
            Ok(output) => {
                if let Some(signaller) = self.signaller.take() {
                    drop(signaller.complete(Ok(output)));
                }
            }
            Err(stage) => self.stage = stage,
        }
    }

    #[cfg(feature = "cuda")]
    fn land(&mut self, landed: &cuda::Landed) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Enqueued(finish) => {
                let run = AssertUnwindSafe(|| finish.make(landed));
                Stage::Computed(outcome(&self.device, self.step.name(), catch_unwind(run)))
            }
            other => other,
        };
    }

    fn attach(&mut self, other: Box<dyn Attached>) {
        self.attached = Some(other);
    }

    fn complete(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Computed(result) => {
                let attached = self.release(result.is_ok());
                if let Some(signaller) = self.signaller.take() {
                    // An output that nobody waits for is dropped here, on the driver's thread.
                    drop(signaller.complete(result));
                }
                drop(attached);
            }
            #[cfg(feature = "cuda")]
            Stage::HandedOn => drop(self.release(true)),
            _ => self.fail(DeviceErrorKind::Lost),
        }
    }

    fn fail(&mut self, kind: DeviceErrorKind) {
        // The buffers go first: a waiter that hears of the failure may rely on them being free.
        self.stage = Stage::Gone;
        let attached = self.release(false);
        if let Some(signaller) = self.signaller.take() {
            let error = DeviceError::new(&self.device, self.step.name(), kind);
            drop(signaller.complete(Err(error)));
        }
        drop(attached);
    }
}

impl<S: Step> TypedJob<S> {
    /// To be dropped after the waiter was told.
    #[must_use]
    fn release(&mut self, has_output: bool) -> Option<Box<dyn Attached>> {
        let mut attached = self.attached.take()?;
        attached.release(has_output);
        Some(attached)
    }
}

impl<S: Step> Drop for TypedJob<S> {
    fn drop(&mut self) {
        self.fail(DeviceErrorKind::Lost);
    }
}

/// Runs a step's body on this thread; a panic becomes an error.
pub(crate) fn compute<S: Step>(
    body: Body,
    device: &str,
    step: &S,
    input: S::Input,
) -> Result<S::Output, DeviceError> {
    // Unwind safety: the input is gone either way, and a step is shared and immutable from here.
    let run = || match body {
        Body::Host => step.on_host(input),
        #[cfg(feature = "onnx")]
        Body::Onnx(lane) => step.on_onnx(input, lane),
    };
    outcome(device, step.name(), catch_unwind(AssertUnwindSafe(run)))
}

/// What a step's body came to.
fn outcome<T>(
    device: &str,
    step: &str,
    outcome: std::thread::Result<anyhow::Result<T>>,
) -> Result<T, DeviceError> {
    match outcome {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(cause)) => Err(DeviceError::new(device, step, DeviceErrorKind::Step(Arc::new(cause)))),
        Err(payload) => Err(DeviceError::panicked(device, step, &*payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    struct Double;

    impl Step for Double {
        type Input = Arc<u32>;
        type Output = u32;

        fn name(&self) -> &str {
            "double"
        }

        fn rows(&self, input: &Arc<u32>) -> usize {
            **input as usize
        }

        fn bytes(&self, _: &Arc<u32>) -> usize {
            4
        }

        fn on_host(&self, input: Arc<u32>) -> anyhow::Result<u32> {
            Ok(*input * 2)
        }
    }

    fn job() -> (Job, Completion<u32, DeviceError>, Arc<u32>) {
        let input = Arc::new(21);
        let (job, completion) = Job::new("here", Arc::new(Double), input.clone());
        (job, completion, input)
    }

    fn poll(completion: &mut Completion<u32, DeviceError>) -> Poll<Result<u32, String>> {
        let cx = &mut Context::from_waker(Waker::noop());
        std::pin::Pin::new(completion).poll(cx).map_err(|error| error.to_string())
    }

    #[test]
    fn completes_with_what_was_computed_once() {
        let (mut job, mut completion, input) = job();
        assert_eq!((job.step(), job.rows(), job.bytes(), job.is_abandoned()), ("double", 21, 4, false));
        job.compute_on_host();
        job.compute_on_host();
        assert_eq!(Arc::strong_count(&input), 1);
        assert_eq!(poll(&mut completion), Poll::Pending);
        job.complete();
        assert_eq!(poll(&mut completion), Poll::Ready(Ok(42)));
    }

    #[test]
    fn dropped_at_any_stage_is_lost_and_frees_the_input() {
        for computed in [false, true] {
            let (mut job, mut completion, input) = job();
            if computed {
                job.compute_on_host();
            }
            drop(job);
            let lost = "device `here` dropped step `double` without completing it";
            assert_eq!(poll(&mut completion), Poll::Ready(Err(lost.to_owned())));
            assert_eq!(Arc::strong_count(&input), 1);
        }
    }

    #[test]
    fn completed_before_it_was_computed_is_lost() {
        let (job, mut completion, _) = job();
        job.complete();
        assert!(poll(&mut completion).is_ready());
    }

    #[test]
    fn fails_with_the_devices_error() {
        let (job, mut completion, _) = job();
        job.fail(DeviceErrorKind::OutOfMemory);
        let text = "the input of step `double` does not fit into the memory of device `here`";
        assert_eq!(poll(&mut completion), Poll::Ready(Err(text.to_owned())));
    }

    #[test]
    fn knows_that_its_waiter_has_left() {
        let (job, completion, _) = job();
        drop(completion);
        assert!(job.is_abandoned());
    }
}
