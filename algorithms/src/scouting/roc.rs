use crate::sample::sorted;

/// How well a score tells signal from background: higher scores are more like signal.
///
/// Nothing is binned or interpolated, so the figures are exact, ties included; the order of the scores does not matter.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::Roc;
/// let roc = Roc::new(&[3.0, 2.0, 1.0, 0.5], &[2.0, 0.0, 0.0, -1.0]);
/// assert_eq!(roc.area(), 13.5 / 16.0);             // 4 + 3.5 + 3 + 3 of 4 · 4 pairs
/// assert_eq!(roc.rejection(0.5), 4.0 / 1.0);       // half of the signal scores 2 or more, one background of four does
/// assert_eq!(roc.rejection(0.25), f64::INFINITY);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    signal: Vec<f32>,
    background: Vec<f32>,
}

impl Roc {
    /// From the scores of signal and background. NaN counts as a score above all others.
    pub fn new(signal: &[f32], background: &[f32]) -> Self {
        Self { signal: sorted(signal), background: sorted(background) }
    }

    /// The area under the curve: the probability that a random signal scores higher than a random background, ties counting
    /// half (Mann and Whitney's U). NaN if there is none of either.
    pub fn area(&self) -> f64 {
        let (mut below, mut not_above, mut twice_wins) = (0, 0, 0_u128);
        for score in &self.signal {
            let more = |from: usize, keep: &dyn Fn(&f32) -> bool| {
                from + self.background[from..].iter().take_while(|other| keep(other)).count()
            };
            below = more(below, &|other| other.total_cmp(score).is_lt());
            not_above = more(not_above.max(below), &|other| other.total_cmp(score).is_le());
            twice_wins += (below + not_above) as u128;
        }
        twice_wins as f64 / (2.0 * self.signal.len() as f64 * self.background.len() as f64)
    }

    /// The highest cut that keeps at least this share of the signal (scores equal to it are kept), if there is any signal.
    pub fn cut(&self, efficiency: f64) -> Option<f32> {
        let kept =
            ((efficiency * self.signal.len() as f64).ceil() as usize).clamp(1, self.signal.len().max(1));
        self.signal.len().checked_sub(kept).map(|index| self.signal[index])
    }

    /// The share of the signal, and of the background, that such a cut keeps.
    pub fn kept(&self, cut: f32) -> [f64; 2] {
        [&self.signal, &self.background].map(|scores| count(scores, cut) as f64 / scores.len() as f64)
    }

    /// One over the share of the background that is kept by the highest cut that keeps at least this share of the signal.
    /// Infinite if none is kept, NaN if there is none of either.
    pub fn rejection(&self, efficiency: f64) -> f64 {
        let kept = |cut| count(&self.background, cut) as f64;
        self.cut(efficiency).map_or(f64::NAN, |cut| self.background.len() as f64 / kept(cut))
    }
}

/// How many of sorted scores are not below the cut.
fn count(scores: &[f32], cut: f32) -> usize {
    scores.len() - scores.partition_point(|score| score.total_cmp(&cut).is_lt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(
            signal in prop::collection::vec(-4_i8..5, 1..40),
            background in prop::collection::vec(-5_i8..4, 1..40),
        ) {
            let [signal, background] = [signal, background].map(|scores| {
                scores.into_iter().map(f32::from).collect::<Vec<f32>>()
            });
            let pairs = signal.iter().flat_map(|s| background.iter().map(move |b| (s, b)));
            let wins: f64 = pairs.map(|(s, b)| if s > b { 1.0 } else if s == b { 0.5 } else { 0.0 }).sum();
            let roc = Roc::new(&signal, &background);
            prop_assert_eq!(roc.area(), wins / (signal.len() * background.len()) as f64);
            for efficiency in [0.0, 0.3, 0.5, 0.9, 1.0] {
                let cut = roc.cut(efficiency).unwrap();
                let count = |scores: &[f32], least: f32| scores.iter().filter(|&&score| score >= least).count() as f64;
                prop_assert_eq!(roc.kept(cut)[0], count(&signal, cut) / signal.len() as f64);
                prop_assert!(roc.kept(cut)[0] >= efficiency);
                prop_assert!(count(&signal, cut.next_up()) < (efficiency * signal.len() as f64).max(1.0));
                prop_assert_eq!(roc.rejection(efficiency), background.len() as f64 / count(&background, cut));
            }
        }
    }

    #[test]
    fn without_signal_or_background_there_are_no_figures() {
        assert!(Roc::new(&[], &[1.0]).area().is_nan());
        assert!(Roc::new(&[1.0], &[]).area().is_nan());
        assert!(Roc::new(&[], &[1.0]).rejection(0.5).is_nan());
        assert!(Roc::new(&[1.0], &[]).rejection(0.5).is_nan());
    }
}
