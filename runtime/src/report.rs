//! [`Report`]: what a job did, and where its time went.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::batch::BatcherReport;
use crate::clock;
use crate::failure::EventFailure;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::tally::Tally;

/// What a job did, and where its time went. Prints as a few lines and a table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The name of the chain.
    pub chain: String,
    /// Events completed and delivered, without those of the warm-up.
    pub events: u64,
    /// Events given up, for whatever reason; those of the warm-up included, as in the next two.
    pub failed: u64,
    /// Those of them that exceeded their deadline.
    pub timed_out: u64,
    /// Attempts that were repeated.
    pub retried: u64,
    /// From asking for the first event to closing the last sink, in the time of the job's [clock](crate::time::Clock).
    pub elapsed: Duration,
    /// CPU time of the process in that time. Zero where time is simulated: computing takes none.
    pub cpu: Duration,
    /// Worker threads.
    pub threads: usize,
    /// Slots.
    pub slots: usize,
    /// Whether the job was ended early.
    pub interrupted: bool,
    /// How long events took, from being read to being delivered.
    pub latency: Latency,
    /// One entry for each algorithm, in the order of the chain.
    pub algorithms: Vec<AlgorithmReport>,
    /// One entry for each batcher that the chain uses.
    pub batchers: Vec<BatcherReport>,
    /// The first failures, word for word.
    pub failures: Vec<EventFailure>,
}

/// Percentiles of the time that an event takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// Where the time of one algorithm went, summed over all events.
///
/// `running + inputs + suspended + ready` is its life, from its first demand to its product. With fewer slots than workers,
/// the time in which it could go on, but waits for a worker, is part of `inputs` and `suspended`, except before its first poll.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlgorithmReport {
    /// Its name in the chain.
    pub name: String,
    /// Events in which it ran.
    pub calls: u64,
    /// Events in which it, or one of its inputs, failed.
    pub failures: u64,
    /// How often it was polled: one more than it suspended.
    pub polls: u64,
    /// On a worker, without the algorithms that it demanded. This is wall time: if the operating system gives the worker's
    /// core to somebody else, that counts as well.
    pub running: Duration,
    /// Waiting for the products that it reads.
    pub inputs: Duration,
    /// Suspended: waiting for a device, a timer, a product that it demanded on its way.
    pub suspended: Duration,
    /// The part of `suspended` in which its requests stood in the queues of [batchers](crate::batch). As the next, summed over
    /// requests: more than `suspended` if it has several on their way at once.
    pub queued: Duration,
    /// The part of `suspended` in which its requests were on devices.
    pub on_device: Duration,
    /// Able to go on, but waiting for a worker.
    pub ready: Duration,
}

impl Report {
    pub(crate) fn of(
        plan: &Plan,
        tally: &Tally,
        threads: usize,
        elapsed: Duration,
        cpu: Duration,
        interrupted: bool,
    ) -> Self {
        let algorithm = |node: usize| {
            let sum = |counter: fn(&Meter) -> &AtomicU64| -> u64 {
                let seats = tally.slots.iter().map(|(_, seat)| counter(&seat.signals.meters[node]));
                seats.map(|counter| counter.load(Relaxed)).sum()
            };
            AlgorithmReport {
                name: plan.nodes[node].name.to_string(),
                calls: sum(|meter| &meter.calls),
                failures: sum(|meter| &meter.failures),
                polls: sum(|meter| &meter.polls),
                running: clock::duration(sum(|meter| &meter.running)),
                inputs: clock::duration(sum(|meter| &meter.inputs)),
                suspended: clock::duration(sum(|meter| &meter.suspended)),
                queued: Duration::from_nanos(sum(|meter| &meter.queued_ns)),
                on_device: Duration::from_nanos(sum(|meter| &meter.device_ns)),
                ready: clock::duration(sum(|meter| &meter.ready)),
            }
        };
        let latencies = tally.latencies();
        let quantile =
            |q| Duration::from_nanos(if latencies.is_empty() { 0 } else { latencies.value_at_quantile(q) });
        Report {
            chain: plan.name.to_string(),
            events: tally.sum(|slot| &slot.events),
            failed: tally.sum(|slot| &slot.failed),
            timed_out: tally.sum(|slot| &slot.timed_out),
            retried: tally.sum(|slot| &slot.retried),
            elapsed,
            cpu,
            threads,
            slots: tally.slots.len(),
            interrupted,
            latency: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                max: quantile(1.0),
            },
            algorithms: plan.algorithms().map(|(node, _)| algorithm(node)).collect(),
            batchers: plan.crowds.iter().map(|crowd| crowd.report()).collect(),
            failures: tally.failures(),
        }
    }

    /// Events per second.
    pub fn throughput(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// CPU time over wall time and threads: 1 is every worker busy all the time.
    pub fn cpu_per_thread(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE) * self.threads as f64)
    }

    /// The entry of an algorithm.
    pub fn algorithm(&self, name: &str) -> Option<&AlgorithmReport> {
        self.algorithms.iter().find(|algorithm| algorithm.name == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Processed {} events in {:.3} seconds, throughput {:.1} events/s, CPU usage per thread: {:.1}%",
            self.events,
            self.elapsed.as_secs_f64(),
            self.throughput(),
            100.0 * self.cpu_per_thread()
        )?;
        write!(f, "  {} threads, {} slots", self.threads, self.slots)?;
        let Latency { p50, p90, p99, max } = self.latency;
        writeln!(
            f,
            "; an event took {p50:.1?} (median), {p90:.1?} (90 %), {p99:.1?} (99 %), {max:.1?} at most"
        )?;
        if self.interrupted {
            writeln!(
                f,
                "  the job was ended early: the events in flight were finished, the rest was not read"
            )?;
        }
        if self.failed > 0 || self.retried > 0 {
            writeln!(
                f,
                "  {} events failed ({} of them timed out), {} attempts were repeated",
                self.failed, self.timed_out, self.retried
            )?;
        }
        self.write_table(f)?;
        self.batchers.iter().try_for_each(|batcher| write!(f, "{batcher}"))?;
        for failure in &self.failures {
            writeln!(f, "  {failure}")?;
        }
        match self.failed.saturating_sub(self.failures.len() as u64) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

impl Report {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.algorithms.is_empty() {
            return Ok(());
        }
        let width =
            self.algorithms.iter().map(|algorithm| algorithm.name.chars().count()).max().unwrap_or(0).max(9);
        writeln!(
            f,
            "\n  {:<width$} {:>10} {:>8} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>7}",
            "algorithm",
            "calls",
            "failed",
            "running",
            "inputs",
            "suspended",
            "queued",
            "device",
            "ready",
            "running"
        )?;
        writeln!(
            f,
            "  {:<width$} {:>10} {:>8} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>7}",
            "", "", "", "µs/call", "µs/call", "µs/call", "µs/call", "µs/call", "µs/call", "share"
        )?;
        let total: f64 = self.algorithms.iter().map(|algorithm| algorithm.running.as_secs_f64()).sum();
        for algorithm in &self.algorithms {
            let each = |time: Duration| 1e6 * time.as_secs_f64() / (algorithm.calls.max(1) as f64);
            writeln!(
                f,
                "  {:<width$} {:>10} {:>8} {:>11.2} {:>11.2} {:>11.2} {:>11.2} {:>11.2} {:>11.2} {:>6.1}%",
                algorithm.name,
                algorithm.calls,
                algorithm.failures,
                each(algorithm.running),
                each(algorithm.inputs),
                each(algorithm.suspended),
                each(algorithm.queued),
                each(algorithm.on_device),
                each(algorithm.ready),
                100.0 * algorithm.running.as_secs_f64() / total.max(f64::MIN_POSITIVE),
            )?;
        }
        writeln!(f)
    }
}

/// CPU time of the process so far.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
