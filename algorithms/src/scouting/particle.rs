/// What a candidate is: its number in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Particle {
    /// Neutral hadron.
    NeutralHadron = 0,
    /// Photon.
    Photon = 1,
    /// Negative hadron.
    HadronMinus = 2,
    /// Positive hadron.
    HadronPlus = 3,
    /// Electron.
    Electron = 4,
    /// Positron.
    Positron = 5,
    /// Negative muon.
    MuonMinus = 6,
    /// Positive muon.
    MuonPlus = 7,
}

impl Particle {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::NeutralHadron,
        Self::Photon,
        Self::HadronMinus,
        Self::HadronPlus,
        Self::Electron,
        Self::Positron,
        Self::MuonMinus,
        Self::MuonPlus,
    ];

    /// The particle with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Electric charge, in elementary charges.
    pub fn charge(self) -> i32 {
        match self as u8 {
            0 | 1 => 0,
            number => 2 * i32::from(number & 1) - 1,
        }
    }

    /// Whether it has a track.
    pub fn is_charged(self) -> bool {
        self.charge() != 0
    }
}
