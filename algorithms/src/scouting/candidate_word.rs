use super::words::{Fields, Packer, WordError, WordKind};
use super::{Candidate, Particle, STEPS_PER_TURN};

/// The unit of pT, in GeV. A power of two, so that sums of pT are exact in `f32`.
pub const PT_STEP_GEV: f32 = 0.25;
/// The unit of z0, in cm.
pub const Z0_STEP_CM: f32 = 0.05;
/// The unit of dxy, in cm.
pub const DXY_STEP_CM: f32 = 0.005;
/// The unit of weights.
pub const WEIGHT_STEP: f32 = 1.0 / 512.0;

/// The fields of a candidate word, as whole numbers of their units.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::{CandidateWord, Particle, Rest};
/// let photon = CandidateWord { pt: 9, eta: -30, phi: 719, particle: Particle::Photon, rest: Rest::Neutral { weight: 512 } };
/// assert_eq!(CandidateWord::decode(photon.encode())?, photon);
/// let candidate = photon.candidate();
/// assert_eq!((candidate.pt_gev, candidate.weight), (2.25, 1.0));
///
/// let error = CandidateWord::decode(photon.encode() & !0x3fff).unwrap_err();
/// assert_eq!(error.to_string(), "pt = 0 in 0x0002002b3ff88000 must not be 0");
/// # Ok::<(), asynchrotron_algorithms::scouting::WordError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateWord {
    /// Transverse momentum, in 0.25 GeV: 1 to 16383.
    pub pt: u16,
    /// Pseudorapidity, in π/720: -2048 to 2047.
    pub eta: i16,
    /// Azimuth, in π/720: -720 to 719.
    pub phi: i16,
    /// What it is.
    pub particle: Particle,
    /// What only charged or only neutral candidates have; it must suit `particle`.
    pub rest: Rest,
}

/// What only charged, or only neutral candidates have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Of a track.
    Charged {
        /// Longitudinal position at the beam line, in 0.05 cm: -512 to 511.
        z0: i16,
        /// Transverse impact parameter, in 0.005 cm.
        dxy: i8,
        /// Track quality, 0 (worst) to 15.
        quality: u8,
    },
    /// Of a calorimeter cluster.
    Neutral {
        /// How likely it is from the primary vertex, in 1/512: 0 to 512.
        weight: u16,
    },
}

impl CandidateWord {
    /// The word nearest to a candidate. What is beyond a field's range becomes its end.
    pub fn nearest(candidate: &Candidate) -> Self {
        let particle = Particle::from_number(candidate.pid).unwrap_or(Particle::NeutralHadron);
        let whole = |value: f32, step: f32, low: f32, high: f32| (value / step).round().clamp(low, high);
        let rest = if particle.is_charged() {
            Rest::Charged {
                z0: whole(candidate.z0_cm, Z0_STEP_CM, -512.0, 511.0) as i16,
                dxy: whole(candidate.dxy_cm, DXY_STEP_CM, -128.0, 127.0) as i8,
                quality: candidate.quality.min(15),
            }
        } else {
            Rest::Neutral { weight: whole(candidate.weight, WEIGHT_STEP, 0.0, 512.0) as u16 }
        };
        Self {
            pt: whole(candidate.pt_gev, PT_STEP_GEV, 1.0, 16383.0) as u16,
            eta: candidate.eta_step.clamp(-2048, 2047),
            phi: wrap(candidate.phi_step.into()),
            particle,
            rest,
        }
    }

    /// The candidate, in physical units.
    pub fn candidate(&self) -> Candidate {
        let (z0_cm, dxy_cm, quality, weight) = match self.rest {
            Rest::Charged { z0, dxy, quality } => {
                (f32::from(z0) * Z0_STEP_CM, f32::from(dxy) * DXY_STEP_CM, quality, 1.0)
            }
            Rest::Neutral { weight } => (0.0, 0.0, 0, f32::from(weight) * WEIGHT_STEP),
        };
        Candidate {
            pt_gev: f32::from(self.pt) * PT_STEP_GEV,
            eta_step: self.eta,
            phi_step: self.phi,
            pid: self.particle as u8,
            z0_cm,
            dxy_cm,
            weight,
            quality,
        }
    }

    /// The word. Fields that are out of range lose their upper bits.
    pub fn encode(&self) -> u64 {
        let packer = Packer::new(WordKind::Candidate).put(14, self.pt).put(12, self.eta).put(11, self.phi);
        let packer = packer.put(3, self.particle as u8);
        match self.rest {
            Rest::Charged { z0, dxy, quality } => packer.put(10, z0).put(8, dxy).put(4, quality).word(),
            Rest::Neutral { weight } => packer.put(10, weight).word(),
        }
    }

    /// Reads a word.
    ///
    /// # Errors
    /// [`WordError`]: not a candidate, pT 0, φ beyond half a turn, a weight above 1, or reserved bits that are set.
    pub fn decode(word: u64) -> Result<Self, WordError> {
        let mut fields = Fields::of(word, WordKind::Candidate)?;
        let pt = fields.unsigned(14) as u16;
        fields.check(pt > 0, "pt", pt.into(), "not be 0")?;
        let (eta, phi) = (fields.signed(12) as i16, fields.signed(11) as i16);
        fields.check(phi == wrap(phi.into()), "phi", phi.into(), "lie in -720..720")?;
        let particle = Particle::ALL[fields.unsigned(3) as usize];
        let rest = if particle.is_charged() {
            let (z0, dxy) = (fields.signed(10) as i16, fields.signed(8) as i8);
            Rest::Charged { z0, dxy, quality: fields.unsigned(4) as u8 }
        } else {
            let weight = fields.unsigned(10) as u16;
            fields.check(weight <= 512, "weight", weight.into(), "be at most 512")?;
            Rest::Neutral { weight }
        };
        fields.reserved()?;
        Ok(Self { pt, eta, phi, particle, rest })
    }
}

/// An angle in steps, moved to -720..720.
pub(super) fn wrap(steps: i32) -> i16 {
    let turn = i32::from(STEPS_PER_TURN);
    ((steps + turn / 2).rem_euclid(turn) - turn / 2) as i16
}
