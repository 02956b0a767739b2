//! [`ModelReport`]: times and hash of a model.

use std::fmt;
use std::time::Duration;

/// Which model it was, and what it took: for the report of a job, and the provenance of what it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelReport {
    /// The model's name.
    pub name: String,
    /// Its file, or `built in`.
    pub origin: String,
    /// The hash of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Whether the graph was optimised ahead of time.
    pub optimized: bool,
    /// Its sessions.
    pub lanes: usize,
    /// The threads of each.
    pub threads: usize,
    /// Whether they are on GPUs.
    pub on_gpu: bool,
    /// What it took to make the sessions.
    pub load: Duration,
    /// What it took to run each of them once for each allowed size.
    pub warm_up: Duration,
    /// Runs since then.
    pub runs: u64,
    /// Their rows, padding included.
    pub rows: u64,
    /// Their time, all lanes together; on GPUs, what it took to enqueue them.
    pub run: Duration,
}

/// One line.
impl fmt::Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, origin, sha256, lanes, on_gpu, load, warm_up, runs, rows, run, .. } = self;
        let hash = sha256.get(..12).unwrap_or(sha256);
        let sessions = if *lanes == 1 { "session" } else { "sessions" };
        let (place, took) = if *on_gpu { (" on GPUs", "took the host") } else { ("", "took") };
        let ahead = if self.optimized { ", optimised ahead of time" } else { "" };
        write!(
            f,
            "model {name} ({origin}, sha256 {hash}…{ahead}): {lanes} {sessions}{place} loaded in {load:.1?}, "
        )?;
        write!(f, "warmed up in {warm_up:.1?}; {runs} runs of {rows} rows {took} {run:.1?}")?;
        if *rows > 0 {
            write!(f, ", {:.1} ns per row", run.as_nanos() as f64 / *rows as f64)?;
        }
        Ok(())
    }
}
