//! [`Tally`]: what the slots of a job count.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use hdrhistogram::Histogram;

use crate::clock::{self, Ticks};
use crate::failure::EventFailure;
use crate::lock::lock;
use crate::seat::Seat;

/// What one slot counts; written by the slot alone.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct SlotTally {
    pub(crate) events: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) busy: AtomicBool,
    /// The event in the slot while it is busy, and when that began. For whoever looks from outside.
    pub(crate) event: AtomicU64,
    pub(crate) begun: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

/// Latencies of a slot that are not in a histogram yet.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Ticks>);

impl Latencies {
    /// So many are recorded at once: a lock for each event would be felt.
    const BLOCK: usize = 16;

    /// Keeps a latency; says whether it is time to record them.
    pub(crate) fn keep(&mut self, ticks: Ticks) -> bool {
        self.0.push(ticks);
        self.0.len() >= Self::BLOCK
    }
}

/// How many failures are kept word for word; the rest is only counted.
const FAILURES_KEPT: usize = 20;

/// What all slots of a job count.
pub(crate) struct Tally {
    pub(crate) slots: Vec<(Arc<SlotTally>, Arc<Seat>)>,
    latencies: Box<[Mutex<Histogram<u64>>]>,
    failures: Mutex<Vec<EventFailure>>,
}

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(usize::MAX) };
}

static WORKERS: AtomicUsize = AtomicUsize::new(0);

/// A number for this thread, so that workers do not share a histogram.
fn worker() -> usize {
    if WORKER.get() == usize::MAX {
        WORKER.set(WORKERS.fetch_add(1, Relaxed));
    }
    WORKER.get()
}

impl Tally {
    pub(crate) fn new(slots: Vec<(Arc<SlotTally>, Arc<Seat>)>, threads: usize) -> Self {
        // In nanoseconds, up to an hour (longer counts as that), to 1 %.
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("constant bounds that are valid");
        let latencies = (0..threads + 1).map(|_| Mutex::new(histogram())).collect();
        Tally { slots, latencies, failures: Mutex::default() }
    }

    pub(crate) fn record_latencies(&self, latencies: &mut Latencies) {
        let histogram = &self.latencies[worker() % self.latencies.len()];
        let mut histogram = lock(histogram);
        for ticks in latencies.0.drain(..) {
            histogram.saturating_record(clock::nanoseconds(ticks).max(1));
        }
    }

    pub(crate) fn keep(&self, failure: EventFailure) {
        let mut failures = lock(&self.failures);
        if failures.len() < FAILURES_KEPT {
            failures.push(failure);
        }
    }

    pub(crate) fn failures(&self) -> Vec<EventFailure> {
        lock(&self.failures).clone()
    }

    pub(crate) fn latencies(&self) -> Histogram<u64> {
        let mut all: Option<Histogram<u64>> = None;
        for histogram in &self.latencies {
            let histogram = lock(histogram);
            match &mut all {
                None => all = Some(histogram.clone()),
                Some(all) => all.add(&*histogram).expect("histograms of the same bounds"),
            }
        }
        all.expect("a job has a worker at least")
    }

    pub(crate) fn sum(&self, counter: impl Fn(&SlotTally) -> &AtomicU64) -> u64 {
        self.slots.iter().map(|(slot, _)| counter(slot).load(Relaxed)).sum()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.iter().filter(|(slot, _)| slot.busy.load(Relaxed)).count()
    }

    /// Forgets times and counts, after the warm-up. Failures stay.
    pub(crate) fn restart(&self) {
        for histogram in &self.latencies {
            lock(histogram).reset();
        }
        for (slot, seat) in &self.slots {
            slot.events.store(0, Relaxed);
            seat.signals.meters.iter().for_each(crate::meter::Meter::restart);
        }
    }
}
