//! What a request costs the processor: through a batcher in front of a device that answers at once, and through a channel to
//! a task that answers at once, and back.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher, Lane, LanePool, Lost, Offload, Trouble};
use asynchrotron::prelude::*;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::machine::median;
use super::{rounded, text};

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 5;
/// In one run.
const REQUESTS: usize = 60_000;
const WORKERS: [usize; 2] = [1, 2];
const IN_FLIGHT: [usize; 4] = [1, 8, 64, 512];

/// Answers at once.
struct AtOnce(LanePool<()>);

impl Offload for AtOnce {
    type Request = u64;
    type Reply = u64;
    type Error = Failed;
    type Lane = ();

    fn name(&self) -> &str {
        "at once"
    }

    fn rows(&self, _: &u64) -> usize {
        1
    }

    fn lane_number(&self, (): &()) -> usize {
        0
    }

    fn lanes(&self) -> &LanePool<()> {
        &self.0
    }

    fn start(
        &self,
        lane: Lane<()>,
        batch: &[&u64],
        _rows: usize,
    ) -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static {
        let replies = batch.iter().map(|&&x| x).collect();
        drop(lane);
        std::future::ready(Ok(replies))
    }

    fn trouble(&self, trouble: Trouble) -> Failed {
        Failed(trouble.to_string())
    }
}

#[derive(Clone, Debug)]
struct Failed(String);

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Failed(lost.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

#[derive(Clone, Copy)]
enum Way {
    Channel,
    Batcher(BatchPolicy),
}

impl Way {
    const ALL: [Way; 3] =
        [Way::Channel, Way::Batcher(BatchPolicy::Greedy), Way::Batcher(BatchPolicy::Adaptive { price: 1.0 })];

    fn name(self) -> String {
        match self {
            Way::Channel => "channel".into(),
            Way::Batcher(policy) => policy.to_string(),
        }
    }

    /// Nanoseconds per request.
    fn run(self, workers: usize, in_flight: usize) -> Result<f64> {
        let each = (REQUESTS / in_flight) as u64;
        let seconds = match self {
            Way::Channel => channel(workers, in_flight, each)?,
            Way::Batcher(policy) => batcher(policy, workers, in_flight, each)?,
        };
        Ok(1e9 * seconds / (each * in_flight as u64) as f64)
    }
}

/// As many tasks as events in flight, each of which sends `each` requests one after the other to one task, which sends
/// each back.
fn channel(workers: usize, in_flight: usize, each: u64) -> Result<f64> {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build()?;
    executor.block_on(async {
        let (requests, mut received) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(in_flight);
        tokio::spawn(async move {
            while let Some((request, reply)) = received.recv().await {
                let _ = reply.send(request);
            }
        });
        let begin = Instant::now();
        let ask = |requests: mpsc::Sender<_>| async move {
            for request in 0..each {
                let (reply, answer) = oneshot::channel();
                requests.send((request, reply)).await?;
                std::hint::black_box(answer.await?);
            }
            Ok::<_, Error>(())
        };
        let tasks: Vec<_> = (0..in_flight).map(|_| tokio::spawn(ask(requests.clone()))).collect();
        for task in tasks {
            task.await??;
        }
        Ok(begin.elapsed().as_secs_f64())
    })
}

/// The same with events, each of which sends `each` requests.
fn batcher(policy: BatchPolicy, workers: usize, in_flight: usize, each: u64) -> Result<f64> {
    let config = BatchConfig { policy, ..BatchConfig::default() };
    let batcher = Batcher::new(AtOnce(LanePool::new([()])), config);
    let mut chain = Chain::new("round trip");
    let number = chain.source::<u64>("number");
    let using = batcher.clone();
    let done = chain.algorithm("ask", (number,), move |ctx: EventContext, _: Arc<u64>| {
        let batcher = using.clone();
        async move {
            for request in 0..each {
                std::hint::black_box(batcher.submit(&ctx, request).await?);
            }
            Ok::<_, Error>(())
        }
    });
    chain.uses(done, &batcher);
    chain.sink("drop", done, |_, _| Ok(()));
    let config = Config { threads: workers, slots: in_flight, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..in_flight as u64))?;
    ensure!(report.events == in_flight as u64, "{} of {in_flight} events were processed", report.events);
    Ok(report.elapsed.as_secs_f64())
}

/// Measures.
pub(super) fn run() -> Result<Value> {
    let mut cases = Vec::new();
    for workers in WORKERS {
        for in_flight in IN_FLIGHT {
            let mut runs = Way::ALL.map(|way| (way, Vec::new()));
            for _ in 0..REPEATS {
                for (way, ns) in &mut runs {
                    ns.push(way.run(workers, in_flight)?);
                }
            }
            let channel = runs[0].1.clone();
            for (way, ns) in &runs {
                let mut over: Vec<f64> =
                    ns.iter().zip(&channel).map(|(ours, channel)| ours / channel).collect();
                cases.push(json!({
                    "workers": workers, "in_flight": in_flight, "way": way.name(),
                    "ns_per_request": median(&mut ns.clone()).round(),
                    "over_channel": rounded(median(&mut over), 2),
                }));
            }
        }
    }
    Ok(json!({ "repeats": REPEATS, "cases": cases }))
}

/// A table.
pub(super) fn print(result: &Value) {
    println!("a request there and back, nothing to compute, medians of {REPEATS}:");
    println!("{:>7} {:>9}  {:<10} {:>10} {:>13}", "workers", "in flight", "way", "ns/request", "/ channel");
    for case in result["cases"].as_array().into_iter().flatten() {
        println!(
            "{:>7} {:>9}  {:<10} {:>10} {:>13}",
            case["workers"],
            case["in_flight"],
            text(&case["way"]),
            case["ns_per_request"],
            case["over_channel"]
        );
    }
}
