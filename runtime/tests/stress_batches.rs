//! Thousands of short jobs with batchers, and everything at once: policies, limits, shared lanes, threads, slots, deadlines,
//! retries, stops, errors, panics, time-outs in the queue, requests that outlive their event, and devices that fail in every
//! way. None hangs, every event is accounted for, every reply is the right one, and no count is left behind.

mod common;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::{Duration, Instant};

use asynchrotron::batch::{
    BatchConfig, BatchPolicy, Batcher, CloseReason, Lane, LanePool, Offload, Remedy, Trouble,
};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{OnError, Stop};
use common::Collected;
use common::device::{Failed, Number};

/// What hashes to the same is done the same, whatever the threads do.
fn hash(seed: u64, event: u64, place: u64) -> u64 {
    let mut x = seed ^ event.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 27;
    }
    x
}

fn reply(x: u64) -> u64 {
    x.wrapping_mul(x) ^ 0x5555
}

/// A device that does what it should, or anything else.
struct Rough {
    name: String,
    lanes: LanePool<usize>,
    clock: Clock,
    seed: u64,
    submissions: Arc<AtomicU64>,
    /// Whether it may fail, and whether it may hang.
    fails: Arc<AtomicBool>,
    hangs: bool,
    rows_max: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Act {
    Fine,
    Fail,
    LaneDies,
    PanicAtOnce,
    PanicLater,
    Hang,
}

impl Rough {
    /// Of every 97 numbers one is guilty.
    fn is_guilty(&self, number: u64) -> bool {
        self.fails.load(SeqCst) && hash(self.seed, number, 5).is_multiple_of(97)
    }

    fn act(&self, submission: u64) -> Act {
        if !self.fails.load(SeqCst) {
            return Act::Fine;
        }
        match hash(self.seed, submission, 77) % 200 {
            0..2 => Act::Fail,
            2..6 => Act::LaneDies,
            6 => Act::PanicAtOnce,
            7 => Act::PanicLater,
            8 if self.hangs => Act::Hang,
            _ => Act::Fine,
        }
    }
}

impl Offload for Rough {
    type Request = Number;
    type Reply = u64;
    type Error = Failed;
    type Lane = usize;

    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, number: &Number) -> usize {
        number.0 as usize % 4
    }

    fn bytes(&self, number: &Number) -> usize {
        number.0 as usize % 100
    }

    fn lane_number(&self, lane: &usize) -> usize {
        *lane
    }

    fn lanes(&self) -> &LanePool<usize> {
        &self.lanes
    }

    fn start(
        &self,
        lane: Lane<usize>,
        batch: &[&Number],
        rows: usize,
    ) -> impl Future<Output = Result<Vec<u64>, Failed>> + Send + 'static {
        assert!(!batch.is_empty());
        let submission = self.submissions.fetch_add(1, SeqCst);
        let (chance, act) = (hash(self.seed, submission, 78), self.act(submission));
        if act == Act::PanicAtOnce {
            std::panic::resume_unwind(Box::new("in packing"));
        }
        let numbers: Vec<u64> = batch.iter().map(|number| number.0).collect();
        let guilty = numbers.iter().copied().find(|&number| self.is_guilty(number));
        let too_much = self.fails.load(SeqCst) && rows > self.rows_max;
        let sleep = self.clock.sleep(Duration::from_micros(chance % 150));
        async move {
            match chance >> 32 & 7 {
                0 => {}
                1 => tokio::task::yield_now().await,
                _ => sleep.await,
            }
            match act {
                Act::Hang => std::future::pending().await,
                Act::LaneDies => {
                    let _ = lane.retire();
                    return Err(Failed::LaneDied);
                }
                Act::Fail => return Err(Failed::Other("unplugged".into())),
                Act::PanicLater => std::panic::resume_unwind(Box::new("in unpacking")),
                Act::PanicAtOnce | Act::Fine => {}
            }
            if too_much {
                return Err(Failed::OutOfMemory);
            }
            if let Some(guilty) = guilty {
                return Err(Failed::Guilty(guilty));
            }
            if chance >> 40 & 1 == 0 {
                drop(lane);
            }
            Ok(numbers.iter().map(|&number| reply(number)).collect())
        }
    }

    fn trouble(&self, trouble: Trouble) -> Failed {
        match trouble {
            Trouble::Panicked(_) => Failed::OutOfMemory,
            other => Failed::Other(other.to_string()),
        }
    }

    fn remedy(&self, error: &Failed) -> Remedy {
        match error {
            Failed::LaneDied => Remedy::GiveBack,
            Failed::Other(_) => Remedy::Fail,
            _ => Remedy::Split,
        }
    }
}

async fn wake_self(times: u64) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[derive(Clone)]
struct Dice {
    seed: u64,
    faults: bool,
    clock: Clock,
    wrong: Arc<AtomicBool>,
}

impl Dice {
    fn chance(&self, event: u64, place: u64) -> u64 {
        hash(self.seed, event, place)
    }

    /// Does one of the things that algorithms do.
    async fn dawdle(&self, chance: u64) -> Result<()> {
        match chance % 32 {
            0..4 => tokio::task::yield_now().await,
            4..7 => self.clock.sleep(Duration::from_micros(chance % 300)).await,
            7 => drop(tokio::spawn(async {}).await),
            8 => wake_self(chance % 5).await,
            9 if self.faults => bail!("bad"),
            10 if self.faults => std::panic::resume_unwind(Box::new("bad")),
            11 if self.faults => self.clock.sleep(Duration::from_secs(1000)).await,
            _ => {}
        }
        Ok(())
    }

    async fn ask(&self, batcher: &Batcher<Rough>, ctx: &EventContext, x: u64) -> Result<u64> {
        let got = batcher.submit_first(ctx, Number(x), (x % 3) as u32).await?;
        if got != reply(x) {
            self.wrong.store(true, SeqCst);
        }
        Ok(got)
    }
}

struct Slow {
    next: u64,
    end: u64,
    seed: u64,
    clock: Clock,
}

impl Source for Slow {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        if self.next == self.end {
            return Ok(None);
        }
        let (number, chance) = (self.next, hash(self.seed, self.next, 99));
        self.next += 1;
        match chance % 16 {
            0 => tokio::task::yield_now().await,
            1 => self.clock.sleep(Duration::from_micros(chance % 200)).await,
            _ => {}
        }
        // Numbers with gaps, from anywhere.
        let event = EventId(hash(self.seed, 3, 3) % 2000 + number * (1 + hash(self.seed, 4, 3) % 3));
        let product = if chance % 61 == 2 && !self.seed.is_multiple_of(3) {
            Err(anyhow!("unreadable"))
        } else {
            Ok(number)
        };
        Ok(Some(Read { event, product }))
    }

    fn events_left(&self) -> Option<u64> {
        self.seed.is_multiple_of(2).then_some(self.end - self.next)
    }
}

fn policy(chance: u64) -> BatchPolicy {
    let n = 1 + (chance >> 8) % 12;
    let text = match chance % 9 {
        0 => "off".into(),
        1 => "greedy".into(),
        2 => format!("size={n}"),
        3 => "size=1000".into(),
        4 => format!("delay={n}:{}", (chance >> 16) % 500),
        5 => "adaptive".into(),
        6 => format!("adaptive={}", (chance >> 16) % 3),
        _ => format!("fixed={n}"),
    };
    text.parse().unwrap()
}

/// The counts that a batcher's queue shows, none of which may be left behind.
fn assert_idle(batcher: &Batcher<Rough>, seed: u64) {
    let text = format!("{batcher:?}");
    for zero in ["queued: 0", "coming: 0", "running: 0"] {
        assert!(text.contains(zero), "seed {seed}: {text}");
    }
}

fn add_algorithms(chain: &mut Chain, batchers: &[Batcher<Rough>], dice: &Dice) -> Vec<Handle<u64>> {
    let seed = dice.seed;
    let x = chain.source::<u64>("x");
    let mut all = vec![x];
    for node in 1..=1 + hash(seed, 1, 1) % 7 {
        let pick = |which| hash(seed, node, which);
        let input = |which| all[(pick(which) % all.len() as u64) as usize];
        let batcher = |which| batchers[(pick(which) % batchers.len() as u64) as usize].clone();
        let (a, c) = (input(10), input(12));
        let (one, other) = (batcher(13), batcher(14));
        let name = format!("a{node}");
        if pick(15).is_multiple_of(5) {
            all.push(chain.offload(&name, (a,), &one));
            continue;
        }
        let (here, using) = (dice.clone(), (one.clone(), other.clone()));
        let product = chain.algorithm(&name, (x, a), move |ctx: EventContext, x: Arc<u64>, a: Arc<u64>| {
            let (dice, (one, other)) = (here.clone(), using.clone());
            async move {
                let x = *x;
                let number = |place: u64| dice.chance(x, node * 100 + place) % 100_000;
                dice.dawdle(dice.chance(x, node)).await?;
                match hash(dice.seed, x, node + 1000) % 16 {
                    0..3 => drop(dice.ask(&one, &ctx, number(1)).await?),
                    3..5 => {
                        dice.ask(&one, &ctx, number(1)).await?;
                        dice.ask(&one, &ctx, number(2)).await?;
                    }
                    5 => {
                        dice.ask(&one, &ctx, number(1)).await?;
                        dice.dawdle(dice.chance(x, node + 300)).await?;
                        dice.ask(&other, &ctx, number(2)).await?;
                    }
                    6 => {
                        dice.ask(&other, &ctx, number(1)).await?;
                        dice.ask(&one, &ctx, number(2)).await?;
                    }
                    7..9 => {
                        let asked = tokio::join!(
                            dice.ask(&one, &ctx, number(1)),
                            dice.ask(&other, &ctx, number(2)),
                            dice.ask(&one, &ctx, number(3))
                        );
                        asked.0?;
                        asked.1?;
                        asked.2?;
                    }
                    9 => {
                        tokio::try_join!(dice.ask(&one, &ctx, number(1)), async {
                            dice.ask(&other, &ctx, number(2)).await?;
                            dice.ask(&one, &ctx, number(3)).await
                        })?;
                    }
                    10 => {
                        // Gives up in the queue, or on the device.
                        let patience = dice.clock.sleep(Duration::from_micros(dice.chance(x, node) % 100));
                        tokio::select! {
                            _ = dice.ask(&one, &ctx, number(1)) => {}
                            () = patience => {}
                        }
                    }
                    11 => drop(ctx.get(c).await?),
                    12 => {
                        // Asks beyond this algorithm, and perhaps its event.
                        let (dice, one, asking) = (dice.clone(), one.clone(), number(1));
                        tokio::spawn(async move {
                            tokio::task::yield_now().await;
                            let _ = dice.ask(&one, &ctx, asking).await;
                            dice.clock.sleep(Duration::from_micros(100)).await;
                            let _ = dice.ask(&one, &ctx, asking + 1).await;
                        });
                    }
                    13 => {
                        let (dice, asking) = (dice.clone(), number(1));
                        tokio::spawn(async move { dice.ask(&one, &ctx, asking).await }).await??;
                    }
                    _ => {}
                }
                dice.dawdle(dice.chance(x, node + 50)).await?;
                Ok::<_, Error>(a.wrapping_mul(3).wrapping_add(1))
            }
        });
        chain.uses(product, &one);
        chain.uses(product, &other);
        all.push(product);
    }
    all
}

fn job(seed: u64) {
    let simulated = hash(seed, 20, 1).is_multiple_of(3);
    let clock = if simulated { Clock::simulated() } else { Clock::real() };
    let faults = !hash(seed, 0, 1).is_multiple_of(3);
    let fails = Arc::new(AtomicBool::new(!hash(seed, 0, 2).is_multiple_of(3)));
    let deadline = faults.then(|| Duration::from_millis(3 + hash(seed, 7, 1) % 5));
    let own_lanes = hash(seed, 21, 1).is_multiple_of(2);
    let pool = |which| LanePool::new(0..1 + (hash(seed, which, 22) % 4) as usize);
    let shared = pool(9);
    let batchers: Vec<Batcher<Rough>> = (0..1 + hash(seed, 23, 1) % 3)
        .map(|which| {
            let chance = |place| hash(seed, which, place);
            let device = Rough {
                name: format!("batcher {which}"),
                lanes: if own_lanes { pool(which) } else { shared.clone() },
                clock: clock.clone(),
                seed: seed ^ which << 40,
                submissions: Arc::default(),
                fails: fails.clone(),
                hangs: deadline.is_some(),
                rows_max: 1 + (chance(25) % 20) as usize,
            };
            let policy = policy(chance(26));
            let mut config = BatchConfig { policy, ..BatchConfig::default() };
            if let BatchPolicy::Fixed(_) = policy {
                config.patience = Duration::from_millis(3);
            }
            if chance(27).is_multiple_of(2) {
                config.requests_max = 1 + (chance(28) % 9) as usize;
            }
            if chance(27).is_multiple_of(3) {
                config.rows_max = (chance(28) % 20) as usize;
            }
            if chance(27).is_multiple_of(5) {
                config.bytes_max = (chance(29) % 500) as usize;
                config.sizes = vec![4, 16];
            }
            Batcher::new(device, config)
        })
        .collect();
    let wrong = Arc::new(AtomicBool::new(false));
    let dice = Dice { seed, faults, clock: clock.clone(), wrong: wrong.clone() };
    let mut chain = Chain::new("stress");
    let all = add_algorithms(&mut chain, &batchers, &dice);
    let out = Collected::of(&mut chain, *all.last().unwrap());
    let also = Collected::of_named(&mut chain, "also", all[all.len() / 2]);
    let events = hash(seed, 2, 1) % 80;
    let stop = Stop::new();
    let then = ["skip", "retry=2,skip", "stop"][(hash(seed, 3, 1) % 3) as usize];
    let slots = [1 + hash(seed, 5, 1) % 9, 1 + hash(seed, 5, 2) % 64][(hash(seed, 5, 3) % 2) as usize];
    let config = Config {
        threads: if simulated { 1 } else { 1 + (hash(seed, 4, 1) % 8) as usize },
        slots: slots as usize,
        ordered: hash(seed, 6, 1).is_multiple_of(2),
        deadline,
        on_error: then.parse::<OnError>().unwrap(),
        warmup: if hash(seed, 8, 1).is_multiple_of(4) { 5 } else { 0 },
        skip: if hash(seed, 8, 2).is_multiple_of(4) { 3 } else { 0 },
        stop: stop.clone(),
        clock: clock.clone(),
        ..Config::default()
    };
    let asked = hash(seed, 9, 1).is_multiple_of(5);
    if asked {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(hash(seed, 10, 1) % 3000));
            stop.drain();
        });
    }
    let policies: Vec<String> = batchers.iter().map(|batcher| batcher.config().policy.to_string()).collect();
    let what = format!("seed {seed}: {policies:?}, {} threads, {slots} slots", config.threads);
    if std::env::var("STRESS_VERBOSE").is_ok() {
        let lanes: Vec<_> = batchers.iter().map(|batcher| batcher.offload().lanes().clone()).collect();
        println!(
            "{what}, own lanes {own_lanes}, ordered {}, {then}, {events} events, {clock:?} {deadline:?}, faults {faults} {fails:?} skip {} warm {}",
            config.ordered, config.skip, config.warmup
        );
        let (batchers, clock) = (batchers.clone(), clock.clone());
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(4));
            println!("{batchers:?}\n{lanes:?}\n{clock:?}");
        });
    }
    let (ordered, warmup) = (config.ordered, config.warmup.min(events));
    let offered = events - config.skip.min(events);
    let warmup = warmup.min(offered);
    let result = Scheduler::new(config).run(chain, Slow { next: 0, end: events, seed, clock: clock.clone() });
    let (report, ended) = match &result {
        Ok(report) => (report, asked),
        Err(error) => {
            assert!(then == "stop" && error.report().is_some(), "{what}: {error}");
            (error.report().unwrap(), true)
        }
    };
    assert!(!wrong.load(SeqCst), "{what}: a wrong reply");
    let got = out.all();
    assert_eq!(also.all().len(), got.len(), "{what}");
    if !ended {
        assert!(got.len() as u64 + report.failed >= offered - warmup, "{what}: {report}");
        assert!(got.len() as u64 + report.failed <= offered, "{what}: {report}");
    }
    if ordered {
        assert!(got.is_sorted_by_key(|(event, _)| *event), "{what}");
    }
    let mut numbers: Vec<u64> = got.iter().map(|(event, _)| *event).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), got.len(), "{what}: an event came twice");
    for batcher in &report.batchers {
        let closed: u64 = batcher.reasons.iter().map(|(_, batches)| batches).sum();
        let sized: u64 = batcher.sizes.iter().map(|(_, batches)| batches).sum();
        assert!(sized == batcher.batches, "{what}: {report}");
        assert!(batcher.policy == BatchPolicy::Off || closed == batcher.batches, "{what}: {report}");
        assert!(batcher.requests >= batcher.batches, "{what}: {report}");
        // Fixed groups can wait for each other's events, for as long as the patience lasts.
        let timed = matches!(
            batcher.policy,
            BatchPolicy::Adaptive { .. } | BatchPolicy::Delay(..) | BatchPolicy::Fixed(_)
        );
        assert!(timed || batcher.closed_for(CloseReason::Age) == 0, "{what}: {report}");
    }
    batchers.iter().for_each(|batcher| assert_idle(batcher, seed));
    for batcher in &batchers {
        let lanes = batcher.offload().lanes();
        assert!(lanes.available() == lanes.len(), "{what}: {lanes:?}");
    }
    if std::env::var("STRESS_VERBOSE").is_ok() {
        println!("AGAIN");
    }
    again(&batchers, &fails, &clock, &what);
    batchers.iter().for_each(|batcher| assert_idle(batcher, seed));
}

/// After whatever has happened, another job with the same batchers goes as with new ones.
fn again(batchers: &[Batcher<Rough>], fails: &AtomicBool, clock: &Clock, what: &str) {
    const EVENTS: u64 = 12;
    fails.store(false, SeqCst);
    if batchers.iter().any(|batcher| batcher.offload().lanes().is_closed()) {
        return;
    }
    let mut chain = Chain::new("again");
    let x = chain.source::<u64>("x");
    let replies: Vec<_> = batchers
        .iter()
        .enumerate()
        .map(|(which, batcher)| {
            let number =
                chain.algorithm(&format!("n{which}"), (x,), async |x: Arc<u64>| Ok::<_, Error>(Arc::new(*x)));
            let asked = chain.algorithm(&format!("r{which}"), (number,), {
                let batcher = batcher.clone();
                move |ctx: EventContext, x: Arc<Arc<u64>>| {
                    let batcher = batcher.clone();
                    async move { batcher.submit(&ctx, Number(**x)).await }
                }
            });
            chain.uses(asked, batcher);
            Collected::of_named(&mut chain, &format!("c{which}"), asked)
        })
        .collect();
    let config = Config { threads: 1, slots: 4, clock: clock.clone(), ..Config::default() };
    let report = Scheduler::new(config)
        .run(chain, source::from_iter(0..EVENTS))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let expected: Vec<_> = (0..EVENTS).map(|x| (x, reply(x))).collect();
    for replies in replies {
        assert_eq!(replies.sorted(), expected, "{what}");
    }
    for (batcher, report) in batchers.iter().zip(&report.batchers) {
        let config = batcher.config();
        let unlimited = config.requests_max >= 4 && config.rows_max > 12 && config.bytes_max > 400;
        if let (BatchPolicy::Size(4..), true) = (config.policy, unlimited && batchers.len() == 1) {
            assert!(report.batches <= EVENTS / 4 + 1, "{what}: somebody is not waited for: {report}");
        }
    }
}

#[test]
fn jobs_with_batchers_of_every_kind_end_and_account_for_their_events() {
    let base: u64 = std::env::var("STRESS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let seconds: u64 = std::env::var("STRESS_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let begin = Instant::now();
    let (done, came) = channel();
    let mut jobs = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let (seed, done) = (base + jobs, done.clone());
        std::thread::spawn(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(|| job(seed))));
        });
        let began = Instant::now();
        match came.recv_timeout(common::LONG / 3) {
            Ok(Ok(())) => jobs += 1,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("seed {seed} hangs"),
        }
        if began.elapsed() > Duration::from_millis(700) {
            println!("seed {seed} took {:.1?}", began.elapsed());
        }
    }
    println!("{jobs} jobs");
}
