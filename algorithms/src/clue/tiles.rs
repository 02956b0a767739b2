use super::{ClueConfig, Points};
use crate::AssociationMap;
use asynchrotron_devices::Offsets;
use std::ops::Range;

/// Widens a search window, so that a point which *rounded* arithmetic finds within the radius is never in a tile that
/// was not looked at.
const MARGIN: f32 = 1.0 / (1 << 20) as f32;

/// The tiles of one event: `n_x` columns of `n_y` tiles over the bounding box of its points. Tile (i, j) has key
/// `first_tile + i * n_y + j`, so a run of tiles along y is one run of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The key of the event's first tile.
    pub first_tile: u32,
    /// The number of tiles along x.
    pub n_x: u32,
    /// The number of tiles along y.
    pub n_y: u32,
    /// The lowest x of the event.
    pub x_min: f32,
    /// The lowest y of the event; 0 if y is periodic.
    pub y_min: f32,
    /// Tiles per unit of x.
    pub per_x: f32,
    /// Tiles per unit of y.
    pub per_y: f32,
    /// The period of y, or 0.
    pub y_period: f32,
}

impl Grid {
    /// The tile column of a coordinate. Does not descend as x ascends, rounding included.
    #[inline]
    pub fn column(&self, x: f32) -> u32 {
        // The cast saturates and turns NaN (0 · inf) to 0; with one tile everything is 0 anyway.
        (((x - self.x_min) * self.per_x) as u32).min(self.n_x - 1)
    }

    /// The tile of a coordinate within its column.
    #[inline]
    pub fn tile_in_column(&self, y: f32) -> u32 {
        (((self.unwound(y) - self.y_min) * self.per_y) as u32).min(self.n_y - 1)
    }

    /// The columns that a circle touches.
    #[inline]
    fn columns(&self, x: f32, radius: f32) -> Range<u32> {
        let reach = radius * (1.0 + MARGIN);
        self.column(x - reach)..self.column(x + reach) + 1
    }

    /// The tiles within a column that a circle touches: one run, or two if it crosses the end of the period.
    #[inline]
    fn tiles_in_column<const PERIODIC: bool>(&self, y: f32, radius: f32) -> [Range<u32>; 2] {
        if !PERIODIC {
            let reach = radius * (1.0 + MARGIN);
            return [self.tile_in_column(y - reach)..self.tile_in_column(y + reach) + 1, 0..0];
        }
        let reach = (radius + self.y_period * MARGIN) * (1.0 + MARGIN);
        let y = self.unwound(y);
        let low = ((y - reach) * self.per_y).floor();
        let high = ((y + reach) * self.per_y).floor();
        if high - low + 1.0 >= self.n_y as f32 {
            return [0..self.n_y, 0..0];
        }
        let n_y = self.n_y as i32;
        let (low, high) = ((low as i32).rem_euclid(n_y) as u32, (high as i32).rem_euclid(n_y) as u32);
        if low <= high { [low..high + 1, 0..0] } else { [low..self.n_y, 0..high + 1] }
    }

    /// A periodic y moved to [0, period].
    #[inline]
    fn unwound(&self, y: f32) -> f32 {
        if self.y_period != 0.0 && y < 0.0 { y + self.y_period } else { y }
    }

    /// The number of tiles.
    pub fn tiles(&self) -> u32 {
        self.n_x * self.n_y
    }
}

/// Step 0: one grid per event, over the bounding box of its points. There are at most `points / points_per_tile + 1`
/// tiles per event, however far the points are spread; tiles are not smaller than half of the density radius, because
/// smaller ones gain nothing.
pub fn plan_grids(config: &ClueConfig, points: &Points, events: &Offsets) -> Vec<Grid> {
    let mut first_tile = 0;
    let plan = |range: Range<usize>| {
        let (x_min, x_max) = bounds(&points.x()[range.clone()]);
        let (y_min, y_max) = match config.y_period {
            Some(period) => (0.0, period),
            None => bounds(&points.y()[range.clone()]),
        };
        let budget = (range.len() / config.points_per_tile as usize).max(1);
        let (width, height) = (f64::from(x_max) - f64::from(x_min), f64::from(y_max) - f64::from(y_min));
        let side = (width * height / budget as f64).sqrt().max(0.5 * f64::from(config.density_radius));
        let (n_x, per_x) = divide(x_max - x_min, (width / side) as usize, budget);
        let (n_y, per_y) = divide(y_max - y_min, (height / side) as usize, budget / n_x as usize);
        let y_period = config.y_period.unwrap_or(0.0);
        let grid = Grid { first_tile, n_x, n_y, x_min, y_min, per_x, per_y, y_period };
        first_tile += grid.tiles();
        grid
    };
    events.iter().map(plan).collect()
}

/// The number of tiles along one axis, and tiles per unit; one tile where the extent is no ordinary number.
fn divide(extent: f32, wanted: usize, most: usize) -> (u32, f32) {
    let n = wanted.clamp(1, most) as u32;
    let per_unit = n as f32 / extent;
    if n > 1 && extent.is_finite() && per_unit.is_finite() { (n, per_unit) } else { (1, 0.0) }
}

fn bounds(values: &[f32]) -> (f32, f32) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

/// Step 1: the tile of each point, numbered through all events of the batch.
pub fn compute_tile_keys(grids: &[Grid], events: &Offsets, x: &[f32], y: &[f32]) -> Vec<i32> {
    let mut keys = Vec::with_capacity(x.len());
    for (grid, range) in grids.iter().zip(events.iter()) {
        keys.extend(
            x[range.clone()].iter().zip(&y[range]).map(|(&x, &y)| {
                (grid.first_tile + grid.column(x) * grid.n_y + grid.tile_in_column(y)) as i32
            }),
        );
    }
    keys
}

/// The points of a batch in the order of their tiles, with what the later steps read lying side by side.
#[derive(Clone, Debug)]
pub struct Tiles {
    pub(super) grids: Vec<Grid>,
    pub(super) map: AssociationMap,
    pub(super) x: Vec<f32>,
    pub(super) y: Vec<f32>,
    pub(super) weight: Vec<f32>,
}

impl Tiles {
    /// Steps 0 to 2.
    pub fn new(config: &ClueConfig, points: &Points, events: &Offsets) -> Self {
        let grids = plan_grids(config, points, events);
        let keys = compute_tile_keys(&grids, events, points.x(), points.y());
        let n_tiles = grids.last().map_or(0, |grid| grid.first_tile + grid.tiles());
        let map = AssociationMap::from_keys(&keys, n_tiles as usize);
        let permute = |column: &[f32]| map.content().iter().map(|&index| column[index as usize]).collect();
        Self { grids, x: permute(points.x()), y: permute(points.y()), weight: permute(points.weight()), map }
    }

    /// One grid per event.
    pub fn grids(&self) -> &[Grid] {
        &self.grids
    }

    /// The points of each tile.
    pub fn map(&self) -> &AssociationMap {
        &self.map
    }

    /// Hands out the runs of positions in the map's content that a circle may touch, in the order of summation. (An
    /// iterator was some 5 to 10 % slower: most runs are short.)
    #[inline(always)]
    pub(super) fn for_each_run<const PERIODIC: bool>(
        &self,
        grid: &Grid,
        (x, y): (f32, f32),
        radius: f32,
        mut visit: impl FnMut(Range<usize>),
    ) {
        let offsets = self.map.offsets().as_slice();
        let position = |tile: u32| offsets[tile as usize] as usize;
        let [rows, wrapped] = grid.tiles_in_column::<PERIODIC>(y, radius);
        for column in grid.columns(x, radius) {
            let start = grid.first_tile + column * grid.n_y;
            visit(position(start + rows.start)..position(start + rows.end));
            if PERIODIC && !wrapped.is_empty() {
                visit(position(start + wrapped.start)..position(start + wrapped.end));
            }
        }
    }
}

/// The difference of two y, folded to half a period if they are periodic.
#[inline]
pub(super) fn fold<const PERIODIC: bool>(dy: f32, period: f32) -> f32 {
    if PERIODIC { dy - period * (dy / period).round() } else { dy }
}
