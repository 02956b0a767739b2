//! [`Lines`]: the records of a file, one a line; the file may be zipped, and may be cut short.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context as _, Error, bail, ensure};
use flate2::bufread::MultiGzDecoder;

use super::record::Record;

/// Reads ahead so much, to see what kind of a file it is.
const BUFFER: usize = 1 << 16;

pub(super) struct Lines<'a> {
    /// For messages.
    name: String,
    reader: Box<dyn BufRead + 'a>,
    line: Vec<u8>,
    number: u32,
    /// Whether the `]` has come.
    closed: bool,
    records: u64,
    cut_short: Option<String>,
}

impl<'a> Lines<'a> {
    /// # Errors
    /// If the file cannot be read, is empty, or is visibly something else.
    pub(super) fn new(name: &str, reader: impl Read + 'a) -> Result<Self, Error> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let head = reader.fill_buf().with_context(|| format!("cannot read {name}"))?;
        ensure!(!head.is_empty(), "{name} is empty: expected a timeline");
        let zipped = head.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = match zipped {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        };
        let name = name.to_owned();
        let mut lines =
            Lines { name, reader, line: Vec::new(), number: 0, closed: false, records: 0, cut_short: None };
        lines.open()?;
        Ok(lines)
    }

    /// The bracket of the array.
    fn open(&mut self) -> Result<(), Error> {
        let Lines { name, .. } = self;
        let head = match self.reader.fill_buf() {
            Ok(head) => head,
            // A file of a job that crashed before it had anything to write.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => b"",
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        if head.is_empty() {
            bail!("{name} is empty: expected a timeline");
        }
        if is_native(name, head) {
            bail!(
                "{name} is a native trace of Perfetto: only JSON is read here; run again with `--trace FILE.json`"
            );
        }
        ensure!(head[0] == b'[', "{name}, line 1: expected `[`: this is not a timeline of ours");
        Ok(())
    }

    /// Hands on each record with the number of its line.
    ///
    /// # Errors
    /// If the file cannot be read, or has something other than records before its end.
    pub(super) fn for_each(&mut self, mut take: impl FnMut(Record<'_>, u32)) -> Result<(), Error> {
        while self.next_line()? {
            let line = body(&self.line);
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(record) => {
                    take(record, self.number);
                    self.records += 1;
                }
                Err(error) => {
                    let (name, number) = (self.name.clone(), self.number);
                    // What is torn is torn at its end.
                    if self.is_at_end() {
                        self.cut_short = Some(format!("line {number} is torn"));
                        return Ok(());
                    }
                    let ours = if self.records == 0 { ": this is not a timeline of ours" } else { "" };
                    bail!("{name}, line {number}: expected a record, an object in one line{ours} ({error})");
                }
            }
        }
        if !self.closed && self.cut_short.is_none() {
            self.cut_short = Some(format!("it ends at line {} without its `]`", self.number));
        }
        Ok(())
    }

    /// Why the file is not whole.
    pub(super) fn cut_short(self) -> Option<String> {
        self.cut_short
    }

    fn next_line(&mut self) -> Result<bool, Error> {
        self.line.clear();
        if let Err(error) = self.reader.read_until(b'\n', &mut self.line) {
            // Not the disk's: the file's. A job that was killed leaves half a block, or a block of zeros.
            let torn = matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            );
            if !torn {
                return Err(error)
                    .with_context(|| format!("cannot read {} on from line {}", self.name, self.number));
            }
            self.cut_short = Some(format!("it can be unzipped up to line {} ({error})", self.number));
            // The last record may have come through.
            if serde_json::from_slice::<Record<'_>>(body(&self.line)).is_err() {
                return Ok(false);
            }
        }
        if self.line.is_empty() {
            return Ok(false);
        }
        self.number = self.number.saturating_add(1);
        self.closed |= self.line.trim_ascii().ends_with(b"]");
        Ok(true)
    }

    fn is_at_end(&mut self) -> bool {
        self.cut_short.is_some() || self.reader.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

/// The record of a line, without what holds the array together.
fn body(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"[").unwrap_or(line);
    let line = line.strip_suffix(b"]").unwrap_or(line).trim_ascii();
    line.strip_prefix(b",").unwrap_or(line.strip_suffix(b",").unwrap_or(line)).trim_ascii()
}

/// Perfetto's own format is a sequence of packets, each a field 1 of varying length.
fn is_native(name: &str, head: &[u8]) -> bool {
    let packet = head[0] == 0x0a && head.len() > 1 && !matches!(head[1], b'[' | b'{' | b' ' | b'\r' | b'\n');
    packet || (head[0] != b'[' && name.ends_with(".pftrace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<(String, u32)>, Option<String>);

    fn read(bytes: &[u8]) -> Result<Read, String> {
        let mut all = Vec::new();
        let mut lines = Lines::new("f", bytes).map_err(|error| format!("{error:#}"))?;
        lines
            .for_each(|record, line| all.push((record.ph.into_owned(), line)))
            .map_err(|error| format!("{error:#}"))?;
        Ok((all, lines.cut_short()))
    }

    #[test]
    fn a_file_that_is_cut_short_is_read_up_to_the_tear() {
        let whole = "[\n{\"ph\":\"a\"},\n{\"ph\":\"b\"}\n]\n";
        let both = vec![("a".to_owned(), 2), ("b".to_owned(), 3)];
        assert_eq!(read(whole.as_bytes()), Ok((both.clone(), None)));
        for end in 1..whole.len() {
            let (records, cut_short) = read(&whole.as_bytes()[..end]).unwrap();
            assert!(both.starts_with(&records), "{end}");
            assert_eq!(cut_short.is_none(), end >= whole.len() - 1, "{end}: {cut_short:?}");
        }
        assert_eq!(
            read(b"[{\"ph\":\"a\"},\n{\"ph\":\"b\"}]"),
            Ok((vec![("a".to_owned(), 1), ("b".to_owned(), 2)], None))
        );
    }

    #[test]
    fn what_is_no_timeline_is_said_with_the_line_and_what_was_expected() {
        for (bytes, message) in [
            (&b""[..], "f is empty: expected a timeline"),
            (b"{\"traceEvents\":[", "f, line 1: expected `[`: this is not a timeline of ours"),
            (b"\x0a\x35\x08\x01", "only JSON is read here; run again with `--trace FILE.json`"),
            (
                b"[\n1,\n2]\n",
                "f, line 2: expected a record, an object in one line: this is not a timeline of ours",
            ),
            (
                b"[\n{\"ph\":\"a\"},\n{\"p\n{\"ph\":\"a\"}]\n",
                "f, line 3: expected a record, an object in one line (",
            ),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
