//! [`RealGraph`]: kernels that are launched as one.

use std::ffi::c_void;

use cudarc::driver::sys;

use super::super::Fault;
use super::super::driver::{Call, Launch};
use super::{fault, with_pointers};

/// A graph, what can be launched of it, and its kernels, in order.
pub(super) struct RealGraph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    nodes: Vec<sys::CUgraphNode>,
}

// SAFETY (for every call in here): the graph's handles are its own, and written to places that live as long as the call; those of
// kernels and streams come from the same driver; parameters are read before a call returns.
impl RealGraph {
    /// These kernels, each after the one before.
    pub(super) fn new(calls: &[Call<'_>]) -> Result<Self, Fault> {
        let mut this = Self {
            graph: std::ptr::null_mut(),
            executable: std::ptr::null_mut(),
            nodes: Vec::with_capacity(calls.len()),
        };
        // SAFETY: see above.
        unsafe { sys::cuGraphCreate(&mut this.graph, 0) }
            .result()
            .map_err(|error| fault("cuGraphCreate", error))?;
        for call in calls {
            let before = this.nodes.last().copied();
            let mut node = std::ptr::null_mut();
            // SAFETY: see above.
            with_pointers(call.arguments, |arguments| unsafe {
                let parameters = parameters(call, arguments);
                let (before, count) =
                    (before.as_ref().map_or(std::ptr::null(), std::ptr::from_ref), before.iter().count());
                sys::cuGraphAddKernelNode_v2(&mut node, this.graph, before, count, &parameters).result()
            })
            .map_err(|error| fault("cuGraphAddKernelNode", error))?;
            this.nodes.push(node);
        }
        // SAFETY: see above.
        unsafe { sys::cuGraphInstantiateWithFlags(&mut this.executable, this.graph, 0) }
            .result()
            .map_err(|error| fault("cuGraphInstantiate", error))?;
        Ok(this)
    }

    /// From the next launch on, this call takes the place of that with this index.
    pub(super) fn change(&self, index: usize, call: Call<'_>) -> Result<(), Fault> {
        // SAFETY: see above.
        with_pointers(call.arguments, |arguments| unsafe {
            let parameters = parameters(&call, arguments);
            sys::cuGraphExecKernelNodeSetParams_v2(self.executable, self.nodes[index], &parameters).result()
        })
        .map_err(|error| fault("cuGraphExecKernelNodeSetParams", error))
    }

    pub(super) fn launch(&self, stream: sys::CUstream) -> Result<(), Fault> {
        // SAFETY: see above.
        unsafe { sys::cuGraphLaunch(self.executable, stream) }
            .result()
            .map_err(|error| fault("cuGraphLaunch", error))
    }
}

impl Drop for RealGraph {
    fn drop(&mut self) {
        // SAFETY: they are this one's alone, or null, which the driver refuses.
        unsafe {
            let _ = sys::cuGraphExecDestroy(self.executable);
            let _ = sys::cuGraphDestroy(self.graph);
        }
    }
}

fn parameters(call: &Call<'_>, arguments: &mut [*mut c_void]) -> sys::CUDA_KERNEL_NODE_PARAMS {
    let Launch { grid, block, shared_bytes } = call.launch;
    sys::CUDA_KERNEL_NODE_PARAMS {
        func: call.function.0 as sys::CUfunction,
        gridDimX: grid[0],
        gridDimY: grid[1],
        gridDimZ: grid[2],
        blockDimX: block[0],
        blockDimY: block[1],
        blockDimZ: block[2],
        sharedMemBytes: shared_bytes,
        kernelParams: arguments.as_mut_ptr(),
        extra: std::ptr::null_mut(),
        kern: std::ptr::null_mut(),
        ctx: std::ptr::null_mut(),
    }
}
