//! [`Inline`] and the measured durations behind it: which steps are short enough to run where they are.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::job::Body;
use crate::table;

/// The right to run one step on the caller's thread, given by [`Device::inline`](crate::Device::inline). The step is
/// measured until this is dropped.
#[must_use = "the step is measured until this is dropped"]
#[derive(Debug)]
pub struct Inline<'a> {
    durations: &'a Durations,
    cell: &'a AtomicU32,
    pub(crate) body: Body,
    begin: Instant,
}

impl Drop for Inline<'_> {
    fn drop(&mut self) {
        self.durations.learn_cell(self.cell, self.begin.elapsed());
    }
}

/// Steps that one device remembers. Steps beyond are never run inline.
const NAMES: usize = 256;
/// Where a name may be found, counted from where its hash points.
const PROBES: usize = 16;
/// As many as [`table::size`] tells apart below 2³².
const SIZES: usize = 33;

/// How long each step took lately, for each size of its input, as far as that decides where it runs.
///
/// Wall-clock time, because a step that waits holds up a worker as one that computes does. The estimate is the mean of
/// its former value and the newest sample, which counts as four times the limit at most: one hiccup of a short step is
/// forgotten after two calls.
///
/// Read by all workers at once, without locks. Nothing is written while both the estimate and the sample lie below half the
/// limit, so in the steady state the cache lines stay shared.
#[derive(Debug)]
pub(crate) struct Durations {
    limit_ns: u32,
    rows: Box<[OnceLock<Row>]>,
}

#[derive(Debug)]
struct Row {
    name: Box<str>,
    /// Nanoseconds plus one; 0 where nothing is known.
    sizes: [AtomicU32; SIZES],
}

impl Durations {
    /// Steps shorter than `limit` may run inline.
    pub(crate) fn new(limit: Duration) -> Self {
        let limit_ns = u32::try_from(limit.as_nanos()).unwrap_or(u32::MAX).min(u32::MAX / 8);
        Self { limit_ns, rows: (0..NAMES).map(|_| OnceLock::new()).collect() }
    }

    /// The right to run the step here, if it is known to be short.
    #[inline]
    pub(crate) fn inline(&self, step: &str, rows: usize, body: Body) -> Option<Inline<'_>> {
        let cell = self.short(step, rows)?;
        Some(Inline { durations: self, cell, body, begin: Instant::now() })
    }

    /// Whether the step is known to be short.
    pub(crate) fn is_short(&self, step: &str, rows: usize) -> bool {
        self.short(step, rows).is_some()
    }

    fn short(&self, step: &str, rows: usize) -> Option<&AtomicU32> {
        let cell = self.known(step)?.cell(rows);
        let duration_ns = cell.load(Ordering::Relaxed).checked_sub(1)?;
        (duration_ns < self.limit_ns).then_some(cell)
    }

    /// Remembers how long the step took.
    pub(crate) fn learn(&self, step: &str, rows: usize, duration: Duration) {
        if let Some(row) = self.find_or_add(step) {
            self.learn_cell(row.cell(rows), duration);
        }
    }

    // Concurrent samples may overwrite each other: an estimate loses one of them, and nothing else is ordered by it.
    fn learn_cell(&self, cell: &AtomicU32, duration: Duration) {
        let half = self.limit_ns / 2;
        let sample_ns = duration.as_nanos().min(u128::from(self.limit_ns) * 4) as u32;
        let estimate_ns = match cell.load(Ordering::Relaxed).checked_sub(1) {
            Some(known_ns) if known_ns <= half && sample_ns <= half => return,
            Some(known_ns) => known_ns.midpoint(sample_ns),
            None => sample_ns,
        };
        cell.store(estimate_ns + 1, Ordering::Relaxed);
    }

    fn known(&self, step: &str) -> Option<&Row> {
        self.places(step).map_while(OnceLock::get).find(|row| *row.name == *step)
    }

    fn find_or_add(&self, step: &str) -> Option<&Row> {
        self.places(step).map(|place| place.get_or_init(|| Row::new(step))).find(|row| *row.name == *step)
    }

    fn places(&self, step: &str) -> impl Iterator<Item = &OnceLock<Row>> {
        let hash = table::hash(step, 0);
        (0..PROBES).map(move |probe| &self.rows[(hash as usize).wrapping_add(probe) % NAMES])
    }
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.into(), sizes: [const { AtomicU32::new(0) }; SIZES] }
    }

    fn cell(&self, rows: usize) -> &AtomicU32 {
        &self.sizes[table::size(rows).min(SIZES - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    fn is_inline(durations: &Durations, step: &str, rows: usize) -> bool {
        durations.known(step).is_some_and(|row| {
            row.cell(rows).load(Ordering::Relaxed).checked_sub(1).is_some_and(|ns| ns < durations.limit_ns)
        })
    }

    #[test]
    fn unknown_steps_and_unknown_sizes_are_not_inline() {
        let durations = Durations::new(LIMIT);
        assert!(!is_inline(&durations, "a", 4));
        durations.learn("a", 4, Duration::from_nanos(10));
        assert!(is_inline(&durations, "a", 4) && is_inline(&durations, "a", 7));
        assert!(
            !is_inline(&durations, "a", 8)
                && !is_inline(&durations, "a", 0)
                && !is_inline(&durations, "b", 4)
        );
        assert!(
            durations.inline("a", 4, Body::Host).is_some() && durations.inline("a", 8, Body::Host).is_none()
        );
    }

    #[test]
    fn one_hiccup_is_forgotten_after_three_calls() {
        let durations = Durations::new(LIMIT);
        durations.learn("a", 1, Duration::from_nanos(10));
        durations.learn("a", 1, Duration::from_secs(100));
        let after: Vec<_> = (0..3)
            .map(|_| {
                durations.learn("a", 1, Duration::from_nanos(10));
                is_inline(&durations, "a", 1)
            })
            .collect();
        assert_eq!(after, [false, true, true]);
    }

    #[test]
    fn a_step_that_becomes_long_leaves_at_once() {
        let durations = Durations::new(LIMIT);
        durations.learn("a", 1, Duration::from_nanos(10));
        durations.learn("a", 1, Duration::from_millis(1));
        assert!(!is_inline(&durations, "a", 1));
    }

    #[test]
    fn with_a_limit_of_zero_nothing_is_inline() {
        let durations = Durations::new(Duration::ZERO);
        durations.learn("a", 1, Duration::ZERO);
        assert!(durations.inline("a", 1, Body::Host).is_none());
    }

    #[test]
    fn more_steps_than_it_remembers_are_not_inline_and_not_confused() {
        let durations = Durations::new(LIMIT);
        let names: Vec<_> = (0..2 * NAMES).map(|n| format!("step {n}")).collect();
        for (n, name) in names.iter().enumerate() {
            durations.learn(name, 1, if n % 2 == 0 { Duration::ZERO } else { Duration::from_secs(1) });
        }
        let inline = names.iter().enumerate().filter(|(_, name)| is_inline(&durations, name, 1));
        let (mut even, mut odd) = (0, 0);
        for (n, _) in inline {
            *(if n % 2 == 0 { &mut even } else { &mut odd }) += 1;
        }
        assert!(even > NAMES / 4 && odd == 0, "{even} short steps known, {odd} long ones taken for short");
    }
}
