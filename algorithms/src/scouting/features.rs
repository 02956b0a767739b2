use super::candidate_word::wrap;
use super::{ANGLE_STEP, Candidates, Clustering, Particle};
use asynchrotron_devices::columns;

columns! {
    /// What the τ tagger sees of each cluster: 16 numbers in physical units (the network's first layer holds their scaling).
    /// Made with the packed layout, so that [`tensor`](asynchrotron_devices::Columns::tensor) is `[16][clusters]` without a
    /// copy.
    pub struct Features, row Feature {
        /// ln(Σ pT / GeV).
        log_pt: f32,
        /// Highest pT over Σ pT.
        lead_share: f32,
        /// |η| of the candidate of highest pT.
        eta_abs: f32,
        /// The number of candidates.
        candidates: f32,
        /// The number of charged candidates.
        charged: f32,
        /// The number of photons.
        photons: f32,
        /// Σ pT of charged candidates over Σ pT.
        charged_share: f32,
        /// Σ pT of photons over Σ pT.
        photon_share: f32,
        /// Σ pT ΔR / Σ pT, ΔR to the candidate of highest pT.
        width: f32,
        /// The largest ΔR to the candidate of highest pT.
        radius: f32,
        /// Invariant mass of the candidates, taken as massless, in GeV.
        mass_gev: f32,
        /// Mean |z0 - z0 of the charged candidate of highest pT| of charged candidates, in cm; 0 without any.
        z0_spread_cm: f32,
        /// Mean |dxy| of charged candidates, in cm; 0 without any.
        dxy_cm: f32,
        /// Σ pT of all candidates at 0.2 < ΔR < 0.4 from the candidate of highest pT, in the cluster or not, over Σ pT.
        isolation: f32,
        /// Mean weight of the neutral candidates; 1 without any.
        weight: f32,
        /// |electric charge|, in elementary charges.
        charge_abs: f32,
    }
}

/// The annulus of the isolation, in ΔR.
const ANNULUS: [f32; 2] = [0.2, 0.4];

/// Computes the features of each cluster, in the order of the clusters.
///
/// Distances are taken from the candidate of highest pT in whole steps of π/720, so a rotation in φ changes no bit.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::*;
/// use asynchrotron_devices::Columns as _;
/// let row = |pt_gev, phi_step, pid| Candidate { pt_gev, phi_step, pid, weight: 1.0, ..Candidate::default() };
/// let candidates = Candidates::from_rows(&[row(6.0, 719, 3), row(2.0, -711, 1)]);    // across the end of φ
/// let clustering = measure_clusters(5.0, &candidates, &[0, 0]);
/// let features = compute_features(&candidates, &clustering);
/// assert_eq!(features.tensor::<f32>()?.shape(), [16, 1]);
/// assert_eq!((features.charged_share(), features.photon_share()), (&[0.75][..], &[0.25][..]));
/// assert!((features.radius()[0] - 10.0 * ANGLE_STEP).abs() < 1e-6);
/// # Ok::<(), asynchrotron_devices::columns::TensorError>(())
/// ```
pub fn compute_features(candidates: &Candidates, clustering: &Clustering) -> Features {
    let rows: Vec<Feature> = (clustering.clusters.lead().iter())
        .zip(clustering.candidates_of_cluster.iter())
        .map(|(&lead, members)| features(candidates, lead as usize, members))
        .collect();
    let mut features = Features::with_packed_len(rows.len());
    rows.into_iter().enumerate().for_each(|(index, row)| features.set_row(index, row));
    features
}

/// ΔR of two candidates, from whole steps.
fn distance(candidates: &Candidates, a: usize, b: usize) -> f32 {
    let (eta, phi) = (candidates.eta_step(), candidates.phi_step());
    let d_eta = i32::from(eta[a]) - i32::from(eta[b]);
    let d_phi = i32::from(wrap(i32::from(phi[a]) - i32::from(phi[b])));
    ((d_eta * d_eta + d_phi * d_phi) as f32).sqrt() * ANGLE_STEP
}

fn features(candidates: &Candidates, lead: usize, members: &[u32]) -> Feature {
    let (pt, _, _, _, z0, dxy, weight, _) = candidates.columns();
    let particle = |member: usize| candidates.row(member).particle();
    let members = || members.iter().map(|&member| member as usize);
    let charged = || members().filter(|&member| particle(member).is_charged());
    let photons = || members().filter(|&member| particle(member) == Particle::Photon);
    let neutral = || members().filter(|&member| !particle(member).is_charged());
    let sum = total(members().map(|member| pt[member]));
    let mean = |values: f32, n: usize, none: f32| if n == 0 { none } else { values / n as f32 };
    let track = charged().reduce(|best, other| if pt[other] > pt[best] { other } else { best });
    let z0_track = track.map_or(0.0, |track| z0[track]);
    let annulus = (0..candidates.len()).filter(|&other| {
        let distance = distance(candidates, lead, other);
        ANNULUS[0] < distance && distance < ANNULUS[1]
    });
    Feature {
        log_pt: sum.ln(),
        lead_share: pt[lead] / sum,
        eta_abs: candidates.row(lead).eta().abs(),
        candidates: members().count() as f32,
        charged: charged().count() as f32,
        photons: photons().count() as f32,
        charged_share: total(charged().map(|member| pt[member])) / sum,
        photon_share: total(photons().map(|member| pt[member])) / sum,
        width: total(members().map(|member| pt[member] * distance(candidates, lead, member))) / sum,
        radius: members().map(|member| distance(candidates, lead, member)).fold(0.0, f32::max),
        mass_gev: mass_gev(candidates, lead, members()),
        z0_spread_cm: mean(
            total(charged().map(|member| (z0[member] - z0_track).abs())),
            charged().count(),
            0.0,
        ),
        dxy_cm: mean(total(charged().map(|member| dxy[member].abs())), charged().count(), 0.0),
        isolation: total(annulus.map(|other| pt[other])) / sum,
        weight: mean(total(neutral().map(|member| weight[member])), neutral().count(), 1.0),
        charge_abs: members().map(|member| particle(member).charge()).sum::<i32>().abs() as f32,
    }
}

/// The sum; 0 of nothing, where [`sum`](Iterator::sum) gives -0.
fn total(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |sum, value| sum + value)
}

/// m² = (Σ E)² - (Σ p)². Seen from the lead, which neither a rotation nor a boost along the beam can tell; in `f64`, because
/// the difference is small.
fn mass_gev(candidates: &Candidates, lead: usize, members: impl Iterator<Item = usize>) -> f32 {
    let (pt, eta, phi, ..) = candidates.columns();
    let step = std::f64::consts::PI / 720.0;
    let mut sum = [0.0_f64; 4];
    for member in members {
        let pt = f64::from(pt[member]);
        let d_eta = step * f64::from(i32::from(eta[member]) - i32::from(eta[lead]));
        let d_phi = step * f64::from(wrap(i32::from(phi[member]) - i32::from(phi[lead])));
        let momentum = [pt * d_eta.cosh(), pt * d_phi.cos(), pt * d_phi.sin(), pt * d_eta.sinh()];
        sum.iter_mut().zip(momentum).for_each(|(sum, part)| *sum += part);
    }
    let [energy, x, y, z] = sum;
    (energy * energy - x * x - y * y - z * z).max(0.0).sqrt() as f32
}
