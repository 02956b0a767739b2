//! CLUE on the GPU while it fails at random: launches, memory, and events whose deadline is too short. Every event is accounted for, and
//! what succeeds is the host's result. `ASYNCHROTRON_BENCH_FAULTS_S` says how long, in seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron::{OnError, Then};
use asynchrotron_algorithms::clue::{
    ClueConfig, CluePoints, ClueRequest, ClueResult, ClueStep, Point, Points, clusterize,
};
use asynchrotron_devices::cuda::{CudaBody, CudaConfig, Fault, Finish, Severity, Work};
use asynchrotron_devices::{BatchStep, Columns, Device, Offsets, OnDevice, Step};
use serde_json::{Value, json};

use super::{Gpu, open, uniform};

const SECONDS: u64 = 5;
/// One submission in so many fails, in one of three ways.
const FAULT_EVERY: u64 = 20;

/// CLUE that fails at random.
struct Faulty {
    clue: ClueStep,
    submissions: AtomicU64,
    faults: Arc<AtomicU64>,
}

impl Step for Faulty {
    type Input = CluePoints;
    type Output = ClueResult;

    fn name(&self) -> &str {
        "faulty clue"
    }

    fn rows(&self, input: &CluePoints) -> usize {
        self.clue.rows(input)
    }

    fn on_host(&self, input: CluePoints) -> Result<ClueResult> {
        self.clue.on_host(input)
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<CluePoints, ClueResult>> {
        Some(self)
    }
}

impl CudaBody<CluePoints, ClueResult> for Faulty {
    fn enqueue(&self, input: CluePoints, work: &mut Work<'_>) -> Result<Finish<ClueResult>> {
        let number = self.submissions.fetch_add(1, Relaxed);
        let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // Fails after the kernels are on their way: their buffers must outlive them.
        let finish = self.clue.enqueue(input, work)?;
        if !dice.is_multiple_of(FAULT_EVERY) {
            return Ok(finish);
        }
        self.faults.fetch_add(1, Relaxed);
        match dice / FAULT_EVERY % 3 {
            0 => Err(Fault::new(Severity::Ordinary, "a launch that fails, at random").into()),
            // More than any GPU has: the driver itself says so.
            1 => work.allocate::<u8>(1 << 44).map(|_| finish).map_err(Error::new),
            _ => panic!("a step that panics, at random"),
        }
    }
}

impl BatchStep for Faulty {
    type Request = ClueRequest;
    type Reply = ClueResult;
    type Parts = Offsets;

    fn request_rows(&self, request: &ClueRequest) -> usize {
        self.clue.request_rows(request)
    }

    fn pack(&self, requests: &[&ClueRequest], rows: usize) -> (CluePoints, Offsets) {
        self.clue.pack(requests, rows)
    }

    fn unpack(&self, output: ClueResult, parts: Offsets) -> Vec<ClueResult> {
        self.clue.unpack(output, parts)
    }
}

fn event(number: u64) -> Points {
    let mut uniform = uniform(number.wrapping_mul(0xd134_2543_de82_ef95) | 1);
    (0..number % 97).map(|_| Point { x: uniform() * 9.0, y: uniform() * 9.0, weight: uniform() }).collect()
}

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let seconds = std::env::var("ASYNCHROTRON_BENCH_FAULTS_S").ok();
    let seconds = seconds.map_or(Ok(SECONDS), |text| text.parse()).context("ASYNCHROTRON_BENCH_FAULTS_S")?;
    let gpu = open(CudaConfig::default())?;
    let device: Arc<dyn Device> = gpu.clone();
    let config = ClueConfig { density_radius: 1.0, seed_density: 1.0, ..ClueConfig::default() };
    let faults = Arc::new(AtomicU64::new(0));
    // Panics are part of it, and need not be printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut read, mut done, mut failed, mut wrong, mut rounds) = (0, 0, 0, 0, 0);
    while Instant::now() < end {
        let step = Faulty {
            clue: ClueStep::new(config)?,
            submissions: AtomicU64::new(rounds << 40),
            faults: faults.clone(),
        };
        let batches = BatchConfig::default().with_policy(BatchPolicy::default());
        let clue = OnDevice::batcher(step, device.clone(), batches);
        let mut chain = Chain::new("faults");
        let points = chain.source::<Points>("points");
        let found = chain.offload("clusterize", (points,), &clue);
        let differ = Arc::new(AtomicU64::new(0));
        let told = differ.clone();
        chain.sink("compare", found, move |event_id: EventId, found: Arc<ClueResult>| {
            // Some of them: the host takes longer than the GPU.
            if event_id.0.is_multiple_of(16) {
                let points = event(event_id.0);
                let expected = clusterize(&config, &points, &Offsets::single(points.len()))?;
                if !found.same_bits(&expected) {
                    told.fetch_add(1, Relaxed);
                }
            }
            Ok(())
        });
        let config = Config {
            threads: 4,
            slots: 256,
            // Some events are dropped while the GPU works for them.
            deadline: Some(Duration::from_millis(if rounds % 2 == 0 { 2 } else { 1_000 })),
            on_error: OnError { then: Then::Skip, ..OnError::default() },
            ..Config::default()
        };
        let report = Scheduler::new(config).run(chain, source::from_iter((0..20_000_u64).map(event)))?;
        read += 20_000;
        done += report.events;
        failed += report.failed;
        wrong += differ.load(Relaxed);
        rounds += 1;
    }
    std::panic::set_hook(hook);
    // What was dropped ends first.
    tokio::runtime::Builder::new_current_thread().build()?.block_on(device.drain());
    let memory = gpu.memory();
    let lanes_back = gpu.lanes().available() == gpu.capability().lanes;
    tell(json!({
        "seconds": seconds, "events": read, "succeeded": done, "failed": failed, "faults": faults.load(Relaxed), "wrong": wrong,
        "unaccounted": read - done - failed, "lanes_back": lanes_back,
        "bytes_left_in_use": memory.device.used_bytes + memory.pinned.used_bytes, "retired": gpu.retired().is_some(),
    }));
    ensure!(read == done + failed, "{} events are unaccounted for", read - done - failed);
    ensure!(wrong == 0, "{wrong} results are not the host's");
    ensure!(lanes_back && gpu.retired().is_none(), "lanes were lost");
    Ok(())
}
