//! The chains on host and GPU: what is on a GPU is copied back after each algorithm, or stays there.
//!
//! The events are generated before, written to a file as `asynchrotron generate` does, and are in memory when the clock starts: generating
//! one takes 20 times as long as reconstructing it (calorimeter), and reading one from Parquet, on one thread, as long as all
//! algorithms together. `read_us` says what an event took to be read.

use std::path::Path;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, round};
use crate::chains::{RECIPES, find_generator, find_recipe};
use crate::io::{EventsParquet, WordsFile};
use crate::job::Job;
use crate::options::{RunArguments, Settings};

const REPEATS: usize = 3;
const SEED: u64 = 7;
/// Events before the clock starts: kernels are loaded then, and memory is there.
const WARM_UP: u64 = 1000;

struct Case {
    chain: &'static str,
    events: u64,
    /// Parameters of the chain; the first is what the others are compared with.
    ways: &'static [Way],
}

struct Way {
    device: &'static str,
    batch: &'static str,
    parameter: &'static str,
}

const fn way(device: &'static str, batch: &'static str, parameter: &'static str) -> Way {
    Way { device, batch, parameter }
}

const CASES: [Case; 2] = [
    Case {
        chain: "scouting",
        events: 100_000,
        ways: &[
            way("host", "off", ""),
            way("cuda", "off", "resident=off"),
            way("cuda", "off", "resident=on"),
            way("cuda", "adaptive", "resident=off"),
            way("cuda", "adaptive", "resident=on"),
        ],
    },
    Case {
        chain: "calorimeter",
        events: 10_000,
        ways: &[way("host", "off", ""), way("cuda", "off", ""), way("cuda", "adaptive", "")],
    },
];

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    CASES.iter().try_for_each(|case| compare(case, tell))
}

fn compare(case: &Case, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let Case { chain, events, ways } = case;
    let folder = std::env::temp_dir().join(format!("asynchrotron-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(chain);
    let result = generate(chain, *events, &file).and_then(|()| {
        let mut first = None;
        for way in *ways {
            let mut told = measure(chain, way, &file)?;
            let per_s = told["events_per_s"].as_f64().unwrap_or(f64::NAN);
            told["over_host"] = json!(round(per_s / *first.get_or_insert(per_s)));
            tell(told);
        }
        Ok(())
    });
    // What is left behind in a temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(folder);
    result
}

fn generate(chain: &str, events: u64, file: &Path) -> Result<()> {
    let job = (find_generator(chain)?.job)(events, SEED, file)?;
    job.run(&Scheduler::new(Config { ordered: true, ..Config::default() })).1.map(drop)
}

fn measure(chain: &str, way: &Way, file: &Path) -> Result<Value> {
    let (mut per_s, mut cpu_us, mut read_us) = (Vec::new(), Vec::new(), Vec::new());
    let (mut latency, mut found) = (Value::Null, String::new());
    for _ in 0..REPEATS {
        let Run { report, summary, read_us: of_run } = match chain {
            "scouting" => run_once(chain, way, file, WordsFile::open(file)?)?,
            _ => run_once(chain, way, file, EventsParquet::open(file)?)?,
        };
        let events = report.events as f64;
        per_s.push(events / report.elapsed.as_secs_f64());
        cpu_us.push(report.cpu.as_secs_f64() * 1e6 / events);
        read_us.push(of_run);
        let us = |time: Duration| round(time.as_secs_f64() * 1e6);
        latency = json!([us(report.latency.p50), us(report.latency.p90), us(report.latency.p99)]);
        found = summary.lines().next().unwrap_or_default().to_owned();
    }
    let Way { device, batch, parameter } = way;
    Ok(json!({
        "chain": chain, "device": device, "batch": batch, "parameter": parameter,
        "events_per_s": median(&mut per_s).round(), "cpu_us": round(median(&mut cpu_us)),
        "read_us": round(median(&mut read_us)), "latency_us_50_90_99": latency, "found": found,
    }))
}

struct Run {
    report: Report,
    summary: String,
    read_us: f64,
}

/// Reads all events, and then runs the chain on them.
fn run_once<S: Source>(chain: &str, way: &Way, file: &Path, source: S) -> Result<Run> {
    let begin = Instant::now();
    let events = read_all(source)?;
    let read_us = begin.elapsed().as_secs_f64() * 1e6 / events.len() as f64;
    let mut arguments = RunArguments::default();
    let general = [
        format!("input={}", file.display()),
        format!("device={}", way.device),
        format!("batch={}", way.batch),
        "slots=512".into(),
        format!("warmup={}", WARM_UP.min(events.len() as u64 / 2)),
    ];
    arguments.parameters.given.extend(general);
    arguments.parameters.given.extend((!way.parameter.is_empty()).then(|| way.parameter.to_owned()));
    let recipe = find_recipe(chain)?;
    let settings = Settings::resolve(recipe, RECIPES, &arguments)?;
    let job = Job::new((recipe.build)(&settings)?, source::from_iter(events), String::new());
    let (report, summary) = job.run(&Scheduler::new(settings.config()?));
    Ok(Run { summary: summary?, report: report.context("no event was run")?, read_us })
}

/// What the source holds, in its order.
fn read_all<S: Source>(mut source: S) -> Result<Vec<S::Product>> {
    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    executor.block_on(async {
        let mut events = Vec::new();
        while let Some(read) = source.next().await? {
            events.push(read.product?);
        }
        Ok(events)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_run_on_what_was_generated() {
        const WAYS: &[Way] = &[way("host", "off", ""), way("host", "size=8", "")];
        for Case { chain, .. } in CASES {
            let mut told = Vec::new();
            compare(&Case { chain, events: 60, ways: WAYS }, &mut |case| told.push(case)).unwrap();
            assert_eq!(told.len(), 2);
            assert_eq!(told[0]["over_host"], 1.0);
            assert_eq!(told[0]["found"], told[1]["found"]);
            let found = told[0]["found"].as_str().unwrap();
            assert!(found.contains("in 60 events"), "{found}");
            assert!(told.iter().all(|case| case["read_us"].as_f64() > Some(0.0)), "{told:?}");
        }
        // Parameters that no chain has would be found on a GPU only.
        for Case { chain, ways, .. } in CASES {
            for way in ways.iter().filter(|way| !way.parameter.is_empty()) {
                let mut arguments = RunArguments::default();
                arguments.parameters.given.push(way.parameter.to_owned());
                Settings::resolve(find_recipe(chain).unwrap(), RECIPES, &arguments).unwrap();
            }
        }
    }
}
