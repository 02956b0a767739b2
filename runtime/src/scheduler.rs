//! [`Scheduler`]: runs a chain on the events of a source.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron_sync::Turnstile;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::batch::{BatchPolicy, Crowd, JobSide, Presence};
use crate::chain::Chain;
use crate::clock;
use crate::config::Config;
use crate::feed::Feed;
use crate::harvest;
use crate::lock::lock;
use crate::monitor::{Watch, Watched};
use crate::plan::{Launch, Plan};
use crate::policy::{Quarantine, Then};
use crate::progress::{Progress, Ticker};
use crate::report::{Report, cpu_time};
use crate::seat::Seat;
use crate::slot::{Job, run_slot};
use crate::source::Source;
use crate::stop::Stop;
use crate::tally::Tally;
use crate::time::{Clock, Hold};
use crate::timeline::{JobInfo, Recorder};

/// Runs a chain on the events of a source: source → slots → algorithms → sinks.
///
/// See the [crate's promises](crate#promises) for what may be relied upon.
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    config: Config,
}

impl Scheduler {
    /// A scheduler with these settings.
    pub fn new(config: Config) -> Self {
        Scheduler { config }
    }

    /// Runs `chain` until `source` ends, or the job is [stopped](crate::Stop), and reports.
    ///
    /// # Errors
    /// [`RunError`] if the chain or the settings are not fit to run, if an event failed under the policy
    /// [`Then::Stop`], or if a sink failed. If events were run, the error holds the report of them.
    ///
    /// # Panics
    /// If called on a worker thread of a tokio runtime: it blocks until the job is done.
    pub fn run<S: Source>(&self, chain: Chain, source: S) -> Result<Report, RunError> {
        let config = &self.config;
        let threads = config.resolved_threads();
        let mut plan = chain.into_plan::<S::Product>().map_err(|error| RunError::early(error.into()))?;
        ensure_sane(threads)?;
        let slots = config.resolved_slots().max(slots_needed(&plan.crowds)?);
        clock::calibrate();
        let _at_work = config.clock.begin(threads).map_err(RunError::early)?;
        for outlet in &mut plan.outlets {
            outlet.ordered |= config.ordered;
        }
        let ordered = plan.outlets.iter().any(|outlet| outlet.is_sink(true));
        plan.launch = if slots < threads { Launch::Spawn } else { Launch::InPlace };
        plan.deadline = config.deadline.map(clock::ticks);
        plan.recorder = config.timeline.clone();
        let makes_spans = plan.recorder.as_ref().is_some_and(Recorder::makes_spans);
        if makes_spans && config.clock.is_simulated() {
            let cause = "spans are in real time: a timeline of simulated time has the level `light`";
            return Err(RunError::early(anyhow::anyhow!(cause)));
        }
        plan.traced = config.traced || makes_spans;
        plan.clock = config.clock.clone();
        let quarantine = match &config.on_error.then {
            Then::Quarantine(folder) => Some(Quarantine::create(folder).map_err(RunError::early)?),
            _ => None,
        };
        let executor = executor(threads, &config.clock).map_err(|error| RunError::early(error.into()))?;
        plan.executor = Some(executor.handle().clone());
        // More slots than events would only cost memory.
        let events = [source.events_left(), config.events].into_iter().flatten().min();
        let slots = events.map_or(slots, |events| slots.min(usize::try_from(events).unwrap_or(slots).max(1)));
        let seat =
            |slot| Seat::new(plan.nodes.len(), Presence::new(slot, plan.crowds.clone(), plan.clock.clone()));
        let seats = (0..slots).map(|slot| (Arc::default(), seat(slot))).collect();
        if let Some(recorder) = &plan.recorder {
            let devices = plan.crowds.iter().map(|crowd| (crowd.report().name, crowd.device()));
            let (batchers, devices) = JobInfo::devices(devices);
            let nodes = plan.nodes.iter().map(|node| node.name.clone()).collect();
            let (chain, is_simulated) = (plan.name.clone(), config.clock.is_simulated());
            let info = JobInfo { chain, threads, slots, is_simulated, nodes, batchers, devices };
            recorder.open(config.clock.now_ns(), info);
        }
        let opened = Opened::new(&plan, executor.handle()).map_err(RunError::early)?;
        let end = Stop::new();
        let job = Arc::new(Job {
            clock: config.clock.clone(),
            feed: Feed::new(source, config, end.clone(), plan.crowds.clone()),
            drains: AtomicBool::new(false),
            order: ordered.then(|| Turnstile::new(0)),
            on_error: config.on_error.clone(),
            quarantine: Mutex::new(quarantine),
            end,
            tally: Tally::new(seats, threads),
            fatal: Mutex::new(None),
            plan: Arc::new(plan),
        });
        let watched = config.monitor.as_ref().map(|monitor| monitor.attach(Watched::new(&job, threads)));
        let (elapsed, cpu) = executor.block_on(drive(&job, config, watched.as_ref()));
        drop((watched, opened));
        // Devices may still hold work of events that were dropped; what it would wake is gone.
        executor.shutdown_timeout(Duration::from_secs(1));
        let ended_early = config.stop.is_asked() || job.end.is_asked();
        let report = Report::of(&job.plan, &job.tally, threads, elapsed, cpu, ended_early);
        let fatal = lock(&job.fatal).take();
        match fatal {
            None => Ok(report),
            Some(cause) => Err(RunError { cause, report: Some(Box::new(report)) }),
        }
    }
}

/// Under `Fixed`, a batch is held until its last event has come, which needs a slot as well; several batchers of that kind
/// may each hold an unfinished group.
fn slots_needed(crowds: &[Arc<dyn Crowd>]) -> Result<usize, RunError> {
    let needed = crowds.iter().map(|crowd| match crowd.policy() {
        BatchPolicy::Fixed(requests) => requests,
        _ => 0,
    });
    let needed = needed.fold(0, usize::saturating_add);
    if needed <= FIXED_SLOTS_MAX {
        return Ok(needed);
    }
    Err(RunError::early(anyhow::anyhow!(
        "batches of a fixed composition need a slot for each of their requests: {needed} are too many, at most \
         {FIXED_SLOTS_MAX} are possible"
    )))
}

/// Slots that fixed batches may ask for. More are a slip of the finger, and no memory would hold them.
const FIXED_SLOTS_MAX: usize = 1 << 20;

/// The batchers of a job, while it runs.
struct Opened(Vec<Arc<dyn Crowd>>);

impl Opened {
    fn new(plan: &Plan, executor: &tokio::runtime::Handle) -> Result<Self, anyhow::Error> {
        let mut opened = Opened(Vec::new());
        for (index, crowd) in plan.crowds.iter().enumerate() {
            let (executor, clock, crowds) = (executor.clone(), plan.clock.clone(), plan.crowds.clone());
            let nodes = (0..).zip(&plan.nodes).filter(|(_, node)| node.uses.contains(&index));
            let users = nodes.map(|(user, _)| user).collect();
            crowd.clone().open(JobSide {
                executor,
                clock,
                crowds,
                index,
                users,
                recorder: plan.recorder.clone(),
            })?;
            opened.0.push(crowd.clone());
        }
        Ok(opened)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.iter().for_each(|crowd| crowd.close());
    }
}

/// More worker threads than any machine has cores are a slip of the finger, and would fail in the middle of starting them.
const THREADS_MAX: usize = 4096;

fn ensure_sane(threads: usize) -> Result<(), RunError> {
    if threads <= THREADS_MAX {
        return Ok(());
    }
    Err(RunError::early(anyhow::anyhow!(
        "{threads} threads are too many: at most {THREADS_MAX} are possible"
    )))
}

fn executor(threads: usize, clock: &Clock) -> std::io::Result<Runtime> {
    let number = AtomicUsize::new(0);
    let mut executor = tokio::runtime::Builder::new_multi_thread();
    let [start, park, unpark] = [(); 3].map(|()| clock.clone());
    let harvester = Arc::new(Notify::new());
    let harvester_of_workers = harvester.clone();
    executor
        .worker_threads(threads)
        .thread_name_fn(move || format!("worker-{}", number.fetch_add(1, Relaxed)))
        .on_thread_start(move || {
            start.enter_thread();
            // Simulated time stands still while devices work: their own threads ask.
            if !start.is_simulated() {
                harvest::enter_thread(&harvester_of_workers);
            }
        })
        .on_thread_park(move || park.park())
        .on_thread_unpark(move || unpark.unpark())
        .enable_all();
    if clock.is_simulated() {
        // The executor would choose the first of these by how long polls take.
        executor.global_queue_interval(31).event_interval(61);
    }
    let executor = executor.build()?;
    if clock.is_simulated() {
        executor.spawn(clock.clone().keep_pace());
    } else {
        executor.spawn(harvest::run(harvester));
    }
    Ok(executor)
}

/// Runs the job in its phases; gives the time and the CPU time of the one that counts.
async fn drive<S: Source>(
    job: &Arc<Job<S>>,
    config: &Config,
    watched: Option<&Watch>,
) -> (Duration, Duration) {
    // Simulated time moves only while slots run.
    let mut hold = job.clock.hold();
    if config.warmup > 0 {
        job.feed.open(config.warmup).await;
        hold = run_phase(job, None, hold).await;
        job.restart();
    }
    job.feed.open(u64::MAX).await;
    let total = job.feed.events_left().await;
    let (begin, cpu) = (job.clock.now(), cpu_time());
    if let Some(watched) = watched {
        watched.begins(begin, total);
    }
    let _hold = run_phase(job, config.ticker.as_ref().map(|ticker| (ticker, total, begin)), hold).await;
    for outlet in &job.plan.outlets {
        if let Err(error) = outlet.finish().await {
            let name = outlet.name().unwrap_or_default();
            job.end(error.context(format!("the sink `{name}` could not be finished")));
        }
    }
    // The CPU takes no simulated time.
    let cpu = if job.clock.is_simulated() { Duration::ZERO } else { cpu_time().saturating_sub(cpu) };
    (job.clock.now().saturating_sub(begin), cpu)
}

/// Runs the slots until the feed is closed to them. Lets simulated time go on for as long.
async fn run_phase<S: Source>(
    job: &Arc<Job<S>>,
    ticker: Option<(&Ticker, Option<u64>, Duration)>,
    hold: Hold,
) -> Hold {
    let mut slots = JoinSet::new();
    let running = Arc::new(AtomicUsize::new(job.tally.slots.len()));
    // Nobody is left out because others were quicker to begin.
    job.tally.slots.iter().for_each(|(_, seat)| seat.presence.expect());
    for (tally, seat) in &job.tally.slots {
        let (job, tally, seat) = (job.clone(), tally.clone(), seat.clone());
        let (running, clock) = (running.clone(), job.clock.clone());
        slots.spawn(async move {
            // Called in here: a future that is moved into another one takes room twice.
            run_slot(job, tally, seat).await;
            // The last one stops the clock before its worker can park.
            (running.fetch_sub(1, Relaxed) == 1).then(|| clock.hold())
        });
    }
    drop(hold);
    let tick = |ticker: &Ticker, total, begin: Duration| {
        (ticker.tick)(&Progress {
            events: job.tally.sum(|slot| &slot.events),
            failed: job.tally.sum(|slot| &slot.failed),
            in_flight: job.tally.in_flight(),
            total,
            elapsed: job.clock.now().saturating_sub(begin),
        });
    };
    let mut held = None;
    let mut interval = ticker.map(|(ticker, ..)| {
        let mut interval = tokio::time::interval(ticker.interval.max(Duration::from_millis(1)));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval
    });
    loop {
        let ended = match (&mut interval, ticker) {
            (Some(interval), Some((ticker, total, begin))) => tokio::select! {
                biased;
                ended = slots.join_next() => ended,
                _ = interval.tick() => { tick(ticker, total, begin); continue }
            },
            _ => slots.join_next().await,
        };
        match ended {
            None => break,
            Some(Ok(hold)) => held = held.or(hold),
            // The panics of algorithms, sources and sinks are caught: this one is the runtime's own.
            Some(Err(error)) => {
                job.end(anyhow::anyhow!("the runtime panicked: {error}"));
                slots.abort_all();
            }
        }
    }
    if let Some((ticker, total, begin)) = ticker {
        tick(ticker, total, begin);
    }
    held.unwrap_or_else(|| job.clock.hold())
}

/// A job that ended with an error.
#[derive(Debug)]
pub struct RunError {
    cause: anyhow::Error,
    report: Option<Box<Report>>,
}

impl RunError {
    fn early(cause: anyhow::Error) -> Self {
        RunError { cause, report: None }
    }

    /// Why the job ended.
    pub fn cause(&self) -> &anyhow::Error {
        &self.cause
    }

    /// The report of the events that were run; `None` if the job did not begin.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)
    }
}

impl std::error::Error for RunError {}
