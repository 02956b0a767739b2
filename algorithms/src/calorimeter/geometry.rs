/// The number of columns of blocks.
pub const COLUMNS: usize = 30;
/// The number of rows of blocks.
pub const ROWS: usize = 36;
/// The number of blocks.
pub const BLOCKS: usize = COLUMNS * ROWS;
