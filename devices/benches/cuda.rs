//! What the CUDA device adds to a submission: `cargo bench -p asynchrotron-devices --features cuda --bench cuda`.
//!
//! On a mock driver, whose calls cost next to nothing: nanoseconds per awaited kernel on one worker, medians of 9 rounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{CudaBody, CudaConfig, CudaDevice, Finish, KernelSource, Launch, Work};
use asynchrotron_devices::{Device, Step};

static NOTHING: KernelSource = KernelSource { name: "nothing.cu", source: "", options: &[] };
const WAITS: usize = 2_000;

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

    fn on_host(&self, input: u64) -> Result<u64> {
        Ok(input)
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<u64, u64>> {
        Some(self)
    }
}

impl CudaBody<u64, u64> for Nothing {
    fn enqueue(&self, input: u64, work: &mut Work<'_>) -> Result<Finish<u64>> {
        work.launch(work.kernel(&NOTHING, "nothing")?, Launch::blocks(1, 1), &[input.into()])?;
        Ok(Finish::when_done(move |_| Ok(input)))
    }
}

fn ns_per_wait(tasks: usize, latency: Duration) -> f64 {
    let nothing: MockKernel = Arc::new(|_, _| {});
    let kernels = HashMap::from([("nothing".to_owned(), nothing)]);
    let driver = MockDriver::new(MockConfig { kernels, latency, ..MockConfig::default() });
    let config = CudaConfig { lanes: tasks, ..CudaConfig::default() };
    let device: Arc<dyn Device> = Arc::new(CudaDevice::open(Arc::new(driver), config).expect("a mock opens"));
    let step = Arc::new(Nothing);
    let mut rounds: Vec<f64> = (0..9)
        .map(|_| {
            let mut chain = Chain::new("waits");
            let number = chain.source::<u64>("number");
            let (device, step) = (device.clone(), step.clone());
            let waited = chain.algorithm("wait", (number,), move |number: Arc<u64>| {
                let (device, step) = (device.clone(), step.clone());
                async move {
                    for _ in 0..WAITS {
                        device.run(&step, *number).await?;
                    }
                    Ok::<_, Error>(())
                }
            });
            chain.sink("drop", waited, |_: EventId, _: Arc<()>| Ok(()));
            let config = Config { threads: 1, slots: tasks, ..Config::default() };
            let report =
                Scheduler::new(config).run(chain, source::from_iter(0..tasks as u64)).expect("it runs");
            report.elapsed.as_secs_f64() * 1e9 / (tasks * WAITS) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn main() {
    // `cargo test` runs this as well, to see that it works.
    let quick = std::env::args().any(|argument| argument == "--test");
    println!("{:>6} {:>10} {:>12}", "tasks", "latency", "ns per wait");
    for (tasks, latency_us) in [(1, 0), (8, 0), (64, 0), (64, 20)] {
        if !quick || tasks == 8 {
            let latency = Duration::from_micros(latency_us);
            println!("{tasks:>6} {latency:>10?} {:>12.0}", ns_per_wait(tasks, latency));
        }
    }
}
