//! A batcher as inference servers have it, as a model of some lines: it knows its lanes and its queue, and nothing of events.
//!
//! Ours, under `size` and `delay`, closes a batch when nobody else can come; where requests come by themselves that is
//! always so, and none is ever held. What holding them could gain there, only a batcher without that rule shows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::device::cost;
use super::record::Record;

/// Closes a batch of `size` requests, or when its oldest has waited for `delay`.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Plain {
    pub(super) size: usize,
    pub(super) delay: Duration,
}

impl Plain {
    /// Answers the requests that come at these times; gives the number of batches.
    pub(super) fn run(self, lanes: usize, mut arrivals: &[Duration], record: &Record) -> u64 {
        let (mut queue, mut running) = (VecDeque::new(), BinaryHeap::new());
        let mut batches = 0;
        loop {
            let timer = queue.front().filter(|_| running.len() < lanes).map(|oldest| *oldest + self.delay);
            let end = running.peek().map(|Reverse((end, _))| *end);
            let Some(now) = [arrivals.first().copied(), end, timer].into_iter().flatten().min() else {
                return batches;
            };
            while running.peek().is_some_and(|Reverse((end, _))| *end <= now) {
                let Some(Reverse((_, batch))) = running.pop() else { break };
                let batch: Vec<Duration> = batch;
                batch.into_iter().for_each(|asked| record.answered(asked, now));
            }
            let (come, later) = arrivals.split_at(arrivals.iter().take_while(|time| **time <= now).count());
            queue.extend(come);
            arrivals = later;
            let is_due = |queue: &VecDeque<Duration>| {
                queue.len() >= self.size || queue.front().is_some_and(|oldest| *oldest + self.delay <= now)
            };
            while running.len() < lanes && is_due(&queue) {
                let batch: Vec<Duration> = queue.drain(..self.size.min(queue.len())).collect();
                running.push(Reverse((now + cost(batch.len()), batch)));
                batches += 1;
            }
        }
    }
}
