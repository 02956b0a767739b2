//! Intervals of time: what they cover together.

/// The length of the union. They need to be in the order of their begins.
pub(super) fn union_ns(intervals: impl Iterator<Item = (i64, i64)>) -> i64 {
    let (mut covered, mut until) = (0, i64::MIN);
    for (begin, end) in intervals {
        let begin = begin.max(until);
        covered += (end.max(begin)) - begin;
        until = until.max(end);
    }
    covered
}

/// What part of a whole this is; none of nothing.
pub(super) fn share(part: i64, whole: i64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

/// The mean; zero of nothing.
pub(super) fn mean(sum: f64, count: u64) -> f64 {
    if count > 0 { sum / count as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_another_counts_once() {
        assert_eq!(union_ns([(0, 10), (2, 5), (8, 12), (12, 13), (20, 21)].into_iter()), 14);
        assert_eq!(union_ns([].into_iter()), 0);
        assert_eq!(union_ns([(-5, -3), (-5, -4)].into_iter()), 2);
    }
}
