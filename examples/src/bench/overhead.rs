//! `bench overhead`: what the scheduler itself costs, per event, per algorithm and per event in flight.
//!
//! The algorithms do nothing, or spin for 5 µs, so that what is measured is ours. The same chains have been measured with
//! other frameworks: source → one algorithm → sequential sink is JANA2's `basic_mini`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::machine::{machine, median, resident_bytes};

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 5;
/// How long one run should take.
const RUN: Duration = Duration::from_millis(400);

#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// One algorithm that spins for so many microseconds.
    One(u64),
    /// One algorithm that suspends once, and is woken when the worker has nothing else to do.
    Suspending,
    /// Algorithms in a row.
    Chain(usize),
    /// Algorithms side by side.
    FanOut(usize),
}

pub(super) const SHAPES: [(&str, Shape); 5] = [
    ("one_0us", Shape::One(0)),
    ("one_5us", Shape::One(5)),
    ("one_suspending", Shape::Suspending),
    ("chain_16", Shape::Chain(16)),
    ("fan_out_16", Shape::FanOut(16)),
];

async fn next(x: Arc<u64>) -> Result<u64> {
    Ok(*x + 1)
}

fn spinning(work: Duration) -> impl Fn(Arc<u64>) -> std::future::Ready<Result<u64>> + Send + Sync + 'static {
    move |x| {
        let begin = Instant::now();
        while !work.is_zero() && begin.elapsed() < work {
            std::hint::spin_loop();
        }
        std::future::ready(Ok(*x + 1))
    }
}

impl Shape {
    pub(super) fn algorithms(self) -> usize {
        match self {
            Shape::One(_) | Shape::Suspending => 1,
            Shape::Chain(n) | Shape::FanOut(n) => n,
        }
    }

    /// Source → this shape → sequential sink. If there is a gate, the last algorithm waits at it.
    pub(super) fn build(self, gate: Option<Arc<Gate>>) -> Chain {
        let mut chain = Chain::new("overhead");
        let x = chain.source::<u64>("source");
        let mut last = x;
        let plain = self.algorithms() - usize::from(gate.is_some());
        for i in 0..plain {
            let name = format!("algorithm {i}");
            last = match self {
                Shape::One(0) => chain.algorithm(&name, (x,), next),
                Shape::One(us) => chain.algorithm(&name, (x,), spinning(Duration::from_micros(us))),
                Shape::Suspending => chain.algorithm(&name, (x,), async |x: Arc<u64>| {
                    // The worker goes on with other events, and comes back to this one.
                    tokio::task::yield_now().await;
                    Ok::<_, Error>(*x + 1)
                }),
                Shape::Chain(_) => chain.algorithm(&name, (last,), next),
                // Each is demanded for itself, and the sink takes what comes from the source.
                Shape::FanOut(_) => {
                    chain.for_each(&name, (x,), async |x: Arc<u64>| {
                        std::hint::black_box(*x + 1);
                        Ok::<_, Error>(())
                    });
                    x
                }
            };
        }
        if let Some(gate) = gate {
            last = chain.algorithm("gate", (last,), move |x: Arc<u64>| {
                let gate = gate.clone();
                async move {
                    gate.pass().await?;
                    Ok::<_, Error>(*x)
                }
            });
        }
        let mut sum = 0_u64;
        chain.sink("sum", last, move |_: EventId, x: Arc<u64>| {
            sum = sum.wrapping_add(*x);
            std::hint::black_box(sum);
            Ok(())
        });
        chain
    }

    fn run(self, threads: usize, slots: usize, events: u64, gate: Option<Arc<Gate>>) -> Result<Duration> {
        let config = Config { threads, slots, ..Config::default() };
        let report = Scheduler::new(config).run(self.build(gate), source::from_iter(0..events))?;
        ensure!(report.events == events, "{} of {events} events were processed", report.events);
        Ok(report.elapsed)
    }
}

/// Holds all events back until the last of them has come, and then looks how much memory they take.
pub(super) struct Gate {
    expected: usize,
    arrived: AtomicUsize,
    open: Semaphore,
    resident: AtomicUsize,
}

impl Gate {
    async fn pass(&self) -> Result<()> {
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.expected {
            self.resident.store(resident_bytes()?, Ordering::SeqCst);
            self.open.add_permits(self.expected);
        }
        self.open.acquire().await?.forget();
        Ok(())
    }
}

/// Set in a process of its own, which measures memory and nothing else: the name of a shape, and how many events.
const RESIDENT: &str = "ASYNCHROTRON_BENCH_RESIDENT";

/// Resident memory with so many events in flight, in a process that has done nothing else.
fn resident_with(name: &str, in_flight: usize) -> Result<usize> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["bench", "overhead"])
        .env(RESIDENT, format!("{name} {in_flight}"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// That process.
fn print_resident(request: &str) -> Result<()> {
    let (name, in_flight) = request.split_once(' ').context("a shape and a number of events")?;
    let shape = SHAPES.iter().find(|(other, _)| *other == name).context("the name of a shape")?.1;
    println!("{}", resident_in_flight(shape, in_flight.parse()?)?);
    Ok(())
}

fn resident_in_flight(shape: Shape, in_flight: usize) -> Result<usize> {
    let gate = Arc::new(Gate {
        expected: in_flight,
        arrived: AtomicUsize::new(0),
        open: Semaphore::new(0),
        resident: AtomicUsize::new(0),
    });
    shape.run(2, in_flight, in_flight as u64, Some(gate.clone()))?;
    Ok(gate.resident.load(Ordering::SeqCst))
}

/// What a plain spawn and join cost, from a task on the only worker.
fn spawn_join_ns() -> Result<f64> {
    const TASKS: u32 = 300_000;
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let elapsed = executor.block_on(executor.spawn(async {
        let begin = Instant::now();
        for i in 0..TASKS {
            let _ = tokio::spawn(async move { std::hint::black_box(i) }).await;
        }
        begin.elapsed()
    }))?;
    Ok(elapsed.as_nanos() as f64 / f64::from(TASKS))
}

/// Measures, and prints one JSON object or a table.
pub(super) fn run(json: bool) -> Result<()> {
    if let Ok(request) = std::env::var(RESIDENT) {
        return print_resident(&request);
    }
    let all = Config::default().resolved_threads();
    let workers: Vec<usize> = if all > 1 { vec![1, all] } else { vec![1] };

    // The difference of two numbers of events leaves out what is there anyway.
    let mut bytes = Vec::new();
    for (name, shape) in SHAPES {
        let few = if shape.algorithms() == 1 { 10_000 } else { 2_000 };
        let (small, large) = (resident_with(name, few)?, resident_with(name, 10 * few)?);
        bytes.push((name, large.saturating_sub(small) as f64 / (9 * few) as f64));
    }

    let mut runs = Vec::new();
    for (name, shape) in SHAPES {
        for &threads in &workers {
            let trial = 2_000;
            let per_event = shape.run(threads, 8 * threads, trial, None)?.as_secs_f64() / trial as f64;
            let events = ((RUN.as_secs_f64() / per_event) as u64).max(trial);
            runs.push((name, shape, threads, events, Vec::new()));
        }
    }
    let mut spawn_join = Vec::new();
    for _ in 0..REPEATS {
        spawn_join.push(spawn_join_ns()?);
        for (_, shape, threads, events, seconds) in &mut runs {
            seconds.push(shape.run(*threads, 8 * *threads, *events, None)?.as_secs_f64());
        }
    }
    let spawn_join_ns = median(&mut spawn_join);

    let mut cases = Vec::new();
    for (name, shape, threads, events, seconds) in &mut runs {
        let per_event = 1e9 * median(seconds) / *events as f64;
        let bytes = bytes.iter().find(|(other, _)| other == name).map_or(0.0, |(_, bytes)| *bytes);
        cases.push(json!({
            "case": name, "algorithms": shape.algorithms(), "workers": threads, "slots": 8 * *threads, "events": events,
            "events_per_s": (1e9 / per_event).round() as u64,
            "ns_per_event": round(per_event),
            "ns_per_algorithm": round(per_event * *threads as f64 / shape.algorithms() as f64),
            "bytes_per_event_in_flight": bytes.round() as u64,
        }));
    }
    let result = json!({
        "bench": "overhead", "machine": machine(), "repeats": REPEATS,
        "tokio_spawn_join_ns": round(spawn_join_ns),
        "cases": cases,
        "ratios": ratios(&cases, spawn_join_ns, all),
    });
    if json {
        println!("{result:#}");
    } else {
        print_table(&result);
    }
    Ok(())
}

fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn ratio(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// What the figures say, each against a figure of the same run.
fn ratios(cases: &[Value], spawn_join_ns: f64, all: usize) -> Value {
    let ns = |name: &str, workers: usize| {
        let case = cases.iter().find(|case| case["case"] == name && case["workers"] == workers);
        case.and_then(|case| case["ns_per_event"].as_f64()).unwrap_or(f64::NAN)
    };
    // What one more algorithm costs.
    let algorithm = (ns("chain_16", 1) - ns("one_0us", 1)) / 15.0;
    let suspending = ns("one_suspending", 1) - ns("one_0us", 1) + algorithm;
    let gain = |name| ratio(ns(name, 1) / ns(name, all));
    json!({
        "algorithm_over_spawn_join": ratio(algorithm / spawn_join_ns),
        "suspending_algorithm_over_spawn_join": ratio(suspending / spawn_join_ns),
        "gain_from_all_workers": {
            "one_0us": gain("one_0us"), "one_5us": gain("one_5us"),
            "chain_16": gain("chain_16"), "fan_out_16": gain("fan_out_16"),
        },
    })
}

fn print_table(result: &Value) {
    println!("{}; medians of {REPEATS} runs", result["machine"].as_str().unwrap_or_default());
    println!("tokio spawn + join: {} ns", result["tokio_spawn_join_ns"]);
    println!(
        "{:<16} {:>7} {:>12} {:>10} {:>13} {:>15}",
        "case", "workers", "events/s", "ns/event", "ns/algorithm", "bytes/in flight"
    );
    for case in result["cases"].as_array().into_iter().flatten() {
        println!(
            "{:<16} {:>7} {:>12} {:>10} {:>13} {:>15}",
            case["case"].as_str().unwrap_or_default(),
            case["workers"],
            case["events_per_s"],
            case["ns_per_event"],
            case["ns_per_algorithm"],
            case["bytes_per_event_in_flight"]
        );
    }
    println!("ratios: {}", result["ratios"]);
}
