use super::{Feature, Features, Score, Scores};

/// A tagger made of cuts, as a trigger would begin with: the competitor of the network.
///
/// # Default
/// 1 to 3 tracks, at most 6 candidates, isolation below 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutConfig {
    /// The most charged candidates; at least one is asked for.
    pub charged_max: f32,
    /// The most candidates.
    pub candidates_max: f32,
    /// The greatest pT around the cluster, over its own; see [`Features::isolation`].
    pub isolation_max: f32,
}

impl Default for CutConfig {
    fn default() -> Self {
        Self { charged_max: 3.0, candidates_max: 6.0, isolation_max: 0.5 }
    }
}

/// Scores clusters: 0 if a cut fails, else the highest pT of a candidate, in GeV: τ leptons share their momentum among few.
/// pT is not corrected.
pub fn tag_with_cuts(config: &CutConfig, features: &Features) -> Scores {
    let passes = |row: &Feature| {
        (1.0..=config.charged_max).contains(&row.charged)
            && row.candidates <= config.candidates_max
            && row.isolation <= config.isolation_max
    };
    let score = |row: Feature| {
        let tau = if passes(&row) { row.lead_share * row.log_pt.exp() } else { 0.0 };
        Score { tau, log_pt_ratio: 0.0 }
    };
    features.iter().map(score).collect()
}
