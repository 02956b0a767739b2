//! [`Packing`]: a block that is being filled, part by part.
//!
//! Memory that was used before is not cleared first, only what padding is left of it: to write a large block twice costs more than
//! to fill it.

use super::{Block, BlockElement, Order};

/// Rows that are turned at a time: their lines stay in the cache while all features are written.
const TILE: usize = 64;

/// A block that is being filled, part by part; what is not filled is zero.
pub(super) struct Packing<T> {
    order: Order,
    rows: usize,
    features: usize,
    values: Vec<T>,
    /// Rows that are there.
    filled: usize,
}

impl<T: BlockElement> Packing<T> {
    pub(super) fn new(order: Order, rows: usize, features: usize) -> Self {
        Self::within(Vec::new(), order, rows, features)
    }

    /// In this memory, whatever it holds.
    pub(super) fn within(mut values: Vec<T>, order: Order, rows: usize, features: usize) -> Self {
        let count = rows * features;
        if values.capacity() < count {
            values = vec![T::default(); count]; // which the system has cleared, if it is large
        }
        values.resize(count, T::default());
        Self { order, rows, features, values, filled: 0 }
    }

    /// The place of the next rows.
    fn next(&mut self, rows: usize) -> usize {
        let first = self.filled;
        self.filled += rows;
        assert!(self.filled <= self.rows, "more than {} rows", self.rows);
        first
    }

    /// Adds the rows of a part whose features lie one after the other.
    pub(super) fn add_columns<'a>(&mut self, rows: usize, column: impl Fn(usize) -> &'a [T]) {
        let first = self.next(rows);
        if rows == 0 {
            return;
        }
        match self.order {
            // The most frequent part of all, and a copy of one is cheaper so.
            Order::FeatureRow if rows == 1 => {
                let places = self.values[first..].iter_mut().step_by(self.rows);
                places.zip(0..self.features).for_each(|(place, feature)| *place = column(feature)[0]);
            }
            Order::FeatureRow => {
                for feature in 0..self.features {
                    self.values[feature * self.rows + first..][..rows].copy_from_slice(column(feature));
                }
            }
            Order::RowFeature => {
                for begin in (0..rows).step_by(TILE) {
                    let end = (begin + TILE).min(rows);
                    for feature in 0..self.features {
                        let places = self.values[(first + begin) * self.features + feature..].iter_mut();
                        let values = &column(feature)[begin..end];
                        places.step_by(self.features).zip(values).for_each(|(place, value)| *place = *value);
                    }
                }
            }
        }
    }

    /// Adds the rows of a part that lie one after the other.
    pub(super) fn add_rows(&mut self, rows: usize, values: &[T]) {
        let first = self.next(rows);
        if values.is_empty() {
            return;
        }
        match self.order {
            Order::RowFeature => self.values[first * self.features..][..values.len()].copy_from_slice(values),
            Order::FeatureRow => {
                for (row, values) in values.chunks_exact(self.features).enumerate() {
                    let places = self.values[first + row..].iter_mut().step_by(self.rows);
                    places.zip(values).for_each(|(place, value)| *place = *value);
                }
            }
        }
    }

    pub(super) fn into_block(mut self) -> Block<T> {
        match self.order {
            Order::RowFeature => self.values[self.filled * self.features..].fill(T::default()),
            Order::FeatureRow if self.filled < self.rows => {
                let columns = self.values.chunks_exact_mut(self.rows);
                columns.for_each(|column| column[self.filled..].fill(T::default()));
            }
            Order::FeatureRow => {}
        }
        Block::new(self.order, self.rows, self.features, self.values)
    }
}
