//! [`Recorder`]: takes records from whoever makes them, without waiting, and counts those that it cannot take.
//!
//! ```text
//!   worker-0 ──▶ ring ──┐
//!   worker-1 ──▶ ring ──┼──▶ the writer's thread, every few milliseconds ──▶ file
//!   others   ──▶ ring ──┘
//! ```
//!
//! Each thread has a ring of its own, with one writer and one reader, so that nobody waits for anybody. What comes to a full
//! ring is lost, and counted.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::record::{JobInfo, Record};
use super::{Level, TimelineConfig};
use crate::event::EventId;
use crate::lock::lock;

/// So many failures wait for the writer at most; the rest is shown without its cause.
const NOTES_MAX: usize = 256;

/// What connects a job to a [`Timeline`](super::Timeline): see [`Config::timeline`](crate::Config::timeline). Clones are the same
/// recorder.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    id: usize,
    level: Level,
    every: u64,
    window: Option<(Duration, Duration)>,
    ring: usize,
    /// From when to when events are recorded; nanoseconds of the job's clock.
    from: AtomicU64,
    until: AtomicU64,
    /// The rings of threads that the writer has not seen yet.
    arrivals: Mutex<Vec<Ring>>,
    lost: AtomicU64,
    flows: AtomicU64,
    batches: AtomicU64,
    jobs: Mutex<Vec<Arc<JobInfo>>>,
    notes: Mutex<Vec<Note>>,
}

/// The reader's end of a thread's ring.
pub(super) struct Ring {
    pub(super) records: Consumer<Record>,
    pub(super) thread: String,
}

/// Why an event failed: text, which records have no room for.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) at: u64,
    pub(crate) slot: u32,
    pub(crate) event: u64,
    pub(crate) algorithm: String,
    pub(crate) cause: String,
}

thread_local! {
    /// The writer's ends of this thread's rings: of more than one only if there have been several timelines.
    static RINGS: RefCell<Vec<(usize, Producer<Record>)>> = const { RefCell::new(Vec::new()) };
}

impl Recorder {
    pub(super) fn new(config: &TimelineConfig) -> Self {
        static IDS: AtomicUsize = AtomicUsize::new(0);
        Recorder {
            shared: Arc::new(Shared {
                id: IDS.fetch_add(1, Relaxed),
                level: config.level,
                every: config.every.max(1),
                window: config.window,
                ring: config.ring_records.max(1),
                from: AtomicU64::new(0),
                until: AtomicU64::new(u64::MAX),
                arrivals: Mutex::default(),
                lost: AtomicU64::new(0),
                flows: AtomicU64::new(1),
                batches: AtomicU64::new(1),
                jobs: Mutex::default(),
                notes: Mutex::default(),
            }),
        }
    }

    /// A job begins.
    pub(crate) fn open(&self, at: u64, info: JobInfo) {
        let shared = &*self.shared;
        if let Some((start, length)) = shared.window {
            let from = at.saturating_add(nanoseconds(start));
            shared.from.store(from, Relaxed);
            shared.until.store(from.saturating_add(nanoseconds(length)), Relaxed);
        }
        let mut jobs = lock(&shared.jobs);
        jobs.push(Arc::new(info));
        let job = (jobs.len() - 1) as u32;
        drop(jobs);
        self.push(Record::JobBegins { at, job });
    }

    /// Whether a span is made of every poll.
    pub(crate) fn makes_spans(&self) -> bool {
        self.shared.level == Level::Full
    }

    /// Whether an event that begins now is recorded.
    pub(crate) fn wants(&self, event: EventId, now: u64) -> bool {
        event.0.is_multiple_of(self.shared.every) && self.is_open(now)
    }

    /// Whether anything that begins now is recorded.
    pub(crate) fn is_open(&self, now: u64) -> bool {
        (self.shared.from.load(Relaxed)..self.shared.until.load(Relaxed)).contains(&now)
    }

    /// A number for a request.
    pub(crate) fn flow(&self) -> u64 {
        self.shared.flows.fetch_add(1, Relaxed)
    }

    /// A number for a batch.
    pub(crate) fn batch(&self) -> u64 {
        self.shared.batches.fetch_add(1, Relaxed)
    }

    /// Takes a record if there is room for it.
    pub(crate) fn push(&self, record: Record) {
        let shared = &*self.shared;
        let pushed = RINGS.try_with(|rings| {
            let Ok(mut rings) = rings.try_borrow_mut() else { return false };
            if let Some((_, ring)) = rings.iter_mut().find(|(id, _)| *id == shared.id) {
                return ring.push(record).is_ok();
            }
            let mut ring = self.enrol(&mut rings);
            let pushed = ring.push(record).is_ok();
            rings.push((shared.id, ring));
            pushed
        });
        if !pushed.unwrap_or(false) {
            shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// A ring for this thread.
    #[cold]
    fn enrol(&self, rings: &mut Vec<(usize, Producer<Record>)>) -> Producer<Record> {
        rings.retain(|(_, ring)| !ring.is_abandoned());
        let (producer, records) = RingBuffer::new(self.shared.ring);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        lock(&self.shared.arrivals).push(Ring { records, thread });
        producer
    }

    /// Keeps why an event failed, for the writer.
    pub(crate) fn note(&self, note: Note) {
        let at = note.at;
        let mut notes = lock(&self.shared.notes);
        if notes.len() < NOTES_MAX {
            notes.push(note);
            drop(notes);
            self.push(Record::Failed { at });
        }
    }

    pub(super) fn take_arrivals(&self) -> Vec<Ring> {
        std::mem::take(&mut *lock(&self.shared.arrivals))
    }

    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *lock(&self.shared.notes))
    }

    pub(super) fn job(&self, job: u32) -> Option<Arc<JobInfo>> {
        lock(&self.shared.jobs).get(job as usize).cloned()
    }

    /// Records lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("level", &self.shared.level).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_what_does_comes_in_order() {
        let recorder = Recorder::new(&TimelineConfig { ring_records: 4, ..TimelineConfig::default() });
        (0..10).for_each(|at| recorder.push(Record::Failed { at }));
        let [mut ring] = <[Ring; 1]>::try_from(recorder.take_arrivals()).ok().unwrap();
        let times: Vec<u64> =
            std::iter::from_fn(|| ring.records.pop().ok()).map(|record| record.at()).collect();
        assert_eq!((times, recorder.lost()), (vec![0, 1, 2, 3], 6));
        recorder.push(Record::Failed { at: 10 });
        assert_eq!(ring.records.pop().unwrap().at(), 10);
    }

    #[test]
    fn every_thread_has_a_ring_which_outlives_it() {
        let recorder = Recorder::new(&TimelineConfig::default());
        for _ in 0..3 {
            let recorder = recorder.clone();
            std::thread::spawn(move || recorder.push(Record::Failed { at: 1 })).join().unwrap();
        }
        let rings = recorder.take_arrivals();
        assert_eq!(rings.iter().map(|ring| ring.records.slots()).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn events_are_selected_by_number_and_by_the_time_at_which_they_begin() {
        let window = Some((Duration::from_nanos(100), Duration::from_nanos(50)));
        let recorder = Recorder::new(&TimelineConfig { every: 3, window, ..TimelineConfig::default() });
        let info = JobInfo {
            chain: "c".into(),
            threads: 1,
            slots: 1,
            is_simulated: false,
            nodes: Vec::new(),
            batchers: Vec::new(),
            devices: Vec::new(),
        };
        recorder.open(1000, info);
        let wanted = |event, now| recorder.wants(EventId(event), now);
        assert!(wanted(0, 1100) && wanted(3, 1149));
        assert!(!wanted(1, 1100) && !wanted(0, 1099) && !wanted(3, 1150));
    }
}
