//! Devices, lanes, completions and columns.
//!
//! An algorithm asks a [`Device`] for a [`Step`]. The input moves in, the algorithm is suspended, the output moves out.
//!
//! ```
//! use std::sync::Arc;
//! use asynchrotron_devices::{DeviceConfig, DeviceError, Devices, Step};
//!
//! /// The sum of all energies.
//! struct Sum;
//!
//! impl Step for Sum {
//!     type Input = Vec<f32>;
//!     type Output = f32;
//!
//!     fn name(&self) -> &str { "sum" }
//!     fn rows(&self, energies: &Vec<f32>) -> usize { energies.len() }
//!     fn on_host(&self, energies: Vec<f32>) -> anyhow::Result<f32> { Ok(energies.iter().sum()) }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let devices = Devices::discover(&DeviceConfig::default());
//! let device = devices.select("auto")?;
//!
//! let sum = Arc::new(Sum);
//! assert_eq!(device.run(&sum, vec![1.0, 2.0]).await?, 3.0);
//!
//! // The same in two: take a lane, then submit. Between the two the input is still the caller's.
//! let lane = device.lanes().take().await?;
//! let completion = device.submit(lane, sum, vec![1.0, 2.0]);
//! assert_eq!(completion.await?, 3.0);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What crosses
//!
//! | what | from → to | how | when its waiter has left |
//! |---|---|---|---|
//! | input | algorithm → device | moved | dropped by the device, unused if the step had not begun |
//! | step (configuration, conditions) | shared | `Arc` | – |
//! | lane | pool → device → pool | moved; back before the completion | goes back all the same, when the device is done |
//! | output, or [`DeviceError`] | device → algorithm | the [`Completion`] | dropped by the device |
//!
//! # Where things are
//!
//! | file | noun |
//! |---|---|
//! | `step.rs` | [`Step`]: what is asked of a device |
//! | `device.rs` | [`Device`]: lanes, `submit`, `run` |
//! | `job.rs` | [`Job`]: a submission inside a device, types erased |
//! | `host.rs` | [`HostDevice`]: the reference |
//! | `emulated.rs`, `emulated/` | [`EmulatedDevice`]: a model of a device, and its faults |
//! | `onnx.rs`, `onnx/` | `OnnxDevice`: ONNX Runtime, with the feature `onnx` |
//! | `cuda.rs`, `cuda/` | `CudaDevice`: a GPU, with the feature `cuda` |
//! | `inference.rs`, `inference/` | [`inference`]: models as steps, with or without ONNX Runtime |
//! | `threads.rs`, `inline.rs`, `drivers.rs` | lanes with a thread each; which steps are short enough to run where they are, and the threads for those that are not |
//! | `balanced.rs`, `balanced/` | [`Balanced`]: several devices as one; when the host takes what they have no lane for |
//! | `drain.rs` | [`Drain`]: the wait for everything submitted |
//! | `devices.rs` | [`Devices`]: what is here, what is not, and why |
//! | `error.rs` | [`DeviceError`] |
//! | `columns.rs`, `columns/` | collections: what inputs and outputs are made of |
//! | `tests/conformance/` | what every device promises, as tests that each device passes itself to |
//!
//! What is *absent*: hits, tracks, events; batches; any waiting protocol (those are in `asynchrotron-sync`).
#![deny(unsafe_code)]

mod balanced;
mod batched;
pub mod columns;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod devices;
mod drain;
mod drivers;
mod emulated;
mod error;
mod fused;
mod host;
pub mod inference;
mod inline;
mod job;
#[cfg(feature = "onnx")]
pub mod onnx;
mod step;
mod table;
mod threads;

pub use asynchrotron_sync::{Closed, Completion, Lane, LanePool};
pub use balanced::Balanced;
pub use batched::{BatchStep, OnDevice, default_model_policy, default_policy};
pub use columns::{Columns, Offsets};
pub use device::{Capability, Device, DeviceKind, LaneId};
pub use devices::{Absent, DeviceConfig, Devices, SelectError};
pub use drain::Drain;
pub use emulated::{EmulatedConfig, EmulatedDevice, Faults};
pub use error::{DeviceError, DeviceErrorKind};
pub use fused::Fused;
pub use host::{HostConfig, HostDevice};
pub use inline::Inline;
pub use job::Job;
pub use step::Step;
