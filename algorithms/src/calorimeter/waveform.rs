use super::BLOCKS;

/// The number of samples of a waveform, 4 ns each.
pub const SAMPLES: usize = 110;

/// The zero-suppressed readout of one event: the waveforms of the blocks that fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waveforms {
    block: Vec<u16>,
    samples: Vec<u16>,
}

/// Why a readout makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaveformsError {
    /// There is no such block.
    #[error("row {row}: there is no block {block} (there are {BLOCKS})")]
    Block {
        /// The waveform.
        row: usize,
        /// Its block.
        block: u16,
    },
    /// Some waveform has too many or too few samples.
    #[error("{waveforms} waveforms of {SAMPLES} samples do not make {samples} samples")]
    Samples {
        /// The number of blocks given.
        waveforms: usize,
        /// The number of samples given.
        samples: usize,
    },
    /// A block came twice.
    #[error("row {row}: block {block} came before, in row {first}")]
    Duplicate {
        /// The second waveform of the block.
        row: usize,
        /// The block.
        block: u16,
        /// The first waveform of the block.
        first: usize,
    },
}

impl Waveforms {
    /// Checks a readout: one block number per waveform, [`SAMPLES`] samples per waveform, in the same order.
    ///
    /// # Errors
    /// [`WaveformsError`] names the row and the block that make no sense.
    ///
    /// # Examples
    /// ```
    /// use asynchrotron_algorithms::calorimeter::{SAMPLES, Waveforms};
    /// let waveforms = Waveforms::new(vec![31, 5], vec![200; 2 * SAMPLES])?;
    /// assert_eq!(waveforms.iter().map(|(block, samples)| (block, samples[0])).collect::<Vec<_>>(), [(31, 200), (5, 200)]);
    ///
    /// let twice = Waveforms::new(vec![31, 31], vec![200; 2 * SAMPLES]).unwrap_err();
    /// assert_eq!(twice.to_string(), "row 1: block 31 came before, in row 0");
    /// # Ok::<(), asynchrotron_algorithms::calorimeter::WaveformsError>(())
    /// ```
    pub fn new(block: Vec<u16>, samples: Vec<u16>) -> Result<Self, WaveformsError> {
        if samples.len() != block.len() * SAMPLES {
            return Err(WaveformsError::Samples { waveforms: block.len(), samples: samples.len() });
        }
        let mut row_of_block = [None; BLOCKS];
        for (row, &block) in block.iter().enumerate() {
            let seen =
                row_of_block.get_mut(usize::from(block)).ok_or(WaveformsError::Block { row, block })?;
            if let Some(first) = seen.replace(row) {
                return Err(WaveformsError::Duplicate { row, block, first });
            }
        }
        Ok(Self { block, samples })
    }

    /// The number of waveforms.
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Whether no block fired.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The block number of each waveform, row × 30 + column.
    pub fn block(&self) -> &[u16] {
        &self.block
    }

    /// The samples of all waveforms one after the other, in ADC: `[waveform][sample]`.
    pub fn samples(&self) -> &[u16] {
        &self.samples
    }

    /// The samples of one waveform, in ADC.
    ///
    /// # Panics
    /// If there is no such waveform.
    pub fn waveform(&self, row: usize) -> &[u16; SAMPLES] {
        &self.samples.as_chunks().0[row]
    }

    /// Block number and samples of each waveform.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u16, &[u16; SAMPLES])> {
        self.block.iter().copied().zip(self.samples.as_chunks().0)
    }
}
