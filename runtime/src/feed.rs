//! [`Feed`]: hands the events of the source to free slots.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use asynchrotron_sync::Gate;

use crate::batch::Crowd;
use crate::config::Config;
use crate::event::EventId;
use crate::failure::panics_as_errors;
use crate::source::{Read, Source};
use crate::stop::Stop;

/// An event on its way into a slot.
pub(crate) struct Fed<T> {
    /// Its place in the order of the source, without gaps.
    pub(crate) ticket: u64,
    /// Whether it is known to be the last of its phase.
    pub(crate) is_last: bool,
    pub(crate) read: Read<T>,
}

struct State<S> {
    source: S,
    ticket: u64,
    skip: u64,
    /// Events that may still be handed out: in this phase, and in the job.
    phase: u64,
    left: u64,
    ended: bool,
}

pub(crate) struct Feed<S> {
    state: Gate<State<S>>,
    replay: Option<Arc<BTreeSet<EventId>>>,
    /// The user's, and the job's own.
    stops: [Stop; 2],
    crowds: Arc<[Arc<dyn Crowd>]>,
}

impl<S: Source> Feed<S> {
    pub(crate) fn new(source: S, config: &Config, end: Stop, crowds: Arc<[Arc<dyn Crowd>]>) -> Self {
        let left = config.events.unwrap_or(u64::MAX);
        let state = State { source, ticket: 0, skip: config.skip, phase: 0, left, ended: false };
        Feed {
            state: Gate::new(state),
            replay: config.replay.clone().map(Arc::new),
            stops: [config.stop.clone(), end],
            crowds,
        }
    }

    /// Whether the job was asked to stop.
    pub(crate) fn is_closing(&self) -> bool {
        self.stops.iter().any(Stop::is_asked)
    }

    /// Lets `events` more events out.
    pub(crate) async fn open(&self, events: u64) {
        self.state.take().await.phase = events;
    }

    /// How many events will still come, if that is known.
    pub(crate) async fn events_left(&self) -> Option<u64> {
        let state = self.state.take().await;
        if state.ended || state.left == 0 {
            return Some(0);
        }
        let in_source = match &self.replay {
            Some(events) => Some(events.len() as u64),
            None => state.source.events_left().map(|events| events.saturating_sub(state.skip)),
        };
        match in_source {
            Some(events) => Some(events.min(state.left)),
            None => Some(state.left).filter(|&left| left != u64::MAX),
        }
    }

    /// The next event, or `None` when there is none, when the phase is over, or when the job is to stop. An error is the
    /// source's end, and is told once.
    pub(crate) async fn next(&self) -> Result<Option<Fed<S::Product>>, anyhow::Error> {
        let mut state = self.state.take().await;
        loop {
            if state.ended || state.phase == 0 || state.left == 0 || self.is_closing() {
                return Ok(None);
            }
            let read = match self.read(&mut state.source).await {
                Ok(Some(read)) => read,
                end => {
                    state.ended = true;
                    return end.map(|_| None);
                }
            };
            if state.skip > 0 {
                state.skip -= 1;
                continue;
            }
            if self.replay.as_ref().is_some_and(|events| !events.contains(&read.event)) {
                continue;
            }
            state.phase -= 1;
            state.left -= 1;
            let ticket = state.ticket;
            state.ticket += 1;
            // In the order of the source: before the next event can be read.
            self.crowds.iter().for_each(|crowd| crowd.announce(read.event));
            let is_last = state.phase == 0 || state.left == 0 || state.source.events_left() == Some(0);
            return Ok(Some(Fed { ticket, is_last, read }));
        }
    }

    /// Reads an event; gives up waiting for one when the job is to stop.
    async fn read(&self, source: &mut S) -> Result<Option<Read<S::Product>>, anyhow::Error> {
        let mut next = pin!(panics_as_errors(async { source.next().await }));
        // The usual case first: what is there at once needs no second future.
        let at_once = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        match at_once {
            Poll::Ready(read) => read,
            Poll::Pending => tokio::select! {
                biased;
                read = next => read,
                () = self.stops[0].asked() => Ok(None),
                () = self.stops[1].asked() => Ok(None),
            },
        }
    }
}
