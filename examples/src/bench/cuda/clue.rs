//! CLUE: points per second on the host and on the GPU, event by event and many events in one batch. The results must be the same, bit
//! for bit.

use std::sync::Arc;
use std::time::Instant;

use asynchrotron::prelude::*;
use asynchrotron_algorithms::clue::{
    ClueConfig, CluePoints, ClueResult, ClueStep, Point, Points, clusterize,
};
use asynchrotron_devices::cuda::CudaConfig;
use asynchrotron_devices::{Columns, Device, Offsets, Step};
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, open, round, uniform};

const LANES: usize = 4;

/// Events, and points of each.
const CASES: [(usize, usize); 11] = [
    (1, 1_000),
    (1, 10_000),
    (1, 100_000),
    (1, 1_000_000),
    (1, 10_000_000),
    (10, 1_000),
    (100, 1_000),
    (1_000, 1_000),
    (100, 30),
    (1_000, 30),
    (10_000, 30),
];

/// Clusters of points on a plane that grows with their number, as in the paper's toy detector: some forty points within reach of each.
fn event(seed: u64, points: usize) -> Points {
    let mut uniform = uniform(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let side = (points as f32).sqrt() * 6.0;
    let mut centre = (0.0, 0.0);
    (0..points)
        .map(|point| {
            if point % 50 == 0 {
                centre = (uniform() * side, uniform() * side);
            }
            let spread = |centre: f32, a: f32, b: f32, c: f32| centre + (a + b + c - 1.5) * 12.0;
            let x = spread(centre.0, uniform(), uniform(), uniform());
            let y = spread(centre.1, uniform(), uniform(), uniform());
            Point { x, y, weight: uniform() }
        })
        .collect()
}

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let device: Arc<dyn Device> = open(CudaConfig { lanes: LANES, ..CudaConfig::default() })?;
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let config = ClueConfig { density_radius: 10.0, seed_density: 5.0, ..ClueConfig::default() };
    let step = Arc::new(ClueStep::new(config)?);
    for (n_events, n_points) in CASES {
        let events: Vec<Points> = (0..n_events as u64).map(|seed| event(seed + 1, n_points)).collect();
        let (points, offsets) = Points::concat(&events.iter().collect::<Vec<_>>());
        let input = CluePoints { points: vec![Arc::new(points)], events: offsets };
        let total = input.len();
        let repeats = (4_000_000 / total).clamp(3, 200);

        let mut host = Vec::new();
        let mut expected = ClueResult::default();
        // A second of it at most: the larger cases are long enough to be measured once.
        for _ in 0..(1_000_000 / total).clamp(1, 7) {
            let begin = Instant::now();
            expected = step.on_host(input.clone())?;
            host.push(begin.elapsed().as_secs_f64());
        }
        let threads = host_on_all_threads(&config, &events)?;

        let alone = |count: usize| {
            executor.block_on(async {
                let mut times = Vec::new();
                for _ in 0..count {
                    let begin = Instant::now();
                    let found = device.run(&step, input.clone()).await?;
                    times.push(begin.elapsed().as_secs_f64());
                    ensure!(found.same_bits(&expected), "the GPU's result is not the host's");
                }
                Ok(median(&mut times))
            })
        };
        alone(3)?; // kernels are loaded, pools are filled
        let alone = alone(repeats.min(50))?;
        let on_all_lanes = |each: usize| {
            executor.block_on(async {
                let lanes: Vec<_> = (0..LANES)
                    .map(|_| {
                        let (device, step, input) = (device.clone(), step.clone(), input.clone());
                        tokio::spawn(async move {
                            for _ in 0..each {
                                device.run(&step, input.clone()).await?;
                            }
                            Ok::<_, Error>(())
                        })
                    })
                    .collect();
                for lane in lanes {
                    lane.await??;
                }
                Ok::<_, Error>(())
            })
        };
        // Each lane needs memory of its own, once.
        on_all_lanes(2)?;
        let begin = Instant::now();
        on_all_lanes(repeats.div_ceil(LANES))?;
        let overlapped = begin.elapsed().as_secs_f64() / (repeats.div_ceil(LANES) * LANES) as f64;
        let host = median(&mut host);
        let mpoints = |seconds: f64| round(total as f64 / seconds / 1e6);
        tell(json!({
            "events": n_events, "points_per_event": n_points, "identical": true,
            "host_1_mpoints_per_s": mpoints(host), "host_all_mpoints_per_s": mpoints(threads),
            "gpu_alone_us": round(alone * 1e6), "gpu_alone_mpoints_per_s": mpoints(alone),
            "gpu_4_lanes_mpoints_per_s": mpoints(overlapped), "gpu_over_host_1": round(host / overlapped),
            "gpu_over_host_all": round(threads / overlapped),
        }));
    }
    Ok(())
}

/// The events shared out among all cores, without a scheduler; in seconds.
fn host_on_all_threads(config: &ClueConfig, events: &[Points]) -> Result<f64> {
    let threads = Config::default().resolved_threads();
    // Each thread takes all of them, if there is but one: that many copies at once are the machine's throughput.
    let copies = if events.len() < threads { threads } else { 1 };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let own = |index: &usize| copies > 1 || index % threads == thread;
                    for index in (0..events.len()).filter(own) {
                        let event = &events[index];
                        std::hint::black_box(clusterize(config, event, &Offsets::single(event.len()))?);
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("it does not panic"))
    })?;
    Ok(begin.elapsed().as_secs_f64() / copies as f64)
}
