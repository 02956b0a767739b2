//! [`ClueCsv`]: CLUE's result, as a CSV file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use asynchrotron::anyhow::Context as _;
use asynchrotron::{EventId, Result, Sink};
use asynchrotron_algorithms::clue::ClueResult;

use super::draft::{Draft, Seal};

/// delta where there is no nearest higher point: the convention of CLUE's published results.
const DELTA_OF_NONE: f32 = 999.0;

/// CLUE's result, as a CSV file with a row for each point. Numbers are the shortest that read back as the same `f32`.
pub(crate) struct ClueCsv {
    file: BufWriter<File>,
    seal: Seal,
    path: String,
}

impl ClueCsv {
    pub(crate) fn create(path: &Path) -> Result<(Self, Draft)> {
        let (draft, file, seal) = Draft::create(path)?;
        let path = path.display().to_string();
        let mut file = BufWriter::new(file);
        writeln!(file, "index,event,rho,delta,nh,is_seed,cluster")
            .with_context(|| format!("cannot write {path}"))?;
        Ok((ClueCsv { file, seal, path }, draft))
    }
}

impl Sink<ClueResult> for ClueCsv {
    async fn write(&mut self, event: EventId, result: Arc<ClueResult>) -> Result<()> {
        for (index, point) in result.iter().enumerate() {
            let delta = if point.delta.is_finite() { point.delta } else { DELTA_OF_NONE };
            writeln!(
                self.file,
                "{index},{event},{},{delta},{},{},{}",
                point.rho, point.nearest_higher, point.is_seed, point.cluster
            )
            .with_context(|| format!("cannot write {}", self.path))?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.file.flush().with_context(|| format!("cannot write {}", self.path))?;
        self.seal.close();
        Ok(())
    }
}
