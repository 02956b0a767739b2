//! [`TrainedModel`]: a trained network of this crate, as a model on a device that runs models.

use asynchrotron::Result;
use asynchrotron_devices::inference::{Blocks, ModelError, ModelReport, Signature};
use asynchrotron_devices::{Device, LaneId};
#[cfg(feature = "onnx")]
use asynchrotron_devices::{
    DeviceKind,
    onnx::{ModelConfig, ModelSource, OnnxModel},
};
#[cfg(feature = "onnx")]
use std::sync::Arc;

/// A trained network of this crate, as a model on device `onnx`. For other devices nothing is loaded, and the step that has it
/// computes with the same network in plain Rust.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrainedModel {
    #[cfg(feature = "onnx")]
    model: Option<Arc<OnnxModel>>,
}

impl TrainedModel {
    /// Loads the model, if it is for this device.
    ///
    /// # Errors
    /// [`ModelError`]: the model is not what the signature says, or the library does not take it.
    #[cfg(feature = "onnx")]
    pub(crate) fn load(
        name: &str,
        bytes: &'static [u8],
        signature: Signature,
        device: &dyn Device,
    ) -> Result<Self, ModelError> {
        if device.kind() != DeviceKind::Onnx {
            return Ok(Self::default());
        }
        let config = ModelConfig { signature: Some(signature), ..ModelConfig::default() };
        let model = OnnxModel::load(&ModelSource::from_bytes(name, bytes), device, config)?;
        Ok(Self { model: Some(model) })
    }

    /// There is no such device in this build.
    #[cfg(not(feature = "onnx"))]
    pub(crate) fn load(_: &str, _: &'static [u8], _: Signature, _: &dyn Device) -> Result<Self, ModelError> {
        Ok(Self::default())
    }

    /// Runs the model on this lane; `None` if none was loaded.
    #[cfg_attr(not(feature = "onnx"), allow(unused_variables))]
    pub(crate) fn run(
        &self,
        lane: LaneId,
        inputs: impl FnOnce() -> Result<Blocks>,
    ) -> Option<Result<Blocks>> {
        #[cfg(feature = "onnx")]
        if let Some(model) = &self.model {
            return Some(inputs().and_then(|inputs| Ok(model.run(lane, &inputs)?)));
        }
        None
    }

    /// Its hash, and the times until now; `None` if none was loaded.
    pub(crate) fn report(&self) -> Option<ModelReport> {
        #[cfg(feature = "onnx")]
        return self.model.as_ref().map(|model| model.report());
        #[cfg(not(feature = "onnx"))]
        None
    }
}
