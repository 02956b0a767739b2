use super::TruthWord;
use asynchrotron_devices::columns;

/// Where a generated shower of particles comes from: its number in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A quark or a gluon.
    Jet = 0,
    /// A τ that decayed to one charged hadron.
    OneProng = 1,
    /// A τ that decayed to one charged hadron and neutral pions.
    OneProngPions = 2,
    /// A τ that decayed to three charged hadrons.
    ThreeProng = 3,
    /// A τ that decayed to three charged hadrons and a neutral pion.
    ThreeProngPion = 4,
}

impl Origin {
    const ALL: [Self; 5] =
        [Self::Jet, Self::OneProng, Self::OneProngPions, Self::ThreeProng, Self::ThreeProngPion];

    /// The origin with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether it is a τ.
    pub fn is_tau(self) -> bool {
        self != Self::Jet
    }
}

columns! {
    /// What was generated in one bunch crossing: τ leptons that decayed to hadrons, and jets.
    pub struct Truths, row Truth {
        /// Visible transverse momentum, in GeV.
        pt_gev: f32,
        /// Pseudorapidity of the axis, in steps of π/720.
        eta_step: i16,
        /// Azimuth of the axis, in steps of π/720.
        phi_step: i16,
        /// The number of its [`Origin`].
        origin: u8,
    }
}

impl Truth {
    /// Whether it is a τ.
    pub fn is_tau(&self) -> bool {
        Origin::from_number(self.origin).is_some_and(Origin::is_tau)
    }
}

impl From<TruthWord> for Truth {
    fn from(word: TruthWord) -> Self {
        Self { pt_gev: word.pt_gev(), eta_step: word.eta, phi_step: word.phi, origin: word.origin as u8 }
    }
}
