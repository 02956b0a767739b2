//! [`BatcherReport`]: how a batcher's batches formed, and what they cost.

use std::fmt;
use std::time::Duration;

use asynchrotron_sync::Taken;
use hdrhistogram::Histogram;

use super::cost::{Cost, CostFit};
use super::decide::CloseReason;
use super::policy::{BatchConfig, BatchPolicy};

/// How a batcher's batches formed, and what they cost. Part of the [`Report`](crate::Report); the warm-up does not count.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatcherReport {
    /// The name of what is offloaded.
    pub name: String,
    /// When batches were closed.
    pub policy: BatchPolicy,
    /// Batches that were closed.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Their rows.
    pub rows: u64,
    /// Rows that were added to reach an allowed size.
    pub padding: u64,
    /// How many batches had how many requests: for each power of two, the batches of that size up to the next.
    pub sizes: Vec<(usize, u64)>,
    /// How many batches were closed for which reason; those that occurred.
    pub reasons: Vec<(CloseReason, u64)>,
    /// How long requests waited until their batch was closed: the median.
    pub waited_p50: Duration,
    /// The 99th percentile of the same.
    pub waited_p99: Duration,
    /// Failed batches, or parts of them, that were split in two.
    pub splits: u64,
    /// Batches that went back to the queue because their lane died.
    pub given_back: u64,
    /// Requests whose waiter left before their batch was closed.
    pub left: u64,
    /// What a submission costs, as fitted; `None` if none has succeeded.
    pub cost: Option<Cost>,
}

impl BatcherReport {
    /// Requests in a batch, on average.
    pub fn mean_requests(&self) -> f64 {
        self.requests as f64 / self.batches.max(1) as f64
    }

    /// How many batches were closed for this reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.reasons.iter().find(|(other, _)| *other == reason).map_or(0, |(_, batches)| *batches)
    }
}

impl fmt::Display for BatcherReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, policy, batches, requests, rows, .. } = self;
        writeln!(
            f,
            "  batcher {name} ({policy}): {requests} requests ({rows} rows) in {batches} batches of {:.2} on average",
            self.mean_requests()
        )?;
        if *batches > 0 && *policy != BatchPolicy::Off {
            self.write_batches(f)?;
        }
        let Self { splits, given_back, left, padding, .. } = self;
        if splits + given_back + left + padding > 0 {
            writeln!(
                f,
                "    {splits} splits after failures, {given_back} given back by dead lanes, {left} requests withdrawn, \
                 {padding} rows of padding"
            )?;
        }
        Ok(())
    }
}

impl BatcherReport {
    fn write_batches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: Vec<String>| parts.join(", ");
        let sizes = self.sizes.iter().map(|(size, batches)| match size {
            1 => format!("{batches} of 1"),
            size => format!("{batches} of {size}–{}", 2 * size - 1),
        });
        writeln!(f, "    sizes: {}", list(sizes.collect()))?;
        let reasons = self.reasons.iter().map(|(reason, batches)| format!("{batches} {reason}"));
        writeln!(f, "    closed: {}", list(reasons.collect()))?;
        write!(f, "    waited: {:.1?} (median), {:.1?} (99 %)", self.waited_p50, self.waited_p99)?;
        if let Some(Cost { submission_ns, row_ns }) = self.cost {
            write!(f, "; cost: {:.1} µs + {row_ns:.1} ns per row", 1e-3 * submission_ns)?;
        }
        writeln!(f)
    }
}

/// What is counted while a job runs. Aligned, so that it does not share cache lines with what all workers read all the time.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct BatchTally {
    batches: u64,
    requests: u64,
    rows: u64,
    padding: u64,
    sizes: [u64; 64],
    reasons: [u64; CloseReason::ALL.len()],
    waits: Histogram<u64>,
    pub(super) splits: u64,
    pub(super) given_back: u64,
    pub(super) left: u64,
    pub(super) fit: CostFit,
}

impl Default for BatchTally {
    fn default() -> Self {
        BatchTally {
            batches: 0,
            requests: 0,
            rows: 0,
            padding: 0,
            sizes: [0; 64],
            reasons: [0; CloseReason::ALL.len()],
            // In nanoseconds, up to an hour (longer counts as that), to 1 %.
            waits: Histogram::new_with_bounds(1, 3_600_000_000_000, 2)
                .expect("constant bounds that are valid"),
            splits: 0,
            given_back: 0,
            left: 0,
            fit: CostFit::default(),
        }
    }
}

impl BatchTally {
    pub(super) fn close<T, R, E>(
        &mut self,
        reason: CloseReason,
        requests: &[Taken<T, R, E>],
        waits_ns: impl Iterator<Item = u64>,
        config: &BatchConfig,
    ) {
        self.count(requests.len(), requests.iter().map(|taken| taken.ticket.rows).sum(), config);
        self.count_reason(reason);
        for wait_ns in waits_ns {
            self.waits.saturating_record(wait_ns.max(1));
        }
    }

    /// A request went without a queue: a batch of its own, if it is closed for a reason.
    pub(super) fn alone(&mut self, reason: Option<CloseReason>, rows: usize, config: &BatchConfig) {
        self.count(1, rows, config);
        if let Some(reason) = reason {
            self.count_reason(reason);
            self.waits.saturating_record(1);
        }
    }

    fn count_reason(&mut self, reason: CloseReason) {
        if let Some(index) = CloseReason::ALL.iter().position(|other| *other == reason) {
            self.reasons[index] += 1;
        }
    }

    fn count(&mut self, requests: usize, rows: usize, config: &BatchConfig) {
        self.batches += 1;
        self.requests += requests as u64;
        self.rows += rows as u64;
        self.padding += config.padded(rows).saturating_sub(rows) as u64;
        self.sizes[requests.max(1).ilog2() as usize] += 1;
    }

    /// Forgets everything but what was learnt.
    pub(super) fn restart(&mut self) {
        *self = BatchTally { fit: std::mem::take(&mut self.fit), ..BatchTally::default() };
    }

    pub(super) fn report(&self, name: &str, config: &BatchConfig) -> BatcherReport {
        let occurred = |counts: &[u64]| -> Vec<(usize, u64)> {
            counts.iter().copied().enumerate().filter(|(_, batches)| *batches > 0).collect()
        };
        let waited = |quantile| Duration::from_nanos(self.waits.value_at_quantile(quantile));
        BatcherReport {
            name: name.into(),
            policy: config.policy,
            batches: self.batches,
            requests: self.requests,
            rows: self.rows,
            padding: self.padding,
            sizes: occurred(&self.sizes).into_iter().map(|(log, batches)| (1 << log, batches)).collect(),
            reasons: occurred(&self.reasons)
                .into_iter()
                .map(|(index, batches)| (CloseReason::ALL[index], batches))
                .collect(),
            waited_p50: waited(0.5),
            waited_p99: waited(0.99),
            splits: self.splits,
            given_back: self.given_back,
            left: self.left,
            cost: self.fit.cost(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> BatchTally {
        let mut tally = BatchTally::default();
        let config = BatchConfig { sizes: vec![16], ..BatchConfig::default() };
        for requests in [1, 3, 2, 8] {
            tally.count(requests, 2 * requests, &config);
        }
        (tally.reasons[0], tally.reasons[5]) = (3, 1);
        tally.waits.saturating_record(40_000);
        [1, 100].into_iter().for_each(|rows| tally.fit.add(rows, 50_000 + 1000 * rows as u64));
        tally
    }

    #[test]
    fn a_report_shows_sizes_reasons_waits_and_cost() {
        let mut tally = tally();
        let report = tally.report("clue", &BatchConfig::default());
        assert_eq!(report.sizes, [(1, 1), (2, 2), (8, 1)]);
        assert_eq!((report.closed_for(CloseReason::Full), report.closed_for(CloseReason::Drain)), (3, 0));
        assert_eq!(
            report.to_string(),
            "  batcher clue (adaptive): 14 requests (28 rows) in 4 batches of 3.50 on average\n    \
             sizes: 1 of 1, 2 of 2–3, 1 of 8–15\n    \
             closed: 3 full, 1 age\n    \
             waited: 40.2µs (median), 40.2µs (99 %); cost: 50.0 µs + 1000.0 ns per row\n    \
             0 splits after failures, 0 given back by dead lanes, 0 requests withdrawn, 36 rows of padding\n"
        );
        tally.restart();
        let report = tally.report("clue", &BatchConfig::default());
        assert_eq!((report.batches, report.padding, report.reasons.len()), (0, 0, 0));
        assert!(report.cost.is_some(), "what was learnt of the device is kept");
    }

    #[test]
    fn without_batches_there_is_nothing_to_show_of_them() {
        let off = BatchConfig::default().with_policy(BatchPolicy::Off);
        let text = tally().report("clue", &off).to_string();
        assert!(text.starts_with("  batcher clue (off): 14 requests") && !text.contains("closed"), "{text}");
    }
}
