//! Steps in a row, each on what the one before has left on the GPU: handed on when it was done, handed on ahead, and all of them as one
//! submission, which is the best that there is but takes one step that knows all of them.

use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::{CudaBody, CudaConfig, DeviceSlice, Finish, Launch, Work};
use asynchrotron_devices::{Device, Step};
use serde_json::{Value, json};

use super::spin::SPIN;
use super::tasks::{self, Run};
use super::{Gpu, open, round};

/// Kernels of one row.
const STEPS: usize = 4;
const TASKS: [usize; 3] = [1, 4, 16];
const KERNELS_US: [f64; 4] = [0.0, 5.0, 20.0, 100.0];
const WORKERS: usize = 2;
const REPEATS: usize = 5;

#[derive(Clone, Copy)]
enum Way {
    WhenDone,
    Ahead,
    AsOne,
}

const WAYS: [(&str, Way); 3] = [("when done", Way::WhenDone), ("ahead", Way::Ahead), ("as one", Way::AsOne)];

/// Kernels that take their time, on what others have left, if anything.
struct Link {
    name: &'static str,
    ticks: i64,
    kernels: usize,
    ahead: bool,
}

impl Step for Link {
    type Input = Option<DeviceSlice<f32>>;
    type Output = DeviceSlice<f32>;

    fn name(&self) -> &str {
        self.name
    }

    fn rows(&self, _: &Self::Input) -> usize {
        1
    }

    fn on_host(&self, _: Self::Input) -> Result<Self::Output> {
        bail!("these kernels are a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<Self::Input, Self::Output>> {
        Some(self)
    }
}

impl CudaBody<Option<DeviceSlice<f32>>, DeviceSlice<f32>> for Link {
    fn enqueue(
        &self,
        left: Option<DeviceSlice<f32>>,
        work: &mut Work<'_>,
    ) -> Result<Finish<DeviceSlice<f32>>> {
        if let Some(left) = left {
            work.fetch(&left)?;
        }
        let spin = work.kernel(&SPIN, "spin")?;
        let leaves = work.allocate::<f32>(1024)?;
        for _ in 0..self.kernels {
            work.launch(spin, Launch::blocks(1, 1), &[self.ticks.into()])?;
        }
        Ok(if self.ahead { Finish::ahead(leaves) } else { Finish::when_done(move |_| Ok(leaves)) })
    }
}

pub(super) fn run(gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    // A lane for each step of each task: what is handed on ahead keeps its own.
    let lanes = STEPS * TASKS.iter().max().copied().unwrap_or(1);
    let device: Arc<dyn Device> = open(CudaConfig { lanes, ..CudaConfig::default() })?;
    for tasks in TASKS {
        for kernel_us in KERNELS_US {
            let mut runs = [const { Vec::new() }; WAYS.len()];
            // In turn, so that what else the machine does meets all of them.
            for _ in 0..REPEATS {
                for ((_, way), runs) in WAYS.iter().zip(&mut runs) {
                    runs.push(measure(&device, *way, tasks, gpu.ticks(kernel_us))?);
                }
            }
            let of = Run::median;
            let [when_done, ..] = &runs;
            for ((name, _), these) in WAYS.iter().zip(&runs) {
                let of_when_done = |field| round(of(these, field) / of(when_done, field));
                tell(json!({
                    "tasks": tasks, "kernel_us": kernel_us, "steps": STEPS, "way": name,
                    "rows_per_s": of(these, |run| run.laps_per_s).round(), "p50_us": round(of(these, |run| run.p50_us)),
                    "rows_per_s_over_when_done": of_when_done(|run| run.laps_per_s),
                    "p50_over_when_done": of_when_done(|run| run.p50_us), "cores": round(of(these, |run| run.cores)),
                }));
            }
        }
    }
    Ok(())
}

fn measure(device: &Arc<dyn Device>, way: Way, tasks: usize, ticks: i64) -> Result<Run> {
    let link = |name, kernels, ahead| Arc::new(Link { name, ticks, kernels, ahead });
    // The last one's end is what is waited for. A device learns by its name how long a step takes.
    let row: Arc<[Arc<Link>]> = match way {
        Way::WhenDone => vec![link("when done", 1, false); STEPS].into(),
        Way::Ahead => {
            let mut row = vec![link("ahead", 1, true); STEPS - 1];
            row.push(link("last", 1, false));
            row.into()
        }
        Way::AsOne => [link("as one", STEPS, false)].into(),
    };
    let device = device.clone();
    tasks::measure(WORKERS, tasks, move |mut laps| {
        let (device, row) = (device.clone(), row.clone());
        async move {
            while laps.next() {
                let mut left = None;
                for link in &*row {
                    left = Some(device.run(link, left).await?);
                }
            }
            Ok(laps)
        }
    })
}
