//! [`Difference`]: two analyses, compared.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::analysis::Analysis;
use super::intervals::mean;
use super::lanes::LaneFigures;
use super::percentiles::Time;

/// What became slower or faster from one recording to another, and by how much. Prints as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The first file.
    pub before: String,
    /// The second.
    pub after: String,
    /// Why a comparison may be unfair: another chain, other threads, lost records.
    pub caveats: Vec<String>,
    /// Events/s, latency, busy shares: all of them, in a fixed order.
    pub job: Vec<Change>,
    /// The time of an event in each state of each algorithm, in nanoseconds: those that changed by more than chance, the greatest
    /// effect first. States of algorithms that run at the same time count each.
    pub states: Vec<Change>,
    /// How many more changed by less.
    pub within_noise: usize,
}

/// One figure, before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Of what.
    pub what: String,
    /// `events/s`, `ns`, `share`, or `requests`.
    pub unit: &'static str,
    /// In the first file; zero if it does not occur there.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// `after - before`.
    pub change: f64,
    /// `after / before`; `None` if there was nothing before.
    pub ratio: Option<f64>,
    /// Changes smaller than this may be chance.
    pub noise: f64,
}

impl Change {
    /// Whether it is more than chance.
    pub fn is_significant(&self) -> bool {
        self.change.abs() > self.noise
    }

    fn new(what: impl Into<String>, unit: &'static str, before: f64, after: f64, noise: f64) -> Self {
        let ratio = (before > 0.0).then(|| after / before);
        Change { what: what.into(), unit, before, after, change: after - before, ratio, noise }
    }
}

/// So many standard errors are more than chance.
const ERRORS: f64 = 3.0;
/// A figure differs so much from run to run in any case.
const RELATIVE: f64 = 0.02;
/// As fine as looking at the clock is, about.
const CLOCK_NS: f64 = 200.0;

fn noise(error_before: f64, error_after: f64, before: f64, least: f64) -> f64 {
    (ERRORS * error_before.hypot(error_after)).max(RELATIVE * before.abs()).max(least)
}

impl Difference {
    /// Compares.
    pub fn between(before: &Analysis, after: &Analysis) -> Difference {
        let (significant, other): (Vec<Change>, Vec<Change>) =
            states(before, after).into_iter().partition(Change::is_significant);
        let mut states = significant;
        states.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        Difference {
            before: before.source.clone(),
            after: after.source.clone(),
            caveats: caveats(before, after),
            job: job(before, after),
            states,
            within_noise: other.len(),
        }
    }
}

fn caveats(before: &Analysis, after: &Analysis) -> Vec<String> {
    let mut caveats = Vec::new();
    let mut differ = |what: &str, before: &dyn fmt::Display, after: &dyn fmt::Display| {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after {
            caveats.push(format!("{what}: {before} before, {after} after"));
        }
    };
    let (old, new) = (&before.job, &after.job);
    differ("the chain", &old.chain, &new.chain);
    differ("threads", &old.threads, &new.threads);
    differ("slots", &old.slots, &new.slots);
    differ("the level of the trace", &old.level, &new.level);
    differ("the clock", &old.clock, &new.clock);
    differ("one event recorded of", &old.every, &new.every);
    for analysis in [before, after] {
        let completeness = &analysis.completeness;
        if completeness.lost > 0 {
            caveats.push(format!("{}: {} records were lost", analysis.source, completeness.lost));
        }
        if let Some(why) = &completeness.cut_short {
            caveats.push(format!("{} is cut short: {why}", analysis.source));
        }
    }
    caveats
}

/// The figures of the whole job, in a fixed order.
fn job(before: &Analysis, after: &Analysis) -> Vec<Change> {
    let (old, new) = (&before.events, &after.events);
    let mut all = vec![Change::new(
        "throughput",
        "events/s",
        old.per_second,
        new.per_second,
        RELATIVE * old.per_second,
    )];
    all.push(Change::new(
        "latency, mean",
        "ns",
        old.mean_ns,
        new.mean_ns,
        noise(old.error_ns, new.error_ns, old.mean_ns, CLOCK_NS),
    ));
    let latencies = [
        ("latency, median", old.latency.p50_ns, new.latency.p50_ns),
        ("latency, 90 %", old.latency.p90_ns, new.latency.p90_ns),
        ("latency, 99 %", old.latency.p99_ns, new.latency.p99_ns),
        ("latency, max", old.latency.max_ns, new.latency.max_ns),
    ];
    for (what, old, new) in latencies {
        let (old, new) = (old as f64, new as f64);
        all.push(Change::new(what, "ns", old, new, noise(0.0, 0.0, old, CLOCK_NS)));
    }
    let busy = |analysis: &Analysis| {
        mean(analysis.workers.iter().map(|worker| worker.busy).sum(), analysis.workers.len() as u64)
    };
    let tiny = |analysis: &Analysis| {
        let polls = analysis.workers.iter().map(|worker| worker.polls).sum();
        mean(analysis.workers.iter().map(|worker| worker.tiny_polls as f64).sum(), polls)
    };
    all.push(Change::new("workers, busy", "share", busy(before), busy(after), RELATIVE));
    all.push(Change::new("workers, tiny polls", "share", tiny(before), tiny(after), RELATIVE));
    let (old, new) = (devices(before), devices(after));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    for name in names {
        let [(occupied, requests), (occupied_after, requests_after)] =
            [&old, &new].map(|devices| devices.get(name).copied().unwrap_or_default());
        all.push(Change::new(format!("{name}, occupied"), "share", occupied, occupied_after, RELATIVE));
        let what = format!("{name}, requests in a batch");
        all.push(Change::new(what, "requests", requests, requests_after, RELATIVE * requests));
    }
    all
}

/// Of each device, how much its lanes are occupied, and the mean batch.
fn devices(analysis: &Analysis) -> BTreeMap<&str, (f64, f64)> {
    let mut lanes: BTreeMap<&str, Vec<&LaneFigures>> = BTreeMap::new();
    for lane in &analysis.lanes {
        lanes.entry(&lane.device).or_default().push(lane);
    }
    let figures = |lanes: Vec<&LaneFigures>| {
        let batches = lanes.iter().map(|lane| lane.batches).sum();
        let requests = lanes.iter().map(|lane| lane.mean_requests * lane.batches as f64).sum();
        (mean(lanes.iter().map(|lane| lane.occupancy).sum(), lanes.len() as u64), mean(requests, batches))
    };
    lanes.into_iter().map(|(device, lanes)| (device, figures(lanes))).collect()
}

/// The mean time of an event in each state of each algorithm, in nanoseconds.
fn states(before: &Analysis, after: &Analysis) -> Vec<Change> {
    // For each, the mean and its error, before and after.
    let mut all: BTreeMap<(&str, &str), [(f64, f64); 2]> = BTreeMap::new();
    for (side, analysis) in [before, after].into_iter().enumerate() {
        let events = &analysis.events;
        let recorded = events.completed + events.failed + events.unfinished;
        for algorithm in &analysis.algorithms {
            let calls = algorithm.calls as f64 / recorded.max(1) as f64;
            for state in &algorithm.states {
                let per_event = (calls * state.mean_ns, calls * state.error_ns);
                all.entry((&algorithm.name, state.state.name())).or_default()[side] = per_event;
            }
        }
    }
    let change =
        |((algorithm, state), [(old, error), (new, error_after)]): ((&str, &str), [(f64, f64); 2])| {
            Change::new(
                format!("{algorithm}: {state}"),
                "ns",
                old,
                new,
                noise(error, error_after, old, CLOCK_NS),
            )
        };
    all.into_iter().map(change).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before: {}\nafter:  {}", self.before, self.after)?;
        self.caveats.iter().try_for_each(|caveat| writeln!(f, "  WARNING: {caveat}"))?;
        let all = self.job.iter().chain(&self.states);
        let width = all.map(|change| change.what.chars().count()).max().unwrap_or(0);
        writeln!(
            f,
            "\n  {:<width$} {:>10} {:>10} {:>10} {:>7}",
            "the job", "before", "after", "change", "ratio"
        )?;
        self.job.iter().try_for_each(|change| change.write(f, width))?;
        if !self.states.is_empty() {
            writeln!(
                f,
                "\n  {:<width$} {:>10} {:>10} {:>10} {:>7}",
                "an event", "before", "after", "change", "ratio"
            )?;
            self.states.iter().try_for_each(|change| change.write(f, width))?;
        }
        match self.within_noise {
            0 => Ok(()),
            more => writeln!(f, "\n  {more} states of algorithms changed by no more than chance"),
        }
    }
}

impl Change {
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let said = |value: f64| match self.unit {
            "ns" => Time::from(value).to_string(),
            "share" => format!("{:.1} %", 100.0 * value),
            _ => format!("{value:.1}"),
        };
        let sign = if self.change > 0.0 { "+" } else { "" };
        let change =
            if self.is_significant() { format!("{sign}{}", said(self.change)) } else { "≈".into() };
        let ratio = self.ratio.map_or_else(|| "new".into(), |ratio| format!("{ratio:.2}"));
        let ratio = if self.before == 0.0 && self.after == 0.0 { "" } else { &ratio };
        writeln!(
            f,
            "  {:<width$} {:>10} {:>10} {change:>10} {ratio:>7}",
            self.what,
            said(self.before),
            said(self.after)
        )
    }
}
