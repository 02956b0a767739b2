//! Chains of events that ask a model, in several ways; and the [limit](super::limit).

use std::sync::Arc;
use std::time::Duration;

use asynchrotron::batch::BatchConfig;
use asynchrotron::prelude::*;
use asynchrotron_devices::inference::{Blocks, Inference, Inputs};
use asynchrotron_devices::onnx::{ModelConfig, OnnxConfig, OnnxDevice, OnnxModel};
use asynchrotron_devices::{Device, LaneId, OnDevice};
use serde_json::{Value, json};

use super::super::machine::median;
use super::limit::{best_size, rows_per_s};
use super::models::{Model, models};
use super::rounded;

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 3;
/// How long one run should take.
const RUN: Duration = Duration::from_millis(60);
/// No case is measured whose shortest run takes longer.
const LONGEST_S: f64 = 1.0;
const ROWS: [usize; 3] = [1, 8, 64];
const IN_FLIGHT: [usize; 3] = [1, 64, 1024];

/// How an event gets its answer.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// In a batch with others.
    Batched,
    /// A run of its own, on the worker.
    Inline,
    /// A run of its own, on a thread for what blocks.
    SpawnBlocking,
    /// A run of its own, on the worker, on the one session for all.
    Mutex,
}

impl Way {
    const ALL: [Way; 4] = [Way::Batched, Way::Inline, Way::SpawnBlocking, Way::Mutex];

    fn name(self) -> &'static str {
        match self {
            Way::Batched => "batched",
            Way::Inline => "inline",
            Way::SpawnBlocking => "spawn_blocking",
            Way::Mutex => "mutex",
        }
    }
}

/// A model that is ready.
struct Ready {
    model: Model,
    device: Arc<OnnxDevice>,
    loaded: Arc<OnnxModel>,
    /// A session for all.
    single: Arc<OnnxModel>,
    workers: usize,
    best_size: usize,
}

/// Events of one kind.
#[derive(Clone, Copy)]
struct Case {
    rows: usize,
    in_flight: usize,
}

impl Ready {
    fn new(model: Model, workers: usize) -> Result<Self> {
        let open = |lanes| OnnxDevice::open(OnnxConfig { lanes, ..OnnxConfig::default() });
        let device = open(workers)?;
        let loaded = OnnxModel::load(&model.source, &device, ModelConfig::default())?;
        let single = OnnxModel::load(&model.source, &open(1)?, ModelConfig::default())?;
        let best_size = best_size(&model, &loaded, workers)?;
        Ok(Ready { model, device: Arc::new(device), loaded, single, workers, best_size })
    }

    /// Takes so many events through; gives rows per second, and the requests of a batch on average.
    fn run(&self, way: Way, case: Case, events: u64) -> Result<(f64, f64)> {
        let requests = self.model.requests(case.rows);
        let request = move |event: &u64| requests[*event as usize % requests.len()].clone();
        let mut chain = Chain::new("onnx");
        let event = chain.source::<u64>("event");
        let answer = match way {
            Way::Batched => {
                let step = Inference::<Inputs>::new(self.loaded.clone())?;
                let config =
                    BatchConfig { rows_max: self.best_size.max(case.rows), ..BatchConfig::default() };
                let device: Arc<dyn Device> = self.device.clone();
                let batcher = OnDevice::batcher(step, device, config);
                let using = batcher.clone();
                let answer = chain.algorithm("infer", (event,), move |ctx: EventContext, event: Arc<u64>| {
                    let (batcher, request) = (using.clone(), Inputs(request(&event)));
                    async move { batcher.submit(&ctx, request).await }
                });
                chain.uses(answer, &batcher);
                answer
            }
            Way::Inline => {
                let model = self.loaded.clone();
                chain.algorithm("infer", (event,), move |event: Arc<u64>| {
                    let (model, request) = (model.clone(), request(&event));
                    async move { model.run_anywhere(&request) }
                })
            }
            Way::SpawnBlocking => {
                let model = self.loaded.clone();
                chain.algorithm("infer", (event,), move |event: Arc<u64>| {
                    let (model, request) = (model.clone(), request(&event));
                    async move {
                        let run = move || model.run_anywhere(&request);
                        Ok::<_, Error>(tokio::task::spawn_blocking(run).await??)
                    }
                })
            }
            Way::Mutex => {
                let model = self.single.clone();
                chain.algorithm("infer", (event,), move |event: Arc<u64>| {
                    let (model, request) = (model.clone(), request(&event));
                    async move { model.run(LaneId(0), &request) }
                })
            }
        };
        chain.sink("drop", answer, |_, answer: Arc<Blocks>| {
            std::hint::black_box(&answer);
            Ok(())
        });
        let config = Config { threads: self.workers, slots: case.in_flight, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..events))?;
        ensure!(report.events == events, "{} of {events} events were processed", report.events);
        let per_batch =
            report.batchers.first().map_or(1.0, asynchrotron::batch::BatcherReport::mean_requests);
        Ok((events as f64 * case.rows as f64 / report.elapsed.as_secs_f64(), per_batch))
    }

    fn measure(&self, case: Case, limit: f64) -> Result<Value> {
        let shortest = 2 * case.in_flight.max(10) as u64;
        let Case { rows, in_flight } = case;
        let shortest_s = (shortest * rows as u64) as f64 / limit;
        if shortest_s > LONGEST_S {
            let why = format!("the shortest run takes {shortest_s:.0} s");
            return Ok(json!({ "rows_per_event": rows, "in_flight": in_flight, "left_out": why }));
        }
        let mut runs = Way::ALL.map(|way| (way, 0, Vec::new(), Vec::new()));
        for (way, events, ..) in &mut runs {
            // How many events take about as long as a run should.
            let (per_s, _) = self.run(*way, case, shortest)?;
            *events = shortest.max((per_s / rows as f64 * RUN.as_secs_f64()) as u64);
        }
        let mut limits = Vec::new();
        for _ in 0..REPEATS {
            limits.push(rows_per_s(&self.model, &self.loaded, self.workers, self.best_size, RUN / 2)?);
            for (way, events, per_s, per_batch) in &mut runs {
                let (rate, requests) = self.run(*way, case, *events)?;
                per_s.push(rate);
                per_batch.push(requests);
            }
        }
        // Each against the same round's, so that what else the machine does falls out.
        let ours = &runs[0].2;
        let over = |others: &[f64]| {
            rounded(median(
                &mut ours.iter().zip(others).map(|(ours, other)| ours / other).collect::<Vec<_>>(),
            ))
        };
        let best_of_others: Vec<f64> =
            (0..REPEATS).map(|round| runs[1..].iter().map(|run| run.2[round]).fold(0.0, f64::max)).collect();
        let ways: serde_json::Map<String, Value> = runs
            .iter()
            .map(|(way, _, per_s, _)| (way.name().into(), json!(median(&mut per_s.clone()).round())))
            .collect();
        Ok(json!({
            "rows_per_event": rows, "in_flight": in_flight,
            "rows_per_s": ways,
            "events_per_batch": rounded(median(&mut runs[0].3.clone())),
            "batched_over_limit": over(&limits),
            "batched_over_inline": over(&runs[1].2),
            "batched_over_spawn_blocking": over(&runs[2].2),
            "batched_over_mutex": over(&runs[3].2),
            "batched_over_best_of_those": over(&best_of_others),
        }))
    }
}

/// Measures.
pub(super) fn run() -> Result<Value> {
    let workers = Config::default().resolved_threads().min(2);
    let mut all = Vec::new();
    for model in models() {
        let ready = Ready::new(model, workers)?;
        let limit = rows_per_s(&ready.model, &ready.loaded, workers, ready.best_size, RUN)?;
        let mut cases = Vec::new();
        for rows in ROWS {
            for in_flight in IN_FLIGHT {
                cases.push(ready.measure(Case { rows, in_flight }, limit)?);
            }
        }
        all.push(json!({
            "model": ready.model.name, "sha256": ready.loaded.report().sha256,
            "limit_rows_per_s": limit.round(), "limit_batch_rows": ready.best_size,
            "cases": cases,
        }));
    }
    Ok(json!({ "workers": workers, "lanes": workers, "repeats": REPEATS, "models": all }))
}

/// A table for each model.
pub(super) fn print(result: &Value) {
    println!("rows/s through a chain, {} workers, medians of {REPEATS}:", result["workers"]);
    for model in result["models"].as_array().into_iter().flatten() {
        println!(
            "{}; limit: {} rows/s in batches of {}",
            model["model"].as_str().unwrap_or_default(),
            model["limit_rows_per_s"],
            model["limit_batch_rows"]
        );
        println!(
            "{:>10} {:>9} {:>12} {:>12} {:>14} {:>12} {:>12} {:>8} {:>14}",
            "rows/event",
            "in flight",
            "batched",
            "inline",
            "spawn_blocking",
            "mutex",
            "events/batch",
            "/ limit",
            "/ best other"
        );
        for case in model["cases"].as_array().into_iter().flatten() {
            if let Some(why) = case["left_out"].as_str() {
                println!("{:>10} {:>9} left out: {why}", case["rows_per_event"], case["in_flight"]);
                continue;
            }
            let per_s = &case["rows_per_s"];
            println!(
                "{:>10} {:>9} {:>12} {:>12} {:>14} {:>12} {:>12} {:>8} {:>14}",
                case["rows_per_event"],
                case["in_flight"],
                per_s["batched"],
                per_s["inline"],
                per_s["spawn_blocking"],
                per_s["mutex"],
                case["events_per_batch"],
                case["batched_over_limit"],
                case["batched_over_best_of_those"]
            );
        }
    }
}
