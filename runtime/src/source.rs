//! [`Source`]: where events come from.

use crate::event::EventId;

/// What a source read: the number of the event, and its data or the reason why they are unusable.
#[derive(Debug)]
pub struct Read<T> {
    /// The number of the event.
    pub event: EventId,
    /// Its data. An error costs this event alone: the scheduler reports it and asks for the next.
    pub product: Result<T, anyhow::Error>,
}

/// Where events come from: a file, a network connection, a generator.
///
/// A source is asked for one event at a time, whenever a slot is free, and never ahead of that: slow algorithms hold it
/// back. Keep [`next`](Source::next) cheap (find and read the bytes) and decode in an algorithm, which runs on all
/// workers.
///
/// ```
/// use asynchrotron::prelude::*;
///
/// struct Countdown(u64);
///
/// impl Source for Countdown {
///     type Product = u64;
///
///     async fn next(&mut self) -> Result<Option<Read<u64>>> {
///         let Some(number) = self.0.checked_sub(1) else { return Ok(None) };
///         self.0 = number;
///         Ok(Some(Read { event: EventId(number), product: Ok(number) }))
///     }
/// }
/// # let mut chain = Chain::new("countdown");
/// # let number = chain.source::<u64>("number");
/// # chain.sink("check", number, |event: EventId, n: std::sync::Arc<u64>| { assert_eq!(event.0, *n); Ok(()) });
/// # assert_eq!(Scheduler::default().run(chain, Countdown(7))?.events, 7);
/// # Ok::<(), Error>(())
/// ```
pub trait Source: Send + 'static {
    /// What it delivers for each event: the product of [`Chain::source`](crate::Chain::source).
    type Product: Send + Sync + 'static;

    /// The next event, or `None` at the end. It is not asked again after the end.
    ///
    /// # Errors
    /// If nothing more can be read. That ends the job, whatever the error policy; an event that makes no sense, while the
    /// next one can still be read, is an error in [`Read::product`] instead.
    ///
    /// # Cancel safety
    /// The future is dropped unfinished only when the job ends early (Ctrl-C, an error that stops it).
    fn next(&mut self) -> impl Future<Output = Result<Option<Read<Self::Product>>, anyhow::Error>> + Send;

    /// How many events are left, if that is known: for the progress bar.
    fn events_left(&self) -> Option<u64> {
        None
    }
}

/// The items of an iterator, numbered from 0.
pub fn from_iter<I>(items: I) -> FromIter<I::IntoIter>
where
    I: IntoIterator<IntoIter: Send + 'static, Item: Send + Sync + 'static>,
{
    FromIter { items: items.into_iter(), next: 0 }
}

/// The source made by [`from_iter`].
#[derive(Debug)]
pub struct FromIter<I> {
    items: I,
    next: u64,
}

impl<I: Iterator<Item: Send + Sync + 'static> + Send + 'static> Source for FromIter<I> {
    type Product = I::Item;

    async fn next(&mut self) -> Result<Option<Read<I::Item>>, anyhow::Error> {
        let Some(product) = self.items.next() else { return Ok(None) };
        let event = EventId(self.next);
        self.next += 1;
        Ok(Some(Read { event, product: Ok(product) }))
    }

    fn events_left(&self) -> Option<u64> {
        let (low, high) = self.items.size_hint();
        (Some(low) == high).then_some(low as u64)
    }
}
