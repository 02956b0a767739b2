//! The words of one bunch crossing, and the file they come from and go to.
//!
//! A file begins with the eight bytes `ASCOUT01`. After that come 64-bit words, lowest byte first: the events of
//! [`asynchrotron_algorithms::scouting`], one after the other.

/// The words of one bunch crossing, header first: checked no further than that.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) words: Vec<u64>,
    /// Where the header is in the file, counted in words after the mark; `None` if it is from no file.
    pub(crate) at: Option<u64>,
}

/// What a file begins with.
pub(super) const MARK: &[u8; 8] = b"ASCOUT01";
