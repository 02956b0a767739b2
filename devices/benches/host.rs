//! What the host device adds to a step: `cargo bench -p asynchrotron-devices --bench host`.
//!
//! Medians of 9 rounds, in ns per submit + await of a step that does nothing, seen from a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron_devices::{Device, HostConfig, HostDevice, Step};

struct Nothing;

impl Step for Nothing {
    type Input = u64;
    type Output = u64;

    fn name(&self) -> &str {
        "nothing"
    }

    fn rows(&self, _: &u64) -> usize {
        1
    }

    fn on_host(&self, input: u64) -> anyhow::Result<u64> {
        Ok(input)
    }
}

async fn median_ns<F: Future>(calls: u32, mut call: impl FnMut() -> F) -> u128 {
    let mut rounds = Vec::new();
    for _ in 0..9 {
        let begin = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(call().await);
        }
        rounds.push(begin.elapsed().as_nanos() / u128::from(calls));
    }
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// Many in flight: the hand-overs overlap.
async fn side_by_side_ns(device: &Arc<dyn Device>, tasks: u32, calls: u32) -> u128 {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let device = device.clone();
            tokio::spawn(async move {
                let step = Arc::new(Nothing);
                for _ in 0..calls {
                    device.run(&step, 1).await.unwrap();
                }
            })
        })
        .collect();
    let total = tasks.len() as u128 * u128::from(calls);
    for task in tasks {
        task.await.unwrap();
    }
    begin.elapsed().as_nanos() / total
}

async fn measure() {
    let device = |inline_below| -> Arc<dyn Device> {
        Arc::new(HostDevice::new(HostConfig { lanes: 2, inline_below }))
    };
    let (inline, threads, step) = (device(Duration::MAX), device(Duration::ZERO), Arc::new(Nothing));
    let submit =
        |device: &Arc<dyn Device>| device.submit(device.lanes().try_take().unwrap(), step.clone(), 1);
    println!("run, inline                  {:7}", median_ns(1_000_000, || inline.run(&step, 1)).await);
    println!("try_take + submit, inline    {:7}", median_ns(1_000_000, || submit(&inline)).await);
    println!("run, driver thread           {:7}", median_ns(10_000, || threads.run(&step, 1)).await);
    println!("run, driver thread, 64 tasks {:7}", side_by_side_ns(&threads, 64, 1000).await);
    let clock = || std::future::ready(Instant::now());
    println!("one reading of the clock     {:7}", median_ns(1_000_000, clock).await);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
}
