//! [`Percentiles`] of times.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Percentiles of times, in nanoseconds; each is a time that occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct Percentiles {
    pub p50_ns: i64,
    pub p90_ns: i64,
    pub p99_ns: i64,
    pub max_ns: i64,
}

impl Percentiles {
    pub(super) fn of(mut times_ns: Vec<i64>) -> Self {
        times_ns.sort_unstable();
        let at = |percent| rank(times_ns.len(), percent).map_or(0, |index| times_ns[index]);
        Percentiles { p50_ns: at(50), p90_ns: at(90), p99_ns: at(99), max_ns: at(100) }
    }
}

/// The nearest rank: the least index such that so many percent lie at or below it.
pub(super) fn rank(count: usize, percent: usize) -> Option<usize> {
    (count > 0).then(|| (count * percent).div_ceil(100).max(1) - 1)
}

/// A time as a person would say it.
pub(super) struct Time(pub(super) i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = match self.0.unsigned_abs() {
            0 => "0".to_owned(),
            ns @ ..1000 => format!("{sign}{ns}ns"),
            ns => format!("{sign}{:.1?}", Duration::from_nanos(ns)),
        };
        f.pad(&text)
    }
}

impl From<f64> for Time {
    fn from(ns: f64) -> Self {
        Time(ns.round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_occurred() {
        let hundred = Percentiles::of((1..=100).rev().collect());
        assert_eq!(hundred, Percentiles { p50_ns: 50, p90_ns: 90, p99_ns: 99, max_ns: 100 });
        let three = Percentiles::of(vec![7, 1, 3]);
        assert_eq!(three, Percentiles { p50_ns: 3, p90_ns: 7, p99_ns: 7, max_ns: 7 });
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
    }

    #[test]
    fn times_are_short() {
        let said = |ns| Time(ns).to_string();
        assert_eq!(
            [0, 17, 1234, -1_500_000, 2_000_000_000].map(said),
            ["0", "17ns", "1.2µs", "-1.5ms", "2.0s"]
        );
    }
}
