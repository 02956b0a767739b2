//! The graph of CERN's scheduler tests (wp1.7): A → B ∥ C, with kernels of 28 000 and 35 000, 42 000 and 49 000, and 56 000 clock
//! ticks, of 2 × 2 threads, without copies.
//!
//! `five` awaits each kernel, `three` each algorithm; `batched` puts the kernels of several events into one launch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::CudaConfig;
use asynchrotron_devices::{Device, OnDevice};
use serde_json::{Value, json};

use super::super::machine::median;
use super::spin::Spin;
use super::{Gpu, open, round};

const WORKERS: [usize; 5] = [1, 2, 4, 8, 16];
const SLOTS: [usize; 5] = [1, 4, 16, 30, 64];
const BATCHED_SLOTS: [usize; 3] = [64, 256, 1024];
const RUN: Duration = Duration::from_millis(80);
const REPEATS: usize = 3;

const A: [i64; 2] = [28_000, 35_000];
const B: [i64; 2] = [42_000, 49_000];
const C: [i64; 1] = [56_000];

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Five,
    Three,
    Batched,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Five => "five",
            Way::Three => "three",
            Way::Batched => "batched",
        }
    }
}

fn spin(name: &'static str, ticks: &[i64]) -> Spin {
    Spin { name, ticks: ticks.to_vec(), shape: (2, 2) }
}

/// One algorithm: its kernels one by one, or together.
fn algorithm<I>(
    chain: &mut Chain,
    name: &'static str,
    input: Handle<I>,
    device: &Arc<dyn Device>,
    steps: Vec<Arc<Spin>>,
) -> Handle<()>
where
    I: Send + Sync + 'static,
{
    let (device, steps): (_, Arc<[Arc<Spin>]>) = (device.clone(), steps.into());
    chain.algorithm(name, (input,), move |_: Arc<I>| {
        let (device, steps) = (device.clone(), steps.clone());
        async move {
            for step in &*steps {
                device.run(step, 1).await?;
            }
            Ok::<_, Error>(())
        }
    })
}

fn chain(device: &Arc<dyn Device>, way: Way, slots: usize) -> Chain {
    let mut chain = Chain::new("graph");
    let number = chain.source::<u64>("number");
    let (b, c) = if way == Way::Batched {
        let batcher = |name, ticks: &[i64]| {
            let config = BatchConfig::default().with_policy(BatchPolicy::default());
            let config = BatchConfig { requests_max: slots.max(1), ..config };
            OnDevice::batcher(spin(name, ticks), device.clone(), config)
        };
        let a = chain.offload("a", (number,), &batcher("a", &A));
        let b = chain.offload("b", (a,), &batcher("b", &B));
        let c = chain.offload("c", (a,), &batcher("c", &C));
        (b, c)
    } else {
        let steps = |name, ticks: &[i64]| -> Vec<Arc<Spin>> {
            match way {
                Way::Five => ticks.iter().map(|&ticks| Arc::new(spin(name, &[ticks]))).collect(),
                _ => vec![Arc::new(spin(name, ticks))],
            }
        };
        let a = algorithm(&mut chain, "a", number, device, steps("a", &A));
        let b = algorithm(&mut chain, "b", a, device, steps("b", &B));
        let c = algorithm(&mut chain, "c", a, device, steps("c", &C));
        (b, c)
    };
    let both = chain.algorithm("join", (b, c), async |_: Arc<()>, _: Arc<()>| Ok::<_, Error>(()));
    chain.sink("drop", both, |_: EventId, _: Arc<()>| Ok(()));
    chain
}

pub(super) fn run(gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    // One event's kernels, B and C at the same time.
    let event_us = (A.iter().sum::<i64>() + B.iter().sum::<i64>().max(C[0])) as f64 / gpu.ticks_per_us;
    for way in [Way::Five, Way::Three, Way::Batched] {
        let slots: &[usize] = if way == Way::Batched { &BATCHED_SLOTS } else { &SLOTS };
        for &slots in slots {
            // B and C of an event are on lanes of their own.
            let lanes = if way == Way::Batched { 8 } else { (2 * slots).min(128) };
            let device: Arc<dyn Device> = open(CudaConfig { lanes, ..CudaConfig::default() })?;
            for workers in WORKERS {
                let (mut per_s, mut cpu_us) = (Vec::new(), Vec::new());
                for _ in 0..REPEATS {
                    let config =
                        Config { threads: workers, slots, warmup: 4 * slots as u64, ..Config::default() };
                    let end = Instant::now() + RUN;
                    let events = (0..u64::MAX).take_while(move |_| Instant::now() < end);
                    let report =
                        Scheduler::new(config).run(chain(&device, way, slots), source::from_iter(events))?;
                    per_s.push(report.events as f64 / report.elapsed.as_secs_f64());
                    cpu_us.push(report.cpu.as_secs_f64() * 1e6 / report.events as f64);
                }
                let per_s = median(&mut per_s);
                tell(json!({
                    "way": way.name(), "slots": slots, "workers": workers, "events_per_s": per_s.round(),
                    "of_limit": round(per_s * event_us / 1e6 / slots as f64), "cpu_us_per_event": round(median(&mut cpu_us)),
                }));
            }
        }
    }
    Ok(())
}
