use std::ops::Range;

/// Where each part (an event, a bin) begins and ends in a concatenation: `parts + 1` ascending numbers, the first 0.
/// 32 bits, as kernels read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets(Vec<u32>);

/// Why a list of numbers is not a list of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetsError {
    /// There was no first number, or it was not 0.
    #[error("offsets must begin with 0")]
    Start,
    /// A number was smaller than the one before.
    #[error("offset {index} is smaller than the one before")]
    Descending {
        /// Its position.
        index: usize,
    },
}

impl Offsets {
    /// One part that holds all `rows`.
    ///
    /// # Panics
    /// If `rows` exceeds `u32::MAX`.
    pub fn single(rows: usize) -> Self {
        Self::from_counts([rows])
    }

    /// Offsets of parts with the given numbers of rows (their exclusive scan).
    ///
    /// # Panics
    /// If the sum exceeds `u32::MAX`.
    pub fn from_counts(counts: impl IntoIterator<Item = usize>) -> Self {
        let mut offsets = vec![0];
        let mut sum = 0_usize;
        for count in counts {
            sum += count;
            offsets.push(u32::try_from(sum).expect("at most u32::MAX rows in one concatenation"));
        }
        Self(offsets)
    }

    /// Takes numbers that are already offsets.
    ///
    /// # Errors
    /// [`OffsetsError`] if they do not begin with 0 or if they descend.
    pub fn from_vec(offsets: Vec<u32>) -> Result<Self, OffsetsError> {
        if offsets.first() != Some(&0) {
            return Err(OffsetsError::Start);
        }
        match offsets.windows(2).position(|pair| pair[1] < pair[0]) {
            Some(index) => Err(OffsetsError::Descending { index: index + 1 }),
            None => Ok(Self(offsets)),
        }
    }

    /// The number of parts.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of rows of all parts.
    pub fn rows(&self) -> usize {
        self.0[self.0.len() - 1] as usize
    }

    /// The rows of one part.
    ///
    /// # Panics
    /// If there is no such part.
    #[inline]
    pub fn range(&self, part: usize) -> Range<usize> {
        self.0[part] as usize..self.0[part + 1] as usize
    }

    /// The rows of each part, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        (0..self.len()).map(|part| self.range(part))
    }

    /// The numbers: `parts + 1` of them.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}

impl Default for Offsets {
    /// No parts.
    fn default() -> Self {
        Self(vec![0])
    }
}
