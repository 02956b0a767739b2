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
    pub(super) fn open(self, lanes: usize, arrivals: &[Duration], record: &Record) -> u64 {
        let mut arrivals = arrivals.iter().copied();
        let first = arrivals.next();
        self.run(lanes, first.into_iter().collect(), |_| None, || arrivals.next(), record)
    }

    /// Answers so many requests of slots that ask again once they are answered; gives the number of batches.
    pub(super) fn closed(self, lanes: usize, slots: usize, requests: u64, record: &Record) -> u64 {
        let mut left = requests - slots as u64;
        let again = |now| {
            left = left.checked_sub(1)?;
            Some(now)
        };
        self.run(lanes, vec![Duration::ZERO; slots].into(), again, || None, record)
    }

    /// `due` are requests still to come, in order; each answer may bring another, and so may each that has come.
    fn run(
        self,
        lanes: usize,
        mut due: VecDeque<Duration>,
        mut again: impl FnMut(Duration) -> Option<Duration>,
        mut following: impl FnMut() -> Option<Duration>,
        record: &Record,
    ) -> u64 {
        let (mut queue, mut running) = (VecDeque::new(), BinaryHeap::new());
        let mut batches = 0;
        loop {
            let timer = queue.front().filter(|_| running.len() < lanes).map(|oldest| *oldest + self.delay);
            let ends = running.peek().map(|Reverse((end, _))| *end);
            let Some(now) = [due.front().copied(), ends, timer].into_iter().flatten().min() else {
                return batches;
            };
            while running.peek().is_some_and(|Reverse((end, _))| *end <= now) {
                let Some(Reverse((_, batch))) = running.pop() else { break };
                let batch: Vec<Duration> = batch;
                for asked in batch {
                    record.answered(asked, now);
                    due.extend(again(now));
                }
            }
            while due.front().is_some_and(|time| *time <= now) {
                queue.extend(due.pop_front());
                due.extend(following());
            }
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
