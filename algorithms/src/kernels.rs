//! The device code of all algorithms.

use asynchrotron_devices::cuda::KernelSource;

/// CLUE; agrees with the host to the last bit, so products are not fused with sums.
pub static CLUE: KernelSource =
    KernelSource { name: "clue.cu", source: include_str!("../kernels/clue.cu"), options: &["--fmad=false"] };

/// All of it, for those who compile ahead of time.
pub static ALL: &[&KernelSource] = &[&CLUE];
