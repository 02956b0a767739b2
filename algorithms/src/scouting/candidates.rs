use super::{ANGLE_STEP, Particle, STEPS_PER_TURN};
use crate::clue::{ClueConfig, Points};
use asynchrotron_devices::columns;

columns! {
    /// The candidates of one bunch crossing, in the order of their words. Angles stay in the steps of the format: whole
    /// numbers leave no rounding to argue about.
    pub struct Candidates, row Candidate {
        /// Transverse momentum, in GeV; a multiple of 0.25.
        pt_gev: f32,
        /// Pseudorapidity, in steps of π/720.
        eta_step: i16,
        /// Azimuth, in steps of π/720: -720 to 719.
        phi_step: i16,
        /// The number of the [`Particle`].
        pid: u8,
        /// Longitudinal position of the track at the beam line, in cm; 0 of neutral candidates.
        z0_cm: f32,
        /// Transverse impact parameter of the track, in cm; 0 of neutral candidates.
        dxy_cm: f32,
        /// How likely it is from the primary vertex, 0 to 1; 1 of charged candidates.
        weight: f32,
        /// Track quality, 0 (worst) to 15; 0 of neutral candidates.
        quality: u8,
    }
}

impl Candidate {
    /// Pseudorapidity.
    pub fn eta(&self) -> f32 {
        f32::from(self.eta_step) * ANGLE_STEP
    }

    /// Azimuth, in radians: -π to π.
    pub fn phi(&self) -> f32 {
        f32::from(self.phi_step) * ANGLE_STEP
    }

    /// What it is.
    pub fn particle(&self) -> Particle {
        Particle::from_number(self.pid).unwrap_or(Particle::NeutralHadron)
    }
}

/// Clustering of candidates by CLUE, in (η, φ) with periodic φ.
///
/// # Default
/// Density radius 0.15, outlier radius 0.4, seed density 3 GeV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterConfig {
    /// Candidates within this ΔR = √(Δη² + Δφ²) add to each other's density ("dc").
    pub density_radius: f32,
    /// The least density of a seed, in GeV ("rhoc").
    pub seed_density_gev: f32,
    /// A candidate looks for its nearest higher up to this, in density radii.
    pub outlier_factor: f32,
    /// The least pT of a cluster, in GeV.
    pub pt_gev_min: f32,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { density_radius: 0.15, seed_density_gev: 3.0, outlier_factor: 2.666_666_7, pt_gev_min: 5.0 }
    }
}

impl ClusterConfig {
    /// The same for [`candidate_points`]: lengths in steps of π/720, 1440 of which make a turn.
    pub fn clue(&self) -> ClueConfig {
        ClueConfig {
            density_radius: self.density_radius / ANGLE_STEP,
            seed_density: self.seed_density_gev,
            outlier_factor: self.outlier_factor,
            y_period: Some(STEPS_PER_TURN.into()),
            ..ClueConfig::default()
        }
    }
}

/// The candidates as points for CLUE: (η, φ, pT), angles in steps of π/720.
///
/// Coordinates are whole numbers and weights multiples of 0.25 GeV, so CLUE's densities are exact, whatever the order of
/// summation, and a rotation by a whole number of steps changes nothing but the coordinates.
pub fn candidate_points(candidates: &Candidates) -> Points {
    let (pt, eta, phi, ..) = candidates.columns();
    let mut points = Points::with_len(candidates.len());
    let (x, y, weight) = points.columns_mut();
    x.iter_mut().zip(eta).for_each(|(x, &eta)| *x = eta.into());
    y.iter_mut().zip(phi).for_each(|(y, &phi)| *y = phi.into());
    weight.copy_from_slice(pt);
    points
}
