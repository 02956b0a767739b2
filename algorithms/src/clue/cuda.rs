//! CLUE on a GPU: what `kernels/clue.cu` says at its beginning, enqueued.

use asynchrotron::anyhow::ensure;
use asynchrotron::{Error, Result};
use asynchrotron_devices::Columns;
use asynchrotron_devices::cuda::{Argument, CudaBody, DeviceSlice, Finish, Launch, Region, Work};

use super::density::squared_limit;
use super::{ClueConfig, ClueError, CluePoints, ClueResult, ClueStep, validate};
use crate::kernels::CLUE;

/// Threads of a block, on which the kernels rely.
const BLOCK: u32 = 256;
/// Elements of a block of scans.
const GROUP: usize = 1024;
/// Blocks that find the bounds: eight for each multiprocessor of a large GPU. Any number is right.
const BOUNDS_BLOCKS: usize = 1056;
/// Events up to this size are computed in one launch if they are all that small: see `clue_small`.
const SMALL_MAX: usize = 512;

/// Points on the GPU, and where events begin.
struct Input {
    x: DeviceSlice<u8>,
    y: DeviceSlice<u8>,
    weight: DeviceSlice<u8>,
    events: DeviceSlice<u8>,
    n: usize,
    n_events: usize,
    largest: usize,
}

/// What the kernels write.
struct Output {
    region: Region,
    rho: DeviceSlice<f32>,
    delta: DeviceSlice<f32>,
    nearest_higher: DeviceSlice<i32>,
    is_seed: DeviceSlice<u8>,
    cluster: DeviceSlice<i32>,
    /// 0, or the complement of the first point that makes no sense.
    bad: DeviceSlice<u32>,
}

impl CudaBody<CluePoints, ClueResult> for ClueStep {
    fn enqueue(&self, input: CluePoints, work: &mut Work<'_>) -> Result<Finish<ClueResult>> {
        let (n, n_events) = (input.points.len(), input.events.len());
        if n == 0 {
            return Ok(Box::new(|_| Ok(ClueResult::default())));
        }
        ensure!(input.events.rows() == n, ClueError::Offsets { covered: input.events.rows(), points: n });
        ensure!(n + n_events < 1 << 31, "{n} points in {n_events} events are too many for one batch");
        let output = Output::new(work, n)?;
        let columns = [
            input.points.column_bytes(0),
            input.points.column_bytes(1),
            input.points.column_bytes(2),
            bytemuck::cast_slice(input.events.as_slice()),
        ];
        let mut columns = work.upload_columns(&columns)?.into_iter();
        let mut next = || columns.next().expect("as many as were sent");
        let largest = input.events.iter().map(|event| event.len()).max().unwrap_or(0);
        let on_gpu = Input { x: next(), y: next(), weight: next(), events: next(), n, n_events, largest };
        work.fill(&output.bad, 0)?;
        if largest <= SMALL_MAX {
            enqueue_small(self.config(), &on_gpu, &output, work)?;
        } else {
            enqueue_large(self.config(), &on_gpu, &output, work)?;
        }
        let back = work.download(output.region.whole())?;
        let config = *self.config();
        Ok(Box::new(move |landed| {
            let bytes = back.read(landed);
            let mut columns = Cursor { bytes };
            let mut result = ClueResult::with_len(n);
            let (rho, delta, nearest_higher, is_seed, cluster) = result.columns_mut();
            rho.copy_from_slice(columns.next(n));
            delta.copy_from_slice(columns.next(n));
            nearest_higher.copy_from_slice(columns.next(n));
            cluster.copy_from_slice(columns.next(n));
            is_seed.copy_from_slice(columns.next(n));
            if columns.next::<u32>(1)[0] != 0 {
                // The host says which point of which event, and what is wrong with it.
                validate(&config, &input.points, &input.events)?;
            }
            Ok(result)
        }))
    }
}

/// Reads slices that were cut from a region, in the same order.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn next<T: bytemuck::Pod>(&mut self, len: usize) -> &'a [T] {
        let (slice, rest) = self.bytes.split_at(Region::bytes_of::<T>(len));
        self.bytes = rest;
        bytemuck::cast_slice(&slice[..len * size_of::<T>()])
    }
}

impl Output {
    fn new(work: &mut Work<'_>, n: usize) -> Result<Self> {
        let bytes = 4 * Region::bytes_of::<f32>(n) + Region::bytes_of::<u8>(n) + Region::bytes_of::<u32>(1);
        let mut region = work.region(bytes)?;
        let (rho, delta) = (region.cut(n), region.cut(n));
        let (nearest_higher, cluster) = (region.cut(n), region.cut(n));
        let (is_seed, bad) = (region.cut(n), region.cut(1));
        Ok(Self { region, rho, delta, nearest_higher, is_seed, cluster, bad })
    }
}

/// One launch for all events.
fn enqueue_small(config: &ClueConfig, input: &Input, output: &Output, work: &mut Work<'_>) -> Result<()> {
    let Input { x, y, weight, events, n_events, largest, .. } = input;
    let threads = (*largest as u32).next_multiple_of(32).min(BLOCK);
    let launch = Launch::blocks(*n_events as u32, threads).with_shared(36 * *largest as u32 + 4);
    let arguments = [
        x.into(),
        y.into(),
        weight.into(),
        events.into(),
        config.density_radius.into(),
        squared_limit(config.density_radius).into(),
        config.outlier_radius().into(),
        squared_limit(config.outlier_radius()).into(),
        config.seed_density.into(),
        config.y_period.unwrap_or(0.0).into(),
        config.points_per_tile.into(),
        (&output.rho).into(),
        (&output.delta).into(),
        (&output.nearest_higher).into(),
        (&output.is_seed).into(),
        (&output.cluster).into(),
        (&output.bad).into(),
    ];
    Ok(work.launch(work.kernel(&CLUE, "clue_small")?, launch, &arguments)?)
}

/// Nine launches, for events of any size.
fn enqueue_large(config: &ClueConfig, input: &Input, output: &Output, work: &mut Work<'_>) -> Result<()> {
    let Input { x, y, weight, events, n, n_events, .. } = input;
    let groups = (n / config.points_per_tile as usize + n_events) / GROUP + 1;
    let seed_blocks = n / GROUP + 1;

    // What begins with zeros lies side by side.
    let bytes = |words: usize| Region::bytes_of::<u32>(words);
    let zeroed =
        bytes(GROUP * groups) + bytes(groups) + bytes(seed_blocks) + bytes(4 * n_events) + bytes(*n_events);
    let mut zeros = work.region(zeroed)?;
    work.fill(zeros.whole(), 0)?;
    let tiles = zeros.cut::<u32>(GROUP * groups);
    let tile_groups = zeros.cut::<u32>(groups);
    let seed_groups = zeros.cut::<u32>(seed_blocks);
    let boxes = zeros.cut::<u32>(4 * n_events);
    let done = zeros.cut::<u32>(*n_events);

    let mut scratch = work.region(bytes(8 * n_events) + bytes(4 * n) + bytes(4 * n) + bytes(*n))?;
    let grids = scratch.cut::<u32>(8 * n_events);
    // `found` takes the place of `by_point` and `by_tile`, `number` that of `rho_sorted`, when those are done with.
    let found = scratch.cut::<u32>(4 * n);
    let (by_point, by_tile) = (found.part(0..2 * n), found.part(2 * n..4 * n));
    let sorted = scratch.cut::<u32>(4 * n);
    let rho_sorted = scratch.cut::<u32>(*n);
    let number = &rho_sorted;

    let points = Launch::for_each(*n, BLOCK);
    let radius: Argument = config.density_radius.into();
    let limit: Argument = squared_limit(config.density_radius).into();
    let (count, event_count): (Argument, Argument) = ((*n as u32).into(), (*n_events as u32).into());
    let seed_density: Argument = config.seed_density.into();
    let mut launch = |name: &'static str, launch: Launch, arguments: &[Argument]| {
        let kernel = work.kernel(&CLUE, name)?;
        Ok::<_, Error>(work.launch(kernel, launch, arguments)?)
    };

    let bounds = Launch::blocks(points.grid[0].min(BOUNDS_BLOCKS as u32), BLOCK);
    launch(
        "clue_bounds",
        bounds,
        &[
            x.into(),
            y.into(),
            weight.into(),
            events.into(),
            event_count,
            count,
            radius,
            config.y_period.unwrap_or(0.0).into(),
            config.points_per_tile.into(),
            (&boxes).into(),
            (&done).into(),
            (&grids).into(),
            (&output.bad).into(),
        ],
    )?;
    let histogram = [
        x.into(),
        y.into(),
        events.into(),
        event_count,
        count,
        (&grids).into(),
        (&by_point).into(),
        (&tiles).into(),
        (&tile_groups).into(),
    ];
    launch("clue_histogram", points, &histogram)?;
    launch("clue_scan", Launch::blocks(groups as u32, BLOCK), &[(&tile_groups).into(), (&tiles).into()])?;
    launch("clue_fill", points, &[(&by_point).into(), (&tiles).into(), count, (&by_tile).into()])?;
    let sort =
        [x.into(), y.into(), weight.into(), (&by_tile).into(), (&tiles).into(), count, (&sorted).into()];
    launch("clue_sort", points, &sort)?;
    let density = [
        (&sorted).into(),
        (&tiles).into(),
        (&grids).into(),
        events.into(),
        event_count,
        count,
        radius,
        limit,
        (&rho_sorted).into(),
    ];
    launch("clue_density", points, &density)?;
    launch(
        "clue_nearest",
        points,
        &[
            (&sorted).into(),
            (&rho_sorted).into(),
            (&tiles).into(),
            (&grids).into(),
            events.into(),
            event_count,
            count,
            radius,
            limit,
            config.outlier_radius().into(),
            squared_limit(config.outlier_radius()).into(),
            seed_density,
            (&found).into(),
            (&seed_groups).into(),
        ],
    )?;
    launch(
        "clue_number",
        Launch::blocks(seed_blocks as u32, BLOCK),
        &[
            (&found).into(),
            (&seed_groups).into(),
            count,
            radius,
            seed_density,
            (&output.rho).into(),
            (&output.delta).into(),
            (&output.nearest_higher).into(),
            (&output.is_seed).into(),
            number.into(),
        ],
    )?;
    let assign = [
        (&found).into(),
        (&output.is_seed).into(),
        number.into(),
        events.into(),
        event_count,
        count,
        (&output.cluster).into(),
    ];
    launch("clue_assign", points, &assign)
}
