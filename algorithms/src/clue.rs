//! CLUE, "CLUstering of Energy": density-based clustering of weighted points in a plane, in near-linear time.
//!
//! The algorithm is that of M. Rovere et al., "CLUE: A Fast Parallel Clustering Algorithm for High Granularity
//! Calorimeters in High-Energy Physics", Front. Big Data 3 (2020) 591315, with the seeding convention of that paper.
//! Many events are clustered in one call; an event's result does not depend on the others, bit for bit.
//!
//! | step | function | one thread per | reads → writes |
//! |---|---|---|---|
//! | 0 | [`plan_grids`] | event | points → a grid of tiles per event |
//! | 1 | [`compute_tile_keys`] | point | x, y → tile |
//! | 2 | [`AssociationMap::from_keys`](crate::AssociationMap::from_keys) | point | tile → points of each tile |
//! | 3 | [`compute_density`] | point | tiles, weight → rho |
//! | 4 | [`find_nearest_higher`] | point | tiles, rho → delta, nearest higher |
//! | 5 | [`mark_seeds`] | point | rho, delta → seed? |
//! | 6 | [`assign_clusters`] | point (a walk) | seeds, nearest higher → cluster |
//!
//! # Arithmetic
//! `f32` throughout, never fused: d = sqrt(dx·dx + dy·dy), each operation rounded. rho is summed over tile columns
//! (ascending x), then tiles of a column (ascending y; from the window's lower edge around the period, if y is
//! periodic), then points of a tile (ascending index). Another implementation that keeps this order, and the grids of
//! step 0, agrees to the last bit. Where the weights' half-sums are exact (all weights equal to a power of two, for
//! instance), any order gives the same rho.
//!
//! # Ties
//! j is *higher* than i if rho_j > rho_i, or rho_j = rho_i and j > i. Of several nearest higher points at the same
//! (rounded) distance the one with larger rho is taken, then the one with the larger index. The paper's code takes the
//! first that it meets in its tiles, which depends on the tiling.

mod assign;
mod clusterize;
mod config;
#[cfg(feature = "cuda")]
mod cuda;
mod density;
mod nearest_higher;
mod offload;
mod points;
mod seeds;
mod tiles;

pub use assign::assign_clusters;
pub use clusterize::{clusterize, validate};
pub use config::{ClueConfig, ClueError};
#[cfg(feature = "cuda")]
pub use cuda::DevicePoints;
#[cfg(feature = "cuda")]
pub(crate) use cuda::largest_event;
pub use density::compute_density;
pub use nearest_higher::find_nearest_higher;
pub use offload::{Clue, CluePoints, ClueRequest, ClueStep};
pub use points::{CluePoint, ClueResult, Point, Points};
pub use seeds::mark_seeds;
pub use tiles::{Grid, Tiles, compute_tile_keys, plan_grids};
