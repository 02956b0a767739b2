//! [`Faults`]: what goes wrong, and when.

use std::sync::atomic::{AtomicBool, Ordering};

/// What goes wrong on an emulated device. Submissions are counted from 1; by default nothing does.
///
/// A submission that goes wrong takes as long as one that does not, except that one that does not fit is told so before
/// anything is copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// This submission [fails](crate::DeviceErrorKind::Failed).
    pub fail_nth: Option<u64>,
    /// Each submission fails with this probability, which ones being determined by the seed.
    pub fail_probability: f64,
    /// After the first failure, everything that is submitted fails, as after an error that corrupts a CUDA context.
    pub sticky: bool,
    /// An input of more rows is [out of memory](crate::DeviceErrorKind::OutOfMemory).
    pub out_of_memory_above_rows: Option<usize>,
    /// This submission never ends on its own. It ends, as [lost](crate::DeviceErrorKind::Lost), when the device is closed or
    /// dropped, and frees its lane and its buffers also when its waiter leaves.
    pub hang_nth: Option<u64>,
    /// This submission fails, and its [lane retires](crate::DeviceErrorKind::LaneLost).
    pub lose_lane_nth: Option<u64>,
}

/// How a submission ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Fails(&'static str),
    OutOfMemory,
    Hangs,
    LosesLane,
}

/// The faults at work.
pub(super) struct Fate {
    faults: Faults,
    has_failed: AtomicBool,
}

impl Fate {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, has_failed: AtomicBool::new(false) }
    }

    /// How submission `number` of so many rows ends, `chance` being its random number between 0 and 1.
    pub(super) fn decide(&self, number: u64, rows: usize, chance: f64) -> Verdict {
        let faults = &self.faults;
        let is = |nth: Option<u64>| nth == Some(number);
        if faults.sticky && self.has_failed.load(Ordering::Relaxed) {
            return Verdict::Fails("an earlier error has broken the device (emulated)");
        }
        if is(faults.fail_nth) || chance < faults.fail_probability {
            self.has_failed.store(true, Ordering::Relaxed);
            return Verdict::Fails("an error on request (emulated)");
        }
        if faults.out_of_memory_above_rows.is_some_and(|most| rows > most) {
            return Verdict::OutOfMemory;
        }
        if is(faults.hang_nth) {
            return Verdict::Hangs;
        }
        if is(faults.lose_lane_nth) { Verdict::LosesLane } else { Verdict::Fine }
    }
}
