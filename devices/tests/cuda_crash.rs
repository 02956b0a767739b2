//! A kernel that writes where it must not, on a real GPU: in a process of its own, whose context there is lost for good. Another GPU, if
//! there is one, goes on.
#![cfg(feature = "cuda")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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
#[derive(Default)]
struct Stray {
    /// How often it was enqueued on a GPU.
    enqueued: AtomicUsize,
}

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
        self.enqueued.fetch_add(1, Relaxed);
        let stray = work.kernel(&STRAY, "stray")?;
        work.launch(stray, Launch::blocks(1, 1), &[address.into(), 2_000_000_i64.into()])?;
        Ok(Finish::when_done(|_| Ok(())))
    }
}

#[test]
fn an_illegal_address_reaches_everybody_at_once_and_the_host_goes_on() {
    let config = CudaConfig { lanes: 4, waiting: Waiting::Ask, ..CudaConfig::default() };
    let (gpu, other) = match CudaDevice::discover(config) {
        Ok(gpus) => {
            let mut gpus = gpus.into_iter().map(Arc::new);
            (gpus.next().unwrap(), gpus.next())
        }
        Err(why) => return say(&format!("SKIPPED on a GPU: {why}")),
    };
    let device = balanced(vec![gpu.clone()]);
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    executor.block_on(async {
        let step = Arc::new(Stray::default());
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
        say(&format!("everybody was told in {took:?}: {}", gpu.retired().unwrap()));
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(gpu.retired().unwrap().to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"));
        // The host, in reserve, goes on.
        for _ in 0..20 {
            device.run(&step, 0).await.unwrap();
        }
        device.drain().await;
        match other {
            Some(other) => goes_on(&gpu, &other, &step).await,
            None => say("SKIPPED that another GPU goes on: there is only one"),
        }
    });
}

/// What the loss of one GPU is to another.
async fn goes_on(lost: &Arc<CudaDevice>, other: &Arc<CudaDevice>, step: &Arc<Stray>) {
    let enqueued = step.enqueued.load(Relaxed);
    let found = (&**other as &dyn Device).run(step, 0).await;
    let both = balanced(vec![lost.clone(), other.clone()]);
    for _ in 0..20 {
        both.run(step, 0).await.unwrap();
    }
    both.drain().await;
    if let Err(error) = found {
        // NVIDIA's driver may end every context of a process at such an error: then all GPUs are lost, and the host has it all.
        assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{error}");
        let why = other.retired().expect("it is lost as well");
        return say(&format!(
            "the driver gave up the other GPU as well ({why}); the host took 20 submissions"
        ));
    }
    say("the other GPU computes after the first one's context was lost");
    assert_eq!(step.enqueued.load(Relaxed), enqueued + 21, "the host has computed some");
    assert!(lost.retired().is_some());
    assert!(other.retired().is_none(), "{:?}", other.retired());
    say("of both as one, the other GPU took 20 submissions, and only the first is retired");
}

fn balanced(gpus: Vec<Arc<CudaDevice>>) -> Arc<dyn Device> {
    let lanes = 4 * gpus.len();
    let reserve = Arc::new(HostDevice::new(HostConfig { lanes, ..HostConfig::default() }));
    Arc::new(Balanced::new("cuda", gpus.into_iter().map(|gpu| gpu as _).collect(), reserve))
}

/// Past the test runner, which shows what a test prints only if it fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
