//! [`Writer`]: the thread that empties the rings and writes the file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::anchors::Anchors;
use super::assembler::{Assembler, Polls, Sheet};
use super::item::{DEVICES, EVENTS, Item, JOB, Track, Value, WORKERS};
use super::pen::Pen;
use super::record::Record;
use super::recorder::{Recorder, Ring};
use super::valve;
use super::{Level, TimelineConfig};
use crate::lock::lock;
use crate::time::Clock;

/// How often rings are emptied: often enough that they hold what comes meanwhile, rarely enough not to be felt.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long a record waits for others that happened before it and are recorded late: the end of a batch, say, when it is noticed.
const HOLD: u64 = 25_000_000;

/// How often the clocks are compared at a time, and for how long that may take, in nanoseconds, to be believed.
const ANCHOR_READINGS: usize = 16;
const ANCHOR_ERROR: u64 = 500;

/// How much of a timeline is lost at most if the process is killed.
const FLUSH: Duration = Duration::from_millis(250);

/// From the clock of records to that of the file.
enum Times {
    /// Both are one, but for their origins.
    Same { origin: u64 },
    /// The file's clock is another, which began at this time and stood at this number of nanoseconds then.
    Anchored { anchors: Anchors, origin: Instant, offset: u64 },
}

/// A sheet in the file's time.
struct Timed<'a> {
    pen: &'a mut Pen,
    times: &'a Times,
}

impl Sheet for Timed<'_> {
    fn put(&mut self, item: &Item<'_>) {
        let mut item = *item;
        match &mut item {
            Item::Slice { begin, end, .. } => (*begin, *end) = (self.time(*begin), self.time(*end)),
            Item::Begin { at, .. }
            | Item::End { at, .. }
            | Item::Instant { at, .. }
            | Item::Flow { at, .. }
            | Item::Counter { at, .. } => *at = self.time(*at),
            Item::Process { .. } | Item::Thread { .. } => {}
        }
        self.pen.put(&item);
    }

    fn time(&self, at: u64) -> u64 {
        match self.times {
            Times::Same { origin } => at.saturating_sub(*origin),
            Times::Anchored { anchors, .. } => anchors.file(at),
        }
    }
}

/// What `tracing-chrome`'s clock says.
pub(super) struct ChromeClock {
    pub(super) origin: Instant,
    /// What it stood at then, in nanoseconds.
    pub(super) offset: u64,
}

struct Writer {
    recorder: Recorder,
    pen: Arc<Mutex<Pen>>,
    level: Level,
    every: u64,
    window: Option<(f64, f64)>,
    times: Times,
    valve: Arc<valve::Level>,
    assembler: Assembler,
    rings: Vec<(Ring, Track)>,
    /// Records that wait for earlier ones, in order.
    held: Vec<(Record, Track)>,
    lost: u64,
    is_simulated: bool,
}

/// The thread, while it runs.
pub(super) struct Writing {
    stop: Arc<AtomicBool>,
    handle: JoinHandle<(u64, u64)>,
}

impl Writing {
    /// Starts the thread.
    pub(super) fn start(
        config: &TimelineConfig,
        recorder: Recorder,
        pen: Arc<Mutex<Pen>>,
        valve: Arc<valve::Level>,
        chrome: Option<ChromeClock>,
    ) -> std::io::Result<Self> {
        let seconds = |(start, length): (Duration, Duration)| (start.as_secs_f64(), length.as_secs_f64());
        let (polls, times) = match chrome {
            Some(ChromeClock { origin, offset }) => {
                (Polls::Elsewhere, Times::Anchored { anchors: Anchors::new(), origin, offset })
            }
            None => (Polls::Recorded, Times::Same { origin: Clock::real().now_ns() }),
        };
        let mut writer = Writer {
            recorder,
            pen,
            level: config.level,
            every: config.every.max(1),
            window: config.window.map(seconds),
            times,
            valve,
            assembler: Assembler::new(polls),
            rings: Vec::new(),
            held: Vec::new(),
            lost: 0,
            is_simulated: false,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let handle = std::thread::Builder::new().name("timeline".into()).spawn(move || {
            writer.begin();
            let mut flushed = Instant::now();
            while !asked.load(Ordering::Acquire) {
                std::thread::park_timeout(INTERVAL);
                writer.drain(false);
                if flushed.elapsed() > FLUSH {
                    lock(&writer.pen).flush();
                    flushed = Instant::now();
                }
            }
            writer.finish()
        })?;
        Ok(Writing { stop, handle })
    }

    /// Writes what there is, and ends. Gives how many records never came to the pen, and how many events were written.
    pub(super) fn finish(self) -> std::thread::Result<(u64, u64)> {
        self.stop.store(true, Ordering::Release);
        Thread::unpark(self.handle.thread());
        self.handle.join()
    }
}

impl Writer {
    fn begin(&mut self) {
        self.anchor();
        let mut pen = lock(&self.pen);
        for (pid, name) in [(WORKERS, "workers"), (EVENTS, "events in flight"), (DEVICES, "devices")] {
            pen.put(&Item::Process { pid, name });
        }
    }

    /// Takes what has come, and writes what nothing earlier can come to any more.
    fn drain(&mut self, is_last: bool) {
        // Who was pushed before this time is in a ring now.
        let now = Clock::real().now_ns();
        for ring in self.recorder.take_arrivals() {
            let mut sheet = Timed { pen: &mut lock(&self.pen), times: &self.times };
            let track = self.assembler.thread(&ring.thread, &mut sheet);
            self.rings.push((ring, track));
        }
        for (ring, track) in &mut self.rings {
            while let Ok(record) = ring.records.pop() {
                self.held.push((record, *track));
            }
        }
        self.rings.retain(|(ring, _)| !(ring.records.is_abandoned() && ring.records.is_empty()));
        self.anchor();
        self.recorder.take_notes().into_iter().for_each(|note| self.assembler.note(note));
        self.held.sort_by_key(|(record, _)| record.at());
        let until = now.saturating_sub(HOLD);
        let ready = match is_last || self.is_simulated {
            true => self.held.len(),
            false => self.held.partition_point(|(record, _)| record.at() <= until),
        };
        let ready: Vec<_> = self.held.drain(..ready).collect();
        for (record, track) in ready {
            if let Record::JobBegins { at, job } = record {
                self.begin_job(at, job);
            }
            let mut sheet = Timed { pen: &mut lock(&self.pen), times: &self.times };
            self.assembler.add(&record, track, &mut sheet);
        }
        self.tell_losses();
    }

    fn begin_job(&mut self, at: u64, job: u32) {
        let Some(job) = self.recorder.job(job) else { return };
        self.is_simulated = job.is_simulated;
        if job.is_simulated {
            self.times = Times::Same { origin: 0 };
        }
        let mut sheet = Timed { pen: &mut lock(&self.pen), times: &self.times };
        self.assembler.begin_job(at, job, self.level.as_str(), self.every, self.window, &mut sheet);
    }

    /// Compares the clocks.
    fn anchor(&mut self) {
        let Times::Anchored { anchors, origin, offset } = &mut self.times else { return };
        let mut best: Option<(u64, u64, u64)> = None;
        // This thread may lose its core between the two, so the closest of a few.
        for _ in 0..ANCHOR_READINGS {
            let before = Clock::real().now_ns();
            let file = origin.elapsed().as_nanos() as u64 + *offset;
            let took = Clock::real().now_ns() - before;
            if best.is_none_or(|(shortest, ..)| took < shortest) {
                best = Some((took, before + took / 2, file));
            }
        }
        if let Some((took, record, file)) = best
            && (took <= ANCHOR_ERROR || anchors.is_empty())
        {
            anchors.add(record, file);
        }
    }

    fn lost(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.recorder.lost() + self.valve.lost.load(Relaxed) + self.assembler.orphans
    }

    fn tell_losses(&mut self) {
        let more = self.lost() - self.lost;
        if more > 0 {
            self.lost += more;
            let (at, arguments) = (self.assembler.last(), [("lost", Value::Count(more))]);
            let (track, category, name) = (JOB, "job", "records lost");
            let mut sheet = Timed { pen: &mut lock(&self.pen), times: &self.times };
            sheet.put(&Item::Instant { track, at, category, name, arguments: &arguments });
        }
    }

    fn finish(&mut self) -> (u64, u64) {
        self.drain(true);
        let mut pen = lock(&self.pen);
        let mut sheet = Timed { pen: &mut pen, times: &self.times };
        self.assembler.finish(&mut sheet);
        let (events, failed) = (self.assembler.events, self.assembler.failed);
        let lost = self.lost + sheet.pen.unwritten;
        let arguments = [
            ("records", Value::Count(sheet.pen.records)),
            ("lost", Value::Count(lost)),
            ("events", Value::Count(events)),
            ("failed", Value::Count(failed)),
        ];
        let (track, at, category, name) = (JOB, self.assembler.last(), "job", "trace ends");
        sheet.put(&Item::Instant { track, at, category, name, arguments: &arguments });
        (self.lost, events + failed)
    }
}
