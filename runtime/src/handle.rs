//! [`Handle`]: a typed name for a data product, and [`Inputs`]: the handles an algorithm reads.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;

use crate::event::EventContext;
use crate::failure::Failure;

/// A data product as it lies in an event: shared, immutable, type-erased.
pub(crate) type Product = Arc<dyn Any + Send + Sync>;

/// Names the data product of type `T` that one algorithm (or the source) makes in every event.
///
/// A handle comes from [`Chain::source`](crate::Chain::source), [`Chain::conditions`](crate::Chain::conditions)
/// or [`Chain::algorithm`](crate::Chain::algorithm) and is good for that chain only. Because an algorithm can
/// only take handles that exist already, a chain can contain neither a cycle nor a product of the wrong type:
///
/// ```compile_fail,E0277
/// use std::sync::Arc;
/// use asynchrotron::prelude::*;
/// async fn count(hits: Arc<Vec<f32>>) -> Result<usize> { Ok(hits.len()) }
/// let mut chain = Chain::new("wrong");
/// let number = chain.source::<u64>("number");
/// chain.algorithm("count", (number,), count); // `count` wants a Vec<f32>
/// ```
pub struct Handle<T> {
    pub(crate) node: u32,
    pub(crate) chain: u32,
    product: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(crate) fn new(chain: u32, node: usize) -> Self {
        Handle {
            node: u32::try_from(node).expect("a chain of fewer than 2^32 algorithms"),
            chain,
            product: PhantomData,
        }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle<{}>({})", std::any::type_name::<T>(), self.node)
    }
}

/// What an algorithm reads: a tuple of zero to eight [`Handle`]s, or a single handle.
///
/// The algorithm receives one `Arc<T>` for each, in the same order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the inputs of an algorithm",
    label = "expected a tuple of handles, such as `(hits,)` or `(hits, tracks)`",
    note = "a handle is what `chain.source`, `chain.conditions` and `chain.algorithm` return",
    note = "one input needs a comma to be a tuple: `(hits,)`; at most eight inputs are possible"
)]
pub trait Inputs: Copy + Send + Sync + 'static {
    /// The tuple of `Arc`s that the algorithm is called with.
    type Args: Send;

    #[doc(hidden)]
    fn nodes(&self) -> Vec<(u32, u32)>;

    #[doc(hidden)]
    fn fetch(self, ctx: &EventContext) -> impl Future<Output = Result<Self::Args, Failure>> + Send;
}

impl<A: Send + Sync + 'static> Inputs for Handle<A> {
    type Args = (Arc<A>,);

    fn nodes(&self) -> Vec<(u32, u32)> {
        vec![(self.chain, self.node)]
    }

    async fn fetch(self, ctx: &EventContext) -> Result<Self::Args, Failure> {
        Ok((ctx.get(self).await?,))
    }
}

impl Inputs for () {
    type Args = ();

    fn nodes(&self) -> Vec<(u32, u32)> {
        Vec::new()
    }

    async fn fetch(self, _: &EventContext) -> Result<(), Failure> {
        Ok(())
    }
}

impl<A: Send + Sync + 'static> Inputs for (Handle<A>,) {
    type Args = (Arc<A>,);

    fn nodes(&self) -> Vec<(u32, u32)> {
        self.0.nodes()
    }

    async fn fetch(self, ctx: &EventContext) -> Result<Self::Args, Failure> {
        Ok((ctx.get(self.0).await?,))
    }
}

/// Demands all inputs at once, so that their producers run concurrently, and ends at the first failure.
macro_rules! inputs {
    ($($T:ident $h:ident $get:ident $value:ident),+) => {
        impl<$($T: Send + Sync + 'static),+> Inputs for ($(Handle<$T>,)+) {
            type Args = ($(Arc<$T>,)+);

            fn nodes(&self) -> Vec<(u32, u32)> {
                let ($($h,)+) = self;
                vec![$(($h.chain, $h.node)),+]
            }

            async fn fetch(self, ctx: &EventContext) -> Result<Self::Args, Failure> {
                let ($($h,)+) = self;
                $(let (mut $get, mut $value) = (ctx.get($h), None);)+
                poll_fn(move |cx| {
                    $(
                        if $value.is_none() && let Poll::Ready(product) = std::pin::Pin::new(&mut $get).poll(cx) {
                            match product {
                                Ok(product) => $value = Some(product),
                                Err(failure) => return Poll::Ready(Err(failure)),
                            }
                        }
                    )+
                    match ($($value.take(),)+) {
                        ($(Some($value),)+) => Poll::Ready(Ok(($($value,)+))),
                        ($($h,)+) => { $($value = $h;)+ Poll::Pending }
                    }
                })
                .await
            }
        }
    };
}

inputs!(A a ga va, B b gb vb);
inputs!(A a ga va, B b gb vb, C c gc vc);
inputs!(A a ga va, B b gb vb, C c gc vc, D d gd vd);
inputs!(A a ga va, B b gb vb, C c gc vc, D d gd vd, E e ge ve);
inputs!(A a ga va, B b gb vb, C c gc vc, D d gd vd, E e ge ve, F f gf vf);
inputs!(A a ga va, B b gb vb, C c gc vc, D d gd vd, E e ge ve, F f gf vf, G g gg vg);
inputs!(A a ga va, B b gb vb, C c gc vc, D d gd vd, E e ge ve, F f gf vf, G g gg vg, H h gh vh);
