use super::candidate_word::wrap;
use super::{ANGLE_STEP, Candidates, STEPS_PER_TURN};
use crate::AssociationMap;
use asynchrotron_devices::columns;

columns! {
    /// Clusters of candidates, in descending order of pT (of equal ones, in CLUE's order).
    pub struct Clusters, row Cluster {
        /// Σ pT of the candidates, in GeV.
        pt_gev: f32,
        /// Pseudorapidity of the axis, the mean weighted with pT, in steps of π/720.
        eta_step: f32,
        /// Azimuth of the axis, the mean weighted with pT, in steps of π/720: -720 to 720.
        phi_step: f32,
        /// The candidate of highest pT (of equal ones, the first).
        lead: u32,
        /// The number of candidates.
        size: u16,
        /// The number of charged candidates.
        charged: u16,
        /// Electric charge, in elementary charges.
        charge: i16,
    }
}

impl Cluster {
    /// Pseudorapidity of the axis.
    pub fn eta(&self) -> f32 {
        self.eta_step * ANGLE_STEP
    }

    /// Azimuth of the axis, in radians: -π to π.
    pub fn phi(&self) -> f32 {
        self.phi_step * ANGLE_STEP
    }
}

/// The clusters of one bunch crossing, and which candidates they are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clustering {
    /// The clusters.
    pub clusters: Clusters,
    /// The candidates of each cluster, ascending.
    pub candidates_of_cluster: AssociationMap,
}

/// ΔR = √(Δη² + Δφ²) of two directions in steps of π/720, with Δφ folded to half a turn.
pub fn delta_r(a: [f32; 2], b: [f32; 2]) -> f32 {
    let turn = f32::from(STEPS_PER_TURN);
    let (d_eta, mut d_phi) = (a[0] - b[0], a[1] - b[1]);
    d_phi -= turn * (d_phi / turn).round();
    (d_eta * d_eta + d_phi * d_phi).sqrt() * ANGLE_STEP
}

/// Measures groups of candidates. `group_of_candidate` has a number from 0 on, or -1, for each candidate: CLUE's
/// [`cluster`](crate::clue::ClueResult::cluster). Groups with less pT than `pt_gev_min` are left out.
///
/// # Panics
/// If `group_of_candidate` has not one element per candidate.
pub fn measure_clusters(pt_gev_min: f32, candidates: &Candidates, group_of_candidate: &[i32]) -> Clustering {
    assert_eq!(group_of_candidate.len(), candidates.len(), "one group per candidate");
    let n_groups = group_of_candidate.iter().max().map_or(0, |&last| (last + 1) as usize);
    let groups = AssociationMap::from_keys(group_of_candidate, n_groups);
    let mut measured: Vec<(Cluster, usize)> = (groups.iter().enumerate())
        .filter_map(|(group, members)| Some((measure(candidates, members)?, group)))
        .filter(|(cluster, _)| cluster.pt_gev >= pt_gev_min)
        .collect();
    measured.sort_by(|(a, i), (b, j)| b.pt_gev.total_cmp(&a.pt_gev).then(i.cmp(j)));

    let mut cluster_of_group = vec![-1; n_groups];
    for (cluster, &(_, group)) in measured.iter().enumerate() {
        cluster_of_group[group] = cluster as i32;
    }
    let renumber = |&group: &i32| if group < 0 { -1 } else { cluster_of_group[group as usize] };
    let keys: Vec<i32> = group_of_candidate.iter().map(renumber).collect();
    let candidates_of_cluster = AssociationMap::from_keys(&keys, measured.len());
    Clustering { clusters: measured.into_iter().map(|(cluster, _)| cluster).collect(), candidates_of_cluster }
}

fn measure(candidates: &Candidates, members: &[u32]) -> Option<Cluster> {
    let (pt, eta, phi, ..) = candidates.columns();
    let members = || members.iter().map(|&member| member as usize);
    let lead = members().reduce(|best, other| if pt[other] > pt[best] { other } else { best })?;
    // Relative to the lead, in whole steps: exact, wherever φ begins.
    let (mut pt_sum, mut eta_sum, mut phi_sum) = (0.0, 0.0, 0.0);
    let (mut charge, mut charged) = (0, 0);
    for member in members() {
        pt_sum += pt[member];
        eta_sum += pt[member] * f32::from(eta[member] - eta[lead]);
        phi_sum += pt[member] * f32::from(wrap(i32::from(phi[member]) - i32::from(phi[lead])));
        let particle = candidates.row(member).particle();
        charge += particle.charge() as i16;
        charged += u16::from(particle.is_charged());
    }
    let turn = f32::from(STEPS_PER_TURN);
    let phi_step = f32::from(phi[lead]) + phi_sum / pt_sum;
    Some(Cluster {
        pt_gev: pt_sum,
        eta_step: f32::from(eta[lead]) + eta_sum / pt_sum,
        phi_step: phi_step - turn * (phi_step / turn).round(),
        lead: lead as u32,
        size: members().len() as u16,
        charged,
        charge,
    })
}
