//! [`CostFit`]: what a submission costs a device, fitted as it goes.

/// c(rows) = a + b·rows, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// What a submission costs, however small, in nanoseconds.
    pub submission_ns: f64,
    /// What a row costs, in nanoseconds.
    pub row_ns: f64,
}

impl Cost {
    /// How long a submission of so many rows takes, in nanoseconds.
    pub fn of(&self, rows: usize) -> f64 {
        self.submission_ns + self.row_ns * rows as f64
    }
}

/// A straight line through (rows, duration), least squares with forgetting: means and moments in which a sample counts
/// less by [`FORGETTING`](Self::FORGETTING) with each that follows it.
///
/// The means are kept centred (West's update, Comm. ACM 22 (1979) 532), so that large and nearly equal numbers of rows do
/// not cancel. While all batches are of one size the slope cannot be known: it stays what it was, at first 0, and the
/// whole duration counts as the submission's.
#[derive(Debug, Clone, Default)]
pub(crate) struct CostFit {
    weight: f64,
    rows: f64,
    duration: f64,
    rows_rows: f64,
    rows_duration: f64,
    slope: f64,
}

impl CostFit {
    /// The last hundred batches or so count.
    const FORGETTING: f64 = 0.99;

    pub(crate) fn add(&mut self, rows: usize, duration_ns: u64) {
        let (rows, duration) = (rows as f64, duration_ns as f64);
        self.weight = self.weight * Self::FORGETTING + 1.0;
        let (rows_off, duration_off) = (rows - self.rows, duration - self.duration);
        self.rows += rows_off / self.weight;
        self.duration += duration_off / self.weight;
        let share = 1.0 - 1.0 / self.weight;
        self.rows_rows = self.rows_rows * Self::FORGETTING + share * rows_off * rows_off;
        self.rows_duration = self.rows_duration * Self::FORGETTING + share * rows_off * duration_off;
        // Sizes that scatter by less than a thousandth of their mean tell nothing about a slope.
        let tells = (1e-3 * self.rows.max(1.0)).powi(2) * self.weight;
        if self.rows_rows > tells {
            self.slope = (self.rows_duration / self.rows_rows).max(0.0);
        }
    }

    /// The line; `None` before the first sample.
    pub(crate) fn cost(&self) -> Option<Cost> {
        (self.weight > 0.0).then(|| {
            // Neither part can be negative: noise on a steep line must not make submissions seem free of their own cost.
            let row_ns = self.slope.min(self.duration / self.rows.max(1.0));
            Cost { submission_ns: (self.duration - row_ns * self.rows).max(0.0), row_ns }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(samples: impl IntoIterator<Item = (usize, u64)>) -> Cost {
        let mut fit = CostFit::default();
        samples.into_iter().for_each(|(rows, duration)| fit.add(rows, duration));
        fit.cost().unwrap()
    }

    #[test]
    fn a_straight_line_is_found_whatever_the_sizes() {
        for sizes in [vec![1, 2], vec![8, 512, 64], vec![1_000_000, 1_000_000, 1_010_000]] {
            let cost = fit(sizes.iter().map(|&rows| (rows, 50_000 + 1000 * rows as u64)));
            assert!(
                (cost.submission_ns - 50_000.0).abs() < 1.0 && (cost.row_ns - 1000.0).abs() < 1e-3,
                "{cost:?}"
            );
        }
    }

    #[test]
    fn of_one_size_alone_everything_is_the_submissions() {
        assert_eq!(fit([(8, 58_000); 3]), Cost { submission_ns: 58_000.0, row_ns: 0.0 });
    }

    #[test]
    fn a_slope_once_known_is_kept_when_sizes_stop_to_scatter() {
        let line = |rows: usize| (rows, 50_000 + 1000 * rows as u64);
        let cost = fit([1, 64].map(line).into_iter().chain(std::iter::repeat_n(line(8), 5000)));
        assert!((cost.row_ns - 1000.0).abs() < 1.0, "{cost:?}");
    }

    #[test]
    fn a_device_that_changes_is_learnt_anew() {
        let before = (0..500).map(|n| (n % 64, 50_000 + 1000 * (n as u64 % 64)));
        let after = (0..1000).map(|n| (n % 64, 20_000 + 100 * (n as u64 % 64)));
        let cost = fit(before.chain(after));
        assert!(
            (cost.submission_ns - 20_000.0).abs() < 100.0 && (cost.row_ns - 100.0).abs() < 5.0,
            "{cost:?}"
        );
    }

    #[test]
    fn noise_never_gives_negative_costs() {
        let cost = fit([(1, 90_000), (100, 10_000), (50, 1)]);
        assert!(cost.submission_ns >= 0.0 && cost.row_ns >= 0.0, "{cost:?}");
        assert_eq!(CostFit::default().cost(), None);
    }
}
