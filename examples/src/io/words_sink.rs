//! [`WordsSink`]: bunch crossings as a file of scouting words, which [`WordsFile`](super::WordsFile) reads.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use asynchrotron::anyhow::Context as _;
use asynchrotron::{EventId, Result, Sink};

use super::draft::{Draft, Seal};
use super::words::{MARK, Words};

/// Bunch crossings as a file of scouting words.
pub(crate) struct WordsSink {
    file: BufWriter<File>,
    seal: Seal,
    path: String,
}

impl WordsSink {
    pub(crate) fn create(path: &Path) -> Result<(Self, Draft)> {
        let (draft, file, seal) = Draft::create(path)?;
        let path = path.display().to_string();
        let mut file = BufWriter::new(file);
        file.write_all(MARK).with_context(|| format!("cannot write {path}"))?;
        Ok((WordsSink { file, seal, path }, draft))
    }
}

impl Sink<Words> for WordsSink {
    async fn write(&mut self, _event: EventId, words: Arc<Words>) -> Result<()> {
        (words.words.iter())
            .try_for_each(|word| self.file.write_all(&word.to_le_bytes()))
            .with_context(|| format!("cannot write {}", self.path))
    }

    async fn finish(&mut self) -> Result<()> {
        self.file.flush().with_context(|| format!("cannot write {}", self.path))?;
        self.seal.close();
        Ok(())
    }
}
