//! [`TrainedModel`]: a trained network of this crate, as a model on a device that runs models.

use asynchrotron::Result;
use asynchrotron_devices::inference::{Blocks, ModelError, ModelReport, Signature};
#[cfg(all(feature = "cuda", feature = "onnx"))]
use asynchrotron_devices::onnx::CudaModel;
#[cfg(feature = "onnx")]
use asynchrotron_devices::onnx::{ModelConfig, ModelSource, OnnxModel};
use asynchrotron_devices::{Device, DeviceKind, LaneId};
#[cfg(feature = "onnx")]
use std::sync::Arc;

/// A trained network of this crate, as a model on device `onnx` or on GPUs. For other devices nothing is loaded, and the step that
/// has it computes with the same network in plain Rust.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrainedModel {
    #[cfg(feature = "onnx")]
    model: Option<Arc<OnnxModel>>,
    #[cfg(all(feature = "cuda", feature = "onnx"))]
    cuda: Option<Arc<CudaModel>>,
    not_on_gpu: Option<ModelError>,
}

impl TrainedModel {
    /// Loads the model, if it is for this device. Where GPUs cannot run it, [`not_on_gpu`](Self::not_on_gpu) says why.
    ///
    /// # Errors
    /// [`ModelError`]: the model is not what the signature says, or device `onnx` does not take it.
    #[cfg_attr(not(feature = "onnx"), allow(clippy::needless_update))] // then there is no other field
    pub(crate) fn load(
        name: &str,
        bytes: &'static [u8],
        signature: Signature,
        device: &dyn Device,
    ) -> Result<Self, ModelError> {
        match device.kind() {
            DeviceKind::Onnx => Self::load_onnx(name, bytes, signature, device),
            DeviceKind::Cuda => match Self::load_cuda(name, bytes, signature, device) {
                // That is a mistake, wherever it is run.
                Err(why @ ModelError::Mismatch { .. }) => Err(why),
                Err(why) => Ok(Self { not_on_gpu: Some(why), ..Self::default() }),
                loaded => loaded,
            },
            _ => Ok(Self::default()),
        }
    }

    /// What is loaded, wherever it runs.
    #[cfg(feature = "onnx")]
    fn parts(name: &str, bytes: &'static [u8], signature: Signature) -> (ModelSource, ModelConfig) {
        let config = ModelConfig { signature: Some(signature), ..ModelConfig::default() };
        (ModelSource::from_bytes(name, bytes), config)
    }

    #[cfg(feature = "onnx")]
    fn load_onnx(
        name: &str,
        bytes: &'static [u8],
        signature: Signature,
        device: &dyn Device,
    ) -> Result<Self, ModelError> {
        let (source, config) = Self::parts(name, bytes, signature);
        let model = OnnxModel::load(&source, device, config)?;
        Ok(Self { model: Some(model), ..Self::default() })
    }

    /// There is no such device in this build.
    #[cfg(not(feature = "onnx"))]
    fn load_onnx(_: &str, _: &'static [u8], _: Signature, _: &dyn Device) -> Result<Self, ModelError> {
        Ok(Self::default())
    }

    #[cfg(all(feature = "cuda", feature = "onnx"))]
    fn load_cuda(
        name: &str,
        bytes: &'static [u8],
        signature: Signature,
        device: &dyn Device,
    ) -> Result<Self, ModelError> {
        let (source, config) = Self::parts(name, bytes, signature);
        let model = CudaModel::load(&source, device, config)?;
        Ok(Self { cuda: Some(model), ..Self::default() })
    }

    #[cfg(not(all(feature = "cuda", feature = "onnx")))]
    fn load_cuda(name: &str, _: &'static [u8], _: Signature, _: &dyn Device) -> Result<Self, ModelError> {
        Err(ModelError::NoProvider { model: name.into(), why: "built without feature `onnx`".into() })
    }

    /// Runs the model on this lane; `None` if none was loaded for device `onnx`.
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

    /// The model on GPUs, if it was loaded there.
    #[cfg(all(feature = "cuda", feature = "onnx"))]
    pub(crate) fn on_gpu(&self) -> Option<&Arc<CudaModel>> {
        self.cuda.as_ref()
    }

    /// Why it does not run on GPUs although its device has some.
    pub(crate) fn not_on_gpu(&self) -> Option<&ModelError> {
        self.not_on_gpu.as_ref()
    }

    /// Its hash, and the times until now; `None` if none was loaded.
    pub(crate) fn report(&self) -> Option<ModelReport> {
        #[cfg(all(feature = "cuda", feature = "onnx"))]
        if let Some(model) = &self.cuda {
            return Some(model.report());
        }
        #[cfg(feature = "onnx")]
        return self.model.as_ref().map(|model| model.report());
        #[cfg(not(feature = "onnx"))]
        None
    }
}
