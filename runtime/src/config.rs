//! [`Config`]: how a chain is run.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::event::EventId;
use crate::monitor::Monitor;
use crate::policy::OnError;
use crate::progress::Ticker;
use crate::stop::Stop;
use crate::time::Clock;
use crate::timeline::Recorder;

/// How a chain is run. All fields have defaults that suit a first try:
///
/// ```
/// use std::time::Duration;
/// use asynchrotron::Config;
///
/// let config = Config { slots: 256, deadline: Some(Duration::from_secs(2)), ..Config::default() };
/// ```
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Worker threads. 0, the default: one per core, or one altogether if time is simulated.
    pub threads: usize,
    /// Events in flight at most. More slots let more events wait for devices at the same time, and cost memory.
    /// 0, the default: eight per worker. With fewer slots than threads, the algorithms of one event spread over several
    /// workers; else each event stays on one at a time, which is cheaper.
    pub slots: usize,
    /// Whether sinks take events in the order of the source. An event that finishes early then waits in its slot.
    pub ordered: bool,
    /// How long the algorithms of one event may take together, retries not included. When the time is over, the event is
    /// dropped where it is suspended; an algorithm that does not suspend is left to end, but no other is started. What
    /// sinks take is not limited.
    pub deadline: Option<Duration>,
    /// What happens when an event fails.
    pub on_error: OnError,
    /// Events to read at most, after those skipped.
    pub events: Option<u64>,
    /// Events to pass over at the beginning of the source.
    pub skip: u64,
    /// Events that are run first, as any others, but do not count in the report's times.
    pub warmup: u64,
    /// Runs these events only, and passes over the others. See [`read_quarantine`](crate::read_quarantine).
    pub replay: Option<BTreeSet<EventId>>,
    /// The means to end the job early.
    pub stop: Stop,
    /// Called now and then while the job runs.
    pub ticker: Option<Ticker>,
    /// Shows what is going on while the job runs.
    pub monitor: Option<Monitor>,
    /// Where to record what happens, for a [timeline](crate::timeline): [`Timeline::recorder`](crate::timeline::Timeline::recorder).
    pub timeline: Option<Recorder>,
    /// Makes a [`tracing`] span of every poll of every algorithm, for whatever subscriber the program has. (A timeline of the level
    /// [`Full`](crate::timeline::Level::Full) does so by itself.)
    pub traced: bool,
    /// The time that the job reports in, and that its deadline is measured by. With a [simulated](Clock::simulated) one
    /// there is one worker, on which computing takes no time, and the report says the same each time.
    pub clock: Clock,
}

/// Slots per worker where none are configured: enough to bridge short waits.
const SLOTS_PER_WORKER: usize = 8;

impl Config {
    /// The number of worker threads that these settings give on this machine.
    pub fn resolved_threads(&self) -> usize {
        match self.threads {
            0 if self.clock.is_simulated() => 1,
            0 => available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        }
    }

    /// The number of slots that these settings give on this machine.
    pub fn resolved_slots(&self) -> usize {
        match self.slots {
            0 => SLOTS_PER_WORKER * self.resolved_threads(),
            slots => slots,
        }
    }
}
