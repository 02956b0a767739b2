//! Models on GPUs: on a mock with ONNX Runtime's processor, and, where there is a GPU and the provider, on that.
#![cfg(all(feature = "onnx", feature = "cuda"))]

#[allow(unused_macros, unused_imports, dead_code)] // of the suite, only what ends a test that hangs
mod conformance;
mod onnx_support;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use asynchrotron_devices::columns::TensorError;
use asynchrotron_devices::cuda::mock::{MockConfig, MockDriver, MockKernel};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, CudaDevice, DeviceSlice, Finish, KernelSource, Launch, Work,
};
use asynchrotron_devices::inference::{
    AnyBlock, Block, Blocks, Inference, Inputs, ModelError, Order, Port, Signature,
};
use asynchrotron_devices::onnx::{Attribute, CudaModel, DeviceTensor, ModelConfig, ModelDraft, ModelSource};
use asynchrotron_devices::{Balanced, BatchStep, Device, DeviceError, HostConfig, HostDevice, Step, columns};
use conformance::{block_on, within_reason};
use onnx_support::{Numbers, bits, device, difference, load, network, only, skipped};

const LANES: usize = 3;

/// A mock GPU, if ONNX Runtime is here.
fn mock(mock: MockConfig) -> Option<Arc<CudaDevice>> {
    device(1)?;
    let config = CudaConfig { lanes: LANES, ..CudaConfig::default() };
    Some(Arc::new(CudaDevice::open(Arc::new(MockDriver::new(mock)), config).unwrap()))
}

/// Whether the library in use has what it needs for GPUs beside it.
fn provider_is_here() -> bool {
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    named.is_some_and(|library| library.with_file_name("libonnxruntime_providers_cuda.so").is_file())
}

/// A real GPU with a provider; says what is skipped without.
fn gpu(lanes: usize) -> Option<Arc<CudaDevice>> {
    device(1)?;
    let what = "a test of models on a GPU";
    let gpus = CudaDevice::discover(CudaConfig { lanes, ..CudaConfig::default() });
    let gpus = gpus.map_err(|why| skipped(what, &why)).ok()?;
    if !provider_is_here() {
        skipped(
            what,
            &"ORT_DYLIB_PATH does not name a library with libonnxruntime_providers_cuda.so beside it",
        );
        return None;
    }
    gpus.into_iter().next().map(Arc::new)
}

type Model = Arc<Inference<Inputs>>;

/// What one request asks of the model, alone.
async fn ask(device: &dyn Device, step: &Model, request: Blocks) -> Result<Blocks, DeviceError> {
    let rows = request.rows();
    let (input, parts) = step.pack(&[&Inputs(Arc::new(request))], rows);
    let mut replies = step.unpack(device.run(step, input).await?, parts);
    Ok(replies.pop().unwrap())
}

fn for_device(source: &ModelSource, device: &dyn Device) -> Model {
    let inference = Inference::for_device(source, device, ModelConfig::default()).unwrap();
    assert!(inference.not_on_gpu().is_none(), "{:?}", inference.not_on_gpu());
    Arc::new(inference)
}

/// Requests of many tasks at once.
fn many(device: &Arc<dyn Device>, step: &Model, expected: impl Fn(&Block<f32>) -> Vec<f32>, tolerance: f32) {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let port = step.signature().inputs[0].clone();
    executor.block_on(async {
        let tasks: Vec<_> = (0..60)
            .map(|task| {
                let (device, step) = (device.clone(), step.clone());
                let x = Numbers(task).block(port.order(), 1 + task as usize, port.features());
                (x.clone(), tokio::spawn(async move { ask(&*device, &step, x.into()).await }))
            })
            .collect();
        for (x, task) in tasks {
            let y = task.await.unwrap().unwrap();
            assert!(difference(only(&y).values(), &expected(&x)) <= tolerance);
        }
    });
}

#[test]
fn a_model_behind_the_lanes_gives_what_it_gives_on_the_host() {
    within_reason(|| {
        let Some(gpu) = mock(MockConfig::default()) else { return };
        let host = device(1).unwrap();
        for order in [Order::FeatureRow, Order::RowFeature] {
            let (source, _) = network(&[4, 16, 2], order);
            let step = for_device(&source, &*gpu);
            let reference = load(&source, &host);
            for rows in [0, 1, 5, 1000] {
                let x = Blocks::from(Numbers(rows as u64).block(order, rows, 4));
                let y = block_on(ask(&*gpu as &dyn Device, &step, x.clone())).unwrap();
                let expected = reference.run(asynchrotron_devices::LaneId(0), &x).unwrap();
                assert_eq!(bits(only(&y).values()), bits(only(&expected).values()));
            }
            let report = step.cuda_model().unwrap().report();
            assert_eq!((report.lanes, report.runs, report.rows), (LANES, 4, 1006));
            assert!(report.to_string().contains("3 sessions on GPUs loaded in"), "{report}");
            assert!(report.to_string().contains("4 runs of 1006 rows took the host"), "{report}");
        }
        assert_eq!(gpu.memory().device.used_bytes, 0);
        assert_eq!(gpu.lanes().available(), LANES);
    });
}

#[test]
fn several_gpus_have_sessions_for_each_of_their_lanes() {
    within_reason(|| {
        let Some(first) = mock(MockConfig::default()) else { return };
        let second = mock(MockConfig { ordinal: 1, ..MockConfig::default() }).unwrap();
        let members: Vec<Arc<dyn Device>> = vec![first.clone(), second.clone()];
        let reserve = HostDevice::new(HostConfig { lanes: 2 * LANES, ..HostConfig::default() });
        let both: Arc<dyn Device> = Arc::new(Balanced::new("cuda:all", members, Arc::new(reserve)));
        let (source, network) = network(&[4, 16, 1], Order::FeatureRow);
        let step = for_device(&source, &*both);
        many(&both, &step, |x| network.infer(x).values().to_vec(), 1e-5);
        let report = step.cuda_model().unwrap().report();
        assert!(report.lanes > LANES && report.lanes <= 2 * LANES, "{report}");
        assert_eq!(report.runs, 60);
        // When the GPUs are gone, the host takes over.
        first.close();
        second.close();
        let x = Numbers(1).block(Order::FeatureRow, 3, 4);
        let y = block_on(ask(&*both, &step, x.clone().into())).unwrap();
        assert!(difference(only(&y).values(), network.infer(&x).values()) < 1e-5);
        assert_eq!(step.cuda_model().unwrap().report().runs, 60);
    });
}

#[test]
fn numbers_of_all_types_go_there_and_back() {
    let Some(gpu) = mock(MockConfig::default()) else { return };
    let gpu: Arc<dyn Device> = gpu;
    let blocks: Vec<AnyBlock> = vec![
        Block::new(Order::RowFeature, 2, 1, vec![1.5_f32, -2.0]).into(),
        Block::new(Order::RowFeature, 2, 1, vec![1.5_f64, -2.0]).into(),
        Block::new(Order::RowFeature, 2, 1, vec![7_i32, -2]).into(),
        Block::new(Order::RowFeature, 2, 1, vec![i64::MAX, -2]).into(),
        Block::new(Order::RowFeature, 2, 1, vec![255_u8, 0]).into(),
        Block::new(Order::RowFeature, 2, 1, vec![true, false]).into(),
    ];
    let port = |name: String, index: usize| match index {
        0 => Port::new::<f32>(name, Order::RowFeature, &[1]),
        1 => Port::new::<f64>(name, Order::RowFeature, &[1]),
        2 => Port::new::<i32>(name, Order::RowFeature, &[1]),
        3 => Port::new::<i64>(name, Order::RowFeature, &[1]),
        4 => Port::new::<u8>(name, Order::RowFeature, &[1]),
        _ => Port::new::<bool>(name, Order::RowFeature, &[1]),
    };
    let draft = (0..blocks.len()).fold(ModelDraft::new(), |draft, index| {
        let [x, y] = ["x", "y"].map(|kind| format!("{kind}{index}"));
        draft.input(&port(x.clone(), index)).node("Identity", &[&x], &[&y], &[]).output(&port(y, index))
    });
    let step = for_device(&ModelSource::from_bytes("identity", draft.into_bytes()), &*gpu);
    let x = Blocks::new(blocks);
    assert_eq!(block_on(ask(&*gpu, &step, x.clone())).unwrap(), x);
}

static COLUMNS: KernelSource = KernelSource { name: "columns.cu", source: "(the mock's)", options: &[] };

/// Columns that a kernel makes, a model on them, and another on what that gives: one submission.
struct Fused {
    models: [Arc<CudaModel>; 2],
    /// What the kernel is to make.
    columns: Vec<f32>,
    rows: usize,
}

impl Step for Fused {
    type Input = ();
    type Output = Vec<f32>;

    fn name(&self) -> &str {
        "fused"
    }

    fn rows(&self, (): &()) -> usize {
        self.rows
    }

    fn on_host(&self, (): ()) -> anyhow::Result<Vec<f32>> {
        anyhow::bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), Vec<f32>>> {
        Some(self)
    }
}

impl CudaBody<(), Vec<f32>> for Fused {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> anyhow::Result<Finish<Vec<f32>>> {
        let made = work.upload(&self.columns)?;
        let columns = work.allocate::<f32>(self.columns.len())?;
        // A real GPU has no such kernel; there the model reads what was uploaded.
        let columns = if work.lane_stream().memory_is_hosts() {
            let kernel = work.kernel(&COLUMNS, "copy")?;
            let arguments = [(&made).into(), (&columns).into(), (made.len() as u32).into()];
            work.launch(kernel, Launch::for_each(made.len(), 128), &arguments)?;
            columns
        } else {
            made
        };
        let between = self.models[0].enqueue(work, &[columns.into()], self.rows)?;
        let outputs = self.models[1].enqueue(work, &between, self.rows)?;
        let numbers: DeviceSlice<f32> = outputs[0].get().unwrap();
        let back = work.download(&numbers)?;
        Ok(Finish::when_done(move |landed| Ok(back.read(landed).to_vec())))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

fn fused(gpu: &dyn Device, rows: usize) -> (Arc<Fused>, Vec<f32>) {
    let (first, first_network) = network(&[4, 16, 3], Order::FeatureRow);
    let (second, second_network) = network(&[3, 16, 1], Order::FeatureRow);
    let model = |source| CudaModel::load(source, gpu, ModelConfig::default()).unwrap();
    let x = Numbers(5).block(Order::FeatureRow, rows, 4);
    let expected = second_network.infer(&first_network.infer(&x)).values().to_vec();
    let columns = x.values().to_vec();
    (Arc::new(Fused { models: [model(&first), model(&second)], columns, rows }), expected)
}

#[test]
fn models_between_kernels_read_and_leave_their_columns_in_place() {
    within_reason(|| {
        let copy: MockKernel = Arc::new(|_, arguments| {
            // SAFETY: the arguments are those of `Fused`.
            unsafe {
                let (from, to) = (*arguments[0].cast::<*const f32>(), *arguments[1].cast::<*mut f32>());
                std::ptr::copy_nonoverlapping(from, to, *arguments[2].cast::<u32>() as usize);
            }
        });
        let kernels = HashMap::from([("copy".to_owned(), copy)]);
        let Some(gpu) = mock(MockConfig { kernels, ..MockConfig::default() }) else { return };
        let (step, expected) = fused(&*gpu, 100);
        let before = gpu.memory();
        let found = block_on((&*gpu as &dyn Device).run(&step, ())).unwrap();
        assert!(difference(&found, &expected) < 1e-5);
        let after = gpu.memory();
        // One copy there and one back, four pieces of the GPU's memory: none for a copy between.
        assert_eq!(after.pinned.requests - before.pinned.requests, 2);
        assert_eq!(after.device.requests - before.device.requests, 4);
        for _ in 0..10 {
            block_on((&*gpu as &dyn Device).run(&step, ())).unwrap();
        }
        assert!(gpu.memory().device.driver_allocations <= after.device.driver_allocations);
    });
}

#[test]
fn what_a_run_uses_stays_until_the_gpu_is_done() {
    within_reason(|| {
        let latency = Duration::from_millis(50);
        let Some(gpu) = mock(MockConfig { latency, ..MockConfig::default() }) else { return };
        let gpu_dyn: Arc<dyn Device> = gpu.clone();
        let (source, _) = network(&[4, 16, 1], Order::FeatureRow);
        let step = for_device(&source, &*gpu);
        let model = Arc::downgrade(step.cuda_model().unwrap());
        let x = Arc::new(Blocks::from(Numbers(1).block(Order::FeatureRow, 10, 4)));
        let (input, _) = step.pack(&[&Inputs(x)], 10);
        let lane = gpu.lanes().try_take().unwrap();
        // Whoever waits leaves, and so does the model, as soon as it is enqueued.
        let completion = gpu_dyn.submit(lane, step, input);
        while model.upgrade().is_some_and(|model| model.report().runs == 0) {
            std::thread::yield_now();
        }
        drop(completion);
        assert!(gpu.memory().device.used_bytes > 0 && gpu.memory().pinned.used_bytes > 0);
        block_on(gpu.drain());
        assert_eq!((gpu.memory().device.used_bytes, gpu.memory().pinned.used_bytes), (0, 0));
        assert!(model.upgrade().is_none());
    });
}

/// Gives a model these tensors.
struct Tensors {
    model: Arc<CudaModel>,
    tensors: fn(&mut Work<'_>) -> Vec<DeviceTensor>,
    rows: usize,
}

impl Step for Tensors {
    type Input = ();
    type Output = ();

    fn name(&self) -> &str {
        "tensors"
    }

    fn rows(&self, (): &()) -> usize {
        self.rows
    }

    fn on_host(&self, (): ()) -> anyhow::Result<()> {
        anyhow::bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<(), ()>> {
        Some(self)
    }
}

impl CudaBody<(), ()> for Tensors {
    fn enqueue(&self, (): (), work: &mut Work<'_>) -> anyhow::Result<Finish<()>> {
        let tensors = (self.tensors)(work);
        self.model.enqueue(work, &tensors, self.rows)?;
        Ok(Finish::when_done(|_| Ok(())))
    }

    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

#[test]
fn tensors_that_do_not_fit_are_named_and_nothing_runs() {
    let Some(gpu) = mock(MockConfig::default()) else { return };
    let (source, _) = network(&[2, 1], Order::FeatureRow);
    let model = CudaModel::load(&source, &*gpu, ModelConfig::default()).unwrap();
    let ask = |tensors: fn(&mut Work<'_>) -> Vec<DeviceTensor>| {
        let step = Arc::new(Tensors { model: model.clone(), tensors, rows: 3 });
        let result = block_on((&*gpu as &dyn Device).run(&step, ()));
        result.map_err(|error| error.step_error::<ModelError>().unwrap().to_string())
    };
    let zeros = |work: &mut Work<'_>| vec![work.zeros::<f32>(6).unwrap().into()];
    assert_eq!(ask(zeros), Ok(()));
    let none = |_: &mut Work<'_>| Vec::new();
    let error = "model `network`, all inputs: expected 1 input, found 0 inputs";
    assert_eq!(ask(none), Err(error.into()));
    let short = |work: &mut Work<'_>| vec![work.zeros::<f32>(5).unwrap().into()];
    let error = "model `network`, input `x`: expected f32 [2, rows], found 5 numbers of type f32 for 3 rows";
    assert_eq!(ask(short), Err(error.into()));
    let typed = |work: &mut Work<'_>| vec![work.zeros::<i32>(6).unwrap().into()];
    let error = "model `network`, input `x`: expected f32 [2, rows], found 6 numbers of type i32 for 3 rows";
    assert_eq!(ask(typed), Err(error.into()));
    assert_eq!(model.report().runs, 1);
}

columns! {
    /// What a model takes.
    struct Pairs, row Pair { a: f32, b: f32 }
}

#[test]
fn dense_columns_of_a_collection_are_a_tensor_in_place() {
    let Some(gpu) = mock(MockConfig::default()) else { return };
    let (source, _) = network(&[2, 1], Order::FeatureRow);
    let model = CudaModel::load(&source, &*gpu, ModelConfig::default()).unwrap();
    let tensors = |work: &mut Work<'_>| {
        // 32 columns of 4 bytes end where the next may begin; 3 do not.
        let pairs = Pairs::from_rows(&[Pair { a: 1.0, b: 2.0 }; 32]);
        let columns = work.upload_columns(&[&pairs]).unwrap();
        let tensor = DeviceTensor::of_columns::<f32, _>(&columns).unwrap();
        assert_eq!((tensor.len(), tensor.bytes().address()), (64, columns.memory().address()));
        let padded = work.upload_columns(&[&Pairs::from_rows(&[Pair { a: 1.0, b: 2.0 }; 3])]).unwrap();
        assert_eq!(DeviceTensor::of_columns::<f32, _>(&padded).unwrap_err(), TensorError::Padded);
        let error = DeviceTensor::of_columns::<i32, _>(&columns).unwrap_err();
        assert!(matches!(error, TensorError::Type { name: "a", .. }));
        vec![tensor]
    };
    let step = Arc::new(Tensors { model, tensors, rows: 32 });
    block_on((&*gpu as &dyn Device).run(&step, ())).unwrap();
}

#[test]
fn a_run_that_fails_costs_its_own_submission() {
    within_reason(|| {
        let Some(gpu) = mock(MockConfig::default()) else { return };
        let gpu: Arc<dyn Device> = gpu;
        let draft = ModelDraft::new()
            .input(&Port::new::<i64>("place", Order::RowFeature, &[]))
            .weights("table", &[4], &[10.0, 11.0, 12.0, 13.0])
            .node("Gather", &["table", "place"], &["y"], &[("axis", Attribute::Int(0))])
            .output(&Port::new::<f32>("y", Order::RowFeature, &[]));
        let step = for_device(&ModelSource::from_bytes("table", draft.into_bytes()), &*gpu);
        let places = |places: &[i64]| Blocks::from(Block::new(Order::RowFeature, 2, 1, places.to_vec()));
        for _ in 0..2 * LANES {
            let error = block_on(ask(&*gpu, &step, places(&[1, 99]))).unwrap_err();
            let error = error.step_error::<ModelError>().unwrap().to_string();
            assert!(error.starts_with("model `table` failed on 2 rows: "), "{error}");
            let y = block_on(ask(&*gpu, &step, places(&[1, 3]))).unwrap();
            assert_eq!(only(&y).values(), [11.0, 13.0]);
        }
        assert_eq!(gpu.lanes().available(), LANES);
    });
}

#[test]
fn allowed_sizes_are_warmed_up_and_a_declared_signature_is_compared() {
    let Some(gpu) = mock(MockConfig::default()) else { return };
    let (source, _) = network(&[2, 1], Order::FeatureRow);
    let config = ModelConfig { sizes: vec![64, 16, 64], ..ModelConfig::default() };
    let model = CudaModel::load(&source, &*gpu, config).unwrap();
    assert_eq!(model.sizes(), [16, 64]);
    assert_eq!(model.report().runs, 0);
    let inputs = vec![Port::new::<f32>("x", Order::FeatureRow, &[3])];
    let signature = Signature { inputs, outputs: Vec::new() };
    let config = ModelConfig { signature: Some(signature), ..ModelConfig::default() };
    let error = CudaModel::load(&source, &*gpu, config).unwrap_err();
    assert_eq!(error.to_string(), "model `network`, input `x`: expected f32 [3, rows], found f32 [2, rows]");
    // Another model's body for GPUs does not do.
    let (other, _) = network(&[3, 1], Order::FeatureRow);
    let other = CudaModel::load(&other, &*gpu, ModelConfig::default()).unwrap();
    let host = Inference::<Inputs>::new(load(&source, &device(1).unwrap())).unwrap();
    let error = host.with_cuda(other).unwrap_err().to_string();
    assert!(error.starts_with("model `network`, on GPUs: expected x: f32 [2, rows]"), "{error}");
}

#[test]
fn without_the_provider_one_line_says_what_is_missing_and_the_model_runs_on_the_host() {
    within_reason(|| {
        // As a real GPU, as far as libraries can tell.
        let Some(gpu) = mock(MockConfig { memory_is_hosts: false, ..MockConfig::default() }) else { return };
        if provider_is_here() {
            return skipped("what happens without the provider", &"it is here");
        }
        let gpu: Arc<dyn Device> = gpu;
        let (source, network) = network(&[2, 8, 1], Order::FeatureRow);
        let step = Inference::<Inputs>::for_device(&source, &*gpu, ModelConfig::default()).unwrap();
        let why = step.not_on_gpu().unwrap().to_string();
        assert!(why.starts_with("model `network` does not run on GPUs: libonnxruntime_providers_"), "{why}");
        assert!(why.contains("pip install 'onnxruntime-gpu") && !why.contains('\n'), "{why}");
        let x = Numbers(1).block(Order::FeatureRow, 7, 2);
        let y = block_on(ask(&*gpu, &Arc::new(step), x.clone().into())).unwrap();
        assert!(difference(only(&y).values(), network.infer(&x).values()) < 1e-5);
    });
}

#[test]
fn a_device_without_a_gpu_is_told_apart() {
    let Some(_) = device(1) else { return };
    let host = HostDevice::new(HostConfig { lanes: 1, ..HostConfig::default() });
    let (source, _) = network(&[2, 1], Order::FeatureRow);
    let error = CudaModel::load(&source, &host, ModelConfig::default()).unwrap_err();
    assert_eq!(error.to_string(), "model `network` does not run on GPUs: the device is no GPU");
    let step = Inference::<Inputs>::for_device(&source, &host, ModelConfig::default()).unwrap();
    assert!(step.not_on_gpu().is_none() && step.cuda_model().is_none());
}

#[test]
fn on_a_gpu_models_agree_with_the_host() {
    let Some(gpu) = gpu(4) else { return };
    let gpu: Arc<dyn Device> = gpu;
    for widths in [&[10, 64, 64, 1][..], &[64, 512, 512, 512, 1]] {
        for order in [Order::FeatureRow, Order::RowFeature] {
            let (source, network) = network(widths, order);
            let step = for_device(&source, &*gpu);
            many(&gpu, &step, |x| network.infer(x).values().to_vec(), 1e-4);
            assert_eq!(step.cuda_model().unwrap().report().lanes, 4);
        }
    }
}

#[test]
fn on_a_gpu_models_in_a_row_stay_there() {
    let Some(gpu) = gpu(2) else { return };
    let (step, expected) = fused(&*gpu, 1000);
    for _ in 0..20 {
        let found = block_on((&*gpu as &dyn Device).run(&step, ())).unwrap();
        assert!(difference(&found, &expected) < 1e-4);
    }
    let memory = gpu.memory();
    assert_eq!((memory.device.used_bytes, memory.pinned.used_bytes), (0, 0));
}
