use super::response::respond;
use super::shower::{Axis, Generated, decay_tau, exponential, fragment_jet, normal};
use super::{CandidateWord, Origin, TruthWord, pack};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// What is generated.
///
/// # Default
/// On average 45 soft particles of 1.1 GeV, 0.8 jets and 0.4 τ leptons in a bunch crossing. Spectra of jets and τ fall as pT⁻².
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// The seed of everything.
    pub seed: u64,
    /// Mean number of soft particles per bunch crossing (Poisson).
    pub soft_mean: f64,
    /// Their mean pT above 0.5 GeV, in GeV (exponential).
    pub soft_pt_gev: f64,
    /// Mean number of jets per bunch crossing (Poisson).
    pub jets_mean: f64,
    /// pT of a jet, in GeV.
    pub jet_pt_gev: RangeInclusive<f64>,
    /// Mean number of τ leptons per bunch crossing (Poisson).
    pub taus_mean: f64,
    /// Visible pT of a τ, in GeV.
    pub tau_pt_gev: RangeInclusive<f64>,
    /// Axes of jets and τ lie within this |η|; soft particles spread 0.3 further.
    pub eta_max: f64,
    /// Spread of the primary vertex along the beam, in cm.
    pub vertex_sigma_cm: f64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            soft_mean: 45.0,
            soft_pt_gev: 0.6,
            jets_mean: 0.8,
            jet_pt_gev: 5.0..=60.0,
            taus_mean: 0.4,
            tau_pt_gev: 5.0..=40.0,
            eta_max: 2.1,
            vertex_sigma_cm: 4.5,
        }
    }
}

/// Makes bunch crossings. One is a function of seed and number only: any order, any thread, the same words. (On one platform:
/// `exp`, `ln`, `cosh` of different C libraries may differ in their last bit.)
///
/// A toy: soft particles everywhere, jets, and τ leptons that decay to hadrons, with a simple detector. Truth words follow
/// the candidates.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::{Generator, GeneratorConfig, unpack};
/// let generator = Generator::new(GeneratorConfig { seed: 7, taus_mean: 3.0, ..GeneratorConfig::default() });
/// let words = generator.generate(3600);
/// assert_eq!(words, generator.generate(3600));
/// let crossing = unpack(&words)?;
/// assert_eq!((crossing.header.orbit, crossing.header.bx), (1, 36));
/// assert!(crossing.candidates.len() > 10);
/// # Ok::<(), asynchrotron_algorithms::scouting::UnpackError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
}

impl Generator {
    /// A generator with these choices.
    pub fn new(config: GeneratorConfig) -> Self {
        Self { config }
    }

    /// What is generated.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// The words of one bunch crossing: header, candidates, truth.
    pub fn generate(&self, event: u64) -> Vec<u64> {
        let config = &self.config;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(event);
        let vertex_z_cm = config.vertex_sigma_cm * normal(&mut rng);
        let (mut particles, mut truths) = (Vec::new(), Vec::new());
        for _ in 0..count(&mut rng, config.soft_mean) {
            particles.push(self.soft_particle(&mut rng));
        }
        for _ in 0..count(&mut rng, config.jets_mean) {
            let axis = self.axis(&mut rng, &config.jet_pt_gev);
            particles.extend(fragment_jet(&mut rng, axis));
            truths.push(TruthWord::nearest(axis.pt_gev, axis.eta, axis.phi, Origin::Jet));
        }
        for _ in 0..count(&mut rng, config.taus_mean) {
            let axis = self.axis(&mut rng, &config.tau_pt_gev);
            let (origin, decay) = decay_tau(&mut rng, axis);
            particles.extend(decay);
            truths.push(TruthWord::nearest(axis.pt_gev, axis.eta, axis.phi, origin));
        }
        let mut candidates: Vec<CandidateWord> =
            particles.iter().filter_map(|particle| respond(&mut rng, particle, vertex_z_cm)).collect();
        // The order of words says nothing about where they come from.
        candidates.shuffle(&mut rng);
        candidates.truncate(super::Header::CANDIDATES_MAX);
        truths.truncate(super::Header::TRUTHS_MAX);
        pack(event, &candidates, &truths)
    }

    fn axis(&self, rng: &mut ChaCha8Rng, pt_gev: &RangeInclusive<f64>) -> Axis {
        // dN/dpT ~ pT⁻²: 1/pT is uniform.
        let inverse = rng.random_range(1.0 / pt_gev.end()..=1.0 / pt_gev.start());
        let eta = rng.random_range(-self.config.eta_max..=self.config.eta_max);
        Axis { pt_gev: 1.0 / inverse, eta, phi: rng.random_range(-PI..PI) }
    }

    fn soft_particle(&self, rng: &mut ChaCha8Rng) -> Generated {
        let eta_max = self.config.eta_max + 0.3;
        let species = rng.random::<f64>();
        // Tracks from other vertices are gone already; what is neutral can be from anywhere.
        let charge = match species {
            x if x < 0.25 => 1,
            x if x < 0.5 => -1,
            _ => 0,
        };
        Generated {
            pt_gev: 0.5 + self.config.soft_pt_gev * exponential(rng),
            eta: rng.random_range(-eta_max..=eta_max),
            phi: rng.random_range(-PI..PI),
            charge,
            is_photon: (0.5..0.85).contains(&species),
            dxy_cm: 0.0,
            primary: charge != 0,
        }
    }
}

fn count(rng: &mut ChaCha8Rng, mean: f64) -> usize {
    // A mean of 0, which `Poisson` does not take, switches a source off.
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(rng) as usize)
}
