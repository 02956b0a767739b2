//! `bench cuda`: what a GPU is worth, and what waiting for it costs. Needs one.
//!
//! | part | what |
//! |---|---|
//! | `calls` | what the driver's own calls cost |
//! | `waits` | awaited kernels per second and their latency, by strategy, beside the physical limit |
//! | `ahead` | steps in a row on the GPU: handed on when done, handed on ahead, and as one submission |
//! | `graph` | the graph of CERN's scheduler tests: three algorithms, five kernels |
//! | `clue` | points per second on host and GPU |
//! | `copies` | pinned and pageable memory; copies that overlap kernels on 1, 2, 4 lanes |
//! | `faults` | the same while launches, memory and steps fail at random, and events are dropped |
//! | `start` | the first event: kernels compiled, from the cache, ahead of time |
//! | `chains` | the chains on host and GPU, with batches and without, and with what stays on the GPU and without |
//! | `models` | ONNX Runtime on the processor, on the GPU from the host, and on the GPU from where the input lies |
//! | `columns` | columns of a kernel as a model's input: as they lie, against a detour through the host |
//!
//! At the end, a verdict on each aim of the parts that ran.

mod ahead;
mod calls;
mod chains;
mod clue;
mod columns;
mod copies;
mod faults;
mod graph;
#[cfg(feature = "onnx")]
mod models;
mod spin;
mod start;
mod tasks;
mod verdict;
mod waits;

use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron_devices::Device as _;
use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};
use serde_json::{Value, json};

use super::machine::machine;

/// One part: measures, and tells of each case as soon as it knows.
type Part = fn(&Gpu, &mut dyn FnMut(Value)) -> Result<()>;

const PARTS: &[(&str, Part)] = &[
    ("calls", calls::run),
    ("copies", copies::run),
    ("waits", waits::run),
    ("ahead", ahead::run),
    ("graph", graph::run),
    ("clue", clue::run),
    ("faults", faults::run),
    ("start", start::run),
    ("chains", chains::run),
    #[cfg(feature = "onnx")]
    ("models", models::run),
    ("columns", columns::run),
];

/// The GPU that is measured.
struct Gpu {
    /// Clock ticks of a multiprocessor per microsecond, under load.
    ticks_per_us: f64,
    /// Kept open: the first to open a GPU pays for its context, the last to close it ends that.
    device: Arc<CudaDevice>,
}

impl Gpu {
    fn new() -> Result<Self> {
        let device = open(CudaConfig::default())?;
        Ok(Self { ticks_per_us: spin::ticks_per_us(&device)?, device })
    }

    fn ticks(&self, us: f64) -> i64 {
        (us * self.ticks_per_us).round() as i64
    }
}

/// The first GPU.
fn open(config: CudaConfig) -> Result<Arc<CudaDevice>> {
    let gpus =
        CudaDevice::discover(config).map_err(|why| anyhow::anyhow!("this benchmark needs a GPU: {why}"))?;
    gpus.into_iter().next().map(Arc::new).context("there is no GPU")
}

/// Measures, and prints one JSON object, or one line for each case. `ASYNCHROTRON_BENCH_CUDA` names the parts, all by default.
pub(super) fn run(json: bool) -> Result<()> {
    let chosen = std::env::var("ASYNCHROTRON_BENCH_CUDA").ok();
    let chosen: Option<Vec<&str>> = chosen.as_deref().map(|parts| parts.split(',').collect());
    let gpu = Gpu::new()?;
    let description = gpu.device.capability().description.clone();
    let mut result = json!({
        "bench": "cuda", "machine": machine(), "gpu": description, "ticks_per_us": gpu.ticks_per_us.round(),
    });
    if !json {
        println!("{}; {description}", machine());
    }
    for (name, part) in PARTS {
        if chosen.as_ref().is_some_and(|chosen| !chosen.contains(name)) {
            continue;
        }
        let mut cases = Vec::new();
        if !json {
            println!("\n{name}");
        }
        part(&gpu, &mut |case| {
            if !json {
                print_case(&case);
            }
            cases.push(case);
        })?;
        result[*name] = Value::Array(cases);
    }
    let verdicts = verdict::verdicts(&result);
    if json {
        result["verdict"] = verdicts.iter().map(verdict::Verdict::json).collect();
        println!("{}", one_line_each(&result));
    } else if !verdicts.is_empty() {
        println!("\nverdict");
        verdicts.iter().for_each(|verdict| println!("  {}", verdict.line()));
    }
    Ok(())
}

/// The result as JSON, with a line for each case.
fn one_line_each(result: &Value) -> String {
    let fields = result.as_object().into_iter().flatten().map(|(key, value)| match value {
        Value::Array(cases) if !cases.is_empty() => {
            let cases: Vec<_> = cases.iter().map(|case| format!("    {case}")).collect();
            format!("  {}: [\n{}\n  ]", json!(key), cases.join(",\n"))
        }
        value => format!("  {}: {value}", json!(key)),
    });
    format!("{{\n{}\n}}", fields.collect::<Vec<_>>().join(",\n"))
}

/// What a case says, in one line.
fn print_case(case: &Value) {
    let fields = case.as_object().into_iter().flatten().map(|(key, value)| match value {
        Value::String(text) => format!("{key} {text}"),
        value => format!("{key} {value}"),
    });
    println!("  {}", fields.collect::<Vec<_>>().join("  "));
}

/// Numbers from 0 to 1, as a xorshift generator gives them; `state` must not be 0.
fn uniform(mut state: u64) -> impl FnMut() -> f32 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// Three digits are what such a measurement is good for.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(value.abs().log10().floor() as i32 - 2);
    let rounded = (value / unit).round() * unit;
    // Without the noise of the last binary digits.
    format!("{rounded:.6}").parse().unwrap_or(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_a_line_for_each_case_is_the_same_json() {
        let result = json!({ "bench": "cuda", "none": [], "some \"part\"": [{ "a": 1.5, "b": "c" }, 2, "x"], "ticks": 3 });
        let text = one_line_each(&result);
        assert_eq!(text.lines().count(), 10, "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), result);
    }
}
