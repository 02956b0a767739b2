//! CLUE, "CLUstering of Energy": density-based clustering of weighted points in a plane.

mod points;

pub use points::{CluePoint, ClueResult, Point, Points};
