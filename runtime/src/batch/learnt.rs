//! [`Learnt`]: what a batcher has learnt of its device and of those who come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use asynchrotron_sync::View;

use super::cost::Cost;
use super::decide::Knowledge;

/// What has been learnt so far, beside what the queue's view tells of those who come; to be read without a lock. Each value
/// is right by itself; a decision on values of different age is as good as one taken a moment earlier.
#[derive(Default)]
pub(super) struct Learnt {
    is_known: AtomicBool,
    submission_ns: AtomicU64,
    row_ns: AtomicU64,
    rate: AtomicU64,
    /// Of the batches behind that: their requests, and the time between them.
    requests: AtomicU64,
    time_ns: AtomicU64,
    /// When a batch was closed last.
    pub(super) closed_at: AtomicU64,
}

impl Learnt {
    pub(super) fn read(&self, view: &View) -> Knowledge {
        let number = |bits: &AtomicU64| f64::from_bits(bits.load(Relaxed));
        let cost = Cost { submission_ns: number(&self.submission_ns), row_ns: number(&self.row_ns) };
        Knowledge {
            cost: self.is_known.load(Relaxed).then_some(cost),
            approach_ns: view.approach_mean as f64,
            rate: number(&self.rate),
        }
    }

    pub(super) fn learn_cost(&self, cost: Cost) {
        self.submission_ns.store(cost.submission_ns.to_bits(), Relaxed);
        self.row_ns.store(cost.row_ns.to_bits(), Relaxed);
        self.is_known.store(true, Relaxed);
    }

    /// Requests per nanosecond, over the last thirty-two batches or so. Called by the driver alone.
    pub(super) fn learn_rate(&self, requests: usize, now: u64) {
        const FORGETTING: f64 = 1.0 - 1.0 / 32.0;
        let before = self.closed_at.swap(now, Relaxed);
        if before == 0 {
            return;
        }
        let add = |bits: &AtomicU64, sample: f64| {
            let sum = FORGETTING * f64::from_bits(bits.load(Relaxed)) + sample;
            bits.store(sum.to_bits(), Relaxed);
            sum
        };
        let requests = add(&self.requests, requests as f64);
        let time_ns = add(&self.time_ns, now.saturating_sub(before) as f64);
        self.rate.store((requests / time_ns.max(1.0)).to_bits(), Relaxed);
    }
}
