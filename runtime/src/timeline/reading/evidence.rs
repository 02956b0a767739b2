//! [`Evidence`]: what [advice](super::Advice) is drawn from.

use std::collections::{BTreeMap, BTreeSet};

use super::algorithms::AlgorithmFigures;
use super::critical_path::Bound;
use super::events::EventFigures;
use super::intervals::{mean, share, union_ns};
use super::lanes::LaneFigures;
use super::recording::{DeliveryKind, Name, Recording, StateKind};
use super::workers::WorkerFigures;

pub(super) struct Evidence<'a> {
    pub(super) recording: &'a Recording,
    pub(super) events: &'a EventFigures,
    pub(super) algorithms: &'a [AlgorithmFigures],
    pub(super) workers: &'a [WorkerFigures],
    pub(super) lanes: &'a [LaneFigures],
    /// What bounded the events, and their whole time.
    pub(super) event_time: &'a [(Bound, i64)],
    pub(super) span_ns: i64,
}

/// What a batcher did, on all lanes.
#[derive(Default)]
pub(super) struct BatcherEvidence {
    pub(super) name: String,
    pub(super) devices: BTreeSet<String>,
    pub(super) mean_requests: f64,
    pub(super) mean_ns: f64,
    pub(super) batches: u64,
    /// The most frequent reason of closing, and its share.
    pub(super) closed: (String, f64),
}

impl Evidence<'_> {
    /// The share of all events' time that was bounded so.
    pub(super) fn path(&self, is: impl Fn(Bound) -> bool) -> f64 {
        let total: i64 = self.event_time.iter().map(|(_, ns)| ns).sum();
        share(self.event_time.iter().filter(|(bound, _)| is(*bound)).map(|(_, ns)| ns).sum(), total)
    }

    pub(super) fn in_state(&self, state: StateKind) -> f64 {
        self.path(|bound| matches!(bound, Bound::Algorithm(_, kind, _) if kind == state))
    }

    pub(super) fn in_delivery(&self, delivery: DeliveryKind) -> f64 {
        self.path(|bound| bound == Bound::Delivery(delivery))
    }

    /// How busy workers are; not known where not all events were recorded, nor where time is simulated and computing takes none.
    pub(super) fn workers_busy(&self) -> Option<f64> {
        let job = &self.recording.job;
        if job.every > 1 || job.clock == "simulated" || self.recording.lost > 0 || self.span_ns == 0 {
            return None;
        }
        let busy: i64 = self.workers.iter().map(|worker| worker.busy_ns).sum();
        Some(share(busy, self.worker_time_ns()))
    }

    /// That of all workers together.
    pub(super) fn worker_time_ns(&self) -> i64 {
        let threads = (self.recording.job.threads as i64).max(self.workers.len() as i64);
        threads.saturating_mul(self.span_ns)
    }

    pub(super) fn slots_in_use(&self) -> Option<f64> {
        (self.events.slots_in_use > 0.0).then_some(self.events.slots_in_use)
    }

    /// The share of the time in which the lanes of these devices have batches.
    pub(super) fn occupancy(&self, devices: &BTreeSet<String>) -> f64 {
        let lanes = self.lanes.iter().filter(|lane| devices.contains(&lane.device));
        let (sum, count) = lanes.fold((0.0, 0), |(sum, count), lane| (sum + lane.occupancy, count + 1));
        mean(sum, count)
    }

    pub(super) fn devices(&self) -> BTreeSet<&str> {
        self.lanes.iter().map(|lane| lane.device.as_str()).collect()
    }

    /// That of the device that is occupied most.
    pub(super) fn highest_occupancy(&self) -> f64 {
        let each =
            self.devices().into_iter().map(|device| self.occupancy(&BTreeSet::from([device.to_owned()])));
        each.fold(0.0, f64::max)
    }

    /// The share of the job's time in which some sink worked.
    pub(super) fn sinks_busy(&self) -> f64 {
        let deliveries = self.recording.deliveries.iter();
        let sinks = deliveries.filter(|delivery| delivery.kind == DeliveryKind::Sinks);
        let mut times: Vec<_> = sinks.map(|delivery| (delivery.begin_ns, delivery.end_ns)).collect();
        times.sort_unstable();
        share(union_ns(times.into_iter()), self.span_ns)
    }

    pub(super) fn batchers(&self) -> Vec<(Name, BatcherEvidence)> {
        let mut all: BTreeMap<Name, BatcherEvidence> = BTreeMap::new();
        let mut reasons: BTreeMap<Name, BTreeMap<Name, u64>> = BTreeMap::new();
        for lane in &self.recording.lanes {
            for batch in &lane.batches {
                let batcher = all.entry(batch.batcher).or_default();
                batcher.devices.insert(lane.device.clone());
                batcher.batches += 1;
                // Sums, for now.
                batcher.mean_requests += batch.requests as f64;
                batcher.mean_ns += (batch.end_ns - batch.begin_ns) as f64;
                *reasons.entry(batch.batcher).or_default().entry(batch.closed).or_default() += 1;
            }
        }
        for (name, batcher) in &mut all {
            batcher.name = self.recording.name(*name).to_owned();
            batcher.mean_requests = mean(batcher.mean_requests, batcher.batches);
            batcher.mean_ns = mean(batcher.mean_ns, batcher.batches);
            if let Some((reason, count)) = reasons[name].iter().max_by_key(|(_, count)| **count) {
                batcher.closed =
                    (self.recording.name(*reason).to_owned(), share(*count as i64, batcher.batches as i64));
            }
        }
        all.into_iter().collect()
    }

    /// How long a call is ready before a worker takes it, on average.
    pub(super) fn mean_ready_ns(&self) -> f64 {
        let ready = self.recording.states.iter().filter(|state| state.kind == StateKind::Ready);
        let (sum, count) =
            ready.fold((0, 0), |(sum, count), one| (sum + one.end_ns - one.begin_ns, count + 1));
        mean(sum as f64, count)
    }

    /// The algorithm with the longest poll, and its length.
    pub(super) fn longest_poll(&self) -> Option<(&str, i64)> {
        let polls = self.recording.workers.iter().flat_map(|worker| &worker.polls);
        let longest = polls.max_by_key(|poll| poll.end_ns - poll.begin_ns)?;
        Some((self.recording.name(longest.algorithm), longest.end_ns - longest.begin_ns))
    }

    /// The share of the time of all events that went into those that failed.
    pub(super) fn failed_time(&self) -> f64 {
        let life = |failed: bool| -> i64 {
            let events = self.recording.events.iter().filter(|event| event.failed.is_some() == failed);
            events.map(|event| event.end_ns - event.begin_ns).sum()
        };
        share(life(true), life(true) + life(false))
    }
}
