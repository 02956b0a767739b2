use super::{CandidateWord, Candidates, Header, Truth, TruthWord, Truths, WordError, WordKind};

/// What one bunch crossing holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BunchCrossing {
    /// Which one it is.
    pub header: Header,
    /// Its candidates.
    pub candidates: Candidates,
    /// What was generated; empty if it is from a detector.
    pub truths: Truths,
}

/// Why the words of a bunch crossing make no sense. Words are counted from the header, which is word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It does not begin with a header, or the header makes no sense.
    #[error("word 0: {0}")]
    Header(#[source] WordError),
    /// There are no words at all.
    #[error("there is not even a header")]
    Empty,
    /// The header announces more or fewer words than there are.
    #[error("orbit {orbit}, bx {bx}: the header announces {announced} words after it, and {found} follow")]
    Count {
        /// The orbit.
        orbit: u32,
        /// The bunch crossing.
        bx: u16,
        /// How many candidate and truth words the header announces.
        announced: usize,
        /// How many there are.
        found: usize,
    },
    /// A word makes no sense.
    #[error("orbit {orbit}, bx {bx}, word {word}: {error}")]
    Word {
        /// The orbit.
        orbit: u32,
        /// The bunch crossing.
        bx: u16,
        /// The position of the word after the header, which is word 0.
        word: usize,
        /// What is wrong with it.
        error: WordError,
    },
}

/// Turns the words of one bunch crossing, header first, into candidates.
///
/// # Errors
/// [`UnpackError`] names orbit, bx and the first word that makes no sense.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::scouting::{CandidateWord, Particle, Rest, pack, unpack};
/// let track = Rest::Charged { z0: -12, dxy: 2, quality: 15 };
/// let pion = CandidateWord { pt: 20, eta: 100, phi: -700, particle: Particle::HadronPlus, rest: track };
/// let words = pack(5, &[pion, pion], &[]);
/// let crossing = unpack(&words)?;
/// assert_eq!(crossing.header.event(), 5);
/// assert_eq!(crossing.candidates.pt_gev(), [5.0, 5.0]);
///
/// let error = unpack(&words[..2]).unwrap_err();
/// assert_eq!(error.to_string(), "orbit 0, bx 5: the header announces 2 words after it, and 1 follow");
/// # Ok::<(), asynchrotron_algorithms::scouting::UnpackError>(())
/// ```
pub fn unpack(words: &[u64]) -> Result<BunchCrossing, UnpackError> {
    let (&first, rest) = words.split_first().ok_or(UnpackError::Empty)?;
    let header = Header::decode(first).map_err(UnpackError::Header)?;
    let Header { orbit, bx, .. } = header;
    if words.len() != header.words() {
        let (announced, found) = (header.words() - 1, rest.len());
        return Err(UnpackError::Count { orbit, bx, announced, found });
    }
    let at = |word: usize| move |error| UnpackError::Word { orbit, bx, word, error };
    let (candidate_words, truth_words) = rest.split_at(header.candidates.into());
    let mut candidates = Candidates::with_len(candidate_words.len());
    let (pt_gev, eta_step, phi_step, pid, z0_cm, dxy_cm, weight, quality) = candidates.columns_mut();
    for (i, &word) in candidate_words.iter().enumerate() {
        let candidate = CandidateWord::decode(word).map_err(at(1 + i))?.candidate();
        pt_gev[i] = candidate.pt_gev;
        eta_step[i] = candidate.eta_step;
        phi_step[i] = candidate.phi_step;
        pid[i] = candidate.pid;
        z0_cm[i] = candidate.z0_cm;
        dxy_cm[i] = candidate.dxy_cm;
        weight[i] = candidate.weight;
        quality[i] = candidate.quality;
    }
    let truth = |(i, &word): (usize, &u64)| {
        TruthWord::decode(word).map(Truth::from).map_err(at(1 + candidate_words.len() + i))
    };
    let truths = truth_words.iter().enumerate().map(truth).collect::<Result<Truths, _>>()?;
    Ok(BunchCrossing { header, candidates, truths })
}

/// What a stream of words begins with; see [`frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The words of one bunch crossing: so many as its header announces, or fewer if another header comes before.
    Event {
        /// The number of words, header included.
        words: usize,
    },
    /// Words that belong to no bunch crossing, up to the next header or the end.
    Stray {
        /// Their number.
        words: usize,
    },
    /// The beginning of a bunch crossing, of which more words must be read.
    Incomplete {
        /// How many, at least.
        missing: usize,
    },
}

/// Finds the first bunch crossing in a stream of words. Never looks at more than the header and the kinds of the others: what
/// [`unpack`] would refuse is found all the same, so one bad bunch crossing costs no other.
pub fn frame(words: &[u64]) -> Frame {
    let Some(&first) = words.first() else { return Frame::Incomplete { missing: 1 } };
    let is_header = |word: &u64| WordKind::of(*word) == WordKind::Header;
    let until_header = |words: &[u64]| words.iter().skip(1).position(is_header).map(|at| at + 1);
    if !is_header(&first) {
        return Frame::Stray { words: until_header(words).unwrap_or(words.len()) };
    }
    // The counts are there also in a header whose bx makes no sense.
    let announced = Header::counted(first);
    match until_header(&words[..announced.min(words.len())]) {
        Some(words) => Frame::Event { words },
        None if words.len() < announced => Frame::Incomplete { missing: announced - words.len() },
        None => Frame::Event { words: announced },
    }
}
