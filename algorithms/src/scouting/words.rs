use super::{CandidateWord, TruthWord};

/// The number of bunch crossings in an orbit of the LHC.
pub const BX_PER_ORBIT: u16 = 3564;
/// The unit of η and φ: π / 720, so that 1440 steps make a turn.
pub const ANGLE_STEP: f32 = std::f32::consts::PI / 720.0;
/// The number of steps of φ in a turn.
pub const STEPS_PER_TURN: i16 = 1440;

/// What the two highest bits of a word say it is. 2 is not used.
const MARKS: [(u64, WordKind); 3] = [(3, WordKind::Header), (0, WordKind::Candidate), (1, WordKind::Truth)];

/// The kinds of word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordKind {
    /// Begins a bunch crossing.
    Header,
    /// A reconstructed particle.
    Candidate,
    /// What was generated; never from a detector.
    Truth,
    /// None of these.
    Unknown,
}

impl WordKind {
    /// What a word is.
    pub fn of(word: u64) -> Self {
        let mark = word >> 62;
        MARKS.iter().find(|(value, _)| *value == mark).map_or(Self::Unknown, |(_, kind)| *kind)
    }

    /// The bits that say so.
    pub(super) fn mark(self) -> u64 {
        MARKS.iter().find(|(_, kind)| *kind == self).map_or(2, |(value, _)| *value) << 62
    }
}

impl std::fmt::Display for WordKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Header => "header",
            Self::Candidate => "candidate",
            Self::Truth => "truth",
            Self::Unknown => "unknown",
        })
    }
}

/// Why a word makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// It is a word of another kind.
    #[error("expected a {expected} word, found 0x{word:016x} ({found})")]
    Kind {
        /// What should be here.
        expected: WordKind,
        /// What is here.
        found: WordKind,
        /// The word.
        word: u64,
    },
    /// A field has a value that the format does not allow.
    #[error("{field} = {value} in 0x{word:016x} must {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
        /// What it must do.
        rule: &'static str,
        /// The word.
        word: u64,
    },
}

/// Takes the fields of a word one after the other, from the lowest bit on.
pub(super) struct Fields {
    word: u64,
    next: u32,
}

impl Fields {
    /// The fields of a word that should be of this kind.
    pub(super) fn of(word: u64, expected: WordKind) -> Result<Self, WordError> {
        let found = WordKind::of(word);
        if found == expected {
            Ok(Self { word, next: 0 })
        } else {
            Err(WordError::Kind { expected, found, word })
        }
    }

    /// The next `bits` bits.
    pub(super) fn unsigned(&mut self, bits: u32) -> u64 {
        let value = self.word >> self.next & ((1 << bits) - 1);
        self.next += bits;
        value
    }

    /// The next `bits` bits as a number in two's complement.
    pub(super) fn signed(&mut self, bits: u32) -> i64 {
        (self.unsigned(bits) << (64 - bits)) as i64 >> (64 - bits)
    }

    /// All bits up to the mark must be 0.
    pub(super) fn reserved(&mut self) -> Result<(), WordError> {
        let value = self.unsigned(62 - self.next) as i64;
        self.check(value == 0, "reserved bits", value, "be 0")
    }

    pub(super) fn check(
        &self,
        good: bool,
        field: &'static str,
        value: i64,
        rule: &'static str,
    ) -> Result<(), WordError> {
        if good { Ok(()) } else { Err(WordError::Field { field, value, rule, word: self.word }) }
    }
}

/// Puts the fields of a word one after the other, from the lowest bit on. What does not fit is cut off: fields are checked before.
pub(super) struct Packer {
    word: u64,
    next: u32,
}

impl Packer {
    pub(super) fn new(kind: WordKind) -> Self {
        Self { word: kind.mark(), next: 0 }
    }

    pub(super) fn put(mut self, bits: u32, value: impl Into<i64>) -> Self {
        self.word |= (value.into() as u64 & ((1 << bits) - 1)) << self.next;
        self.next += bits;
        self
    }

    pub(super) fn word(self) -> u64 {
        self.word
    }
}

/// What a header word says: which bunch crossing, and how many words follow.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::Header;
/// let header = Header { orbit: 7, bx: 3563, candidates: 40, truths: 0 };
/// assert_eq!(Header::decode(header.encode())?, header);
/// assert_eq!(header.event(), 8 * 3564 - 1);
/// assert_eq!(Header::of_event(header.event()), Header { candidates: 0, ..header });
/// # Ok::<(), asynchrotron_algorithms::scouting::WordError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The orbit.
    pub orbit: u32,
    /// The bunch crossing in the orbit, below [`BX_PER_ORBIT`].
    pub bx: u16,
    /// How many candidate words follow: at most [`CANDIDATES_MAX`](Self::CANDIDATES_MAX).
    pub candidates: u16,
    /// How many truth words follow them: at most [`TRUTHS_MAX`](Self::TRUTHS_MAX).
    pub truths: u8,
}

impl Header {
    /// The most candidates of one bunch crossing.
    pub const CANDIDATES_MAX: usize = 4095;
    /// The most truth words of one bunch crossing.
    pub const TRUTHS_MAX: usize = 63;

    /// The header of an event by its number, orbit · 3564 + bx, without candidates.
    pub fn of_event(event: u64) -> Self {
        let per_orbit = u64::from(BX_PER_ORBIT);
        let (orbit, bx) = ((event / per_orbit) as u32, (event % per_orbit) as u16);
        Self { orbit, bx, ..Self::default() }
    }

    /// The number of the event: orbit · 3564 + bx.
    pub fn event(&self) -> u64 {
        u64::from(self.orbit) * u64::from(BX_PER_ORBIT) + u64::from(self.bx)
    }

    /// How many words make the event, this one included.
    pub fn words(&self) -> usize {
        1 + usize::from(self.candidates) + usize::from(self.truths)
    }

    /// How many words a header word announces, itself included, whatever else it says.
    pub(super) fn counted(word: u64) -> usize {
        let mut fields = Fields { word, next: 0 };
        1 + (fields.unsigned(12) + fields.unsigned(6)) as usize
    }

    /// The word.
    pub fn encode(&self) -> u64 {
        let packer = Packer::new(WordKind::Header).put(12, self.candidates).put(6, self.truths);
        packer.put(12, self.bx).put(32, self.orbit).word()
    }

    /// Reads a word.
    ///
    /// # Errors
    /// [`WordError`]: not a header, or a bx that no orbit has.
    pub fn decode(word: u64) -> Result<Self, WordError> {
        let mut fields = Fields::of(word, WordKind::Header)?;
        let (candidates, truths) = (fields.unsigned(12) as u16, fields.unsigned(6) as u8);
        let bx = fields.unsigned(12) as u16;
        fields.check(bx < BX_PER_ORBIT, "bx", bx.into(), "be below 3564")?;
        Ok(Self { orbit: fields.unsigned(32) as u32, bx, candidates, truths })
    }
}

/// The words of one bunch crossing.
///
/// # Panics
/// If there are more candidates or truth words than a header can announce.
pub fn pack(event: u64, candidates: &[CandidateWord], truths: &[TruthWord]) -> Vec<u64> {
    assert!(candidates.len() <= Header::CANDIDATES_MAX, "{} candidates", candidates.len());
    assert!(truths.len() <= Header::TRUTHS_MAX, "{} truth words", truths.len());
    let header =
        Header { candidates: candidates.len() as u16, truths: truths.len() as u8, ..Header::of_event(event) };
    let words = std::iter::once(header.encode()).chain(candidates.iter().map(CandidateWord::encode));
    words.chain(truths.iter().map(TruthWord::encode)).collect()
}
