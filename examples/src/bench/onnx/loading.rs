//! Just in time, and ahead of time: what it takes to load a model as it was exported, and as a graph that was optimised and saved.
//!
//! Dense networks of 70 thousand to 60 million parameters, of which there is little to optimise; and the convolutional one, whose
//! layers are fused and laid out for the processor.

use std::path::Path;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron_devices::LaneId;
use asynchrotron_devices::inference::{Block, Blocks, Mlp, Order};
use asynchrotron_devices::onnx::{ModelConfig, ModelSource, OnnxConfig, OnnxDevice, OnnxModel};
use serde_json::{Value, json};

use super::super::machine::median;
use super::models::{CELLS, CONDENSATION};
use super::rounded;

/// Widths of networks of 70 thousand to 60 million parameters.
const NETWORKS: [&[usize]; 4] =
    [&[64, 230, 230, 1], &[64, 512, 512, 512, 1], &[256, 1600, 1600, 1600, 1], &[512, 5300, 5300, 5300, 1]];
/// Each figure is the median of so many.
const REPEATS: usize = 3;
/// Runs whose median is the steady state.
const STEADY: usize = 15;
/// Rows of each run.
const ROWS: usize = 16;

/// What loading took, and the runs after it.
struct Figures {
    start_up: Vec<f64>,
    first_run: Vec<f64>,
    steady: Vec<f64>,
}

impl Figures {
    fn new() -> Self {
        Figures { start_up: Vec::new(), first_run: Vec::new(), steady: Vec::new() }
    }

    /// From the file to the last run, once. What `load` does itself to warm up, one row of zeros, is the first run.
    fn measure(&mut self, file: &Path, optimized: bool, x: &Blocks, device: &OnnxDevice) -> Result<()> {
        let begin = Instant::now();
        let mut source = ModelSource::from_file("network", file)?;
        if optimized {
            source = source.already_optimized();
        }
        let model = OnnxModel::load(&source, device, ModelConfig::default())?;
        let warm_up = model.report().warm_up;
        self.start_up.push(ms(begin.elapsed().saturating_sub(warm_up)));
        self.first_run.push(ms(warm_up));
        let mut runs = Vec::new();
        for _ in 0..STEADY {
            let begin = Instant::now();
            std::hint::black_box(model.run(LaneId(0), x)?);
            runs.push(ms(begin.elapsed()));
        }
        self.steady.push(median(&mut runs));
        Ok(())
    }
}

fn ms(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}

/// Measures.
pub(super) fn run() -> Result<Value> {
    let device = OnnxDevice::open(OnnxConfig { lanes: 1, ..OnnxConfig::default() })?;
    let folder = std::env::temp_dir().join(format!("asynchrotron-bench-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let networks = NETWORKS.iter().map(|widths| {
        let name: Vec<String> = widths.iter().map(usize::to_string).collect();
        let parameters = widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        let x = Block::new(Order::FeatureRow, ROWS, widths[0], vec![0.5_f32; ROWS * widths[0]]);
        let bytes = || Mlp::random(widths, 1).to_onnx(Order::FeatureRow);
        measure(&format!("MLP {}", name.join("-")), parameters, &bytes, &x.into(), &folder, &device)
    });
    let cells = Block::new(Order::RowFeature, ROWS, CELLS, vec![0.5_f32; ROWS * CELLS]).into();
    let parameters = CONDENSATION.len() / size_of::<f32>(); // but for names and the like
    let bytes = || CONDENSATION.to_vec();
    let network = || measure("condensation CNN", parameters, &bytes, &cells, &folder, &device);
    let cases = networks.chain(std::iter::once_with(network)).collect::<Result<Vec<_>>>();
    std::fs::remove_dir_all(&folder)?;
    Ok(json!({ "repeats": REPEATS, "rows": ROWS, "cases": cases? }))
}

fn measure(
    name: &str,
    parameters: usize,
    bytes: &dyn Fn() -> Vec<u8>,
    x: &Blocks,
    folder: &Path,
    device: &OnnxDevice,
) -> Result<Value> {
    let (exported, saved) = (folder.join("exported.onnx"), folder.join("optimized.onnx"));
    std::fs::write(&exported, bytes())?;
    let begin = Instant::now();
    ModelSource::from_file("network", &exported)?.optimize(&saved)?;
    let optimizing = ms(begin.elapsed());
    let [mut just_in_time, mut ahead] = [Figures::new(), Figures::new()];
    for _ in 0..REPEATS {
        just_in_time.measure(&exported, false, x, device)?;
        ahead.measure(&saved, true, x, device)?;
    }
    let ratio = |ahead: &[f64], just_in_time: &[f64]| {
        let mut ratios: Vec<f64> = ahead.iter().zip(just_in_time).map(|(a, b)| a / b).collect();
        rounded(median(&mut ratios))
    };
    let figures = |figures: &Figures| {
        let middle = |values: &[f64]| rounded(median(&mut values.to_vec()));
        json!({
            "start_up_ms": middle(&figures.start_up),
            "first_run_ms": middle(&figures.first_run),
            "steady_run_ms": middle(&figures.steady),
        })
    };
    Ok(json!({
        "model": name, "parameters": parameters, "optimizing_ms": rounded(optimizing),
        "just_in_time": figures(&just_in_time), "ahead_of_time": figures(&ahead),
        "start_up_ratio": ratio(&ahead.start_up, &just_in_time.start_up),
        "first_run_ratio": ratio(&ahead.first_run, &just_in_time.first_run),
        "steady_run_ratio": ratio(&ahead.steady, &just_in_time.steady),
    }))
}

/// A table.
pub(super) fn print(result: &Value) {
    println!(
        "loading a model, just in time / ahead of time, runs of {ROWS} rows, one session, medians of {REPEATS} in ms:"
    );
    println!(
        "{:<28} {:>11} {:>20} {:>7} {:>20} {:>7} {:>20} {:>7}",
        "model", "parameters", "start-up", "ratio", "first run", "ratio", "steady run", "ratio"
    );
    for case in result["cases"].as_array().into_iter().flatten() {
        let pair =
            |figure: &str| format!("{} / {}", case["just_in_time"][figure], case["ahead_of_time"][figure]);
        println!(
            "{:<28} {:>11} {:>20} {:>7} {:>20} {:>7} {:>20} {:>7}",
            case["model"].as_str().unwrap_or_default(),
            case["parameters"],
            pair("start_up_ms"),
            case["start_up_ratio"],
            pair("first_run_ms"),
            case["first_run_ratio"],
            pair("steady_run_ms"),
            case["steady_run_ratio"]
        );
    }
}
