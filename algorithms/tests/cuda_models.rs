//! The trained models behind the lanes of GPUs, in chains, against the same networks in plain Rust: on mock GPUs, whose memory is the
//! host's, with ONNX Runtime's processor. Uploads, enqueueing and downloads are those of a GPU.
#![cfg(all(feature = "cuda", feature = "onnx"))]

mod models;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron_algorithms::calorimeter::*;
use asynchrotron_algorithms::scouting::*;
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver};
use asynchrotron_devices::cuda::{CudaConfig, CudaDevice};
use asynchrotron_devices::inference::ModelReport;
use asynchrotron_devices::onnx::{OnnxConfig, OnnxDevice};
use asynchrotron_devices::{Balanced, Columns, Device, HostConfig, HostDevice};
use models::{assert_grids, assert_scores, compositions, features, grids, replies};

/// A mock GPU, if ONNX Runtime is here; if not, says so past the test runner.
fn mock(lanes: usize, mock: MockConfig) -> Option<Arc<CudaDevice>> {
    if let Err(missing) = OnnxDevice::open(OnnxConfig { lanes: 1, ..OnnxConfig::default() }) {
        let _ = writeln!(std::io::stderr(), "SKIPPED a test of ONNX Runtime: {missing}");
        return None;
    }
    let config = CudaConfig { lanes, ..CudaConfig::default() };
    Some(Arc::new(CudaDevice::open(Arc::new(MockDriver::new(mock)), config).unwrap()))
}

/// What `--device cuda:all` gives: the GPUs, and the host in reserve.
fn balanced(gpus: &[Arc<CudaDevice>]) -> Arc<dyn Device> {
    let members: Vec<Arc<dyn Device>> = gpus.iter().map(|gpu| gpu.clone() as Arc<dyn Device>).collect();
    let lanes = members.iter().map(|member| member.capability().lanes).sum();
    let reserve = HostDevice::new(HostConfig { lanes, ..HostConfig::default() });
    Arc::new(Balanced::new("cuda:all", members, Arc::new(reserve)))
}

/// One GPU or two, on which what was enqueued takes a while.
fn gpus(lanes: usize) -> Option<Vec<Arc<CudaDevice>>> {
    let latency = Duration::from_micros(50);
    let gpu = |ordinal| mock(lanes, MockConfig { ordinal, latency, ..MockConfig::default() });
    (0..lanes).map(gpu).collect()
}

/// All rows were the model's on the GPUs, and what they took is given back.
#[track_caller]
fn assert_on_gpus(gpus: &[Arc<CudaDevice>], report: Option<ModelReport>, name: &str, rows: usize) {
    let report = report.unwrap();
    assert_eq!((report.name.as_str(), report.on_gpu, report.rows), (name, true, rows as u64), "{report}");
    assert!(report.to_string().contains(" on GPUs loaded in "), "{report}");
    for gpu in gpus {
        assert_eq!(gpu.memory().device.used_bytes, 0);
        assert_eq!(gpu.lanes().available(), gpu.lanes().len());
    }
}

#[test]
fn tau_scores_of_gpus_and_of_the_host_agree_whatever_the_batch() {
    let events = features(300);
    let rows = events.iter().map(Features::len).sum();
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(gpus) = gpus(lanes) else { return };
        let device = balanced(&gpus);
        let step = TauStep::trained(&*device).unwrap();
        assert_eq!(step.not_on_gpu(), None);
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_scores(&found, &events, policy);
        assert_on_gpus(&gpus, step.model(), "tau", rows);
    }
}

#[test]
fn condensation_of_gpus_and_of_the_host_agree_at_cells_whatever_the_batch() {
    let events = grids(60);
    for (policy, [threads, slots, lanes]) in compositions() {
        let Some(gpus) = gpus(lanes) else { return };
        let device = balanced(&gpus);
        let step = CondensationStep::trained(&*device).unwrap();
        assert_eq!(step.not_on_gpu(), None);
        let found = replies(step.clone(), device, policy, [threads, slots], &events);
        assert_grids(&found, &events, policy);
        assert_on_gpus(&gpus, step.model(), "condensation", events.len());
    }
}

/// On one GPU, awaited alone.
fn score(gpu: &Arc<CudaDevice>, step: &TauStep, features: Features) -> Scores {
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let device: &dyn Device = &**gpu;
    executor.block_on(device.run(&Arc::new(step.clone()), Arc::new(features))).unwrap()
}

#[test]
fn columns_are_copied_once_each_way_packed_or_not() {
    let Some(gpu) = mock(1, MockConfig::default()) else { return };
    let step = TauStep::trained(&*gpu).unwrap();
    let packed = features(20).into_iter().find(|features| features.len() > 1).unwrap();
    let padded: Features = packed.iter().collect();
    assert!(packed.tensor::<f32>().is_ok() && padded.tensor::<f32>().is_err());
    let before = gpu.memory();
    let found = score(&gpu, &step, packed);
    let after = gpu.memory();
    // One copy there and one back; the input and the output of the model.
    assert_eq!(after.pinned.requests - before.pinned.requests, 2);
    assert_eq!(after.device.requests - before.device.requests, 2);
    assert!(score(&gpu, &step, padded).iter().eq(found.iter()));
    assert_eq!(score(&gpu, &step, Features::with_len(0)).len(), 0);
}

#[test]
fn gpus_without_the_provider_say_so_and_the_networks_run_on_the_host() {
    // As a real GPU, as far as libraries can tell.
    let Some(gpu) = mock(2, MockConfig { memory_is_hosts: false, ..MockConfig::default() }) else { return };
    let (tau, condensation) = (TauStep::trained(&*gpu).unwrap(), CondensationStep::trained(&*gpu).unwrap());
    let whys = [(tau.not_on_gpu(), "tau"), (condensation.not_on_gpu(), "condensation")];
    let named = std::env::var_os("ORT_DYLIB_PATH").map(std::path::PathBuf::from);
    if named.is_some_and(|library| library.with_file_name("libonnxruntime_providers_cuda.so").is_file()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED what happens without the provider: it is here");
        return;
    }
    for (why, name) in whys {
        let why = why.unwrap().to_string();
        assert!(why.starts_with(&format!("model `{name}` does not run on GPUs: ")), "{why}");
        assert!(!why.contains('\n'), "{why}");
    }
    assert_eq!((tau.model(), condensation.model()), (None, None));
    let device = balanced(&[gpu]);
    let policy = "size=7".parse().unwrap();
    let events = features(50);
    assert_scores(&replies(tau, device.clone(), policy, [2, 32], &events), &events, policy);
    let events = grids(10);
    assert_grids(&replies(condensation, device, policy, [2, 32], &events), &events, policy);
}
