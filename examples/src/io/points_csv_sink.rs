//! [`PointsCsvSink`]: points of many events, as a CSV file that [`PointsCsv`](super::PointsCsv) reads.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use asynchrotron::anyhow::Context as _;
use asynchrotron::{EventId, Result, Sink};
use asynchrotron_algorithms::clue::Points;

use super::draft::{Draft, Seal};

/// Points of many events, as a CSV file with columns `event,x,y,weight`.
pub(crate) struct PointsCsvSink {
    file: BufWriter<File>,
    seal: Seal,
    path: String,
}

impl PointsCsvSink {
    pub(crate) fn create(path: &Path) -> Result<(Self, Draft)> {
        let (draft, file, seal) = Draft::create(path)?;
        let path = path.display().to_string();
        let mut file = BufWriter::new(file);
        writeln!(file, "event,x,y,weight").with_context(|| format!("cannot write {path}"))?;
        Ok((PointsCsvSink { file, seal, path }, draft))
    }
}

impl Sink<Points> for PointsCsvSink {
    async fn write(&mut self, event: EventId, points: Arc<Points>) -> Result<()> {
        points
            .iter()
            .try_for_each(|point| writeln!(self.file, "{event},{},{},{}", point.x, point.y, point.weight))
            .with_context(|| format!("cannot write {}", self.path))
    }

    async fn finish(&mut self) -> Result<()> {
        self.file.flush().with_context(|| format!("cannot write {}", self.path))?;
        self.seal.close();
        Ok(())
    }
}
