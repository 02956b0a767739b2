//! Generated particles: the decay of a τ to hadrons, and a jet.

use super::Origin;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};

/// Mass of the neutral pion, in GeV.
const PION_MASS_GEV: f64 = 0.1349768;
/// Mean of a track's |dxy| from a displaced decay, in cm.
const DISPLACEMENT_CM: f64 = 0.01;
/// Decay products are at most this far from the axis, in ΔR.
const CONE: f64 = 0.35;

/// A particle before any detector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generated {
    pub(super) pt_gev: f64,
    pub(super) eta: f64,
    pub(super) phi: f64,
    /// 0 of photons and neutral hadrons.
    pub(super) charge: i32,
    pub(super) is_photon: bool,
    pub(super) dxy_cm: f64,
    /// Whether it is from the primary vertex.
    pub(super) primary: bool,
}

/// pT and direction of a whole shower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) pt_gev: f64,
    pub(super) eta: f64,
    pub(super) phi: f64,
}

impl Axis {
    fn particle(self, charge: i32, dxy_cm: f64) -> Generated {
        let Self { pt_gev, eta, phi } = self;
        Generated { pt_gev, eta, phi, charge, is_photon: false, dxy_cm, primary: true }
    }

    /// Shares pT out among `n` so that together they have this invariant mass: m² ≈ Σ pTᵢ pTⱼ ΔRᵢⱼ² over pairs, which is
    /// pT² Σ fᵢ |oᵢ|² for shares fᵢ and offsets oᵢ from the axis. Where that would put one outside of the cone, less.
    fn split(self, rng: &mut impl Rng, n: usize, mass_gev: f64) -> Vec<Axis> {
        if n == 1 {
            return vec![self];
        }
        let shares = shares(rng, n, 1.0);
        let mut offsets: Vec<[f64; 2]> = (0..n).map(|_| [normal(rng), normal(rng)]).collect();
        let centre =
            [0, 1].map(|k| shares.iter().zip(&offsets).map(|(share, at)| share * at[k]).sum::<f64>());
        offsets.iter_mut().for_each(|at| *at = [at[0] - centre[0], at[1] - centre[1]]);
        let size = |at: &[f64; 2]| at[0].hypot(at[1]);
        let spread: f64 = shares.iter().zip(&offsets).map(|(share, at)| share * size(at).powi(2)).sum();
        let largest = offsets.iter().map(size).fold(0.0, f64::max);
        let scale = (mass_gev / (self.pt_gev * spread.sqrt())).min(CONE / largest);
        let part = |(share, at): (&f64, &[f64; 2])| Axis {
            pt_gev: share * self.pt_gev,
            eta: self.eta + scale * at[0],
            phi: self.phi + scale * at[1],
        };
        shares.iter().zip(&offsets).map(part).collect()
    }
}

/// The particles of a τ with this visible pT. 74 % of the decays have one charged pion and up to two neutral ones, the
/// others three charged and perhaps a neutral one; masses are those of π, ρ and a₁, roughly.
pub(super) fn decay_tau(rng: &mut impl Rng, axis: Axis) -> (Origin, Vec<Generated>) {
    let (origin, charged, neutral) = match rng.random::<f64>() {
        x if x < 0.18 => (Origin::OneProng, 1, 0),
        x if x < 0.59 => (Origin::OneProngPions, 1, 1),
        x if x < 0.74 => (Origin::OneProngPions, 1, 2),
        x if x < 0.92 => (Origin::ThreeProng, 3, 0),
        _ => (Origin::ThreeProngPion, 3, 1),
    };
    let (mean, sigma) = if charged + neutral == 2 { (0.775, 0.13) } else { (1.15, 0.18) };
    let mass = (mean + sigma * normal(rng)).clamp(0.35, 1.6);
    let sign = if rng.random::<bool>() { 1 } else { -1 };
    let mut particles = Vec::new();
    for (i, part) in axis.split(rng, charged + neutral, mass).into_iter().enumerate() {
        if i < charged {
            let charge = if i == 1 { -sign } else { sign };
            particles.push(part.particle(charge, displacement(rng)));
        } else {
            decay_pion(rng, part, &mut particles);
        }
    }
    (origin, particles)
}

/// The particles of a jet: 60 % charged hadrons, 27 % neutral pions, the others neutral hadrons. Their number grows with the
/// logarithm of pT, the hard ones lie near the axis; some jets are narrow, some have displaced tracks.
pub(super) fn fragment_jet(rng: &mut impl Rng, axis: Axis) -> Vec<Generated> {
    let mean = (1.0 + 2.8 * (axis.pt_gev / 2.0).ln()).max(0.5);
    let n = 1 + Poisson::new(mean).map_or(0, |poisson| poisson.sample(rng) as usize);
    let width = 0.12 * (0.35 * normal(rng)).exp();
    let displaced = rng.random::<f64>() < 0.1;
    let mut particles = Vec::new();
    for share in shares(rng, n, 1.4) {
        let pt_gev = share * axis.pt_gev;
        let sigma = 0.02 + width / (1.0 + pt_gev / 4.0);
        let (eta, phi) = (axis.eta + sigma * normal(rng), axis.phi + sigma * normal(rng));
        let part = Axis { pt_gev, eta, phi };
        match rng.random::<f64>() {
            x if x < 0.6 => {
                let charge = if x < 0.3 { 1 } else { -1 };
                let dxy_cm = if displaced { displacement(rng) } else { 0.0 };
                particles.push(part.particle(charge, dxy_cm));
            }
            x if x < 0.87 => decay_pion(rng, part, &mut particles),
            _ => particles.push(part.particle(0, 0.0)),
        }
    }
    particles
}

fn decay_pion(rng: &mut impl Rng, pion: Axis, particles: &mut Vec<Generated>) {
    let photons = pion.split(rng, 2, PION_MASS_GEV);
    particles
        .extend(photons.into_iter().map(|photon| Generated { is_photon: true, ..photon.particle(0, 0.0) }));
}

/// Random shares of 1; the larger the power, the more unequal.
fn shares(rng: &mut impl Rng, n: usize, power: f64) -> Vec<f64> {
    let parts: Vec<f64> = (0..n).map(|_| exponential(rng).powf(power) + 1e-3).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|part| part / sum).collect()
}

fn displacement(rng: &mut impl Rng) -> f64 {
    let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
    sign * DISPLACEMENT_CM * exponential(rng)
}

pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

pub(super) fn exponential(rng: &mut impl Rng) -> f64 {
    Exp1.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn invariants(particles: &[Generated]) -> (f64, f64, i32) {
        let pt = particles.iter().map(|particle| particle.pt_gev).sum();
        let mut squared = 0.0;
        for (i, a) in particles.iter().enumerate() {
            for b in &particles[..i] {
                squared += 2.0 * a.pt_gev * b.pt_gev * ((a.eta - b.eta).cosh() - (a.phi - b.phi).cos());
            }
        }
        (pt, squared.sqrt(), particles.iter().map(|particle| particle.charge).sum())
    }

    #[test]
    fn taus_have_their_momentum_one_unit_of_charge_and_a_mass_of_hadrons() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let axis = Axis { pt_gev: rng.random_range(5.0..40.0), eta: 0.7, phi: 3.0 };
            let (origin, particles) = decay_tau(&mut rng, axis);
            let (pt, mass, charge) = invariants(&particles);
            assert!((pt - axis.pt_gev).abs() < 1e-9);
            assert_eq!(charge.abs(), 1);
            let tracks = particles.iter().filter(|particle| particle.charge != 0).count();
            assert_eq!(tracks == 3, matches!(origin, Origin::ThreeProng | Origin::ThreeProngPion));
            assert!(mass < 1.8, "{origin:?} {mass}");
            assert!((origin == Origin::OneProng) == (mass < 1e-3), "{origin:?} {mass}");
        }
    }

    #[test]
    fn jets_have_their_momentum() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let axis = Axis { pt_gev: rng.random_range(5.0..60.0), eta: -1.0, phi: 0.0 };
            let particles = fragment_jet(&mut rng, axis);
            assert!((invariants(&particles).0 - axis.pt_gev).abs() < 1e-9);
        }
    }
}
