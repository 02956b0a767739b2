//! Copies between host and GPU: pinned against pageable memory, and beside kernels on several lanes.

use std::sync::Arc;
use std::time::Instant;

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::{CudaBody, CudaConfig, Finish, KernelSource, Launch, Pinned, Work};
use asynchrotron_devices::{Device, Step};
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, open, round};

const REPEATS: usize = 7;

static SAXPY: KernelSource = KernelSource {
    name: "rounds.cu",
    source: r#"
        // Some arithmetic on each element, to take about as long as its copy.
        extern "C" __global__ void rounds(float* x, unsigned n, unsigned rounds) {
            unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i >= n) return;
            float y = x[i];
            for (unsigned round = 0; round < rounds; ++round) y = y * 0.999f + 0.001f;
            x[i] = y;
        }"#,
    options: &[],
};

/// In, a kernel, out.
struct There {
    floats: usize,
    rounds: u32,
}

impl Step for There {
    type Input = ();
    type Output = ();

    fn name(&self) -> &str {
        "there and back"
    }

    fn rows(&self, (): &()) -> usize {
        self.floats
    }

    fn on_host(&self, (): ()) -> Result<()> {
        bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), ()>> {
        Some(self)
    }
}

impl CudaBody<(), ()> for There {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> Result<Finish<()>> {
        let kernel = work.kernel(&SAXPY, "rounds")?;
        // What is in it does not matter; filling it is the processor's time, not the copy engine's.
        let staged = work.stage::<f32>(self.floats)?;
        let x = work.send(staged)?;
        let arguments = [(&x).into(), (self.floats as u32).into(), self.rounds.into()];
        work.launch(kernel, Launch::for_each(self.floats, 256), &arguments)?;
        let _back = work.download(&x)?;
        Ok(Finish::when_done(|_| Ok(())))
    }
}

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    raw(tell)?;
    overlapping(tell)
}

/// One copy at a time, through the driver alone.
fn raw(tell: &mut dyn FnMut(Value)) -> Result<()> {
    let device = open(CudaConfig::default())?;
    let driver = device.driver();
    driver.bind()?;
    let (stream, event) = (driver.create_stream()?, driver.create_event(false)?);
    for bytes in [4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20] {
        let memory = driver.allocate(bytes, stream)?;
        let pinned = driver.pin(bytes)?;
        let pageable = vec![1_u8; bytes];
        let time = |from: Pinned, out: bool| -> Result<f64> {
            let mut times = Vec::new();
            for _ in 0..REPEATS {
                let begin = Instant::now();
                if out {
                    driver.copy_out(from, memory, bytes, stream)?;
                } else {
                    driver.copy_in(memory, from, bytes, stream)?;
                }
                driver.record(event, stream)?;
                while !driver.is_reached(event)? {
                    std::hint::spin_loop();
                }
                times.push(begin.elapsed().as_secs_f64());
            }
            Ok(median(&mut times))
        };
        let paged = Pinned(pageable.as_ptr().addr());
        let (pinned_in, pinned_out) = (time(pinned, false)?, time(pinned, true)?);
        let pageable_in = time(paged, false)?;
        let gb = bytes as f64 / 1e9;
        tell(json!({
            "bytes": bytes, "pinned_in_gb_per_s": round(gb / pinned_in), "pinned_out_gb_per_s": round(gb / pinned_out),
            "pageable_in_gb_per_s": round(gb / pageable_in), "pinned_over_pageable": round(pageable_in / pinned_in),
        }));
        driver.free(memory, bytes, stream);
        driver.unpin(pinned, bytes);
    }
    driver.destroy_event(event);
    Ok(())
}

/// Submissions of a copy in, a kernel and a copy out, on several lanes.
fn overlapping(tell: &mut dyn FnMut(Value)) -> Result<()> {
    let mut one_lane = f64::NAN;
    for lanes in [1, 2, 4, 8] {
        let device: Arc<dyn Device> = open(CudaConfig { lanes, ..CudaConfig::default() })?;
        let step = Arc::new(There { floats: 4 << 20, rounds: 1500 });
        let chain = || {
            let mut chain = Chain::new("copies");
            let number = chain.source::<u64>("number");
            let (device, step) = (device.clone(), step.clone());
            let there = chain.algorithm("there", (number,), move |_: Arc<u64>| {
                let (device, step) = (device.clone(), step.clone());
                async move { Ok::<_, Error>(device.run(&step, ()).await?) }
            });
            chain.sink("drop", there, |_: EventId, _: Arc<()>| Ok(()));
            chain
        };
        let mut per_s = Vec::new();
        for _ in 0..3 {
            let config = Config { threads: 4, slots: 4 * lanes, warmup: 20, ..Config::default() };
            let report = Scheduler::new(config).run(chain(), source::from_iter(0..320_u64))?;
            per_s.push(report.events as f64 / report.elapsed.as_secs_f64());
        }
        let gb_per_s = median(&mut per_s) * (4 << 22) as f64 / 1e9;
        if lanes == 1 {
            one_lane = gb_per_s;
        }
        tell(json!({
            "lanes": lanes, "bytes": 4 << 22, "each_way_gb_per_s": round(gb_per_s), "over_one_lane": round(gb_per_s / one_lane),
        }));
    }
    Ok(())
}
