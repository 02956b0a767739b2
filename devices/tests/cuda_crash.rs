//! A kernel that writes where it must not, on a real GPU: in a process of its own, whose context is lost for good.
#![cfg(feature = "cuda")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, Finish, KernelSource, Launch, Waiting, Work,
};
use asynchrotron_devices::{Balanced, Device, DeviceErrorKind, HostConfig, HostDevice, Step};

static STRAY: KernelSource = KernelSource {
    name: "stray.cu",
    source: r#"
        extern "C" __global__ void stray(unsigned long long address, long long ticks) {
            long long begin = clock64();
            while (clock64() - begin < ticks) {}
            if (address) *(volatile unsigned*)address = 1;
        }"#,
    options: &[],
};

/// Takes a millisecond, and then writes to an address, unless that is 0.
struct Stray;

impl Step for Stray {
    type Input = u64;
    type Output = ();

    fn name(&self) -> &str {
        "stray"
    }

    fn rows(&self, _: &u64) -> usize {
        1
    }

    fn on_host(&self, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<u64, ()>> {
        Some(self)
    }
}

impl CudaBody<u64, ()> for Stray {
    fn enqueue(&self, address: u64, work: &mut Work<'_>) -> anyhow::Result<Finish<()>> {
        let stray = work.kernel(&STRAY, "stray")?;
        work.launch(stray, Launch::blocks(1, 1), &[address.into(), 2_000_000_i64.into()])?;
        Ok(Box::new(|_| Ok(())))
    }
}

#[test]
fn an_illegal_address_reaches_everybody_at_once_and_the_host_goes_on() {
    let config = CudaConfig { lanes: 4, waiting: Waiting::Ask, ..CudaConfig::default() };
    let gpu = match CudaDevice::discover(config) {
        Ok(gpus) => Arc::new(gpus.into_iter().next().unwrap()),
        Err(why) => return eprintln!("SKIPPED on a GPU: {why}"),
    };
    let reserve = Arc::new(HostDevice::new(HostConfig { lanes: 4, ..HostConfig::default() }));
    let device: Arc<dyn Device> = Arc::new(Balanced::new("cuda", vec![gpu.clone()], reserve));
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    executor.block_on(async {
        let step = Arc::new(Stray);
        device.run(&step, 0).await.unwrap();
        let begin = Instant::now();
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (device, step) = (device.clone(), step.clone());
                tokio::spawn(async move { device.run(&step, 0).await })
            })
            .collect();
        let error = device.run(&step, 1 << 20).await.unwrap_err();
        assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{error}");
        for other in others {
            // Those that were done before it may have succeeded.
            if let Err(error) = other.await.unwrap() {
                assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{error}");
            }
        }
        let took = begin.elapsed();
        eprintln!("everybody was told in {took:?}: {}", gpu.retired().unwrap());
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(gpu.retired().unwrap().to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"));
        // The host, in reserve, goes on.
        for _ in 0..20 {
            device.run(&step, 0).await.unwrap();
        }
        device.drain().await;
    });
}
