//! Figures of samples that were sorted, so that the order in which they came cannot matter.

pub(crate) fn sorted(samples: &[f32]) -> Vec<f32> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    sorted
}

/// Linear interpolation between the nearest two of sorted samples.
pub(crate) fn quantile(sorted: &[f32], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share * last as f64;
    let low = position as usize;
    let value = |index: usize| f64::from(sorted[index.min(last)]);
    value(low) + (position - low as f64) * (value(low + 1) - value(low))
}

/// Half of the width of the central 68 % of sorted samples.
pub(crate) fn width68(sorted: &[f32]) -> f64 {
    0.5 * (quantile(sorted, 0.84) - quantile(sorted, 0.16))
}
