//! [`Algorithm`]: which functions can be algorithms of a chain.

use std::sync::Arc;

use crate::batch::{Batcher, Offload};
use crate::event::EventContext;

/// A function from data products to a data product: an `async fn` (or a closure that returns a future) that takes
/// one `Arc<T>` for each input, optionally an [`EventContext`] before them, and returns `Result<Product, E>`.
///
/// `E` is any error that converts into [`anyhow::Error`]: every `std::error::Error`, and `anyhow::Error` itself.
/// The trait is implemented for functions only; there is no need to implement it, or to call it, by hand.
///
/// | the inputs | without a context | with one |
/// |---|---|---|
/// | `()` | `async fn() -> Result<T>` | `async fn(EventContext) -> Result<T>` |
/// | `(a,)` | `async fn(Arc<A>) -> Result<T>` | `async fn(EventContext, Arc<A>) -> Result<T>` |
/// | `(a, b)` | `async fn(Arc<A>, Arc<B>) -> Result<T>` | `async fn(EventContext, Arc<A>, Arc<B>) -> Result<T>` |
///
/// and so on, up to eight inputs.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an algorithm with the inputs `{Args}`",
    label = "does not take `{Args}`, or does not return a future of a `Result`",
    note = "an algorithm is an `async fn` with one `Arc<T>` for each input handle, in the order of the handles",
    note = "an `EventContext` may come before them: `async fn(ctx: EventContext, hits: Arc<Hits>) -> Result<Tracks>`",
    note = "it returns `Result<Product>`, and its future must be `Send`: hold no `Rc`, `RefCell` borrow or lock guard across an `.await`",
    note = "a closure's arguments may need their types written out: `|hits: Arc<Hits>| async move {{ .. }}`"
)]
pub trait Algorithm<Args, Form>: Send + Sync + 'static {
    /// The data product that it makes.
    type Output: Send + Sync + 'static;

    #[doc(hidden)]
    fn call(
        &self,
        ctx: &EventContext,
        args: Args,
    ) -> impl Future<Output = Result<Self::Output, anyhow::Error>> + Send;
}

/// The form of an algorithm that takes its inputs alone.
#[derive(Debug)]
pub struct Plain;
/// The form of an algorithm that takes an [`EventContext`] before its inputs.
#[derive(Debug)]
pub struct WithContext;

/// The form of an algorithm that is one [offloaded](crate::Chain::offload) step.
#[derive(Debug)]
pub struct Offloaded;

impl<O, Args> Algorithm<Args, Offloaded> for Batcher<O>
where
    O: Offload,
    O::Request: From<Args>,
    O::Reply: Sync,
    Args: Send,
{
    type Output = O::Reply;

    fn call(
        &self,
        ctx: &EventContext,
        args: Args,
    ) -> impl Future<Output = Result<O::Reply, anyhow::Error>> + Send {
        self.submit(ctx, O::Request::from(args))
    }
}

macro_rules! algorithm {
    ($($T:ident $arg:ident),*) => {
        algorithm!(@form Plain, _ctx, (), (), $($T $arg),*);
        algorithm!(@form WithContext, ctx, (EventContext), (ctx.clone()), $($T $arg),*);
    };
    (@form $Form:ident, $ctx:ident, ($($Context:ty)?), ($($context:expr)?), $($T:ident $arg:ident),*) => {
        impl<Func, Fut, Out, Error, $($T),*> Algorithm<($(Arc<$T>,)*), $Form> for Func
        where
            Func: Fn($($Context,)? $(Arc<$T>),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<Out, Error>> + Send,
            Out: Send + Sync + 'static,
            Error: Into<anyhow::Error>,
            $($T: Send + Sync + 'static,)*
        {
            type Output = Out;

            fn call(
                &self,
                $ctx: &EventContext,
                ($($arg,)*): ($(Arc<$T>,)*),
            ) -> impl Future<Output = Result<Out, anyhow::Error>> + Send {
                let future = self($($context,)? $($arg),*);
                async move { future.await.map_err(Into::into) }
            }
        }
    };
}

algorithm!();
algorithm!(A a);
algorithm!(A a, B b);
algorithm!(A a, B b, C c);
algorithm!(A a, B b, C c, D d);
algorithm!(A a, B b, C c, D d, E e);
algorithm!(A a, B b, C c, D d, E e, F f);
algorithm!(A a, B b, C c, D d, E e, F f, G g);
algorithm!(A a, B b, C c, D d, E e, F f, G g, H h);
