//! Kernels that take a given time and compute nothing.

use std::sync::Arc;
use std::time::Instant;

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::{CudaBody, CudaDevice, Finish, KernelSource, Launch, Work};
use asynchrotron_devices::{BatchStep, Device, Step};

pub(super) static SPIN: KernelSource = KernelSource {
    name: "spin.cu",
    source: r#"
        extern "C" __global__ void spin(long long ticks) {
            long long begin = clock64();
            while (clock64() - begin < ticks) {}
        }"#,
    options: &[],
};

/// Kernels of so many clock ticks each, one after the other, with one wait for all of them. As many blocks as there are requests in
/// the batch.
#[derive(Clone)]
pub(super) struct Spin {
    pub(super) name: &'static str,
    pub(super) ticks: Vec<i64>,
    /// Blocks and threads of a block, of one request.
    pub(super) shape: (u32, u32),
}

impl Spin {
    pub(super) fn new(name: &'static str, ticks: impl Into<Vec<i64>>) -> Arc<Self> {
        Arc::new(Self { name, ticks: ticks.into(), shape: (1, 1) })
    }
}

impl Step for Spin {
    type Input = u32;
    type Output = ();

    fn name(&self) -> &str {
        self.name
    }

    fn rows(&self, requests: &u32) -> usize {
        *requests as usize
    }

    fn on_host(&self, _requests: u32) -> Result<()> {
        bail!("these kernels are a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<u32, ()>> {
        Some(self)
    }
}

impl CudaBody<u32, ()> for Spin {
    fn enqueue(&self, requests: u32, work: &mut Work<'_>) -> Result<Finish<()>> {
        let spin = work.kernel(&SPIN, "spin")?;
        let (blocks, threads) = self.shape;
        for &ticks in &self.ticks {
            work.launch(spin, Launch::blocks(requests * blocks, threads), &[ticks.into()])?;
        }
        Ok(Finish::when_done(|_| Ok(())))
    }
}

/// What an event asks for: nothing.
pub(super) struct Request;

impl<T> From<(Arc<T>,)> for Request {
    fn from(_: (Arc<T>,)) -> Self {
        Request
    }
}

impl BatchStep for Spin {
    type Request = Request;
    type Reply = ();
    type Parts = usize;

    fn request_rows(&self, _: &Request) -> usize {
        1
    }

    fn pack(&self, requests: &[&Request], _rows: usize) -> (u32, usize) {
        (requests.len() as u32, requests.len())
    }

    fn unpack(&self, (): (), requests: usize) -> Vec<()> {
        vec![(); requests]
    }
}

/// Clock ticks per microsecond, from a kernel that is long beside what surrounds it.
pub(super) fn ticks_per_us(device: &Arc<CudaDevice>) -> Result<f64> {
    let device: Arc<dyn Device> = device.clone();
    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    executor.block_on(async {
        let time = async |name: &'static str, ticks: i64| {
            let spin = Spin::new(name, [ticks]);
            let begin = Instant::now();
            device.run(&spin, 1).await?;
            Ok::<_, Error>(begin.elapsed().as_secs_f64() * 1e6)
        };
        // Warm: the module is loaded, and the clocks are up.
        time("warm up", 200_000_000).await?;
        let (short, long) = (time("short", 20_000_000).await?, time("long", 220_000_000).await?);
        Ok(200_000_000.0 / (long - short))
    })
}
