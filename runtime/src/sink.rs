//! [`Sink`]: where the products of events go.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use asynchrotron_sync::Gate;

use crate::event::EventId;
use crate::failure::panics_as_errors;
use crate::handle::Product;

/// Where the products of events go: a file, a histogram, a network connection.
///
/// A sink is called for one event at a time, in the order in which events finish, or in that of the source if it was added
/// with [`Chain::ordered_sink`](crate::Chain::ordered_sink) or the job is [`ordered`](crate::Config::ordered). It is called only for events of which *all* demanded products are there: an
/// event that fails leaves no trace in any sink. For work that may run for many events at once, see
/// [`Chain::for_each`](crate::Chain::for_each).
///
/// Every `FnMut(EventId, Arc<T>) -> Result<()>` is a sink.
pub trait Sink<T>: Send + 'static {
    /// Takes the product of one event.
    ///
    /// # Errors
    /// An output that fails ends the job, whatever the error policy: the events it has taken so far stay.
    ///
    /// # Cancel safety
    /// The future is always awaited to its end, also when the job is asked to stop.
    fn write(
        &mut self,
        event: EventId,
        product: Arc<T>,
    ) -> impl Future<Output = Result<(), anyhow::Error>> + Send;

    /// Called once, after the last event, also when the job ends early: write what is buffered, close the file.
    ///
    /// # Errors
    /// As for [`write`](Sink::write).
    fn finish(&mut self) -> impl Future<Output = Result<(), anyhow::Error>> + Send {
        async { Ok(()) }
    }
}

impl<T, F> Sink<T> for F
where
    T: Send + Sync + 'static,
    F: FnMut(EventId, Arc<T>) -> Result<(), anyhow::Error> + Send + 'static,
{
    async fn write(&mut self, event: EventId, product: Arc<T>) -> Result<(), anyhow::Error> {
        self(event, product)
    }
}

type Delivered<'a> = Pin<Box<dyn Future<Output = Result<(), anyhow::Error>> + Send + 'a>>;

/// A sink of any product.
trait Deliver: Send + Sync {
    fn write(&self, event: EventId, product: Product) -> Delivered<'_>;
    fn finish(&self) -> Delivered<'_>;
}

struct Sequential<T, K> {
    sink: Gate<K>,
    product: PhantomData<fn(T)>,
}

impl<T: Send + Sync + 'static, K: Sink<T>> Deliver for Sequential<T, K> {
    fn write(&self, event: EventId, product: Product) -> Delivered<'_> {
        Box::pin(async move {
            let product = product.downcast().expect("a sink takes the product of its own handle");
            let mut sink = self.sink.take().await;
            panics_as_errors(async { sink.write(event, product).await }).await
        })
    }

    fn finish(&self) -> Delivered<'_> {
        Box::pin(async move {
            let mut sink = self.sink.take().await;
            panics_as_errors(async { sink.finish().await }).await
        })
    }
}

/// Where a chain delivers a product.
pub(crate) struct Outlet {
    /// The node whose product it takes.
    pub(crate) node: usize,
    /// None for an algorithm that delivers by itself.
    sink: Option<(Arc<str>, Box<dyn Deliver>)>,
    /// Whether it takes events in the order of the source.
    pub(crate) ordered: bool,
}

impl Outlet {
    pub(crate) fn sequential<T: Send + Sync + 'static>(
        name: Arc<str>,
        node: usize,
        sink: impl Sink<T>,
    ) -> Self {
        let sink = Sequential { sink: Gate::new(sink), product: PhantomData };
        Outlet { node, sink: Some((name, Box::new(sink))), ordered: false }
    }

    pub(crate) fn concurrent(node: usize) -> Self {
        Outlet { node, sink: None, ordered: false }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.sink.as_ref().map(|(name, _)| &**name)
    }

    pub(crate) fn is_sink(&self, ordered: bool) -> bool {
        self.sink.is_some() && self.ordered == ordered
    }

    pub(crate) async fn write(&self, event: EventId, product: Product) -> Result<(), anyhow::Error> {
        match &self.sink {
            Some((_, sink)) => sink.write(event, product).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn finish(&self) -> Result<(), anyhow::Error> {
        match &self.sink {
            Some((_, sink)) => sink.finish().await,
            None => Ok(()),
        }
    }
}
