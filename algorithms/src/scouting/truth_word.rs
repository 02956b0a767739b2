use super::candidate_word::wrap;
use super::words::{Fields, Packer, WordError, WordKind};
use super::{ANGLE_STEP, Origin};

/// The unit of generated pT, in GeV.
const PT_STEP_GEV: f32 = 1.0 / 64.0;

/// The fields of a truth word: what was generated, as whole numbers of their units. Detectors do not write any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruthWord {
    /// Visible transverse momentum, in 1/64 GeV: at least 1.
    pub pt: u16,
    /// Pseudorapidity of the axis, in π/720: -2048 to 2047.
    pub eta: i16,
    /// Azimuth of the axis, in π/720: -720 to 719.
    pub phi: i16,
    /// What it is.
    pub origin: Origin,
}

impl TruthWord {
    /// The nearest word. What is beyond a field's range becomes its end; φ is wrapped.
    pub fn nearest(pt_gev: f64, eta: f64, phi: f64, origin: Origin) -> Self {
        let step = f64::from(ANGLE_STEP);
        Self {
            pt: (pt_gev / f64::from(PT_STEP_GEV)).round().clamp(1.0, 65535.0) as u16,
            eta: (eta / step).round().clamp(-2048.0, 2047.0) as i16,
            phi: wrap((phi / step).round() as i32),
            origin,
        }
    }

    /// Visible transverse momentum, in GeV.
    pub fn pt_gev(&self) -> f32 {
        f32::from(self.pt) * PT_STEP_GEV
    }

    /// The word. Fields that are out of range lose their upper bits.
    pub fn encode(&self) -> u64 {
        let packer = Packer::new(WordKind::Truth).put(16, self.pt).put(12, self.eta).put(11, self.phi);
        packer.put(3, self.origin as u8).word()
    }

    /// Reads a word.
    ///
    /// # Errors
    /// [`WordError`]: not a truth word, pT 0, φ beyond half a turn, an origin that there is not, or reserved bits that are
    /// set.
    pub fn decode(word: u64) -> Result<Self, WordError> {
        let mut fields = Fields::of(word, WordKind::Truth)?;
        let pt = fields.unsigned(16) as u16;
        fields.check(pt > 0, "pt", pt.into(), "not be 0")?;
        let (eta, phi) = (fields.signed(12) as i16, fields.signed(11) as i16);
        fields.check(phi == wrap(phi.into()), "phi", phi.into(), "lie in -720..720")?;
        let number = fields.unsigned(3) as u8;
        let Some(origin) = Origin::from_number(number) else {
            return Err(WordError::Field {
                field: "origin",
                value: number.into(),
                rule: "be at most 4",
                word,
            });
        };
        fields.reserved()?;
        Ok(Self { pt, eta, phi, origin })
    }
}
