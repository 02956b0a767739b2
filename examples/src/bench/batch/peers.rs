//! In real time, closed loop, one lane: ours, no batches, and the crate `batched-fn`.
//!
//! `batched-fn` has one thread, which runs the handler: here a sleep for as long as the device would take. It waits for a
//! batch of its size in steps of a millisecond, and without waiting takes one request at a time; so its best size
//! is the number of callers, or a part of it, and each size is tried.
//!
//! Callers are tasks with the one, events with the other, and ask again and again: batchers are compared, not schedulers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use asynchrotron::batch::BatchPolicy;
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use batched_fn::batched_fn;
use serde_json::{Value, json};

use super::super::machine::median;
use super::device::{Ask, batcher, cost};
use super::record::{Figures, Record};
use super::{rounded, text};

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 5;
/// How long one run should take.
const RUN: Duration = Duration::from_millis(100);
const CALLERS: [usize; 3] = [8, 64, 512];
const WORKERS: usize = 2;

/// The calls of one caller.
type Caller = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What all callers share.
struct Calls {
    left: AtomicU64,
    record: Arc<Record>,
}

impl Calls {
    fn next(&self) -> Option<Duration> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        taken.is_ok().then(|| Clock::real().now())
    }
}

/// A function for each maximum size of a batch (and delay in milliseconds): that is how the crate is configured.
macro_rules! batched_fns {
    ($($size:literal: $delay:literal),*) => {
        const BATCHED_FNS: &[(usize, u64, fn(Arc<Calls>) -> Caller)] = &[$(($size, $delay, |calls| Box::pin(async move {
            while let Some(asked) = calls.next() {
                let call = batched_fn! {
                    handler = |batch: Vec<()>| -> Vec<()> {
                        let begin = Clock::real().now();
                        // The best wait there is: the system's default would be up to 50 µs longer.
                        let _ = rustix::thread::set_current_timer_slack(Some(std::num::NonZero::<u64>::MIN));
                        std::thread::sleep((begin + cost(batch.len())).saturating_sub(Clock::real().now()));
                        batch
                    };
                    config = { max_batch_size: $size, max_delay: $delay };
                    context = {};
                };
                call(()).await.map_err(|error| anyhow::anyhow!("batched-fn: {error:?}"))?;
                calls.record.answered(asked, Clock::real().now());
            }
            Ok(())
        }))),*];
    };
}

batched_fns!(1: 0, 4: 1, 8: 1, 16: 1, 32: 1, 64: 1, 64: 5, 128: 1, 256: 1, 256: 5);

#[derive(Clone, Copy)]
enum Way {
    Ours(BatchPolicy),
    /// Its place in the table.
    BatchedFn(usize),
}

impl Way {
    fn all(callers: usize) -> Vec<Way> {
        let sizes = BATCHED_FNS.iter().enumerate().filter(|(_, peer)| peer.0 <= callers);
        let ours = [BatchPolicy::default(), BatchPolicy::Greedy, BatchPolicy::Off].map(Way::Ours);
        ours.into_iter().chain(sizes.map(|(index, _)| Way::BatchedFn(index))).collect()
    }

    fn name(self) -> String {
        match self {
            Way::Ours(policy) => policy.to_string(),
            Way::BatchedFn(index) => {
                let (size, delay, _) = BATCHED_FNS[index];
                format!("batched-fn {size}:{delay}ms")
            }
        }
    }

    /// So many requests take about as long as a run should.
    fn requests(self, callers: usize) -> u64 {
        let size = match self {
            Way::Ours(BatchPolicy::Off) => 1,
            Way::Ours(_) => callers.min(256),
            Way::BatchedFn(index) => BATCHED_FNS[index].0,
        };
        let per_s = (size as f64 / cost(size).as_secs_f64()).min(400_000.0);
        ((RUN.as_secs_f64() * per_s) as u64).max(10 * callers as u64)
    }

    fn run(self, callers: usize) -> Result<Figures> {
        let requests = self.requests(callers);
        let record = Arc::new(Record::new(requests));
        match self {
            Way::Ours(policy) => ours(policy, callers, requests, &record)?,
            Way::BatchedFn(index) => outside(BATCHED_FNS[index].2, callers, requests, &record)?,
        }
        Ok(record.figures())
    }
}

fn ours(policy: BatchPolicy, callers: usize, requests: u64, record: &Arc<Record>) -> Result<()> {
    let batcher = batcher(1, policy, Clock::real());
    let calls = Arc::new(Calls { left: AtomicU64::new(requests), record: record.clone() });
    let mut chain = Chain::new("batch");
    let number = chain.source::<usize>("number");
    let using = batcher.clone();
    let done = chain.algorithm("ask", (number,), move |ctx: EventContext, _: Arc<usize>| {
        let (batcher, calls) = (using.clone(), calls.clone());
        async move {
            while let Some(asked) = calls.next() {
                batcher.submit(&ctx, Ask).await?;
                calls.record.answered(asked, Clock::real().now());
            }
            Ok::<_, Error>(())
        }
    });
    chain.uses(done, &batcher);
    chain.sink("drop", done, |_, _| Ok(()));
    let config = Config { threads: WORKERS, slots: callers, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..callers))?;
    ensure!(report.events == callers as u64, "{} of {callers} events were processed", report.events);
    Ok(())
}

fn outside(
    caller: fn(Arc<Calls>) -> Caller,
    callers: usize,
    requests: u64,
    record: &Arc<Record>,
) -> Result<()> {
    let calls = Arc::new(Calls { left: AtomicU64::new(requests), record: record.clone() });
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build()?;
    executor.block_on(async {
        let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(calls.clone()))).collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// Measures.
pub(super) fn run() -> Result<Value> {
    let loads = CALLERS.map(measure).into_iter().collect::<Result<Vec<Value>>>()?;
    Ok(json!({ "workers": WORKERS, "repeats": REPEATS, "loads": loads }))
}

fn measure(callers: usize) -> Result<Value> {
    let ways = Way::all(callers);
    let mut runs: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); ways.len()];
    for _ in 0..REPEATS {
        for (way, (per_s, p99_us)) in ways.iter().zip(&mut runs) {
            let figures = way.run(callers)?;
            per_s.push(figures.per_s);
            p99_us.push(1e6 * figures.p99.as_secs_f64());
        }
    }
    // Each against the same round's, so that what else the machine does falls out.
    let over = |a: &[f64], b: &[f64]| {
        rounded(median(&mut a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<f64>>()), 2)
    };
    let cases = ways.iter().zip(&runs).map(|(way, (per_s, p99_us))| {
        json!({
            "case": way.name(),
            "requests_per_s": median(&mut per_s.clone()).round(),
            "p99_us": median(&mut p99_us.clone()).round(),
            "adaptive_throughput_over_it": over(&runs[0].0, per_s),
            "adaptive_p99_over_it": over(&runs[0].1, p99_us),
        })
    });
    Ok(json!({ "callers": callers, "cases": cases.collect::<Vec<_>>() }))
}

/// Ours, and of `batched-fn` the best.
pub(super) fn print(result: &Value) {
    println!("closed loop in real time, one lane, {} workers, medians of {REPEATS}:", result["workers"]);
    for load in result["loads"].as_array().into_iter().flatten() {
        println!("{} callers", load["callers"]);
        let cases: Vec<&Value> = load["cases"].as_array().into_iter().flatten().collect();
        let per_s = |case: &&Value| case["requests_per_s"].as_f64().unwrap_or(0.0);
        let (peers, ours): (Vec<&Value>, Vec<&Value>) =
            cases.into_iter().partition(|case| text(&case["case"]).starts_with("batched-fn"));
        let best = peers.into_iter().max_by(|a, b| per_s(a).total_cmp(&per_s(b)));
        for case in ours.into_iter().chain(best) {
            println!(
                "  {:<20} {:>7}/s  p99 {:>6} µs  adaptive / it: throughput {:>5}, p99 {:>5}",
                text(&case["case"]),
                case["requests_per_s"],
                case["p99_us"],
                case["adaptive_throughput_over_it"],
                case["adaptive_p99_over_it"]
            );
        }
    }
}
