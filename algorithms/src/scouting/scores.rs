use super::Clusters;
use asynchrotron_devices::columns;

columns! {
    /// What a tagger says of each cluster.
    pub struct Scores, row Score {
        /// How much it looks like a τ: higher is more. For the network, ln(p / (1 - p)) of the probability p.
        tau: f32,
        /// An estimate of ln(true pT / pT of the cluster); 0 of taggers that do not correct pT.
        log_pt_ratio: f32,
    }
}

columns! {
    /// Clusters taken for τ leptons, in descending order of the clusters' pT.
    pub struct Taus, row Tau {
        /// Transverse momentum, corrected, in GeV.
        pt_gev: f32,
        /// Pseudorapidity.
        eta: f32,
        /// Azimuth, in radians: -π to π.
        phi: f32,
        /// The tagger's score.
        score: f32,
        /// Transverse momentum of the cluster, in GeV.
        cluster_pt_gev: f32,
        /// Electric charge, in elementary charges.
        charge: i16,
        /// The number of charged candidates.
        charged: u16,
    }
}

/// The clusters that score at least `score_min`, with corrected pT: pT of the cluster · exp(`log_pt_ratio`).
///
/// # Panics
/// If there is not one score per cluster.
pub fn select_taus(score_min: f32, clusters: &Clusters, scores: &Scores) -> Taus {
    assert_eq!(clusters.len(), scores.len(), "one score per cluster");
    let tau = |(cluster, score): (super::Cluster, Score)| Tau {
        pt_gev: cluster.pt_gev * score.log_pt_ratio.exp(),
        eta: cluster.eta(),
        phi: cluster.phi(),
        score: score.tau,
        cluster_pt_gev: cluster.pt_gev,
        charge: cluster.charge,
        charged: cluster.charged,
    };
    clusters.iter().zip(scores.iter()).filter(|(_, score)| score.tau >= score_min).map(tau).collect()
}
