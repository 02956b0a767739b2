//! CLUE on a GPU: what `kernels/clue.cu` says at its beginning, enqueued.

use asynchrotron::anyhow::ensure;
use asynchrotron::{Error, Result};
use asynchrotron_devices::columns::Layout;
use asynchrotron_devices::cuda::{
    Argument, CudaBody, DeviceColumns, DeviceSlice, Finish, KernelSource, Launch, Region, Work,
};
use asynchrotron_devices::{Columns, Offsets};

use super::density::squared_limit;
use super::{ClueConfig, ClueError, CluePoints, ClueResult, ClueStep, Points, validate};
use crate::kernels::CLUE;

/// Threads of a block, on which the kernels rely.
const BLOCK: u32 = 256;
/// Elements of a block of scans.
const GROUP: usize = 1024;
/// Blocks that find the bounds: eight for each multiprocessor of a large GPU. Any number is right.
const BOUNDS_BLOCKS: usize = 1056;
/// Events up to this size are computed in one launch if they are all that small: see `clue_small`.
const SMALL_MAX: usize = 512;

/// Points of many events on a GPU, as a kernel or a copy has left them on the lane.
#[derive(Clone, Debug)]
pub struct DevicePoints {
    /// First coordinates.
    pub x: DeviceSlice<f32>,
    /// Second coordinates.
    pub y: DeviceSlice<f32>,
    /// Weights.
    pub weight: DeviceSlice<f32>,
    /// Where the points of each event begin, and at last where they end: [`Offsets`](asynchrotron_devices::Offsets).
    pub events: DeviceSlice<u32>,
    /// The points of the largest event.
    pub largest: usize,
}

impl ClueStep {
    /// Enqueues CLUE on points that lie on the GPU, for a step that has more to do there, and returns a row for each point: nothing is
    /// copied, nothing waited for. There must be points. `bad` is one number, which must be 0 by then; it becomes the complement of the
    /// first point that makes no sense, if there is one. Then the rows mean nothing, and [`validate`] says what is wrong.
    ///
    /// # Errors
    /// The batch is too large; or the device's [`Fault`](asynchrotron_devices::cuda::Fault).
    ///
    /// # Examples
    /// What a step enqueues that goes on with the clusters (and a model would go on with what the next kernel makes):
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use asynchrotron_algorithms::clue::{ClueStep, DevicePoints, Points};
    /// use asynchrotron_devices::Offsets;
    /// use asynchrotron_devices::cuda::{CudaBody, Finish, KernelSource, Launch, Work};
    /// # static COUNT: KernelSource = KernelSource { name: "count.cu", source: "", options: &[] };
    ///
    /// struct CountOutliers { clue: ClueStep }
    ///
    /// impl CudaBody<Arc<Points>, u32> for CountOutliers {
    ///     fn enqueue(&self, points: Arc<Points>, work: &mut Work<'_>) -> asynchrotron::Result<Finish<u32>> {
    ///         let n = points.len();
    ///         let columns = work.upload_columns(&[&*points])?;
    ///         let events = work.upload(Offsets::single(n).as_slice())?;
    ///         let [x, y, weight] = [0, 1, 2].map(|index| columns.column(index));
    ///         let numbers = work.zeros::<u32>(2)?; // what CLUE says, and the outliers
    ///         let points = DevicePoints { x, y, weight, events, largest: n };
    ///         let found = self.clue.enqueue_columns(&points, &numbers.part(0..1), work)?;
    ///         let arguments = [(&found.column::<i32>(4)).into(), (n as u32).into(), (&numbers.part(1..2)).into()];
    ///         work.launch(work.kernel(&COUNT, "count_outliers")?, Launch::for_each(n, 256), &arguments)?;
    ///         let back = work.download(&numbers)?;
    ///         Ok(Finish::when_done(move |landed| match back.read(landed) {
    ///             [0, outliers] => Ok(*outliers),
    ///             _ => Err(asynchrotron::Error::msg("a point makes no sense")),
    ///         }))
    ///     }
    /// }
    /// ```
    pub fn enqueue_columns(
        &self,
        points: &DevicePoints,
        bad: &DeviceSlice<u32>,
        work: &mut Work<'_>,
    ) -> Result<DeviceColumns<ClueResult>> {
        let (n, n_events) = (points.x.len(), points.events.len() - 1);
        ensure!(n + n_events < 1 << 31, "{n} points in {n_events} events are too many for one batch");
        let columns = work.columns::<ClueResult>(Layout::padded(ClueResult::SCHEMA, n))?;
        let output = Output {
            rho: columns.column(0),
            delta: columns.column(1),
            nearest_higher: columns.column(2),
            is_seed: columns.column(3),
            cluster: columns.column(4),
            bad: bad.clone(),
        };
        if points.largest <= SMALL_MAX {
            enqueue_small(self.config(), points, &output, work)?;
        } else {
            enqueue_large(self.config(), points, &output, work)?;
        }
        Ok(columns)
    }
}

/// What the kernels write.
struct Output {
    rho: DeviceSlice<f32>,
    delta: DeviceSlice<f32>,
    nearest_higher: DeviceSlice<i32>,
    is_seed: DeviceSlice<u8>,
    cluster: DeviceSlice<i32>,
    bad: DeviceSlice<u32>,
}

impl CudaBody<CluePoints, ClueResult> for ClueStep {
    fn kernels(&self) -> &'static [&'static KernelSource] {
        static KERNELS: [&KernelSource; 1] = [&CLUE];
        &KERNELS
    }

    fn enqueue(&self, input: CluePoints, work: &mut Work<'_>) -> Result<Finish<ClueResult>> {
        let n = input.len();
        if input.events.rows() != n {
            return Err(ClueError::Offsets { covered: input.events.rows(), points: n }.into());
        }
        if n == 0 {
            return Ok(Finish::when_done(|_| Ok(ClueResult::default())));
        }
        let parts: Vec<&Points> = input.points.iter().map(|part| &**part).collect();
        let points = work.upload_columns(&parts)?;
        let points = DevicePoints {
            x: points.column(0),
            y: points.column(1),
            weight: points.column(2),
            events: work.upload(input.events.as_slice())?,
            largest: largest_event(&input.events),
        };
        let bad = work.zeros(1)?;
        let result = self.enqueue_columns(&points, &bad, work)?;
        let result = work.download_columns(&result)?;
        let bad = work.download(&bad)?;
        let config = *self.config();
        Ok(Finish::when_done(move |landed| {
            if bad.read(landed)[0] != 0 {
                // The host says which point of which event, and what is wrong with it.
                validate(&config, &input.joined(), &input.events)?;
            }
            Ok(result.read(landed))
        }))
    }
}

/// The points of the largest event.
pub(crate) fn largest_event(events: &Offsets) -> usize {
    events.iter().map(|event| event.len()).max().unwrap_or(0)
}

/// One launch for all events.
fn enqueue_small(
    config: &ClueConfig,
    points: &DevicePoints,
    output: &Output,
    work: &mut Work<'_>,
) -> Result<()> {
    let DevicePoints { x, y, weight, events, largest } = points;
    let threads = (*largest as u32).next_multiple_of(32).min(BLOCK);
    let launch = Launch::blocks(events.len() as u32 - 1, threads).with_shared(36 * *largest as u32 + 4);
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
fn enqueue_large(
    config: &ClueConfig,
    points: &DevicePoints,
    output: &Output,
    work: &mut Work<'_>,
) -> Result<()> {
    let DevicePoints { x, y, weight, events, .. } = points;
    let (n, n_events) = (x.len(), events.len() - 1);
    let groups = (n / config.points_per_tile as usize + n_events) / GROUP + 1;
    let seed_blocks = n / GROUP + 1;

    // What begins with zeros lies side by side.
    let bytes = |words: usize| Region::bytes_of::<u32>(words);
    let zeroed =
        bytes(GROUP * groups) + bytes(groups) + bytes(seed_blocks) + bytes(4 * n_events) + bytes(n_events);
    let mut zeros = work.region(zeroed)?;
    work.fill(zeros.whole(), 0)?;
    let tiles = zeros.cut::<u32>(GROUP * groups);
    let tile_groups = zeros.cut::<u32>(groups);
    let seed_groups = zeros.cut::<u32>(seed_blocks);
    let boxes = zeros.cut::<u32>(4 * n_events);
    let done = zeros.cut::<u32>(n_events);

    let mut scratch = work.region(bytes(8 * n_events) + bytes(4 * n) + bytes(4 * n) + bytes(n))?;
    let grids = scratch.cut::<u32>(8 * n_events);
    // `found` takes the place of `by_point` and `by_tile`, `number` that of `rho_sorted`, when those are done with.
    let found = scratch.cut::<u32>(4 * n);
    let (by_point, by_tile) = (found.part(0..2 * n), found.part(2 * n..4 * n));
    let sorted = scratch.cut::<u32>(4 * n);
    let rho_sorted = scratch.cut::<u32>(n);
    let number = &rho_sorted;

    let each = Launch::for_each(n, BLOCK);
    let radius: Argument = config.density_radius.into();
    let limit: Argument = squared_limit(config.density_radius).into();
    let (count, event_count): (Argument, Argument) = ((n as u32).into(), (n_events as u32).into());
    let seed_density: Argument = config.seed_density.into();
    let mut launch = |name: &'static str, launch: Launch, arguments: &[Argument]| {
        let kernel = work.kernel(&CLUE, name)?;
        Ok::<_, Error>(work.launch(kernel, launch, arguments)?)
    };

    let bounds = Launch::blocks(each.grid[0].min(BOUNDS_BLOCKS as u32), BLOCK);
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
    launch("clue_histogram", each, &histogram)?;
    launch("clue_scan", Launch::blocks(groups as u32, BLOCK), &[(&tile_groups).into(), (&tiles).into()])?;
    launch("clue_fill", each, &[(&by_point).into(), (&tiles).into(), count, (&by_tile).into()])?;
    let sort =
        [x.into(), y.into(), weight.into(), (&by_tile).into(), (&tiles).into(), count, (&sorted).into()];
    launch("clue_sort", each, &sort)?;
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
    launch("clue_density", each, &density)?;
    launch(
        "clue_nearest",
        each,
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
    launch("clue_assign", each, &assign)
}
