//! Models: the processor's provider on one thread, against the GPU's with the input on the host, and with the input on the GPU.
//!
//! | field | |
//! |---|---|
//! | `way` | `cpu`: one session, one thread; `host`: copied in, run, copied back; `resident`: the input lies on the GPU, the output stays |
//! | `us` | per run and lane, as its caller waits for it |
//! | `enqueue_us` | of that, what the host's library takes to enqueue |
//! | `difference` | the largest from the processor's output; numbers are between 0 and 1 |

use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::{CudaBody, CudaConfig, DeviceSlice, Finish, Work};
use asynchrotron_devices::inference::{Block, Blocks, Inference, Inputs, Mlp, Order};
use asynchrotron_devices::onnx::{CudaModel, ModelConfig, ModelSource, OnnxConfig, OnnxDevice, OnnxModel};
use asynchrotron_devices::{BatchStep, Device, LaneId, Step};
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, open, round};

const NETWORKS: [(&str, &[usize]); 2] =
    [("MLP 10-64-64-1", &[10, 64, 64, 1]), ("MLP 64-512-512-512-1", &[64, 512, 512, 512, 1])];
const ROWS: [usize; 5] = [1, 64, 1024, 16_384, 262_144];
const LANES: [usize; 3] = [1, 2, 4];
/// How long one case should take.
const RUN: Duration = Duration::from_millis(100);
const REPEATS: usize = 3;

/// Puts numbers on the GPU, to stay there.
struct Put(Vec<f32>);

impl Step for Put {
    type Input = ();
    type Output = DeviceSlice<f32>;

    fn name(&self) -> &str {
        "put"
    }

    fn rows(&self, (): &()) -> usize {
        self.0.len()
    }

    fn on_host(&self, (): ()) -> Result<DeviceSlice<f32>> {
        bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), DeviceSlice<f32>>> {
        Some(self)
    }
}

impl CudaBody<(), DeviceSlice<f32>> for Put {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> Result<Finish<DeviceSlice<f32>>> {
        let slice = work.upload(&self.0)?;
        Ok(Finish::when_done(move |_| Ok(slice)))
    }
}

/// The model on what lies on the GPU; so does the output.
struct Resident {
    model: Arc<CudaModel>,
    input: DeviceSlice<f32>,
    rows: usize,
}

impl Step for Resident {
    type Input = ();
    type Output = ();

    fn name(&self) -> &str {
        "resident"
    }

    fn rows(&self, (): &()) -> usize {
        self.rows
    }

    fn on_host(&self, (): ()) -> Result<()> {
        bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), ()>> {
        Some(self)
    }
}

impl CudaBody<(), ()> for Resident {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> Result<Finish<()>> {
        self.model.enqueue(work, &[self.input.clone().into()], self.rows)?;
        Ok(Finish::when_done(|_| Ok(())))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

/// The model on blocks of the host.
struct Host {
    step: Arc<Inference<Inputs>>,
    request: Inputs,
}

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    for (name, widths) in NETWORKS {
        let source = ModelSource::from_bytes(name, Mlp::random(widths, 1).to_onnx(Order::FeatureRow));
        let processor = OnnxDevice::open(OnnxConfig { lanes: 1, ..OnnxConfig::default() })?;
        let reference = OnnxModel::load(&source, &processor, ModelConfig::default())?;
        let of_lanes = LANES.map(|lanes| -> Result<_> {
            let device: Arc<dyn Device> = open(CudaConfig { lanes, ..CudaConfig::default() })?;
            let model = CudaModel::load(&source, &*device, ModelConfig::default())?;
            let step = Inference::<Inputs>::new(reference.clone())?.with_cuda(model.clone())?;
            Ok((lanes, device, model, Arc::new(step)))
        });
        let of_lanes = of_lanes.into_iter().collect::<Result<Vec<_>>>()?;
        for rows in ROWS {
            let x = input(rows, widths[0]);
            let (us, expected) = on_processor(&reference, &x)?;
            let mut case = |way: &str, lanes: usize, us: f64, enqueue_us: f64, difference: f64| {
                tell(json!({
                    "model": name, "rows": rows, "way": way, "lanes": lanes, "us": round(us), "enqueue_us": round(enqueue_us),
                    "rows_per_s": round(rows as f64 * lanes as f64 / us * 1e6), "difference": difference,
                }));
            };
            case("cpu", 1, us, us, 0.0);
            for (lanes, device, model, step) in &of_lanes {
                let host = Arc::new(Host { step: step.clone(), request: Inputs(Arc::new(x.clone().into())) });
                let found = executor(1)?.block_on(from_host(&**device, &host))?.0;
                let difference = difference(&found, &expected)?;
                let on = device.clone();
                let (us, enqueue_us) = on_lanes(*lanes, model, move || {
                    let (device, host) = (on.clone(), host.clone());
                    async move { from_host(&*device, &host).await.map(|(_, us)| us) }
                })?;
                case("host", *lanes, us, enqueue_us, difference);

                let put = Arc::new(Put(x.values().to_vec()));
                let input = executor(1)?.block_on(device.run(&put, ()))?;
                let on = device.clone();
                let resident = Arc::new(Resident { model: model.clone(), input, rows });
                let (us, enqueue_us) = on_lanes(*lanes, model, move || {
                    let (device, resident) = (on.clone(), resident.clone());
                    async move {
                        let begin = Instant::now();
                        device.run(&resident, ()).await?;
                        Ok(begin.elapsed().as_secs_f64() * 1e6)
                    }
                })?;
                case("resident", *lanes, us, enqueue_us, difference);
            }
        }
    }
    Ok(())
}

/// Numbers between -2 and 2.
fn input(rows: usize, features: usize) -> Block<f32> {
    let values = (0..rows * features).map(|index| ((index * 7919) % 4001) as f32 * 1e-3 - 2.0);
    Block::new(Order::FeatureRow, rows, features, values.collect())
}

/// The time of a run, and its output.
fn on_processor(model: &OnnxModel, x: &Block<f32>) -> Result<(f64, Blocks)> {
    let x = Blocks::from(x.clone());
    let begin = Instant::now();
    let y = model.run(LaneId(0), &x)?;
    let first = begin.elapsed();
    let repeats = (RUN.as_secs_f64() / first.as_secs_f64()) as usize;
    let mut times = Vec::new();
    for _ in 0..repeats.clamp(1, 5000) {
        let begin = Instant::now();
        model.run(LaneId(0), &x)?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok((median(&mut times), y))
}

/// One run from the host, and its time without what comes before the submission.
async fn from_host(device: &dyn Device, host: &Host) -> Result<(Blocks, f64)> {
    let (input, _) = host.step.pack(&[&host.request], host.request.0.rows());
    let begin = Instant::now();
    let y = device.run(&host.step, input).await?;
    Ok((y, begin.elapsed().as_secs_f64() * 1e6))
}

/// The time of a run with as many at a time as there are lanes, and of it what it takes to enqueue.
fn on_lanes<F: Future<Output = Result<f64>> + Send + 'static>(
    lanes: usize,
    model: &CudaModel,
    run: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Result<(f64, f64)> {
    let begin = Instant::now();
    executor(1)?.block_on(run())?;
    let first = begin.elapsed();
    let runs = ((RUN.as_secs_f64() / first.as_secs_f64()) as usize).clamp(10, 2000);
    let (mut us, mut enqueue_us) = (Vec::new(), Vec::new());
    for repeat in 0..=REPEATS {
        let before = model.report();
        let mut chain = Chain::new("models");
        let number = chain.source::<u64>("number");
        let run = run.clone();
        let ran = chain.algorithm("run", (number,), move |_: Arc<u64>| {
            let run = run.clone();
            async move {
                let mut sum_us = 0.0;
                for _ in 0..runs {
                    sum_us += run().await?;
                }
                Ok::<_, Error>(sum_us / runs as f64)
            }
        });
        let (sender, receiver) = std::sync::mpsc::sync_channel(lanes);
        chain.sink("take", ran, move |_: EventId, us: Arc<f64>| Ok(sender.send(*us)?));
        let config = Config { threads: lanes, slots: lanes, ..Config::default() };
        Scheduler::new(config).run(chain, source::from_iter(0..lanes as u64))?;
        let times: Vec<f64> = receiver.into_iter().collect();
        ensure!(times.len() == lanes, "{} of {lanes} lanes came to their end", times.len());
        let after = model.report();
        // The first is to warm up all lanes.
        if repeat > 0 {
            us.push(times.iter().sum::<f64>() / lanes as f64);
            let enqueued = (after.run - before.run).as_secs_f64() * 1e6;
            enqueue_us.push(enqueued / (after.runs - before.runs) as f64);
        }
    }
    Ok((median(&mut us), median(&mut enqueue_us)))
}

fn executor(workers: usize) -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build()?)
}

fn difference(found: &Blocks, expected: &Blocks) -> Result<f64> {
    let values = |blocks: &Blocks| {
        Ok::<_, Error>(blocks.get::<f32>(0).context("the model gives f32")?.values().to_vec())
    };
    let (found, expected) = (values(found)?, values(expected)?);
    ensure!(found.len() == expected.len(), "{} numbers, not {}", found.len(), expected.len());
    let differences =
        found.iter().zip(&expected).map(|(found, expected)| f64::from((found - expected).abs()));
    Ok(differences.fold(0.0, f64::max))
}
