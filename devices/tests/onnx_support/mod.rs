//! What the tests of ONNX Runtime share.
#![allow(dead_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use asynchrotron_devices::inference::{Block, Blocks, Mlp, Order};
use asynchrotron_devices::onnx::{ModelConfig, ModelSource, OnnxConfig, OnnxDevice, OnnxModel};

/// Says it past the test runner, which shows what a test prints only if it fails.
pub(crate) fn skipped(what: &str, why: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// A device, if ONNX Runtime is here.
pub(crate) fn device(lanes: usize) -> Option<OnnxDevice> {
    device_with(OnnxConfig { lanes, ..OnnxConfig::default() })
}

pub(crate) fn device_with(config: OnnxConfig) -> Option<OnnxDevice> {
    OnnxDevice::open(config).map_err(|missing| skipped("a test of ONNX Runtime", &missing)).ok()
}

/// A device none of whose runs is inline.
pub(crate) fn threads_only(lanes: usize) -> Option<OnnxDevice> {
    device_with(OnnxConfig { lanes, inline_below: Duration::ZERO })
}

/// The folder of models of the reference data, if it is there.
pub(crate) fn reference_models() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("ASYNCHROTRON_REFERENCE_DATA").map_or_else(beside, PathBuf::from);
    let models = folder.join("onnx");
    if models.is_dir() {
        return Some(models);
    }
    let why = format!("none in {}; set ASYNCHROTRON_REFERENCE_DATA to their folder", folder.display());
    skipped("the published models", &why);
    None
}

pub(crate) fn load(source: &ModelSource, device: &OnnxDevice) -> Arc<OnnxModel> {
    OnnxModel::load(source, device, ModelConfig::default()).unwrap()
}

/// A network as a model, and itself.
pub(crate) fn network(widths: &[usize], order: Order) -> (ModelSource, Mlp) {
    let network = Mlp::random(widths, 7);
    (ModelSource::from_bytes("network", network.to_onnx(order)), network)
}

/// Numbers that look random, the same each time, between -2 and 2.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    pub(crate) fn number(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 18) as f32 - 2.0
    }

    pub(crate) fn block(&mut self, order: Order, rows: usize, features: usize) -> Block<f32> {
        Block::new(order, rows, features, (0..rows * features).map(|_| self.number()).collect())
    }

    /// All numbers below `end`, in some order.
    pub(crate) fn permutation(&mut self, end: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..end).collect();
        (1..end).rev().for_each(|last| all.swap(last, self.below(last + 1)));
        all
    }
}

/// The only output, of type f32.
pub(crate) fn only(blocks: &Blocks) -> &Block<f32> {
    assert_eq!(blocks.as_slice().len(), 1);
    blocks.get::<f32>(0).unwrap()
}

/// The largest difference.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
