//! One lane's session.

use std::ffi::c_void;
use std::ptr::NonNull;

use ort::AsPointer;
use ort::ep::CUDA;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::DynValue;

use super::super::ModelSource;
use super::super::library::one_line;
use super::super::ports::element_type;
use super::{DeviceTensor, provider};
use crate::cuda::{Address, LaneStream};
use crate::inference::{ModelError, Port, Signature};

/// A session that enqueues on a lane's stream. To be made and run on the lane's own thread.
pub(super) struct BoundSession {
    binding: IoBinding,
    options: RunOptions,
    session: Session,
    /// What the library calls the memory of this GPU.
    memory: MemoryInfo<'static>,
    /// Dropped last: the session's stream.
    _stream: LaneStream,
}

impl BoundSession {
    pub(super) fn new(source: &ModelSource, stream: LaneStream, tf32: bool) -> Result<Self, ModelError> {
        let on_gpu = !stream.memory_is_hosts();
        if on_gpu {
            provider::check(source)?;
        }
        let ordinal = stream.ordinal() as i32;
        let session = source.session(1, |builder| {
            if !on_gpu {
                return Ok(builder);
            }
            let provider = CUDA::default().with_device_id(ordinal).with_tf32(tf32);
            // SAFETY: the session that is made of this keeps `stream`, which keeps the stream, and is dropped before it.
            let provider = unsafe { provider.with_compute_stream(stream.stream().0 as *mut ()) };
            // An operator that would run on the host would wait for the GPU.
            Ok(builder
                .with_execution_providers([provider.build().error_on_failure()])?
                .with_disable_cpu_fallback()?)
        })?;
        let device = if on_gpu { AllocationDevice::CUDA } else { AllocationDevice::CPU };
        let ordinal = if on_gpu { ordinal } else { 0 };
        let build = || -> ort::Result<_> {
            let memory = MemoryInfo::new(device, ordinal, AllocatorType::Device, MemoryType::Default)?;
            let mut options = RunOptions::new()?;
            options.disable_device_sync()?;
            Ok((session.create_binding()?, options, memory))
        };
        let (binding, options, memory) = build().map_err(|error| source.load_error(&one_line(&error)))?;
        Ok(Self { binding, options, session, memory, _stream: stream })
    }

    /// Enqueues one run on tensors that fit the signature. The caller keeps them until the GPU is done.
    pub(super) fn enqueue(
        &mut self,
        signature: &Signature,
        inputs: &[DeviceTensor],
        outputs: &[DeviceTensor],
        rows: usize,
    ) -> ort::Result<()> {
        for (port, tensor) in signature.inputs.iter().zip(inputs) {
            let value = self.value(port, tensor, rows)?;
            self.binding.bind_input(port.name(), &value)?;
        }
        for (port, tensor) in signature.outputs.iter().zip(outputs) {
            let value = self.value(port, tensor, rows)?;
            self.binding.bind_output(port.name(), value)?;
        }
        let Self { binding, options, session, .. } = self;
        // The outputs are those that were bound.
        session.run_binding_with_options(binding, options).map(drop)
    }

    /// The tensor as the library sees it: owned, since the library copies borrowed ones when they are bound, and waits for that.
    fn value(&self, port: &Port, tensor: &DeviceTensor, rows: usize) -> ort::Result<DynValue> {
        let shape: Vec<i64> = port.shape(rows).into_iter().map(|dim| dim as i64).collect();
        let Address(address) = tensor.bytes().address();
        let mut value = std::ptr::null_mut();
        // SAFETY: the memory is as long as is said, on the device of `memory`, and stays until the GPU is done, after which the
        // library does not look at the value's content any more; it reads the shape before it returns.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                self.memory.ptr(),
                address as *mut c_void,
                tensor.bytes().len(),
                shape.as_ptr(),
                shape.len(),
                element_type(port.element()).into(),
                &mut value,
            )
        };
        // SAFETY: the status that the library has just returned.
        unsafe { ort::Error::result_from_status(status) }?;
        let value = NonNull::new(value).ok_or_else(|| ort::Error::new("no tensor was made"))?;
        // SAFETY: the value that the library has just made, which is this one's alone. It is a tensor that owns no memory, so that the
        // allocator is not asked for anything.
        Ok(unsafe { DynValue::from_ptr(value, Some(self.session.allocator())) })
    }
}
