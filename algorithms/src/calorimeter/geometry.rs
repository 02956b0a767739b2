use std::ops::RangeInclusive;

/// The number of columns of blocks.
pub const COLUMNS: usize = 30;
/// The number of rows of blocks.
pub const ROWS: usize = 36;
/// The number of blocks.
pub const BLOCKS: usize = COLUMNS * ROWS;

/// Where the blocks are (conditions: constant for a run, shared by `Arc`).
///
/// Block numbers are row × 30 + column. x grows with the column, y with the row; the origin is the centre of the face.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::calorimeter::Geometry;
/// let geometry = Geometry::default();
/// let block = geometry.block(14, 17).unwrap();
/// assert_eq!(block, 17 * 30 + 14);
/// assert_eq!((geometry.x_cm(block), geometry.y_cm(block)), (-1.025, -1.025));
/// assert_eq!(geometry.block_at(-0.1, -2.0), Some(block));
/// assert_eq!(geometry.neighbours(0).collect::<Vec<_>>(), [1, 30, 31]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// The distance between the centres of neighbouring blocks, in cm; also the width of a block's front face.
    pub pitch_cm: f32,
}

impl Default for Geometry {
    /// Blocks of 2.05 cm × 2.05 cm.
    fn default() -> Self {
        Self { pitch_cm: 2.05 }
    }
}

impl Geometry {
    /// The block in this column and row, if there is one.
    pub fn block(&self, column: usize, row: usize) -> Option<u16> {
        (column < COLUMNS && row < ROWS).then_some((row * COLUMNS + column) as u16)
    }

    /// The column of a block.
    pub fn column(&self, block: u16) -> usize {
        usize::from(block) % COLUMNS
    }

    /// The row of a block.
    pub fn row(&self, block: u16) -> usize {
        usize::from(block) / COLUMNS
    }

    /// The horizontal centre of a block, in cm.
    pub fn x_cm(&self, block: u16) -> f32 {
        (self.column(block) as f32 - 0.5 * (COLUMNS - 1) as f32) * self.pitch_cm
    }

    /// The vertical centre of a block, in cm.
    pub fn y_cm(&self, block: u16) -> f32 {
        (self.row(block) as f32 - 0.5 * (ROWS - 1) as f32) * self.pitch_cm
    }

    /// The block whose front face contains a point, if there is one.
    pub fn block_at(&self, x_cm: f32, y_cm: f32) -> Option<u16> {
        let column = (x_cm / self.pitch_cm + 0.5 * COLUMNS as f32).floor();
        let row = (y_cm / self.pitch_cm + 0.5 * ROWS as f32).floor();
        if column < 0.0 || row < 0.0 { None } else { self.block(column as usize, row as usize) }
    }

    /// Half of the face's width and height, in cm.
    pub fn half_size_cm(&self) -> [f32; 2] {
        [0.5 * COLUMNS as f32 * self.pitch_cm, 0.5 * ROWS as f32 * self.pitch_cm]
    }

    /// The blocks that touch `block` with a side or a corner, ascending: 3 to 8 of them.
    pub fn neighbours(&self, block: u16) -> impl Iterator<Item = u16> + use<> {
        self.square(block, 1).filter(move |&other| other != block)
    }

    /// The blocks at most `reach` columns and rows from `block`, itself included, ascending.
    pub fn square(&self, block: u16, reach: usize) -> impl Iterator<Item = u16> + use<> {
        let around = |centre: usize, n: usize| -> RangeInclusive<usize> {
            centre.saturating_sub(reach)..=(centre + reach).min(n - 1)
        };
        let columns = around(self.column(block), COLUMNS);
        around(self.row(block), ROWS)
            .flat_map(move |row| columns.clone().map(move |column| (row * COLUMNS + column) as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_found_at_its_centre_and_near_its_edges() {
        let geometry = Geometry::default();
        for block in 0..BLOCKS as u16 {
            assert_eq!(geometry.block(geometry.column(block), geometry.row(block)), Some(block));
            let (x, y) = (geometry.x_cm(block), geometry.y_cm(block));
            for (dx, dy) in [(0.0, 0.0), (1.02, 1.02), (-1.02, 1.02)] {
                assert_eq!(geometry.block_at(x + dx, y + dy), Some(block));
            }
        }
        assert_eq!(geometry.block_at(30.8, 0.0), None);
        assert_eq!(geometry.block_at(0.0, -36.95), None);
        assert_eq!(geometry.block(30, 0), None);
    }

    #[test]
    fn neighbours_are_mutual() {
        let geometry = Geometry::default();
        let mut pairs = 0;
        for block in 0..BLOCKS as u16 {
            for other in geometry.neighbours(block) {
                assert!(geometry.neighbours(other).any(|back| back == block));
                pairs += 1;
            }
        }
        // Sides: 29·36 + 30·35; diagonals: 2·29·35; each counted from both ends.
        assert_eq!(pairs, 2 * (29 * 36 + 30 * 35 + 2 * 29 * 35));
    }
}
