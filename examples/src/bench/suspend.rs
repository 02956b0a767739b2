//! `bench suspend`: events that wait for a device, suspended or blocking a thread.
//!
//! Per event three times 50 µs of CPU, and between them two offloads of 500 µs, of which the device takes any number at a
//! time. Suspended events need two workers for as many events as there are slots; `blocking_N` is N threads that each
//! take one event at a time, and block for as long as the device works. `cpu_bound` is the same CPU work without any offload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron_devices::Device;
use serde_json::{Value, json};

use super::load::{Wait, Work, waiting_device};
use super::machine::{machine, median, resident_bytes};

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 5;
/// How long one run should take.
const RUN: Duration = Duration::from_millis(600);
const CPU: Duration = Duration::from_micros(50);
const OFFLOAD: Duration = Duration::from_micros(500);
/// As good as unlimited.
const LANES: usize = 4096;

#[derive(Clone, Copy)]
enum Way {
    /// Without offloads, on so many threads.
    CpuBound(usize),
    /// So many threads that block.
    Blocking(usize),
    /// Ours: workers, slots.
    Suspended(usize, usize),
}

impl Way {
    /// Takes so many events through, and says how long that took.
    fn run(self, work: Work, events: u64) -> Result<Duration> {
        match self {
            Way::CpuBound(threads) => Ok(on_threads(threads, work, events, false)),
            Way::Blocking(threads) => Ok(on_threads(threads, work, events, true)),
            Way::Suspended(threads, slots) => suspended(threads, slots, work, events),
        }
    }

    /// Events per second, if nothing but CPU and waiting took time.
    fn expected_per_s(self, workers: usize) -> f64 {
        let bound = workers as f64 / (3.0 * CPU.as_secs_f64());
        match self {
            Way::CpuBound(_) => bound,
            Way::Blocking(n) | Way::Suspended(_, n) => {
                bound.min(n as f64 / (3.0 * CPU.as_secs_f64() + 2.0 * OFFLOAD.as_secs_f64()))
            }
        }
    }
}

fn on_threads(threads: usize, work: Work, events: u64, block: bool) -> Duration {
    let left = AtomicU64::new(events);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The best wait there is: the system's default would be up to 50 µs longer.
                let _ = rustix::thread::set_current_timer_slack(Some(std::num::NonZero::<u64>::MIN));
                while take() {
                    for stage in 0..3 {
                        if block && stage > 0 {
                            std::thread::sleep(OFFLOAD);
                        }
                        work.run();
                    }
                }
            });
        }
    });
    begin.elapsed()
}

fn chain(device: Arc<dyn Device>, work: Work, resumed: impl Fn() + Clone + Send + Sync + 'static) -> Chain {
    let mut chain = Chain::new("suspend");
    let x = chain.source::<u64>("source");
    let wait = Arc::new(Wait);
    let done = chain.algorithm("offload twice", (x,), move |x: Arc<u64>| {
        let (device, wait, resumed) = (device.clone(), wait.clone(), resumed.clone());
        async move {
            work.run();
            device.run(&wait, ()).await?;
            resumed();
            work.run();
            device.run(&wait, ()).await?;
            work.run();
            Ok::<_, Error>(*x)
        }
    });
    let mut sum = 0_u64;
    chain.sink("sum", done, move |_: EventId, x: Arc<u64>| {
        sum = sum.wrapping_add(*x);
        std::hint::black_box(sum);
        Ok(())
    });
    chain
}

fn suspended(threads: usize, slots: usize, work: Work, events: u64) -> Result<Duration> {
    let chain = chain(waiting_device(LANES, OFFLOAD, Clock::real()), work, || {});
    let config = Config { threads, slots, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..events))?;
    ensure!(report.events == events, "{} of {events} events were processed", report.events);
    Ok(report.elapsed)
}

/// Set in a process of its own, which measures memory and nothing else: how many events.
const RESIDENT: &str = "ASYNCHROTRON_BENCH_RESIDENT";

/// Resident memory with so many events suspended on the device, in a process that has done nothing else.
fn resident_with(suspended: usize) -> Result<usize> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["bench", "suspend"])
        .env(RESIDENT, suspended.to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// That process. Simulated time goes on when all events are suspended: the first one that is resumed looks.
fn resident_suspended(suspended: usize) -> Result<usize> {
    let clock = Clock::simulated();
    let (looked, resident) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let found = resident.clone();
    let look = move || {
        if !looked.swap(true, Ordering::Relaxed) {
            found.store(resident_bytes().unwrap_or(0), Ordering::Relaxed);
        }
    };
    let chain = chain(waiting_device(suspended, OFFLOAD, clock.clone()), Work::NONE, look);
    let config = Config { slots: suspended, clock, ..Config::default() };
    Scheduler::new(config).run(chain, source::from_iter(0..suspended as u64))?;
    Ok(resident.load(Ordering::Relaxed))
}

/// Measures, and prints one JSON object or a table.
pub(super) fn run(json: bool) -> Result<()> {
    if let Ok(request) = std::env::var(RESIDENT) {
        println!("{}", resident_suspended(request.parse()?)?);
        return Ok(());
    }
    let workers = Config::default().resolved_threads().min(2);
    // The difference of two numbers of events leaves out what is there anyway.
    let (few, many) = (2_000, 20_000);
    let bytes = resident_with(many)?.saturating_sub(resident_with(few)?) as f64 / (many - few) as f64;

    let ways = [
        ("cpu_bound", Way::CpuBound(workers)),
        ("suspended_64", Way::Suspended(workers, 64)),
        ("suspended_256", Way::Suspended(workers, 256)),
        ("blocking_2", Way::Blocking(2)),
        ("blocking_64", Way::Blocking(64)),
        ("blocking_256", Way::Blocking(256)),
    ];
    let work = Work::of(CPU);
    let mut runs = ways.map(|(name, way)| {
        let events = (RUN.as_secs_f64() * way.expected_per_s(workers)) as u64;
        (name, way, events, Vec::new())
    });
    for _ in 0..REPEATS {
        for (_, way, events, per_s) in &mut runs {
            per_s.push(*events as f64 / way.run(work, *events)?.as_secs_f64());
        }
    }
    // Each against the same round's, so that what else the machine does falls out.
    let of = |name: &str| -> Vec<f64> {
        runs.iter().find(|(other, ..)| *other == name).map_or(Vec::new(), |run| run.3.clone())
    };
    let over = |name: &str, other: &str| -> f64 {
        let mut ratios: Vec<f64> = of(name).iter().zip(of(other)).map(|(a, b)| a / b).collect();
        (median(&mut ratios) * 1000.0).round() / 1000.0
    };
    let cases: Vec<Value> = ways
        .iter()
        .map(|(name, _)| {
            json!({
                "case": name,
                "events_per_s": median(&mut of(name)).round(),
                "over_cpu_bound": over(name, "cpu_bound"),
                "over_blocking_2": over(name, "blocking_2"),
                "over_blocking_64": over(name, "blocking_64"),
            })
        })
        .collect();
    let result = json!({
        "bench": "suspend", "machine": machine(), "repeats": REPEATS, "workers": workers,
        "cpu_us": 3 * CPU.as_micros(), "offload_us": 2 * OFFLOAD.as_micros(),
        "cpu_bound_in_theory": (workers as f64 / (3.0 * CPU.as_secs_f64())).round(),
        "memory_per_suspended_event": bytes.round(),
        "cases": cases,
    });
    if json {
        println!("{result:#}");
    } else {
        print_table(&result);
    }
    Ok(())
}

fn print_table(result: &Value) {
    println!(
        "{}; {} workers; medians of {REPEATS} runs",
        result["machine"].as_str().unwrap_or_default(),
        result["workers"]
    );
    println!(
        "{:<16} {:>10} {:>12} {:>13} {:>14}",
        "case", "events/s", "/ cpu_bound", "/ blocking_2", "/ blocking_64"
    );
    for case in result["cases"].as_array().into_iter().flatten() {
        println!(
            "{:<16} {:>10} {:>12} {:>13} {:>14}",
            case["case"].as_str().unwrap_or_default(),
            case["events_per_s"],
            case["over_cpu_bound"],
            case["over_blocking_2"],
            case["over_blocking_64"]
        );
    }
    println!("cpu_bound in theory: {} events/s", result["cpu_bound_in_theory"]);
    println!("memory per suspended event: {} bytes", result["memory_per_suspended_event"]);
}
