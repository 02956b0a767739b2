//! What three batched requests cost an event: A → B ∥ C, each a request of one row, on a device with eight lanes on which a
//! submission takes 30 µs. Beside it the same chain with algorithms that do nothing but suspend once, and with algorithms that do
//! nothing at all.
//!
//! Processor time is compared, not throughput: on a machine that does something else as well it is the better measure.

use std::sync::Arc;
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, Batcher};
use asynchrotron::prelude::*;
use asynchrotron_devices::{Device, EmulatedConfig, EmulatedDevice, OnDevice};
use serde_json::{Value, json};

use super::super::machine::median;
use super::device::{Ask, Nothing};
use super::{rounded, text};

/// Each figure is the median of so many runs, taken in turn.
const REPEATS: usize = 5;
/// In one run.
const EVENTS: u64 = 40_000;
const WORKERS: [usize; 2] = [1, 2];
const SLOTS: [usize; 2] = [256, 1024];
const LANES: usize = 8;
const SUBMISSION: Duration = Duration::from_micros(30);

impl<T> From<(Arc<T>,)> for Ask {
    fn from(_: (Arc<T>,)) -> Self {
        Ask
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// The algorithms return at once.
    Plain,
    /// The algorithms suspend once, and are woken at once.
    Suspending,
    Batched,
}

impl Way {
    const ALL: [Way; 3] = [Way::Plain, Way::Suspending, Way::Batched];

    fn name(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Suspending => "suspending",
            Way::Batched => "batched",
        }
    }

    fn algorithm<T: Send + Sync + 'static>(
        self,
        chain: &mut Chain,
        name: &'static str,
        input: Handle<T>,
        device: &Arc<dyn Device>,
    ) -> Handle<()> {
        if self == Way::Batched {
            let batcher: Batcher<OnDevice<Nothing>> =
                OnDevice::batcher(Nothing, device.clone(), BatchConfig::default());
            return chain.offload(name, (input,), &batcher);
        }
        let suspends = self == Way::Suspending;
        chain.algorithm(name, (input,), move |_: Arc<T>| async move {
            if suspends {
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(())
        })
    }

    /// Events per second, and processor time per event in microseconds.
    fn run(self, workers: usize, slots: usize) -> Result<(f64, f64)> {
        let config = EmulatedConfig {
            lanes: LANES,
            submission: SUBMISSION,
            per_row_ns: 0.0,
            compute: false,
            ..EmulatedConfig::default()
        };
        let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new(config));
        let mut chain = Chain::new("A → B ∥ C");
        let number = chain.source::<u64>("number");
        let a = self.algorithm(&mut chain, "a", number, &device);
        let b = self.algorithm(&mut chain, "b", a, &device);
        let c = self.algorithm(&mut chain, "c", a, &device);
        let both = chain.algorithm("join", (b, c), async |_: Arc<()>, _: Arc<()>| Ok::<_, Error>(()));
        chain.sink("drop", both, |_, _| Ok(()));
        let warmup = 4 * slots as u64;
        let config = Config { threads: workers, slots, warmup, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(0..EVENTS + warmup))?;
        ensure!(report.events == EVENTS, "{} of {EVENTS} events were processed", report.events);
        Ok((report.throughput(), 1e6 * report.cpu.as_secs_f64() / EVENTS as f64))
    }
}

/// Measures.
pub(super) fn run() -> Result<Value> {
    let mut cases = Vec::new();
    for workers in WORKERS {
        for slots in SLOTS {
            let mut runs = Way::ALL.map(|way| (way, Vec::new(), Vec::new()));
            for _ in 0..REPEATS {
                for (way, per_s, cpu_us) in &mut runs {
                    let run = way.run(workers, slots)?;
                    per_s.push(run.0);
                    cpu_us.push(run.1);
                }
            }
            let [plain, suspending] = [0, 1].map(|way| median(&mut runs[way].2.clone()));
            for (way, mut per_s, mut cpu_us) in runs {
                let cpu_us = median(&mut cpu_us);
                cases.push(json!({
                    "workers": workers, "slots": slots, "way": way.name(),
                    "events_per_s": median(&mut per_s).round(), "cpu_us_per_event": rounded(cpu_us, 2),
                    "over_plain": rounded(cpu_us / plain, 2), "over_suspending": rounded(cpu_us / suspending, 2),
                }));
            }
        }
    }
    Ok(json!({ "repeats": REPEATS, "events": EVENTS, "cases": cases }))
}

/// A table.
pub(super) fn print(result: &Value) {
    println!("three requests per event, A → B ∥ C, nothing to compute, medians of {REPEATS}:");
    println!(
        "{:>7} {:>6}  {:<11} {:>10} {:>13} {:>8} {:>13}",
        "workers", "slots", "way", "events/s", "CPU µs/event", "/ plain", "/ suspending"
    );
    for case in result["cases"].as_array().into_iter().flatten() {
        println!(
            "{:>7} {:>6}  {:<11} {:>10} {:>13} {:>8} {:>13}",
            case["workers"],
            case["slots"],
            text(&case["way"]),
            case["events_per_s"],
            case["cpu_us_per_event"],
            case["over_plain"],
            case["over_suspending"]
        );
    }
}
