//! What runs CUDA kernels on the CPU: that it does what they say, and finds what is wrong with them.

mod on_host;

use on_host::{Buffer, Kernels};
use std::ffi::c_void;
use std::ptr::from_mut;

const KERNELS: &str = r#"
extern "C" __global__ void mix(unsigned char a, const double* b, float c, unsigned long long d, short e, double* out) {
    *out = a + *b + c + (double)d + e;
}

extern "C" __global__ void number(unsigned* out) {
    const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    out[thread] = gridDim.x * 1000 + thread;
}

extern "C" __global__ void reverse(unsigned* values, bool waits) {
    DYNAMIC_SHARED(unsigned, all);
    all[threadIdx.x] = values[threadIdx.x];
    if (waits) __syncthreads();
    values[threadIdx.x] = all[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void rubbish(unsigned* values) {
    __shared__ unsigned before[2];
    values[blockIdx.x] = before[1];
    before[1] = 7;
}

extern "C" __global__ void wait_for_ever() {
    if (threadIdx.x != 5) __syncthreads();
}

extern "C" __global__ void warp(unsigned* out) {
    const unsigned lane = threadIdx.x % 32, value = threadIdx.x * threadIdx.x;
    unsigned* mine = out + 6 * threadIdx.x;
    mine[0] = __shfl_sync(0xffffffffu, value, (lane + 1) % 32);
    mine[1] = __shfl_up_sync(0xffffffffu, value, 3);
    mine[2] = __ballot_sync(0xffffffffu, value % 3 == 0);
    mine[3] = __all_sync(0xffffffffu, threadIdx.x >= 32);
    mine[4] = __reduce_add_sync(0xffffffffu, value);
    mine[5] = __reduce_max_sync(0xffffffffu, value);
}

#ifdef ON_HOST
HOST_KERNEL(mix)
HOST_KERNEL(number)
HOST_KERNEL(reverse)
HOST_KERNEL(rubbish)
HOST_KERNEL(wait_for_ever)
HOST_KERNEL(warp)
#endif
"#;

fn launch(kernels: &Kernels, name: &str, grid: [usize; 2], arguments: &mut [*mut c_void]) -> i32 {
    // SAFETY: each test passes what the kernel above takes, and buffers that are long enough.
    unsafe { kernels.launch(name, grid, 4 * grid[1], arguments) }
}

#[test]
fn parameters_of_all_sizes_arrive() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    let (mut b, mut out) = (Buffer::of(&[0.25_f64]), Buffer::zeroed(8));
    let (mut a, mut c, mut d, mut e) = (200_u8, 0.5_f32, 1_u64 << 40, -3_i16);
    let arguments = &mut [
        from_mut(&mut a).cast(),
        from_mut(&mut b.at()).cast(),
        from_mut(&mut c).cast(),
        from_mut(&mut d).cast(),
        from_mut(&mut e).cast(),
        from_mut(&mut out.at()).cast(),
    ];
    assert_eq!(launch(&kernels, "mix", [1, 1], arguments), 0);
    assert_eq!(out.values::<f64>(), [197.75 + (1_u64 << 40) as f64]);
}

#[test]
fn every_thread_of_every_block_runs_once() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    for seed in 0..4 {
        kernels.shuffle_threads(seed);
        let mut out = Buffer::new(4 * 7 * 33);
        assert_eq!(launch(&kernels, "number", [7, 33], &mut [from_mut(&mut out.at()).cast()]), 0);
        assert_eq!(out.values::<u32>(), (7000..7000 + 7 * 33).collect::<Vec<u32>>());
    }
}

#[test]
fn a_barrier_is_waited_at_and_one_that_is_missing_shows() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    let reversed = |seed, mut waits: bool| {
        kernels.shuffle_threads(seed);
        let mut values = Buffer::of(&(0..96).collect::<Vec<u32>>());
        let arguments = &mut [from_mut(&mut values.at()).cast(), from_mut(&mut waits).cast()];
        assert_eq!(launch(&kernels, "reverse", [1, 96], arguments), 0);
        values.values::<u32>() == (0..96).rev().collect::<Vec<u32>>()
    };
    assert!((0..20).all(|seed| reversed(seed, true)));
    assert!((0..20).all(|seed| !reversed(seed, false)));
}

#[test]
fn what_a_block_left_in_shared_memory_is_gone() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    let mut values = Buffer::new(12);
    assert_eq!(launch(&kernels, "rubbish", [3, 1], &mut [from_mut(&mut values.at()).cast()]), 0);
    assert_eq!(values.values::<u32>(), [0xa5a5_a5a5; 3]);
}

#[test]
fn threads_that_would_wait_for_ever_are_told_and_the_next_launch_runs() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    for seed in 0..3 {
        kernels.shuffle_threads(seed);
        assert_eq!(launch(&kernels, "wait_for_ever", [2, 64], &mut []), 3);
        let mut out = Buffer::new(4 * 64);
        assert_eq!(launch(&kernels, "number", [1, 64], &mut [from_mut(&mut out.at()).cast()]), 0);
        assert_eq!(out.values::<u32>()[63], 1063);
    }
}

#[test]
fn lanes_of_a_warp_tell_each_other() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    for seed in 0..5 {
        kernels.shuffle_threads(seed);
        let mut out = Buffer::new(4 * 6 * 64);
        assert_eq!(launch(&kernels, "warp", [1, 64], &mut [from_mut(&mut out.at()).cast()]), 0);
        for (thread, found) in (0_u32..).zip(out.values::<u32>().chunks(6)) {
            let (lane, first) = (thread % 32, thread / 32 * 32);
            let value = |lane: u32| (first + lane).pow(2);
            let ballot = (0..32).filter(|&lane| value(lane) % 3 == 0).map(|lane| 1 << lane).sum::<u32>();
            let up = if lane < 3 { lane } else { lane - 3 };
            let sum = (0..32).map(value).sum::<u32>();
            let all = u32::from(thread >= 32);
            assert_eq!(found, [value((lane + 1) % 32), value(up), ballot, all, sum, value(31)], "{thread}");
        }
    }
}

#[test]
fn launches_that_no_device_takes_are_refused() {
    let Some(kernels) = Kernels::build(KERNELS) else { return };
    for (name, grid, shared, answer) in [
        ("nothing", [1, 1], 0, 1),
        ("number", [0, 1], 0, 2),
        ("number", [1, 1025], 0, 2),
        ("number", [1, 1], 300 << 10, 2),
    ] {
        // SAFETY: refused before anything runs.
        assert_eq!(unsafe { kernels.launch(name, grid, shared, &mut []) }, answer);
    }
}
