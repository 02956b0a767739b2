//! [`LaneStream`]: a lane's stream, for libraries that keep it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::driver::Stream;
use super::shared::Shared;
use crate::LaneId;

/// A lane's stream, for libraries that keep it: the GPU's context and streams stay as long as this does.
///
/// Two are equal if they are of the same lane of the same device.
#[derive(Clone)]
pub struct LaneStream {
    shared: Arc<Shared>,
    stream: Stream,
    lane: LaneId,
}

impl LaneStream {
    pub(super) fn new(shared: Arc<Shared>, stream: Stream, lane: LaneId) -> Self {
        Self { shared, stream, lane }
    }

    /// The stream: a `CUstream`.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The lane.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The number of the GPU among those that its driver shows.
    pub fn ordinal(&self) -> usize {
        self.shared.driver.info().ordinal
    }

    /// Whether the GPU is a [mock](super::mock) whose memory is the host's.
    pub fn memory_is_hosts(&self) -> bool {
        self.shared.driver.memory_is_hosts()
    }
}

impl PartialEq for LaneStream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.lane == other.lane
    }
}

impl Eq for LaneStream {}

impl Hash for LaneStream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.shared).hash(state);
        self.lane.hash(state);
    }
}

impl fmt::Debug for LaneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneStream").field("ordinal", &self.ordinal()).field("lane", &self.lane).finish()
    }
}
