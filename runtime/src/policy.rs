//! [`OnError`]: what becomes of an event that fails, and of the job.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::event::EventId;
use crate::failure::EventFailure;

/// What happens when an event fails: an error, a panic, or a time-out in one of its algorithms, or unreadable data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnError {
    /// How often the event is run again, from its data as read, before it counts as failed. Unreadable events are not.
    pub retries: u32,
    /// What becomes of it then.
    pub then: Then,
}

/// What becomes of an event that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Then {
    /// The job ends with an error. The other events in flight finish first.
    #[default]
    Stop,
    /// The event is counted and reported, and the job goes on.
    Skip,
    /// Like skip, and the event is noted in `quarantine.jsonl` in this folder, for [`read_quarantine`].
    Quarantine(PathBuf),
}

/// `stop`, `skip`, `quarantine=DIR`, `retry=N`, or `retry=N,` followed by one of the first three.
impl FromStr for OnError {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, anyhow::Error> {
        let (retries, then) = match text.strip_prefix("retry=") {
            None => (0, text),
            Some(rest) => {
                let (count, then) = rest.split_once(',').unwrap_or((rest, "stop"));
                let count = count.parse().with_context(|| format!("`{count}` is not a number of retries"))?;
                (count, then)
            }
        };
        let then = match then.split_once('=') {
            Some(("quarantine", folder)) if !folder.is_empty() => Then::Quarantine(folder.into()),
            None if then == "stop" => Then::Stop,
            None if then == "skip" => Then::Skip,
            _ => anyhow::bail!("`{text}` is none of stop, skip, quarantine=DIR, retry=N, retry=N,skip"),
        };
        Ok(OnError { retries, then })
    }
}

impl std::fmt::Display for OnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.retries > 0 {
            write!(f, "retry={},", self.retries)?;
        }
        match &self.then {
            Then::Stop => f.write_str("stop"),
            Then::Skip => f.write_str("skip"),
            Then::Quarantine(folder) => write!(f, "quarantine={}", folder.display()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    event: u64,
    kind: String,
    algorithm: String,
    cause: String,
}

/// The file of a quarantine folder: one JSON object a line, flushed one by one.
#[derive(Debug)]
pub(crate) struct Quarantine {
    path: PathBuf,
    file: File,
}

const FILE_NAME: &str = "quarantine.jsonl";

impl Quarantine {
    /// Makes the folder and an empty file in it. A file of an earlier job is replaced: its events are its job's.
    pub(crate) fn create(folder: &Path) -> Result<Self, anyhow::Error> {
        let path = folder.join(FILE_NAME);
        std::fs::create_dir_all(folder)
            .and_then(|()| File::create(&path))
            .with_context(|| format!("cannot write the quarantine file {}", path.display()))
            .map(|file| Quarantine { path, file })
    }

    pub(crate) fn note(&mut self, failed: &EventFailure) -> Result<(), anyhow::Error> {
        let line = Line {
            event: failed.event.0,
            kind: failed.failure.kind().as_str().to_owned(),
            algorithm: failed.failure.algorithm().to_owned(),
            cause: failed.failure.to_string(),
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The events that a job with [`Then::Quarantine`] put into a folder: give them to [`Config::replay`](crate::Config) to
/// run the same events again.
///
/// # Errors
/// If the file cannot be read, or a line of it is not what a job writes.
pub fn read_quarantine(folder: &Path) -> Result<BTreeSet<EventId>, anyhow::Error> {
    let path = folder.join(FILE_NAME);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut events = BTreeSet::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line: Line = serde_json::from_str(&line?).with_context(|| {
            format!("{}, line {}: not an event in quarantine", path.display(), number + 1)
        })?;
        events.insert(EventId(line.event));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_print() {
        for text in ["stop", "skip", "quarantine=bad/events", "retry=3,stop", "retry=2,quarantine=q"] {
            assert_eq!(text.parse::<OnError>().unwrap().to_string(), text);
        }
        assert_eq!("retry=3".parse::<OnError>().unwrap(), OnError { retries: 3, then: Then::Stop });
        for text in ["", "ignore", "retry=", "retry=x", "quarantine=", "skip=1", "retry=1,", "quarantine"] {
            assert!(text.parse::<OnError>().is_err(), "{text} was taken");
        }
    }
}
