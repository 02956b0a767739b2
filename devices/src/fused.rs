//! [`Fused`]: two steps in a row as one submission.

use crate::{BatchStep, LaneId, Step};

/// Two steps in a row as one submission: the second takes up on the lane what the first has left there, without coming back to
/// the host in between. One submission is paid instead of two, one wait, one wake-up.
///
/// A chain asks for it by offloading the fused step instead of the two. The results are the same.
///
/// On a GPU it has no body. What stays there is no output yet: there, a step of its own enqueues one part after the other on device columns,
/// as in the example of `CudaModel` (features `cuda` and `onnx`).
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::{Fused, Step};
/// # struct Half;
/// # impl Step for Half {
/// #     type Input = Vec<f32>; type Output = Vec<f32>;
/// #     fn name(&self) -> &str { "half" }
/// #     fn rows(&self, x: &Vec<f32>) -> usize { x.len() }
/// #     fn on_host(&self, x: Vec<f32>) -> anyhow::Result<Vec<f32>> { Ok(x.iter().map(|x| x / 2.0).collect()) }
/// # }
/// # struct Sum;
/// # impl Step for Sum {
/// #     type Input = Vec<f32>; type Output = f32;
/// #     fn name(&self) -> &str { "sum" }
/// #     fn rows(&self, x: &Vec<f32>) -> usize { x.len() }
/// #     fn on_host(&self, x: Vec<f32>) -> anyhow::Result<f32> { Ok(x.iter().sum()) }
/// # }
/// let fused = Fused::new(Half, Sum, |halves| halves);
/// assert_eq!(fused.name(), "half+sum");
/// assert_eq!(fused.on_host(vec![1.0, 2.0])?, 1.5);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Fused<A, B, L> {
    first: A,
    second: B,
    link: L,
    name: String,
}

impl<A, B, L> Fused<A, B, L>
where
    A: Step,
    B: Step,
    L: Fn(A::Output) -> B::Input + Send + Sync + 'static,
{
    /// `first`, then `second` on what `link` makes of the first one's output.
    pub fn new(first: A, second: B, link: L) -> Self {
        let name = format!("{}+{}", first.name(), second.name());
        Self { first, second, link, name }
    }
}

impl<A, B, L> Step for Fused<A, B, L>
where
    A: Step,
    B: Step,
    L: Fn(A::Output) -> B::Input + Send + Sync + 'static,
{
    type Input = A::Input;
    type Output = B::Output;

    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, input: &A::Input) -> usize {
        self.first.rows(input)
    }

    fn bytes(&self, input: &A::Input) -> usize {
        self.first.bytes(input)
    }

    fn lies_on(&self, input: &A::Input) -> Option<usize> {
        self.first.lies_on(input)
    }

    fn may_block(&self) -> bool {
        self.first.may_block() || self.second.may_block()
    }

    fn placeholder(&self, input: &A::Input) -> Option<B::Output> {
        self.second.placeholder(&(self.link)(self.first.placeholder(input)?))
    }

    fn on_host(&self, input: A::Input) -> anyhow::Result<B::Output> {
        self.second.on_host((self.link)(self.first.on_host(input)?))
    }

    fn on_onnx(&self, input: A::Input, lane: LaneId) -> anyhow::Result<B::Output> {
        self.second.on_onnx((self.link)(self.first.on_onnx(input, lane)?), lane)
    }
}

impl<A, B, L> BatchStep for Fused<A, B, L>
where
    A: BatchStep<Parts: Into<B::Parts>>,
    B: BatchStep,
    L: Fn(A::Output) -> B::Input + Send + Sync + 'static,
{
    type Request = A::Request;
    type Reply = B::Reply;
    type Parts = A::Parts;

    fn request_rows(&self, request: &A::Request) -> usize {
        self.first.request_rows(request)
    }

    fn request_bytes(&self, request: &A::Request) -> usize {
        self.first.request_bytes(request)
    }

    fn pack(&self, requests: &[&A::Request], rows: usize) -> (A::Input, A::Parts) {
        self.first.pack(requests, rows)
    }

    fn unpack(&self, output: B::Output, parts: A::Parts) -> Vec<B::Reply> {
        self.second.unpack(output, parts.into())
    }
}
