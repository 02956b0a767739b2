//! A timeline, read back: what it says in words.
//!
//! ```no_run
//! use asynchrotron::timeline::reading::{Analysis, Difference, Recording, check};
//!
//! let before = Recording::open("before.json.gz")?;
//! assert_eq!(check(&before), Vec::<String>::new());
//! let before = Analysis::of(&before);
//! println!("{before}");
//! let after = Analysis::of(&Recording::open("after.json.gz")?);
//! println!("{}", Difference::between(&before, &after));
//! # Ok::<(), asynchrotron::Error>(())
//! ```
//!
//! | file | one noun |
//! |---|---|
//! | `record`, `lines` | one line of the file; the lines of a file that may be zipped, and may be cut short |
//! | `recording`, `assembly` | the file as typed slices; how lines become that |
//! | `analysis`, `events`, `algorithms`, `lanes`, `workers` | figures, computed from a recording by functions that do nothing else |
//! | `critical_path` | what an event waited for, from its end back to its begin |
//! | `evidence`, `advice` | what limits the job; the few things that would shorten it most |
//! | `words` | the analysis as text |
//! | `difference` | two analyses, compared |
//! | `check`, `nesting`, `arrows` | whether a recording is whole and sound |
//!
//! All times are whole nanoseconds from the origin of the file, so that sums are exact.

mod advice;
mod algorithms;
mod analysis;
mod arrows;
mod assembly;
mod check;
mod critical_path;
mod difference;
mod events;
mod evidence;
mod intervals;
mod lanes;
mod lines;
mod nesting;
mod percentiles;
mod record;
mod recording;
mod words;
mod workers;

pub use advice::{Advice, Share};
pub use algorithms::{AlgorithmFigures, StateFigures};
pub use analysis::{Analysis, Completeness};
pub use check::check;
pub use critical_path::{CriticalPath, PathShare, Segment, Step};
pub use difference::{Change, Difference};
pub use events::EventFigures;
pub use lanes::{Gaps, LaneFigures};
pub use percentiles::Percentiles;
pub use recording::{
    Batch, Call, Counter, Delivery, DeliveryKind, End, Event, Flow, FlowEnd, Job, Lane, Name, Poll,
    Recording, State, StateKind, Track, Worker,
};
pub use workers::WorkerFigures;
