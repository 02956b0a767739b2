//! `bench trace`: what a timeline costs, off, light and full.
//!
//! Each job runs in a process of its own (a timeline with spans takes the process's only subscriber), and writes a real file. Jobs
//! take turns (off, light, full, off again), and each figure is the median of what the rounds give, each against the same round's `off`.
//!
//! * **Costs** are CPU time of the only worker, from event to event, of chains without work; the timeline's own threads are not
//!   counted. Events come in bursts with pauses, so that nothing is lost: what is lost costs less. An event makes a record when it
//!   begins, one when it ends, and one for each poll. *per record*: what 16 algorithms in a row cost more than without a timeline,
//!   divided by their 18 records. *per algorithm*: what one more algorithm costs, from one to 16 in a row. *per poll*: what one more
//!   suspension costs, from none to 16 in one algorithm.
//! * **Slow-downs** are of wall time, with all workers, as fast as it goes: the chains of `bench overhead`, which do nothing but
//!   be scheduled, and the calorimeter, which does what one has events for. The first make millions of records a second and lose most of
//!   them, which is told.
//! * **Off** cannot be compared with a program without timelines, as there is none: `off again` over `off` is the same program twice,
//!   the noise of all these figures; `ns/event` of `off` compare with what `bench overhead` of an older version says on the same machine.

mod job;

use std::path::PathBuf;

use asynchrotron::prelude::*;
use serde_json::{Value, json};

use self::job::{Job, Kind, Told, YIELDS, calorimeter};
use super::machine::{machine, median};
use super::overhead::SHAPES;

const REPEATS: usize = 5;
/// How long one run of a chain as fast as it goes should take.
const RUN_S: f64 = 0.08;
const CALORIMETER_EVENTS: u64 = 3000;
/// About a second's.
const MILLION_EVENTS: u64 = 55_600;

/// In this order, in each round.
const LEVELS: [(&str, Option<&str>); 4] =
    [("off", None), ("light", Some("light")), ("full", Some("full")), ("off again", None)];

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("asynchrotron-bench-trace-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    fn file(&self) -> PathBuf {
        self.0.join("trace.json")
    }

    fn run(&self, kind: Kind, level: Option<&str>) -> Result<Told> {
        let told = Job { kind, level: level.map(str::to_owned), file: self.file() }.in_child();
        // A gigabyte that nobody reads would be written to the disk in the next job's time.
        let _ = std::fs::remove_file(self.file());
        told
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the rounds of one job gave, for each level.
struct Rounds<T>([Vec<T>; 4]);

impl<T: Copy> Rounds<T> {
    fn new() -> Self {
        Rounds([const { Vec::new() }; 4])
    }

    fn round(&mut self, run: impl Fn(Option<&'static str>) -> Result<T>) -> Result<()> {
        for ((_, level), told) in LEVELS.iter().zip(&mut self.0) {
            told.push(run(*level)?);
        }
        Ok(())
    }

    fn median(&self, level: usize, value: impl Fn(T) -> f64) -> f64 {
        median(&mut self.0[level].iter().map(|&told| value(told)).collect::<Vec<_>>())
    }

    /// The median of what the level takes, over `off` of the same round.
    fn over_off(&self, level: usize, value: impl Fn(T) -> f64) -> f64 {
        let pairs = self.0[level].iter().zip(&self.0[0]);
        median(&mut pairs.map(|(&told, &off)| value(told) / value(off)).collect::<Vec<_>>())
    }

    /// What the level takes more than `off` of the same round, for each round.
    fn more(&self, level: usize, value: impl Fn(T) -> f64) -> Vec<f64> {
        self.0[level].iter().zip(&self.0[0]).map(|(&told, &off)| value(told) - value(off)).collect()
    }
}

fn round(x: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (x * unit).round() / unit
}

/// Costs on the worker.
fn costs(folder: &Folder) -> Result<Value> {
    let kinds = [Kind::Bursts("one_0us".into()), Kind::Bursts("chain_16".into()), Kind::Yields];
    let mut all = kinds.map(|kind| (kind, Rounds::<Told>::new()));
    for _ in 0..REPEATS {
        for (kind, rounds) in &mut all {
            rounds.round(|level| folder.run(kind.clone(), level))?;
        }
    }
    let [one, chain, yields] = all.map(|(_, rounds)| rounds);
    let ns = |told: Told| told.worker_ns_per_event;
    let mut result = serde_json::Map::new();
    for (level, (name, _)) in LEVELS.iter().enumerate() {
        let per = |many: &Rounds<Told>, steps: f64| {
            let (few, many) = (one.more(level, ns), many.more(level, ns));
            median(&mut many.iter().zip(few).map(|(many, few)| (many - few) / steps).collect::<Vec<_>>())
        };
        let off = |many: &Rounds<Told>, steps: f64| (many.median(0, ns) - one.median(0, ns)) / steps;
        let jobs = [&one, &chain, &yields];
        let lost: u64 = jobs.iter().flat_map(|rounds| &rounds.0[level]).map(|told| told.lost).sum();
        let figures = match level {
            0 => json!({
                "ns_per_algorithm": round(off(&chain, 15.0), 1),
                "ns_per_poll": round(off(&yields, YIELDS as f64), 1),
            }),
            _ => json!({
                "more_ns_per_record": round(median(&mut chain.more(level, ns)) / 18.0, 1),
                "more_ns_per_algorithm": round(per(&chain, 15.0), 1),
                "more_ns_per_poll": round(per(&yields, YIELDS as f64), 1),
                "lost": lost,
            }),
        };
        result.insert((*name).to_owned(), figures);
    }
    Ok(Value::Object(result))
}

/// The figures of one case, told apart by level.
fn slowdown<T: Copy>(
    case: &str,
    rounds: &Rounds<T>,
    ns: impl Fn(T) -> f64 + Copy,
    lost: impl Fn(T) -> f64,
) -> Value {
    let percent = |level| round(100.0 * (rounds.over_off(level, ns) - 1.0), 1);
    json!({
        "case": case,
        "off_ns_per_event": round(rounds.median(0, ns), 1),
        "off_again_percent": percent(3), "light_percent": percent(1), "full_percent": percent(2),
        "light_lost": rounds.median(1, &lost) as u64, "full_lost": rounds.median(2, &lost) as u64,
    })
}

fn slowdowns(folder: &Folder) -> Result<Vec<Value>> {
    let all = Config::default().resolved_threads();
    let mut cases = Vec::new();
    for (name, _) in SHAPES {
        let trial = folder.run(Kind::Flat(name.into(), all, 2000), None)?;
        let events = ((RUN_S * trial.events as f64 / trial.seconds) as u64).max(trial.events);
        cases.push((name, Kind::Flat(name.into(), all, events), Rounds::<Told>::new()));
    }
    let mut calorimeters = Rounds::<(f64, u64)>::new();
    for _ in 0..REPEATS {
        for (_, kind, rounds) in &mut cases {
            rounds.round(|level| folder.run(kind.clone(), level))?;
        }
        calorimeters.round(|level| calorimeter(CALORIMETER_EVENTS, level, &folder.file()))?;
    }
    let ns = |told: Told| 1e9 * told.seconds / told.events as f64;
    let lost = |told: Told| told.lost as f64;
    let mut told: Vec<Value> =
        cases.iter().map(|(name, _, rounds)| slowdown(name, rounds, ns, lost)).collect();
    told.push(slowdown("calorimeter", &calorimeters, |(per_s, _)| 1e9 / per_s, |(_, lost)| lost as f64));
    Ok(told)
}

/// A million records a second.
fn million(folder: &Folder) -> Result<Value> {
    let run = |level: &str| -> Result<Value> {
        let told = folder.run(Kind::Million(MILLION_EVENTS), Some(level))?;
        let per_s = (told.records as f64 / told.seconds).round();
        Ok(json!({ "records": told.records, "records_per_s": per_s, "lost": told.lost }))
    };
    Ok(json!({ "light": (0..3).map(|_| run("light")).collect::<Result<Vec<_>>>()?, "full": [run("full")?] }))
}

/// Measures, and prints one JSON object or tables.
pub(super) fn run(json: bool) -> Result<()> {
    if let Some(job) = Job::of_this_process()? {
        println!("{}", serde_json::to_string(&job.run()?)?);
        return Ok(());
    }
    let folder = Folder::new()?;
    let result = json!({
        "bench": "trace", "machine": machine(), "repeats": REPEATS,
        "worker": costs(&folder)?, "slowdown": slowdowns(&folder)?, "million_records_per_s": million(&folder)?,
    });
    if json {
        println!("{result:#}");
    } else {
        print_tables(&result);
    }
    Ok(())
}

fn print_tables(result: &Value) {
    let pad = |value: &Value| format!("{:>14}", value.to_string());
    println!("{}; medians of {REPEATS} rounds", result["machine"].as_str().unwrap_or_default());
    let off = &result["worker"]["off"];
    let (algorithm, poll) = (&off["ns_per_algorithm"], &off["ns_per_poll"]);
    println!(
        "without a timeline, one more algorithm costs the worker {algorithm} ns, one more poll {poll} ns"
    );
    println!(
        "{:<16} {:>14} {:>14} {:>14} {:>14}",
        "more than off", "ns/record", "ns/algorithm", "ns/poll", "lost"
    );
    for (name, _) in &LEVELS[1..] {
        let columns = ["more_ns_per_record", "more_ns_per_algorithm", "more_ns_per_poll", "lost"];
        println!("{name:<16} {}", columns.map(|column| pad(&result["worker"][name][column])).join(" "));
    }
    println!(
        "{:<16} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}",
        "slower by", "off: ns/event", "off again, %", "light, %", "full, %", "light: lost", "full: lost"
    );
    for case in result["slowdown"].as_array().into_iter().flatten() {
        let columns = [
            "off_ns_per_event",
            "off_again_percent",
            "light_percent",
            "full_percent",
            "light_lost",
            "full_lost",
        ];
        let name = case["case"].as_str().unwrap_or_default();
        println!("{name:<16} {}", columns.map(|column| pad(&case[column])).join(" "));
    }
    println!("16 algorithms in a row, at a million records per second: {}", result["million_records_per_s"]);
}
