//! Columns that a kernel has made → the input of a model: taken as they lie, against a detour through the host.
//!
//! | way | what |
//! |---|---|
//! | `direct` | dense columns are a `[feature][row]` tensor: nothing is copied |
//! | `format` | copied to the host, turned to `[row][feature]` there, copied to the GPU: what CMSSW's models had before theirs was direct |
//! | `copy` | copied to the host and back in the order that it has |
//!
//! `…_us` is until the input is there, awaited; `…_run_us` until a small network has run on it, where ONNX Runtime has what it needs. The
//! detours write straight to pinned memory, on one thread.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron_devices::columns::{Columns, Layout};
use asynchrotron_devices::cuda::{
    CudaBody, CudaConfig, DeviceColumns, DeviceSlice, Finish, KernelSource, Launch, Work,
};
use asynchrotron_devices::{Device, Step, columns};
#[cfg(feature = "onnx")]
use asynchrotron_devices::{
    inference::{Mlp, ModelError, Order},
    onnx::{CudaModel, ModelConfig, ModelSource},
};
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, open, round};

const ROWS: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const FEATURES: usize = 8;
/// How long one case should take.
const RUN: Duration = Duration::from_millis(150);

columns! {
    /// What the kernel makes.
    struct Eight, row OneOfEight { a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, h: f32 }
}

static FILL: KernelSource = KernelSource {
    name: "fill_columns.cu",
    source: r#"
        // Numbers between -2 and 2 that are the same on the host, to the bit.
        extern "C" __global__ void fill_columns(float* x, unsigned rows, unsigned n) {
            unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) x[i] = (float)((i / rows * 7919u + i % rows) % 4096u) * (1.0f / 1024.0f) - 2.0f;
        }"#,
    options: &[],
};

/// What the kernel writes.
fn value(feature: usize, row: usize) -> f32 {
    ((feature * 7919 + row) % 4096) as f32 / 1024.0 - 2.0
}

/// A step of a GPU that is a function.
struct OnGpu<I, O, F> {
    name: String,
    rows: usize,
    body: F,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O, F> OnGpu<I, O, F>
where
    F: Fn(I, &mut Work<'_>) -> Result<Finish<O>>,
{
    fn new(name: impl Into<String>, rows: usize, body: F) -> Arc<Self> {
        Arc::new(Self { name: name.into(), rows, body, types: PhantomData })
    }
}

impl<I, O, F> Step for OnGpu<I, O, F>
where
    I: Send + 'static,
    O: Send + 'static,
    F: Fn(I, &mut Work<'_>) -> Result<Finish<O>> + Send + Sync + 'static,
{
    type Input = I;
    type Output = O;

    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, _: &I) -> usize {
        self.rows
    }

    fn on_host(&self, _: I) -> Result<O> {
        bail!("this is a GPU's")
    }

    fn on_cuda(&self) -> Option<&dyn CudaBody<I, O>> {
        Some(self)
    }
}

impl<I, O, F> CudaBody<I, O> for OnGpu<I, O, F>
where
    F: Fn(I, &mut Work<'_>) -> Result<Finish<O>> + Send + Sync,
{
    fn enqueue(&self, input: I, work: &mut Work<'_>) -> Result<Finish<O>> {
        (self.body)(input, work)
    }

    /// Because of the network. Without it as well, so that the ways have that in common.
    fn needs_lanes_thread(&self) -> bool {
        true
    }
}

/// A small network; never there without ONNX Runtime.
#[derive(Clone)]
#[cfg(feature = "onnx")]
struct Network(Arc<CudaModel>);

#[cfg(feature = "onnx")]
impl Network {
    fn load(device: &dyn Device, order: Order) -> Result<Self, ModelError> {
        let network = Mlp::random(&[FEATURES, 16, 16, 1], 1);
        let source = ModelSource::from_bytes("MLP 8-16-16-1", network.to_onnx(order));
        Ok(Self(CudaModel::load(&source, device, ModelConfig::default())?))
    }

    fn enqueue(&self, x: DeviceSlice<f32>, rows: usize, work: &mut Work<'_>) -> Result<DeviceSlice<f32>> {
        self.0.enqueue(work, &[x.into()], rows)?[0].get().context("the network gives f32")
    }
}

#[derive(Clone)]
#[cfg(not(feature = "onnx"))]
enum Network {}

#[cfg(not(feature = "onnx"))]
impl Network {
    fn enqueue(&self, _: DeviceSlice<f32>, _: usize, _: &mut Work<'_>) -> Result<DeviceSlice<f32>> {
        match *self {}
    }
}

/// The network for columns, and the one for rows; or why there are none.
fn networks(device: &dyn Device) -> Result<[Network; 2], String> {
    #[cfg(feature = "onnx")]
    return (|| Ok([Network::load(device, Order::FeatureRow)?, Network::load(device, Order::RowFeature)?]))()
        .map_err(|why: ModelError| why.to_string());
    #[cfg(not(feature = "onnx"))]
    {
        let _ = device;
        Err("this program was built without ONNX Runtime".into())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Direct,
    Format,
    Copy,
}

/// The input of the model, or what it gives.
async fn go(
    device: &dyn Device,
    way: Way,
    columns: &DeviceColumns<Eight>,
    network: Option<&Network>,
) -> Result<DeviceSlice<f32>> {
    let rows = columns.len();
    // The device learns by its name how long a step takes.
    let named = |step: &str| format!("{step}{}", if network.is_some() { " and run" } else { "" });
    let network = network.cloned();
    let finish = move |x: DeviceSlice<f32>, work: &mut Work<'_>| -> Result<Finish<DeviceSlice<f32>>> {
        let y = match &network {
            Some(network) => network.enqueue(x, rows, work)?,
            None => x,
        };
        Ok(Finish::when_done(move |_| Ok(y)))
    };
    if way == Way::Direct {
        let direct =
            OnGpu::new(named("take"), rows, move |columns: DeviceColumns<Eight>, work: &mut Work<'_>| {
                work.keep(columns.memory());
                finish(columns.memory().cast(), work)
            });
        return Ok(device.run(&direct, columns.clone()).await?);
    }
    let fetch = OnGpu::new("fetch", rows, |columns: DeviceColumns<Eight>, work: &mut Work<'_>| {
        let download = work.download_columns(&columns)?;
        Ok(Finish::when_done(move |landed| Ok(download.read(landed))))
    });
    let host = device.run(&fetch, columns.clone()).await?;
    let send = OnGpu::new(
        named(if way == Way::Copy { "send" } else { "format" }),
        rows,
        move |host: Eight, work: &mut Work<'_>| {
            let mut staged = work.stage::<f32>(FEATURES * rows)?;
            let (a, b, c, d, e, f, g, h) = host.columns();
            let columns = [a, b, c, d, e, f, g, h];
            if way == Way::Copy {
                staged.chunks_exact_mut(rows).zip(columns).for_each(|(to, from)| to.copy_from_slice(from));
            } else {
                for (row, to) in staged.chunks_exact_mut(FEATURES).enumerate() {
                    to.iter_mut().zip(columns).for_each(|(to, from)| *to = from[row]);
                }
            }
            let x = work.send(staged)?;
            finish(x, work)
        },
    );
    Ok(device.run(&send, host).await?)
}

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let device: Arc<dyn Device> = open(CudaConfig { lanes: 1, ..CudaConfig::default() })?;
    let networks = networks(&*device);
    if let Err(why) = &networks {
        tell(json!({ "network": why }));
    }
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    for rows in ROWS {
        tell(executor.block_on(measure(&*device, rows, networks.as_ref().ok()))?);
    }
    Ok(())
}

async fn measure(device: &dyn Device, rows: usize, networks: Option<&[Network; 2]>) -> Result<Value> {
    let fill = OnGpu::new("fill", rows, move |(), work: &mut Work<'_>| {
        let columns = work.columns::<Eight>(Layout::packed(Eight::SCHEMA, rows))?;
        let n = FEATURES * rows;
        let arguments = [(&columns.memory().cast::<f32>()).into(), (rows as u32).into(), (n as u32).into()];
        work.launch(work.kernel(&FILL, "fill_columns")?, Launch::for_each(n, 256), &arguments)?;
        Ok(Finish::when_done(move |_| Ok(columns)))
    });
    let columns = device.run(&fill, ()).await?;
    let read = OnGpu::new("read", rows, |x: DeviceSlice<f32>, work: &mut Work<'_>| {
        let download = work.download(&x)?;
        Ok(Finish::when_done(move |landed| Ok(download.read(landed).to_vec())))
    });
    let mut case = json!({ "rows": rows, "bytes": size_of::<f32>() * FEATURES * rows });
    let (mut direct_us, mut direct_run_us, mut expected) = (f64::NAN, f64::NAN, Vec::new());
    for (name, way) in [("direct", Way::Direct), ("format", Way::Format), ("copy", Way::Copy)] {
        let x = device.run(&read, go(device, way, &columns, None).await?).await?;
        let is_right = |(index, &x): (usize, &f32)| match way {
            Way::Format => x == value(index % FEATURES, index / FEATURES),
            Way::Direct | Way::Copy => x == value(index / rows, index % rows),
        };
        ensure!(x.len() == FEATURES * rows && x.iter().enumerate().all(is_right), "{name}: other numbers");
        let us = time(device, way, &columns, None).await?;
        case[format!("{name}_us")] = json!(round(us));
        if way == Way::Direct {
            direct_us = us;
        } else {
            case[format!("{name}_over_direct")] = json!(round(us / direct_us));
        }
        let Some([by_columns, by_rows]) = networks else { continue };
        let network = if way == Way::Format { by_rows } else { by_columns };
        let y = device.run(&read, go(device, way, &columns, Some(network)).await?).await?;
        let us = time(device, way, &columns, Some(network)).await?;
        case[format!("{name}_run_us")] = json!(round(us));
        if way == Way::Direct {
            (direct_run_us, expected) = (us, y);
            continue;
        }
        case[format!("{name}_run_over_direct")] = json!(round(us / direct_run_us));
        // The sums of the two networks may be in another order.
        let near = |(found, expected): (&f32, &f32)| (found - expected).abs() < 1e-3;
        ensure!(
            y.len() == expected.len() && y.iter().zip(&expected).all(near),
            "{name}: the network gives something else"
        );
    }
    Ok(case)
}

/// The median of some repetitions, when memory is there and kernels are loaded.
async fn time(
    device: &dyn Device,
    way: Way,
    columns: &DeviceColumns<Eight>,
    network: Option<&Network>,
) -> Result<f64> {
    go(device, way, columns, network).await?;
    let end = Instant::now() + RUN;
    let mut times = Vec::new();
    while times.len() < 3 || (Instant::now() < end && times.len() < 1000) {
        let begin = Instant::now();
        // What it gives is given back after the clock has stopped.
        let result = go(device, way, columns, network).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        drop(result);
    }
    Ok(median(&mut times))
}
