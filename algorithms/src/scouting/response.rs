//! What a detector makes of generated particles.

use super::shower::{Generated, normal};
use super::{ANGLE_STEP, Candidate, CandidateWord, Particle};
use rand::{Rng, RngExt};

/// Particles below this are lost, in GeV.
const PT_GEV_MIN: f64 = 0.5;
/// The share of tracks that are found.
const TRACK_EFFICIENCY: f64 = 0.95;
/// Resolutions of tracks: relative pT; z0 and dxy in cm.
const TRACK_PT: f64 = 0.015;
const TRACK_Z0_CM: f64 = 0.1;
const TRACK_DXY_CM: f64 = 0.005;

/// The candidate that a particle becomes, if it is seen: tracks with 95 % efficiency and 1.5 % resolution, photons with
/// 10 % / √E ⊕ 1 %, neutral hadrons with 60 % / √E ⊕ 5 % (E in GeV).
pub(super) fn respond(rng: &mut impl Rng, particle: &Generated, vertex_z_cm: f64) -> Option<CandidateWord> {
    if particle.pt_gev < PT_GEV_MIN {
        return None;
    }
    if particle.charge != 0 {
        let found = rng.random::<f64>() < TRACK_EFFICIENCY;
        return found.then(|| track(rng, particle, vertex_z_cm));
    }
    let energy = particle.pt_gev * particle.eta.cosh();
    let (stochastic, constant, angle, pid) = if particle.is_photon {
        (0.1, 0.01, 0.005, Particle::Photon)
    } else {
        (0.6, 0.05, 0.02, Particle::NeutralHadron)
    };
    let resolution = (stochastic / energy.sqrt()).hypot(constant);
    let weight = if particle.primary { 1.0 - 0.15 * normal(rng).abs() } else { rng.random_range(0.05..0.7) };
    let candidate = Candidate {
        pt_gev: (particle.pt_gev * (1.0 + resolution * normal(rng))).max(0.0) as f32,
        eta_step: steps(particle.eta + angle * normal(rng)),
        phi_step: steps(particle.phi + angle * normal(rng)),
        pid: pid as u8,
        weight: weight.clamp(0.0, 1.0) as f32,
        ..Candidate::default()
    };
    (candidate.pt_gev >= PT_GEV_MIN as f32).then(|| CandidateWord::nearest(&candidate))
}

fn track(rng: &mut impl Rng, particle: &Generated, vertex_z_cm: f64) -> CandidateWord {
    let pid = if particle.charge > 0 { Particle::HadronPlus } else { Particle::HadronMinus };
    let candidate = Candidate {
        pt_gev: (particle.pt_gev * (1.0 + TRACK_PT * normal(rng))) as f32,
        eta_step: steps(particle.eta),
        phi_step: steps(particle.phi),
        pid: pid as u8,
        z0_cm: (vertex_z_cm + TRACK_Z0_CM * normal(rng)) as f32,
        dxy_cm: (particle.dxy_cm + TRACK_DXY_CM * normal(rng)) as f32,
        weight: 1.0,
        quality: (12.0 + 2.0 * normal(rng)).round().clamp(0.0, 15.0) as u8,
    };
    CandidateWord::nearest(&candidate)
}

/// An angle in steps; a word wraps φ itself.
fn steps(angle: f64) -> i16 {
    (angle / f64::from(ANGLE_STEP)).round() as i16
}
