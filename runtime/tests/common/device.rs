//! A device of a straight-line cost, for tests of batching: it squares numbers, and can be made to fail.
#![allow(dead_code)] // each test uses its part

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::{
    BatchConfig, BatchPolicy, Batcher, Lane, LanePool, Lost, Offload, Remedy, Trouble,
};
use asynchrotron::time::Clock;

/// What one submission fails with.
#[derive(Clone, Debug, PartialEq)]
pub enum Failed {
    Guilty(u64),
    OutOfMemory,
    NoRoom,
    LaneDied,
    Other(String),
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Failed::Other(lost.to_string())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Failed {}

/// The request of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

impl From<(Arc<u64>,)> for Number {
    fn from((number,): (Arc<u64>,)) -> Self {
        Number(*number)
    }
}

/// The batches that were submitted, in order.
pub type Batches = Arc<Mutex<Vec<Vec<u64>>>>;

pub type Fault = Arc<dyn Fn(&[u64]) -> Option<Failed> + Send + Sync>;

/// Squares numbers, each as many rows as `rows` says, in 50 µs + 1 µs per row.
pub struct Square {
    pub name: &'static str,
    pub clock: Clock,
    pub lanes: LanePool<usize>,
    pub batches: Batches,
    /// Their rows, padding included.
    pub sizes: Arc<Mutex<Vec<usize>>>,
    pub fault: Option<Fault>,
    pub rows: fn(u64) -> usize,
    pub bytes: fn(u64) -> usize,
}

impl Square {
    pub fn new(clock: &Clock, lanes: usize) -> Self {
        Square {
            name: "square",
            clock: clock.clone(),
            lanes: LanePool::new(0..lanes),
            batches: Arc::default(),
            sizes: Arc::default(),
            fault: None,
            rows: |_| 1,
            bytes: |_| 0,
        }
    }

    pub fn failing(mut self, fault: impl Fn(&[u64]) -> Option<Failed> + Send + Sync + 'static) -> Self {
        self.fault = Some(Arc::new(fault));
        self
    }

    pub fn batcher(self, policy: BatchPolicy) -> (Batcher<Square>, Batches) {
        let batches = self.batches.clone();
        (Batcher::new(self, BatchConfig::default().with_policy(policy)), batches)
    }
}

impl Offload for Square {
    type Request = Number;
    type Reply = u64;
    type Error = Failed;
    type Lane = usize;

    fn name(&self) -> &str {
        self.name
    }

    fn rows(&self, number: &Number) -> usize {
        (self.rows)(number.0)
    }

    fn bytes(&self, number: &Number) -> usize {
        (self.bytes)(number.0)
    }

    fn lane_number(&self, lane: &usize) -> usize {
        *lane
    }

    fn lanes(&self) -> &LanePool<usize> {
        &self.lanes
    }

    fn start(
        &self,
        lane: Lane<usize>,
        batch: &[&Number],
        rows: usize,
    ) -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static {
        let numbers: Vec<u64> = batch.iter().map(|number| number.0).collect();
        self.batches.lock().unwrap().push(numbers.clone());
        self.sizes.lock().unwrap().push(rows);
        let failed = self.fault.as_ref().and_then(|fault| fault(&numbers));
        let sleep = self.clock.sleep(Duration::from_micros(50 + rows as u64));
        async move {
            sleep.await;
            match failed {
                Some(Failed::LaneDied) => {
                    let _ = lane.retire();
                    Err(Failed::LaneDied)
                }
                Some(failed) => Err(failed),
                None => {
                    drop(lane); // before the replies, as devices do
                    Ok(numbers.iter().map(|number| number * number).collect())
                }
            }
        }
    }

    fn trouble(&self, trouble: Trouble) -> Failed {
        Failed::Other(trouble.to_string())
    }

    fn remedy(&self, error: &Failed) -> Remedy {
        match error {
            Failed::LaneDied => Remedy::GiveBack,
            Failed::NoRoom => Remedy::Later,
            Failed::Other(_) => Remedy::Fail,
            _ => Remedy::Split,
        }
    }
}
