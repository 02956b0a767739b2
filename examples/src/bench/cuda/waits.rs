//! Awaited kernels per second and their latency: tasks × kernels × workers, for each way to wait.

use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron_devices::Device;
use asynchrotron_devices::cuda::{CudaConfig, Waiting};
use serde_json::{Value, json};

use super::spin::Spin;
use super::tasks::{self, Run};
use super::{Gpu, open, round};

const WAYS: [(&str, Waiting); 4] = [
    ("ask", Waiting::Ask),
    ("call back", Waiting::CallBack),
    ("thread", Waiting::Thread),
    ("block", Waiting::Block),
];
const TASKS: [usize; 3] = [1, 16, 64];
const KERNELS_US: [f64; 4] = [0.0, 20.0, 100.0, 500.0];
const WORKERS: [usize; 2] = [2, 8];
const REPEATS: usize = 3;

pub(super) fn run(gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    for tasks in TASKS {
        let mut devices: Vec<(&str, Arc<dyn Device>)> = Vec::new();
        for (name, waiting) in WAYS {
            devices.push((name, open(CudaConfig { lanes: tasks, waiting, ..CudaConfig::default() })?));
        }
        for workers in WORKERS {
            for kernel_us in KERNELS_US {
                tell_case(gpu, &devices, workers, tasks, kernel_us, tell)?;
            }
        }
    }
    Ok(())
}

fn tell_case(
    gpu: &Gpu,
    devices: &[(&str, Arc<dyn Device>)],
    workers: usize,
    tasks: usize,
    kernel_us: f64,
    tell: &mut dyn FnMut(Value),
) -> Result<()> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); devices.len()];
    // In turn, so that what else the machine does meets all of them.
    for _ in 0..REPEATS {
        for ((_, device), runs) in devices.iter().zip(&mut runs) {
            runs.push(measure(gpu, device, workers, tasks, kernel_us)?);
        }
    }
    let of = Run::median;
    let cpu_per_wait = |runs: &[Run]| of(runs, |run| run.cores / run.laps_per_s);
    let least_cpu = runs.iter().map(|runs| cpu_per_wait(runs)).fold(f64::INFINITY, f64::min);
    let block_p50 = runs.last().map_or(f64::NAN, |runs| of(runs, |run| run.p50_us));
    let limit = if kernel_us > 0.0 { tasks as f64 / kernel_us * 1e6 } else { f64::NAN };
    for ((name, _), runs) in devices.iter().zip(&runs) {
        let waits_per_s = of(runs, |run| run.laps_per_s);
        tell(json!({
            "workers": workers, "tasks": tasks, "kernel_us": kernel_us, "way": name,
            "waits_per_s": waits_per_s.round(), "of_limit": round(waits_per_s / limit),
            "p50_us": round(of(runs, |run| run.p50_us)), "p99_us": round(of(runs, |run| run.p99_us)),
            "p50_over_block": round(of(runs, |run| run.p50_us) / block_p50),
            "cores": round(of(runs, |run| run.cores)), "cpu_per_wait_over_least": round(cpu_per_wait(runs) / least_cpu),
        }));
    }
    Ok(())
}

fn measure(gpu: &Gpu, device: &Arc<dyn Device>, workers: usize, tasks: usize, kernel_us: f64) -> Result<Run> {
    let (device, spin) = (device.clone(), Spin::new("spin", [gpu.ticks(kernel_us)]));
    tasks::measure(workers, tasks, move |mut laps| {
        let (device, spin) = (device.clone(), spin.clone());
        async move {
            while laps.next() {
                device.run(&spin, 1).await?;
            }
            Ok(laps)
        }
    })
}
