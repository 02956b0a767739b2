//! [`WordsFile`]: bunch crossings from a file of scouting words.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use asynchrotron::anyhow::{Context as _, ensure};
use asynchrotron::{Error, EventId, Read, Result, Source};
use asynchrotron_algorithms::scouting::{Frame, Header, WordKind, frame};

use super::seen::SeenEvents;
use super::words::{MARK, Words};

/// What is read at a time; more only if one bunch crossing is larger.
const BLOCK_BYTES: usize = 64 << 10;

/// Bunch crossings from a file of scouting words, a block in memory at a time. Words that make no sense are an error of their
/// event; reading goes on at the next header.
pub(crate) struct WordsFile {
    path: PathBuf,
    file: File,
    /// What was read, and not yet given away. Of `bytes`, the last 0 to 7 are the beginning of a word.
    words: Vec<u64>,
    bytes: Vec<u8>,
    /// The next of `words`.
    next: usize,
    /// Where `words[0]` is in the file, in words after the mark.
    first: u64,
    at_end: bool,
    seen: SeenEvents,
    /// What an event is taken for that does not say which it is: the one after the last.
    expected: u64,
}

impl WordsFile {
    /// Opens a file and reads its first block.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut mark = [0; MARK.len()];
        let read = read_fully(&mut file, &mut mark).with_context(|| path.display().to_string())?;
        ensure!(
            mark[..read] == *MARK,
            "{}: not a file of scouting words: expected {} at its beginning, found {}",
            path.display(),
            MARK.escape_ascii(),
            if read == 0 { "nothing".into() } else { format!("`{}`", mark[..read].escape_ascii()) }
        );
        let mut words = WordsFile {
            path: path.into(),
            file,
            words: Vec::new(),
            bytes: Vec::new(),
            next: 0,
            first: 0,
            at_end: false,
            seen: SeenEvents::default(),
            expected: 0,
        };
        words.read_block(1).with_context(|| path.display().to_string())?;
        let is_empty = words.words.is_empty() && words.bytes.is_empty();
        ensure!(!is_empty, "{}: there are no events in the file", path.display());
        Ok(words)
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} (scouting words)", self.path.display())
    }

    /// Reads a block, or as much as it takes to have `missing` more words.
    fn read_block(&mut self, missing: usize) -> Result<()> {
        self.first += self.next as u64;
        self.words.drain(..self.next);
        self.next = 0;
        let begun = self.bytes.len();
        self.bytes.resize(begun + BLOCK_BYTES.max(8 * missing), 0);
        let read = read_fully(&mut self.file, &mut self.bytes[begun..])?;
        self.at_end = read < self.bytes.len() - begun;
        self.bytes.truncate(begun + read);
        let (whole, rest) = self.bytes.as_chunks::<8>();
        self.words.extend(whole.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        self.bytes = rest.to_vec();
        Ok(())
    }

    /// Takes the next `count` words out of the block.
    fn take(&mut self, count: usize) -> Words {
        let at = Some(self.first + self.next as u64);
        let words = self.words[self.next..self.next + count].to_vec();
        self.next += count;
        Words { words, at }
    }

    fn at(&self, word: Option<u64>) -> String {
        format!("{}, word {}", self.path.display(), word.unwrap_or(0))
    }

    fn event(&mut self, words: Words) -> Read<Words> {
        // A header that makes no sense is refused later, with all else; here it only leaves its event without a number.
        let number = Header::decode(words.words[0]).map(|header| header.event());
        let event = number.unwrap_or(self.expected);
        self.expected = event.wrapping_add(1);
        let product = if number.is_ok() && !self.seen.insert(event) {
            Err(Error::msg(format!("{}: event {event} came before", self.at(words.at))))
        } else {
            Ok(words)
        };
        Read { event: EventId(event), product }
    }

    fn stray(&mut self, words: &Words) -> Read<Words> {
        let (count, word) = (words.words.len(), words.words[0]);
        let error = format!(
            "{}: expected a header, found {count} words that belong to no event, the first 0x{word:016x} ({})",
            self.at(words.at),
            WordKind::of(word)
        );
        Read { event: EventId(self.expected), product: Err(Error::msg(error)) }
    }

    fn read_event(&mut self) -> Result<Option<Read<Words>>> {
        loop {
            let left = self.words.len() - self.next;
            match frame(&self.words[self.next..]) {
                Frame::Event { words } => {
                    let words = self.take(words);
                    return Ok(Some(self.event(words)));
                }
                // What is stray may go on in the next block.
                Frame::Stray { words } if words < left || self.at_end => {
                    let words = self.take(words);
                    return Ok(Some(self.stray(&words)));
                }
                Frame::Stray { .. } if left >= 2 * BLOCK_BYTES / 8 => {
                    let words = self.take(left);
                    return Ok(Some(self.stray(&words)));
                }
                Frame::Stray { .. } => self.read_block(1)?,
                Frame::Incomplete { missing } if !self.at_end => self.read_block(missing)?,
                Frame::Incomplete { .. } if left > 0 => {
                    // Its header announces more than there is.
                    let words = self.take(left);
                    self.bytes.clear();
                    return Ok(Some(self.event(words)));
                }
                Frame::Incomplete { .. } if !self.bytes.is_empty() => {
                    let bytes = std::mem::take(&mut self.bytes).len();
                    let at = self.at(Some(self.first + self.next as u64));
                    let error = Error::msg(format!(
                        "{at}: the file ends in the middle of a word, after {bytes} bytes"
                    ));
                    return Ok(Some(Read { event: EventId(self.expected), product: Err(error) }));
                }
                Frame::Incomplete { .. } => return Ok(None),
            }
        }
    }
}

impl Source for WordsFile {
    type Product = Words;

    async fn next(&mut self) -> Result<Option<Read<Words>>> {
        self.read_event().with_context(|| self.path.display().to_string())
    }
}

/// Reads until `buffer` is full or the file ends.
fn read_fully(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
