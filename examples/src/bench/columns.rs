//! `bench columns`: from a collection's columns to a model's input.
//!
//! Ten columns of f32, and a model that makes one number of each row. `prepare` is what comes before the model, `whole` all of it.
//! All ways work in memory that they had in the round before, as ONNX Runtime does inside the model: new pages of the system
//! would cost more than all else, and only the ways that copy would pay for them.
//!
//! | way | |
//! |---|---|
//! | `lent` | a packed collection is the input, as it lies |
//! | `copied` | each column is copied into the input in one piece: what a batch of several events does |
//! | `turned` | the input is `[row][feature]`: packed row by row |
//! | `apart` | the model has one input per column, as they lie, and puts them together itself |

use std::sync::Arc;
use std::time::Instant;

use asynchrotron::prelude::*;
use asynchrotron_devices::inference::{AnyBlock, Block, Blocks, Mlp, Order, Port};
use asynchrotron_devices::onnx::{
    Attribute, ModelConfig, ModelDraft, ModelSource, OnnxConfig, OnnxDevice, OnnxModel,
};
use asynchrotron_devices::{LaneId, columns};
use serde_json::{Value, json};

use super::machine::{machine, median};

const ROWS: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
/// Each figure is the median of so many runs, taken in turn, or of as many as there is time for.
const REPEATS: usize = 15;
/// Numbers that all runs of a size handle together at most.
const NUMBERS_MAX: usize = 600_000_000;

columns! {
    /// Features.
    struct Features, row Feature {
        a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, h: f32, i: f32, j: f32,
    }
}

const FEATURES: usize = 10;
const ALL: [usize; FEATURES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[derive(Clone, Copy)]
enum Way {
    Lent,
    Copied,
    Turned,
    Apart,
}

impl Way {
    const ALL: [Way; 4] = [Way::Lent, Way::Copied, Way::Turned, Way::Apart];

    fn name(self) -> &'static str {
        match self {
            Way::Lent => "lent",
            Way::Copied => "copied",
            Way::Turned => "turned",
            Way::Apart => "apart",
        }
    }

    /// The memory of what was copied.
    fn memory(self, input: Blocks) -> Vec<f32> {
        match (self, input.into_vec().pop()) {
            (Way::Copied | Way::Turned, Some(AnyBlock::F32(copy))) => copy.into_values(),
            _ => Vec::new(),
        }
    }

    /// The model that takes the input so.
    fn model(self) -> ModelSource {
        let weights: Vec<f32> = Mlp::random(&[FEATURES, 1], 1).layers()[0].weights().to_vec();
        let draft = ModelDraft::new().weights("w", &[FEATURES, 1], &weights);
        let (draft, from, trans_a) = match self {
            Way::Lent | Way::Copied => {
                (draft.input(&Port::new::<f32>("x", Order::FeatureRow, &[FEATURES])), "x", 1)
            }
            Way::Turned => (draft.input(&Port::new::<f32>("x", Order::RowFeature, &[FEATURES])), "x", 0),
            Way::Apart => {
                let names: Vec<String> = ALL.iter().map(|index| format!("x{index}")).collect();
                let draft = names
                    .iter()
                    .fold(draft, |draft, name| draft.input(&Port::new::<f32>(name, Order::FeatureRow, &[1])));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                (draft.node("Concat", &names, &["x"], &[("axis", Attribute::Int(0))]), "x", 1)
            }
        };
        let draft = draft.node("Gemm", &[from, "w"], &["y"], &[("transA", Attribute::Int(trans_a))]);
        let output = Port::new::<f32>("y", Order::RowFeature, &[1]);
        ModelSource::from_bytes(self.name(), draft.output(&output).into_bytes())
    }

    /// The model's input; a copy in this memory.
    fn prepare(self, padded: &Arc<Features>, packed: &Arc<Features>, memory: Vec<f32>) -> Result<Blocks> {
        let copy = |order| Block::pack_within(memory, &[&**padded], &ALL, order, padded.len());
        Ok(match self {
            Way::Lent => Block::<f32>::lent(packed.clone())?.into(),
            Way::Copied => copy(Order::FeatureRow).into(),
            Way::Turned => copy(Order::RowFeature).into(),
            Way::Apart => {
                let column = |index: &usize| Block::<f32>::lent_column(padded.clone(), *index);
                let columns = ALL.iter().map(|index| Ok(column(index)?.into()));
                Blocks::new(columns.collect::<Result<Vec<AnyBlock>>>()?)
            }
        })
    }
}

/// Measures, and prints one JSON object or a table.
pub(super) fn run(json: bool) -> Result<()> {
    let device = OnnxDevice::open(OnnxConfig { lanes: 1, ..OnnxConfig::default() })?;
    let load = |way: Way| OnnxModel::load(&way.model(), &device, ModelConfig::default());
    let models = Way::ALL.map(load).into_iter().collect::<Result<Vec<_>, _>>()?;
    let cases = ROWS.iter().map(|&rows| measure(rows, &models)).collect::<Result<Vec<Value>>>()?;
    let result = json!({ "bench": "columns", "machine": machine(), "features": FEATURES, "cases": cases });
    if json {
        println!("{result:#}");
    } else {
        print_table(&result);
    }
    Ok(())
}

fn measure(rows: usize, models: &[Arc<OnnxModel>]) -> Result<Value> {
    let (mut padded, mut packed) = (Features::with_len(rows), Features::with_packed_len(rows));
    for features in [&mut padded, &mut packed] {
        let (a, b, c, d, e, f, g, h, i, j) = features.columns_mut();
        for (feature, column) in [a, b, c, d, e, f, g, h, i, j].into_iter().enumerate() {
            let values = (0..rows).map(|row| ((row * FEATURES + feature) % 1013) as f32 * 1e-3);
            column.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        }
    }
    let (padded, packed) = (Arc::new(padded), Arc::new(packed));
    let repeats = (NUMBERS_MAX / (rows * FEATURES * Way::ALL.len())).clamp(3, REPEATS);
    let mut runs = Way::ALL.map(|way| (way, Vec::new(), Vec::new()));
    let mut memories = Way::ALL.map(|_| Vec::new());
    let mut outputs = Vec::new();
    // The first round is to warm up.
    for round in 0..=repeats {
        outputs.clear();
        for (((way, prepare, whole), model), memory) in runs.iter_mut().zip(models).zip(&mut memories) {
            let begin = Instant::now();
            let input = way.prepare(&padded, &packed, std::mem::take(memory))?;
            let prepared = begin.elapsed();
            let output = model.run(LaneId(0), &input)?;
            let all = begin.elapsed();
            if round > 0 {
                prepare.push(1e6 * prepared.as_secs_f64());
                whole.push(1e6 * all.as_secs_f64());
            }
            *memory = way.memory(input);
            outputs.push(output);
        }
    }
    ensure!(outputs.windows(2).all(|pair| agree(&pair[0], &pair[1])), "the ways do not agree");
    let lent = runs[0].2.clone();
    let ways: serde_json::Map<String, Value> = runs
        .iter()
        .map(|(way, prepare, whole)| {
            let mut over: Vec<f64> = whole.iter().zip(&lent).map(|(whole, lent)| whole / lent).collect();
            let figures = json!({
                "prepare_us": rounded(median(&mut prepare.clone())),
                "whole_us": rounded(median(&mut whole.clone())),
                "whole_over_lent": rounded(median(&mut over)),
            });
            (way.name().to_owned(), figures)
        })
        .collect();
    Ok(json!({ "rows": rows, "repeats": repeats, "ways": ways }))
}

fn agree(a: &Blocks, b: &Blocks) -> bool {
    let (Some(a), Some(b)) = (a.get::<f32>(0), b.get::<f32>(0)) else { return false };
    a.rows() == b.rows() && a.values().iter().zip(b.values()).all(|(a, b)| (a - b).abs() < 1e-4)
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn print_table(result: &Value) {
    println!(
        "{}; {FEATURES} columns of f32; µs before the model, and with it",
        result["machine"].as_str().unwrap_or_default()
    );
    println!("{:>10} {:>8} {:>12} {:>12} {:>12}", "rows", "way", "prepare", "whole", "/ lent");
    for case in result["cases"].as_array().into_iter().flatten() {
        for way in Way::ALL {
            let figures = &case["ways"][way.name()];
            println!(
                "{:>10} {:>8} {:>12} {:>12} {:>12}",
                case["rows"],
                way.name(),
                figures["prepare_us"],
                figures["whole_us"],
                figures["whole_over_lent"]
            );
        }
    }
}
