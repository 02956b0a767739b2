//! Several devices as one: the conformance suite, and what only this device promises.

mod conformance;

use std::sync::Arc;

use asynchrotron_devices::{Balanced, Device, HostConfig, HostDevice, Step};

fn host(lanes: usize) -> Arc<dyn Device> {
    Arc::new(HostDevice::new(HostConfig { lanes, ..HostConfig::default() }))
}

/// One lane more than the members have. With more of them, what this suite submits first, never seen before, would not all run: one
/// is tried on the host, the others are held.
mod spilling_hosts {
    use super::*;

    fn balanced() -> Arc<dyn Device> {
        Arc::new(Balanced::new("both", vec![host(1), host(2)], host(4)).with_spill(1))
    }
    super::conformance::suite!(balanced);
}

mod of_hosts {
    use super::*;

    fn balanced() -> Arc<dyn Device> {
        Arc::new(Balanced::new("both", vec![host(1), host(2)], host(3)))
    }
    super::conformance::suite!(balanced);
}

#[cfg(feature = "cuda")]
mod of_gpus {
    use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver};
    use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};

    use super::*;

    fn both(reserve: usize) -> Balanced {
        let gpu = |ordinal| {
            let driver = MockDriver::new(MockConfig { ordinal, ..MockConfig::default() });
            let config = CudaConfig { lanes: 2, ..CudaConfig::default() };
            Arc::new(CudaDevice::open(Arc::new(driver), config).unwrap()) as _
        };
        Balanced::new("both", vec![gpu(0), gpu(1)], host(reserve))
    }

    fn balanced() -> Arc<dyn Device> {
        Arc::new(both(4))
    }
    super::conformance::suite!(balanced);

    mod spilling {
        use super::*;

        fn balanced() -> Arc<dyn Device> {
            Arc::new(both(5).with_spill(1))
        }
        crate::conformance::suite!(balanced);
    }
}

/// Short ones and long ones, some given up, from several threads, on members and a host that are all the same: whatever spills and
/// is held, it all ends.
#[test]
fn many_threads_lose_nothing_where_batches_spill() {
    struct Spin;

    impl Step for Spin {
        type Input = usize;
        type Output = usize;

        fn name(&self) -> &str {
            "spin"
        }

        fn rows(&self, rows: &usize) -> usize {
            *rows
        }

        fn on_host(&self, rows: usize) -> anyhow::Result<usize> {
            Ok((0..rows).fold(0, |sum, row| std::hint::black_box(sum + row)))
        }
    }

    conformance::within_reason(|| {
        let host = |lanes| {
            let inline_below = std::time::Duration::ZERO;
            Arc::new(HostDevice::new(HostConfig { lanes, inline_below })) as Arc<dyn Device>
        };
        let balanced = Arc::new(Balanced::new("all", vec![host(1), host(1)], host(6)).with_spill(4));
        let device: Arc<dyn Device> = balanced.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..16_usize)
                .map(|task| {
                    let device = device.clone();
                    tokio::spawn(async move {
                        for n in 0..200 {
                            let rows = 1 << ((task * 7 + n * 3) % 12);
                            let lane = device.lanes().take().await.unwrap();
                            let completion = device.submit(lane, Arc::new(Spin), rows);
                            if (task + n) % 5 != 0 {
                                completion.await.unwrap();
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            device.drain().await;
        });
        assert_eq!((balanced.held(), device.lanes().available()), (0, 6));
        assert!(balanced.spilled() > 0); // at least to find out
    });
}
