//! [`Job`]: what one child process of `bench trace` runs, and what it tells the parent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron::timeline::{Level, Timeline, TimelineConfig};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::bench::overhead::SHAPES;

/// Set in a child process: its job.
const JOB: &str = "ASYNCHROTRON_BENCH_TRACE";

/// Events between two pauses, and how long a pause is: the writer of the timeline catches up, so that nothing is lost.
const BURST: u64 = 300;
const PAUSE: Duration = Duration::from_millis(30);
/// Bursts before the first that counts: memory is touched, code is warm.
const WARM_UP: u64 = 2;
const BURSTS: u64 = 10;

/// Polls of the algorithm that suspends, less one.
pub(super) const YIELDS: u64 = 16;

/// Events per second that make a million records, at 16 polls, one begin and one end each; and how often they are let loose.
const PACE: f64 = 1e6 / 18.0;
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A shape of `bench overhead` on so many workers, as fast as it goes, for so many events.
    Flat(String, usize, u64),
    /// The same shape on one worker, in bursts.
    Bursts(String),
    /// The algorithm that suspends, on one worker, in bursts.
    Yields,
    /// 16 algorithms in a row at a million records a second, for so many events.
    Million(u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) kind: Kind,
    /// Nothing, `light`, or `full`.
    pub(super) level: Option<String>,
    pub(super) file: PathBuf,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) events: u64,
    pub(super) seconds: f64,
    /// CPU time of the only worker per event, in the bursts that count; 0 if there are none.
    pub(super) worker_ns_per_event: f64,
    /// That the runtime made: one for each poll, for each begin, and for each end of an event.
    pub(super) records: u64,
    pub(super) lost: u64,
}

impl Job {
    /// Runs it in a process of its own: a timeline with spans takes the process's only subscriber, for good.
    pub(super) fn in_child(&self) -> Result<Told> {
        let output = Command::new(std::env::current_exe()?)
            .args(["bench", "trace"])
            .env(JOB, serde_json::to_string(self)?)
            .output()?;
        let told = serde_json::from_slice(&output.stdout);
        told.with_context(|| format!("{self:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The job of this process, if it is such a child.
    pub(super) fn of_this_process() -> Result<Option<Self>> {
        std::env::var(JOB).ok().map(|text| Ok(serde_json::from_str(&text)?)).transpose()
    }

    pub(super) fn run(&self) -> Result<Told> {
        let shape = |name: &str| {
            let shape = SHAPES.iter().find(|(known, _)| *known == name).context("the name of a shape")?;
            Ok::<_, Error>(shape.1.build(None))
        };
        let all = Config::default().resolved_threads();
        match &self.kind {
            Kind::Flat(name, threads, events) => self.flat(shape(name)?, *threads, *events),
            Kind::Bursts(name) => self.bursts(shape(name)?),
            Kind::Yields => self.bursts(yielding()),
            Kind::Million(events) => self.million(shape("chain_16")?, all.min(2), *events),
        }
    }

    fn scheduled(
        &self,
        chain: Chain,
        threads: usize,
        source: impl Iterator<Item = u64> + Send + 'static,
    ) -> Result<Told> {
        let level = match self.level.as_deref() {
            None => None,
            Some("light") => Some(Level::Light),
            Some(_) => Some(Level::Full),
        };
        let create =
            |level| Timeline::create(&self.file, TimelineConfig { level, ..TimelineConfig::default() });
        let timeline = level.map(create).transpose()?;
        let recorder = timeline.as_ref().map(Timeline::recorder);
        let config = Config { threads, slots: 8 * threads, timeline: recorder, ..Config::default() };
        let report = Scheduler::new(config).run(chain, source::from_iter(source))?;
        let lost = timeline.map(Timeline::finish).transpose()?.map_or(0, |written| written.lost);
        let polls: u64 = report.algorithms.iter().map(|algorithm| algorithm.polls).sum();
        let records = if level.is_some() { polls + 2 * report.events } else { 0 };
        let (events, seconds) = (report.events, report.elapsed.as_secs_f64());
        Ok(Told { events, seconds, worker_ns_per_event: 0.0, records, lost })
    }

    fn flat(&self, chain: Chain, threads: usize, events: u64) -> Result<Told> {
        self.scheduled(chain, threads, 0..events)
    }

    fn bursts(&self, chain: Chain) -> Result<Told> {
        // The source is read by the worker: what it sees of the thread's time is the worker's.
        let (tell, told) = std::sync::mpsc::channel();
        let source = (0..(WARM_UP + BURSTS) * BURST + 1).inspect(move |event| {
            if event.is_multiple_of(BURST) {
                std::thread::sleep(PAUSE);
                if [WARM_UP, WARM_UP + BURSTS].contains(&(event / BURST)) {
                    let _ = tell.send((std::thread::current().id(), thread_cpu()));
                }
            }
        });
        let ran = self.scheduled(chain, 1, source)?;
        let ((thread, begin), (other, end)) = (told.recv()?, told.recv()?);
        ensure!(thread == other, "the source was read by two threads");
        let worker_ns_per_event = (end - begin).as_nanos() as f64 / (BURSTS * BURST) as f64;
        Ok(Told { worker_ns_per_event, ..ran })
    }

    fn million(&self, chain: Chain, threads: usize, events: u64) -> Result<Told> {
        let mut begin = None;
        let per_tick = (PACE * TICK.as_secs_f64()).ceil() as u64;
        let source = (0..events).inspect(move |&event| {
            let due = Duration::from_secs_f64(event as f64 / PACE);
            let begin = *begin.get_or_insert_with(Instant::now);
            if event.is_multiple_of(per_tick) {
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        });
        self.scheduled(chain, threads, source)
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One algorithm that suspends so often.
fn yielding() -> Chain {
    let mut chain = Chain::new("yields");
    let x = chain.source::<u64>("source");
    let y = chain.algorithm("yields", (x,), async |x: Arc<u64>| {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(*x + 1)
    });
    let mut sum = 0_u64;
    chain.sink("sum", y, move |_: EventId, x: Arc<u64>| {
        sum = sum.wrapping_add(*x);
        std::hint::black_box(sum);
        Ok(())
    });
    chain
}

/// The command itself on the calorimeter chain: events per second, and records lost.
pub(super) fn calorimeter(events: u64, level: Option<&str>, file: &Path) -> Result<(f64, u64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "calorimeter", "--seed", "1", "--events", &events.to_string()]);
    if let Some(level) = level {
        command.args(["--trace-level", level, "--trace"]).arg(file);
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    let per_s = line.split("throughput ").nth(1).and_then(|rest| rest.split(' ').next());
    let per_s = per_s.with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let per_s = per_s.parse().with_context(|| format!("`{per_s}` in `{line}`"))?;
    // `none lost`, or `123 LOST`.
    let lost = text.split_once(" LOST ").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    Ok((per_s, lost.unwrap_or(0)))
}
