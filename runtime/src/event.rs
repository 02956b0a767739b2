//! [`EventId`], and [`EventContext`]: what an algorithm may ask of the event it runs in.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asynchrotron_sync::Waiter;

use crate::failure::{Failure, FailureKind};
use crate::group::Group;
use crate::handle::Handle;

/// The number of an event: one collision or readout window. The source gives it, and it stays with the event in
/// reports, quarantine files and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The event that an algorithm runs in: its number, and the products of other algorithms on demand.
///
/// Cheap to clone. A clone that outlives the event (in a task that the user spawned, say) stays valid, but every
/// product it then asks for fails with "the event has ended". Do not keep one in a data product: they would keep each
/// other.
#[derive(Clone)]
pub struct EventContext {
    pub(crate) group: Arc<Group>,
    pub(crate) node: u32,
}

impl EventContext {
    /// The event's number.
    pub fn id(&self) -> EventId {
        self.group.id()
    }

    /// The name of the algorithm that this context was given to.
    pub fn algorithm(&self) -> &str {
        &self.group.plan().nodes[self.node as usize].name
    }

    /// Demands a product from inside an algorithm: starts its producer if nobody has yet, suspends until the product is
    /// there, and gives it. An algorithm that is never demanded never runs, so a product may depend on a condition:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use asynchrotron::prelude::*;
    ///
    /// let mut chain = Chain::new("conditional");
    /// let hits = chain.source::<Vec<f32>>("hits");
    /// let refined = chain.algorithm("refine", (hits,), async |hits: Arc<Vec<f32>>| {
    ///     Ok::<_, Error>(hits.iter().map(|hit| hit * 0.99).sum::<f32>())
    /// });
    /// let energy = chain.algorithm("energy", (hits,), move |ctx: EventContext, hits: Arc<Vec<f32>>| async move {
    ///     let sum: f32 = hits.iter().sum();
    ///     // Only large events pay for the refinement.
    ///     if sum < 100.0 { return Ok::<_, Error>(sum) }
    ///     Ok(*ctx.get(refined).await?)
    /// });
    /// chain.sink("energy", energy, |_, _: Arc<f32>| Ok(()));
    /// let events = vec![vec![1.0_f32], vec![60.0, 60.0]];
    /// let report = Scheduler::default().run(chain, source::from_iter(events))?;
    /// assert_eq!(report.algorithm("refine").unwrap().calls, 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The [`Failure`] of the producer, or of an input of its; the same for everyone who asks. Returned with `?`, it
    /// makes this algorithm fail with the producer named as the guilty one.
    ///
    /// # Panics
    /// If the handle belongs to another chain.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the wait, not the producer, which goes on for whoever else wants its product.
    pub fn get<T: Send + Sync + 'static>(&self, handle: Handle<T>) -> Get<'_, T> {
        assert_eq!(handle.chain, self.group.plan().chain, "the handle belongs to another chain");
        Get {
            group: &self.group,
            node: handle.node as usize,
            // An algorithm can demand only what was in the chain before it, else two could wait for each other.
            forbidden: handle.node >= self.node,
            waiter: Waiter::default(),
            waiting: false,
            product: PhantomData,
        }
    }
}

impl fmt::Debug for EventContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventContext")
            .field("event", &self.id())
            .field("algorithm", &self.algorithm())
            .finish()
    }
}

/// The demanded product of [`EventContext::get`].
#[must_use = "futures do nothing unless awaited"]
pub struct Get<'a, T> {
    group: &'a Arc<Group>,
    node: usize,
    forbidden: bool,
    waiter: Waiter,
    waiting: bool,
    product: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Future for Get<'_, T> {
    type Output = Result<Arc<T>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.forbidden {
            return Poll::Ready(Err(this.refuse()));
        }
        let outcome = match this.group.cells[this.node].try_get() {
            Some(outcome) => outcome,
            None => {
                if !this.waiting {
                    this.group.demand(this.node);
                    this.waiting = true;
                }
                match this.group.cells[this.node].poll_wait(&mut this.waiter, cx) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        Poll::Ready(outcome.map(|product| {
            product.downcast().expect("a handle has the type of its product: the chain made both together")
        }))
    }
}

impl<T> Get<'_, T> {
    fn refuse(&self) -> Failure {
        let name = &self.group.plan().nodes[self.node].name;
        Failure::root(
            FailureKind::Failed,
            name.clone(),
            anyhow::anyhow!(
                "demanded by itself, or by an algorithm that came before it in the chain: they could wait for each other"
            ),
        )
    }
}

impl<T> Drop for Get<'_, T> {
    fn drop(&mut self) {
        if self.waiting {
            self.group.cells[self.node].leave(&mut self.waiter);
        }
    }
}

impl<T> fmt::Debug for Get<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Get(`{}` of event {})", self.group.plan().nodes[self.node].name, self.group.id())
    }
}
