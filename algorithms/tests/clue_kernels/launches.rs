//! The launches of `kernels/clue.cu`, as its file describes them.

use crate::on_host::{Buffer, Kernels};
use asynchrotron_algorithms::clue::{ClueConfig, CluePoint, ClueResult, Points};
use asynchrotron_devices::Offsets;
use std::ffi::c_void;

/// The most points per event that `run_in_one` takes.
pub(crate) const MOST_IN_SMALL: usize = 1024;

macro_rules! launch {
    ($kernels:expr, $name:ident $grid:expr, $shared:expr; $($argument:expr),*) => {{
        let arguments = &mut [$(std::ptr::from_mut(&mut { $argument }).cast::<c_void>()),*];
        // SAFETY: the types are those of the kernel's parameters; it stays within buffers of the sizes that its file says,
        // which is what the guards of the buffers check.
        let done = unsafe { $kernels.launch(stringify!($name), $grid, $shared, arguments) };
        assert_eq!(done, 0, stringify!($name));
    }};
}

/// The largest number whose root is at most the radius.
fn squared_limit(radius: f32) -> f32 {
    let mut limit = radius * radius;
    while limit.sqrt() > radius {
        limit = limit.next_down();
    }
    while limit.next_up().sqrt() <= radius {
        limit = limit.next_up();
    }
    limit
}

/// What comes out, and the points.
struct Memory {
    x: Buffer,
    y: Buffer,
    weight: Buffer,
    events: Buffer,
    rho: Buffer,
    delta: Buffer,
    nearest_higher: Buffer,
    is_seed: Buffer,
    cluster: Buffer,
    bad: Buffer,
}

impl Memory {
    fn new(points: &Points, events: &Offsets) -> Self {
        let [x, y, weight] = [points.x(), points.y(), points.weight()].map(Buffer::of);
        let [rho, delta, nearest_higher, cluster] = [4 * points.len(); 4].map(Buffer::new);
        let (is_seed, bad) = (Buffer::new(points.len()), Buffer::zeroed(4));
        let events = Buffer::of(events.as_slice());
        Self { x, y, weight, events, rho, delta, nearest_higher, is_seed, cluster, bad }
    }

    /// The index of the first point that makes no sense, if there is one.
    fn result(mut self) -> Result<ClueResult, usize> {
        let (rho, delta) = (self.rho.values::<f32>(), self.delta.values::<f32>());
        let (is_seed, nearest_higher) = (self.is_seed.values::<u8>(), self.nearest_higher.values::<i32>());
        let (cluster, bad) = (self.cluster.values::<i32>(), self.bad.values::<u32>()[0]);
        let row = |i| CluePoint {
            rho: rho[i],
            delta: delta[i],
            nearest_higher: nearest_higher[i],
            is_seed: is_seed[i],
            cluster: cluster[i],
        };
        if bad == 0 { Ok((0..rho.len()).map(row).collect()) } else { Err(!bad as usize) }
    }
}

pub(crate) fn run_in_nine(
    kernels: &Kernels,
    config: &ClueConfig,
    points: &Points,
    events: &Offsets,
    blocks_for_bounds: usize,
) -> Result<ClueResult, usize> {
    let mut memory = Memory::new(points, events);
    let (n, e, per_tile) = (points.len(), events.len(), config.points_per_tile);
    if n == 0 {
        return memory.result();
    }
    let (groups, seed_groups) = ((n / per_tile as usize + e) / 1024 + 1, n / 1024 + 1);
    let [mut tiles, mut tile_sums, mut seed_sums] =
        [4096 * groups, 4 * groups, 4 * seed_groups].map(Buffer::zeroed);
    let [mut boxes, mut done] = [16 * e, 4 * e].map(Buffer::zeroed);
    // by_point and by_tile, then found; rho_sorted, then number.
    let [mut grids, mut first, mut sorted, mut second] = [32 * e, 16 * n, 16 * n, 4 * n].map(Buffer::new);
    {
        let [x, y, weight, events] =
            [&mut memory.x, &mut memory.y, &mut memory.weight, &mut memory.events].map(Buffer::at);
        let [tiles, tile_sums, seed_sums] = [&mut tiles, &mut tile_sums, &mut seed_sums].map(Buffer::at);
        let [grids, first, sorted, second] =
            [&mut grids, &mut first, &mut sorted, &mut second].map(Buffer::at);
        let [rho, delta, nearest_higher, is_seed] =
            [&mut memory.rho, &mut memory.delta, &mut memory.nearest_higher, &mut memory.is_seed]
                .map(Buffer::at);
        let (by_tile, n, e) = (first.wrapping_add(8 * n), n as u32, e as u32);
        let [radius, wide] = [config.density_radius, config.outlier_radius()];
        let ([limit, wide_limit], least) = ([radius, wide].map(squared_limit), config.seed_density);
        let y_period = config.y_period.unwrap_or(0.0);
        let each = [points.len().div_ceil(256), 256];
        launch!(kernels, clue_bounds [blocks_for_bounds, 256], 0; x, y, weight, events, e, n, radius, y_period,
            per_tile, boxes.at(), done.at(), grids, memory.bad.at());
        launch!(kernels, clue_histogram each, 0; x, y, events, e, n, grids, first, tiles, tile_sums);
        launch!(kernels, clue_scan [groups, 256], 0; tile_sums, tiles);
        launch!(kernels, clue_fill each, 0; first, tiles, n, by_tile);
        launch!(kernels, clue_sort each, 0; x, y, weight, by_tile, tiles, n, sorted);
        launch!(kernels, clue_density each, 0; sorted, tiles, grids, events, e, n, radius, limit, second);
        launch!(kernels, clue_nearest each, 0; sorted, second, tiles, grids, events, e, n, radius, limit, wide,
            wide_limit, least, first, seed_sums);
        launch!(kernels, clue_number [seed_groups, 256], 0; first, seed_sums, n, radius, least, rho, delta,
            nearest_higher, is_seed, second);
        launch!(kernels, clue_assign each, 0; first, is_seed, second, events, e, n, memory.cluster.at());
    }
    // Asking for the values checks the guards.
    let scratch = [tiles, tile_sums, seed_sums, boxes, done, grids, first, sorted, second];
    scratch.into_iter().for_each(|mut buffer| drop(buffer.values::<u32>()));
    memory.result()
}

pub(crate) fn run_in_one(
    kernels: &Kernels,
    config: &ClueConfig,
    points: &Points,
    events: &Offsets,
) -> Result<ClueResult, usize> {
    let mut memory = Memory::new(points, events);
    let most = events.iter().map(|event| event.len()).max().unwrap_or(0);
    assert!(most <= MOST_IN_SMALL);
    if most > 0 {
        let [radius, wide] = [config.density_radius, config.outlier_radius()];
        let [limit, wide_limit] = [radius, wide].map(squared_limit);
        launch!(kernels, clue_small [events.len(), most.next_multiple_of(32).min(256)], 36 * most + 4;
            memory.x.at(), memory.y.at(), memory.weight.at(), memory.events.at(), radius, limit, wide, wide_limit,
            config.seed_density, config.y_period.unwrap_or(0.0), config.points_per_tile, memory.rho.at(),
            memory.delta.at(), memory.nearest_higher.at(), memory.is_seed.at(), memory.cluster.at(), memory.bad.at());
    }
    memory.result()
}
