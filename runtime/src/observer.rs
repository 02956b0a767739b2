//! [`Observer`]: watches the polls of one algorithm in one event, for timelines.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::clock::{self, Ticks};
use crate::group::Group;
use crate::timeline::{self, Muted, Outcome, Record, Recorder};

/// Watches the polls of one algorithm in one event: for a recorder, for whoever subscribes to spans, or to keep an event that is
/// not recorded out of a timeline of spans.
pub(crate) struct Observer<'a> {
    group: &'a Group,
    node: u32,
    recorder: Option<&'a Recorder>,
    span: Option<tracing::Span>,
    is_muted: bool,
    /// When the last poll ended, in nanoseconds.
    paused: Option<u64>,
    /// When the poll began that has not ended.
    polled_since: Option<Ticks>,
    has_ended: bool,
}

impl<'a> Observer<'a> {
    /// `None` if there is nothing to watch for.
    pub(crate) fn new(group: &'a Group, node: u32) -> Option<Box<Self>> {
        let plan = group.plan();
        if plan.recorder.is_none() && !plan.traced {
            return None;
        }
        let recorder = group.recorder();
        let is_muted = recorder.is_none() && plan.recorder.as_ref().is_some_and(Recorder::makes_spans);
        if recorder.is_none() && !is_muted && !plan.traced {
            return None;
        }
        let span = if is_muted { None } else { plan.span(node as usize, group.id()) };
        let (paused, polled_since, has_ended) = (None, None, false);
        Some(Box::new(Observer { group, node, recorder, span, is_muted, paused, polled_since, has_ended }))
    }

    /// Polls the algorithm.
    pub(crate) fn poll<T, E>(
        &mut self,
        call: Pin<&mut impl Future<Output = Result<T, E>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let _muted = self.is_muted.then(Muted::new);
        // What is recorded lies within the span.
        let span = self.span.take();
        let entered = span.as_ref().map(tracing::Span::enter);
        self.polled_since = Some(clock::now());
        let polled = call.poll(cx);
        let outcome = match &polled {
            Poll::Pending => Outcome::Pending,
            Poll::Ready(Ok(_)) => Outcome::Done,
            Poll::Ready(Err(_)) => Outcome::Failed,
        };
        self.end_poll(outcome);
        drop(entered);
        self.span = span;
        polled
    }

    fn end_poll(&mut self, outcome: Outcome) {
        let Some(since) = self.polled_since.take() else { return };
        let Some(recorder) = self.recorder else { return };
        let clock = self.group.clock();
        let end = clock.at_ns(clock::now());
        let woken = match self.group.meter(self.node as usize).resumed() {
            0 => 0,
            woken => clock.at_ns(woken),
        };
        let (paused, begin) = (self.paused, clock.at_ns(since));
        let slot = self.group.presence().slot() as u32;
        recorder.push(Record::Poll(timeline::Poll {
            slot,
            node: self.node,
            paused,
            woken,
            begin,
            end,
            outcome,
        }));
        self.paused = Some(end);
        self.has_ended = outcome != Outcome::Pending;
    }
}

impl Drop for Observer<'_> {
    fn drop(&mut self) {
        if self.polled_since.is_some() {
            // It panicked.
            self.end_poll(Outcome::Failed);
        } else if let Some(recorder) = self.recorder
            && self.paused.is_some()
            && !self.has_ended
        {
            let (at, slot) = (self.group.clock().now_ns(), self.group.presence().slot() as u32);
            recorder.push(Record::Abandoned { at, slot, node: self.node });
        }
    }
}
