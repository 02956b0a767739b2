//! Every policy under every load, in simulated time: the same figures each time, on any machine.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asynchrotron::batch::{BatchPolicy, CloseReason};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use serde_json::{Value, json};

use super::device::{Ask, REQUESTS_MAX, batcher, capacity_per_s};
use super::load::{Arrivals, LOADS, Load, rate};
use super::plain::Plain;
use super::record::{Figures, Record};
use super::{rounded, text};

const LANES: [usize; 2] = [1, 4];
const SIZES: [usize; 6] = [2, 8, 16, 64, 128, 256];
const DELAYS_US: [u64; 4] = [20, 50, 100, 500];
/// A policy keeps up if it answers this part of what comes.
const KEEPS_UP: f64 = 0.99;

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Ours(BatchPolicy),
    /// A model of a batcher that does not know who can come.
    Plain(Plain),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Ours(policy) => policy.fmt(f),
            Rule::Plain(Plain { size, delay }) => write!(f, "plain={size}:{}", delay.as_micros()),
        }
    }
}

impl Rule {
    fn adaptive() -> Self {
        Rule::Ours(BatchPolicy::default())
    }

    /// All that are tried under a load, `adaptive` first.
    fn all(load: Load) -> Vec<Rule> {
        let delays =
            || SIZES.into_iter().flat_map(|size| DELAYS_US.map(|us| (size, Duration::from_micros(us))));
        let fixed = SIZES.into_iter().filter(|size| *size <= load.slots());
        [Rule::adaptive(), Rule::Ours(BatchPolicy::Off), Rule::Ours(BatchPolicy::Greedy)]
            .into_iter()
            .chain(SIZES.map(|size| Rule::Ours(BatchPolicy::Size(size))))
            .chain(delays().map(|(size, delay)| match load {
                Load::Closed(_) => Rule::Ours(BatchPolicy::Delay(size, delay)),
                // Of ours, nobody else could come, and so each would do what `size` does.
                Load::Poisson(_) => Rule::Plain(Plain { size, delay }),
            }))
            .chain(fixed.map(|size| Rule::Ours(BatchPolicy::Fixed(size))))
            .collect()
    }
}

struct Case {
    lanes: usize,
    load: Load,
    rule: Rule,
}

struct Outcome {
    figures: Figures,
    mean_batch: f64,
    reasons: Vec<(CloseReason, u64)>,
    keeps_up: bool,
}

impl Case {
    fn run(&self) -> Result<Outcome> {
        let arrivals = self.load.arrivals(self.lanes);
        let requests = self.load.requests();
        let record = Arc::new(Record::new(requests));
        let (mean_batch, reasons) = match (self.rule, &arrivals) {
            (Rule::Ours(policy), _) => self.ours(policy, arrivals.clone(), &record)?,
            (Rule::Plain(plain), arrivals) => {
                let batches = plain.run(self.lanes, arrivals.as_deref().unwrap_or_default(), &record);
                (requests as f64 / batches as f64, Vec::new())
            }
        };
        let figures = record.figures();
        let keeps_up = arrivals.is_none_or(|arrivals| figures.per_s >= KEEPS_UP * rate(&arrivals));
        Ok(Outcome { figures, mean_batch, reasons, keeps_up })
    }

    fn ours(
        &self,
        policy: BatchPolicy,
        arrivals: Option<Vec<Duration>>,
        record: &Arc<Record>,
    ) -> Result<(f64, Vec<(CloseReason, u64)>)> {
        let clock = Clock::simulated();
        let batcher = batcher(self.lanes, policy, clock.clone());
        let mut chain = Chain::new("batch");
        let asked = chain.source::<Duration>("arrivals");
        let (using, recording, reading) = (batcher.clone(), record.clone(), clock.clone());
        let done = chain.algorithm("ask", (asked,), move |ctx: EventContext, asked: Arc<Duration>| {
            let (batcher, record, clock) = (using.clone(), recording.clone(), reading.clone());
            async move {
                // Who asks again once it is answered asks now.
                let asked = if *asked == Duration::MAX { clock.now() } else { *asked };
                batcher.submit(&ctx, Ask).await?;
                record.answered(asked, clock.now());
                Ok::<_, Error>(())
            }
        });
        chain.uses(done, &batcher);
        chain.sink("drop", done, |_, _| Ok(()));
        let config = Config { slots: self.load.slots(), clock: clock.clone(), ..Config::default() };
        let scheduler = Scheduler::new(config);
        let requests = self.load.requests() as usize;
        let report = match arrivals {
            Some(times) => scheduler.run(chain, Arrivals { clock, times: times.into_iter(), next: 0 })?,
            None => scheduler.run(chain, source::from_iter(std::iter::repeat_n(Duration::MAX, requests)))?,
        };
        ensure!(report.events == requests as u64, "{} of {requests} events were processed", report.events);
        let batcher = &report.batchers[0];
        Ok((batcher.mean_requests(), batcher.reasons.clone()))
    }
}

/// Runs all cases, several at a time: their time is not ours.
pub(super) fn run() -> Result<Value> {
    let mut cases = Vec::new();
    for lanes in LANES {
        for load in LOADS {
            cases.extend(Rule::all(load).into_iter().map(|rule| Case { lanes, load, rule }));
        }
    }
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..Config::default().resolved_threads() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let outcome = case.run();
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((case, outcome));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcomes: Vec<(&Case, Outcome)> =
        outcomes.into_iter().map(|(case, outcome)| Ok((case, outcome?))).collect::<Result<_>>()?;
    let mut loads = Vec::new();
    for lanes in LANES {
        for load in LOADS {
            let mut of: Vec<&(&Case, Outcome)> =
                outcomes.iter().filter(|(case, _)| case.lanes == lanes && case.load == load).collect();
            let order = Rule::all(load);
            of.sort_by_key(|(case, _)| order.iter().position(|rule| *rule == case.rule));
            loads.push(verdict(lanes, load, &of)?);
        }
    }
    Ok(json!({ "requests_max": REQUESTS_MAX, "loads": loads }))
}

fn verdict(lanes: usize, load: Load, outcomes: &[&(&Case, Outcome)]) -> Result<Value> {
    let is_adaptive = |case: &Case| case.rule == Rule::adaptive();
    let (_, adaptive) = outcomes.iter().find(|(case, _)| is_adaptive(case)).context("adaptive was tried")?;
    let rivals: Vec<_> =
        outcomes.iter().filter(|(case, outcome)| !is_adaptive(case) && outcome.keeps_up).collect();
    let best = |better: &dyn Fn(&Figures, &Figures) -> bool| {
        rivals.iter().copied().reduce(
            |best, other| {
                if better(&other.1.figures, &best.1.figures) { other } else { best }
            },
        )
    };
    let fastest = best(&|a, b| a.per_s > b.per_s).context("some policy keeps up")?;
    let promptest = best(&|a, b| a.p99 < b.p99).context("some policy keeps up")?;
    let age = adaptive.reasons.iter().find(|(reason, _)| *reason == CloseReason::Age);
    let ratio = |a: f64, b: f64| rounded(a / b, 3);
    Ok(json!({
        "lanes": lanes, "load": load.to_string(),
        "capacity_per_s": capacity_per_s(lanes).round(),
        "throughput_over_best_static": ratio(adaptive.figures.per_s, fastest.1.figures.per_s),
        "best_static_throughput": fastest.0.rule.to_string(),
        "p99_over_best_static":
            ratio(adaptive.figures.p99.as_secs_f64(), promptest.1.figures.p99.as_secs_f64()),
        "best_static_p99": promptest.0.rule.to_string(),
        "adaptive_closed_for_age": age.map_or(0, |(_, batches)| *batches),
        "cases": outcomes.iter().map(|(case, outcome)| shown(case, outcome)).collect::<Vec<_>>(),
    }))
}

fn shown(case: &Case, outcome: &Outcome) -> Value {
    let us = |duration: Duration| rounded(1e6 * duration.as_secs_f64(), 1);
    let reasons: serde_json::Map<String, Value> =
        outcome.reasons.iter().map(|(reason, batches)| (reason.to_string(), json!(batches))).collect();
    json!({
        "policy": case.rule.to_string(),
        "requests_per_s": outcome.figures.per_s.round(),
        "p50_us": us(outcome.figures.p50), "p99_us": us(outcome.figures.p99),
        "mean_batch": rounded(outcome.mean_batch, 1),
        "keeps_up": outcome.keeps_up,
        "closed_for": reasons,
    })
}

/// The verdict on each load, with adaptive, the best static policies, greedy and off.
pub(super) fn print(result: &Value) {
    println!("policies in simulated time, at most {} requests in a batch:", result["requests_max"]);
    for load in result["loads"].as_array().into_iter().flatten() {
        println!(
            "{} lanes, {}: adaptive / best static: throughput {}, p99 {}",
            load["lanes"],
            text(&load["load"]),
            load["throughput_over_best_static"],
            load["p99_over_best_static"]
        );
        let best = [text(&load["best_static_throughput"]), text(&load["best_static_p99"])];
        let is_shown =
            |policy: &str| ["adaptive", "greedy", "off"].contains(&policy) || best.contains(&policy);
        let cases = load["cases"].as_array().into_iter().flatten();
        for case in cases.filter(|case| is_shown(text(&case["policy"]))) {
            let behind = if case["keeps_up"] == false { "  (does not keep up)" } else { "" };
            println!(
                "  {:<14} {:>9}/s  p50 {:>7} µs  p99 {:>7} µs  batch {:>5}  {}{behind}",
                text(&case["policy"]),
                case["requests_per_s"],
                case["p50_us"],
                case["p99_us"],
                case["mean_batch"],
                case["closed_for"]
            );
        }
    }
}
