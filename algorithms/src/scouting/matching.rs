use super::{Clusters, Truths, delta_r};

/// A cluster nearer than this to a τ, in ΔR, can be that τ.
const MATCH_DELTA_R: f32 = 0.2;
/// A cluster nearer than this to a τ, in ΔR, is not counted as background.
const NEAR_DELTA_R: f32 = 0.4;

/// What a cluster is, compared with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The cluster of the τ in this row of [`Truths`].
    Tau(usize),
    /// It is far from every τ: a jet, or soft particles.
    Background,
    /// It is near a τ that another cluster stands for (or a second one of it): counted as neither.
    Ambiguous,
}

/// Labels the clusters. From the hardest τ on, each takes the cluster of highest pT within ΔR < 0.2 of its axis that no
/// other has taken; other clusters within ΔR < 0.4 of any τ are ambiguous; the rest is background.
pub fn match_clusters(truths: &Truths, clusters: &Clusters) -> Vec<Label> {
    let mut taus: Vec<usize> = (0..truths.len()).filter(|&row| truths.row(row).is_tau()).collect();
    taus.sort_by(|&a, &b| truths.pt_gev()[b].total_cmp(&truths.pt_gev()[a]).then(a.cmp(&b)));
    let distance = |tau: usize, cluster: usize| {
        let (truth, cluster) = (truths.row(tau), clusters.row(cluster));
        let axis = [truth.eta_step.into(), truth.phi_step.into()];
        delta_r(axis, [cluster.eta_step, cluster.phi_step])
    };
    let near = |cluster: usize| taus.iter().any(|&tau| distance(tau, cluster) < NEAR_DELTA_R);
    let mut labels: Vec<Label> = (0..clusters.len())
        .map(|cluster| if near(cluster) { Label::Ambiguous } else { Label::Background })
        .collect();
    for &tau in &taus {
        let free = |&cluster: &usize| {
            !matches!(labels[cluster], Label::Tau(_)) && distance(tau, cluster) < MATCH_DELTA_R
        };
        // Clusters come in descending order of pT.
        if let Some(cluster) = (0..clusters.len()).find(free) {
            labels[cluster] = Label::Tau(tau);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scouting::{Cluster, Origin, Truth};

    #[test]
    fn each_tau_takes_the_hardest_free_cluster_near_it() {
        let truth =
            |pt_gev, phi_step, origin: Origin| Truth { pt_gev, eta_step: 0, phi_step, origin: origin as u8 };
        let truths = Truths::from_rows(&[
            truth(10.0, 0, Origin::OneProng),
            truth(20.0, 20, Origin::ThreeProng),
            truth(50.0, 400, Origin::Jet),
            truth(8.0, -719, Origin::OneProng),
        ]);
        let cluster = |phi_step| Cluster { phi_step, ..Cluster::default() };
        let clusters: Clusters = [400.0, 10.0, 715.0, 12.0, 75.0, 30.0].map(cluster).into_iter().collect();
        let expected = [
            Label::Background,
            Label::Tau(1),
            Label::Tau(3),
            Label::Tau(0),
            Label::Ambiguous,
            Label::Ambiguous,
        ];
        assert_eq!(match_clusters(&truths, &clusters), expected);
    }
}
