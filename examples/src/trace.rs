//! `--trace`: a timeline of the job.

use std::path::Path;

use asynchrotron::Result;

/// Records a timeline of the job into a file for as long as it lives.
pub(crate) struct TraceGuard;

/// Starts to record.
pub(crate) fn trace_guard(path: &Path) -> Result<TraceGuard> {
    Err(crate::error::usage!(
        "--trace: cannot record {}: timelines are not in this build yet",
        path.display()
    ))
}
