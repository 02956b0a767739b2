//! `bench scale`: throughput and memory with more and more events in flight, each waiting once for an offload of 1 ms.

use std::sync::Arc;
use std::time::Duration;

use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use serde_json::{Value, json};

use super::load::{Wait, waiting_device};
use super::machine::{machine, median, resident_peak_bytes};

/// Each figure is the median of so many runs, each in a process of its own, taken in turn.
const REPEATS: usize = 3;
/// How long one run should take.
const RUN: Duration = Duration::from_millis(500);
const OFFLOAD: Duration = Duration::from_millis(1);
const IN_FLIGHT: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// What no machine exceeds: so that the number of events can be chosen.
const EVENTS_PER_S_MAX: f64 = 400_000.0;

/// Set in a process of its own, which runs one case: how many events are in flight.
const CASE: &str = "ASYNCHROTRON_BENCH_SCALE";

/// Runs one case, and gives events per second and the most memory that was resident.
fn run_case(in_flight: usize) -> Result<(f64, usize)> {
    let device = waiting_device(in_flight, OFFLOAD, Clock::real());
    let mut chain = Chain::new("scale");
    let x = chain.source::<u64>("source");
    let wait = Arc::new(Wait);
    let done = chain.algorithm("offload", (x,), move |x: Arc<u64>| {
        let (device, wait) = (device.clone(), wait.clone());
        async move {
            device.run(&wait, ()).await?;
            Ok::<_, Error>(*x)
        }
    });
    chain.sink("drop", done, |_, _| Ok(()));
    let per_s = EVENTS_PER_S_MAX.min(in_flight as f64 / OFFLOAD.as_secs_f64());
    let events = ((RUN.as_secs_f64() * per_s) as u64).max(4 * in_flight as u64);
    let config = Config { slots: in_flight, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..events))?;
    ensure!(report.events == events, "{} of {events} events were processed", report.events);
    Ok((report.throughput(), resident_peak_bytes()?))
}

fn run_elsewhere(in_flight: usize) -> Result<(f64, f64)> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["bench", "scale"])
        .env(CASE, in_flight.to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [events_per_s, bytes] => Ok((events_per_s, bytes)),
        _ => bail!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Measures, and prints one JSON object or a table.
pub(super) fn run(json: bool) -> Result<()> {
    if let Ok(in_flight) = std::env::var(CASE) {
        let (events_per_s, bytes) = run_case(in_flight.parse()?)?;
        println!("{events_per_s} {bytes}");
        return Ok(());
    }
    let mut cases = IN_FLIGHT.map(|in_flight| (in_flight, Vec::new(), Vec::new()));
    for _ in 0..REPEATS {
        for (in_flight, events_per_s, bytes) in &mut cases {
            let found = run_elsewhere(*in_flight)?;
            events_per_s.push(found.0);
            bytes.push(found.1);
        }
    }
    let mut least = f64::NAN;
    let cases = cases.map(|(in_flight, mut events_per_s, mut bytes)| {
        let (events_per_s, bytes) = (median(&mut events_per_s), median(&mut bytes));
        least = least.min(bytes);
        let more_each = if in_flight > 1 { (bytes - least) / (in_flight - 1) as f64 } else { f64::NAN };
        json!({
            "in_flight": in_flight,
            "events_per_s": events_per_s.round(),
            "over_one_per_offload": ratio(events_per_s * OFFLOAD.as_secs_f64() / in_flight as f64),
            "resident_mib": ratio(bytes / f64::from(1 << 20)),
            "bytes_per_event_in_flight": more_each.round(),
        })
    });
    let result = json!({
        "bench": "scale", "machine": machine(), "repeats": REPEATS, "workers": Config::default().resolved_threads(),
        "offload_us": OFFLOAD.as_micros(), "cases": cases,
    });
    if json {
        println!("{result:#}");
    } else {
        print_table(&result);
    }
    Ok(())
}

fn ratio(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

fn print_table(result: &Value) {
    println!("{}; medians of {REPEATS} runs", result["machine"].as_str().unwrap_or_default());
    println!(
        "{:>10} {:>10} {:>16} {:>12} {:>16}",
        "in flight", "events/s", "/ (1 / offload)", "resident MiB", "bytes/in flight"
    );
    for case in result["cases"].as_array().into_iter().flatten() {
        println!(
            "{:>10} {:>10} {:>16} {:>12} {:>16}",
            case["in_flight"],
            case["events_per_s"],
            case["over_one_per_offload"],
            case["resident_mib"],
            case["bytes_per_event_in_flight"]
        );
    }
}
