//! Thousands of short jobs with everything at once: threads, slots, policies, deadlines, errors, panics, contexts that
//! outlive their events, demands from other tasks, stops. None hangs, and every event is accounted for.

mod common;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron::{OnError, Stop};
use common::Collected;

/// What hashes to the same is done the same, whatever the threads do.
fn hash(seed: u64, event: u64, place: u64) -> u64 {
    let mut x = seed ^ event.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 27;
    }
    x
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

/// Does one of the things that algorithms do.
async fn dawdle(chance: u64, faults: bool) -> Result<()> {
    match chance % 24 {
        0..4 => tokio::task::yield_now().await,
        4 => tokio::time::sleep(Duration::from_micros(chance % 300)).await,
        5 => drop(tokio::spawn(async {}).await),
        6 => wake_self(chance % 5).await,
        7 => wake_self(300).await,
        8 => std::thread::sleep(Duration::from_micros(chance % 50)),
        9 if faults => bail!("bad"),
        10 if faults => std::panic::resume_unwind(Box::new("bad")),
        11 if faults => tokio::time::sleep(Duration::from_secs(1000)).await,
        _ => {}
    }
    Ok(())
}

struct Slow(u64, u64, u64);

impl Source for Slow {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        if self.0 == self.1 {
            return Ok(None);
        }
        self.0 += 1;
        let chance = hash(self.2, self.0, 99);
        match chance % 16 {
            0 => tokio::task::yield_now().await,
            1 => tokio::time::sleep(Duration::from_micros(chance % 200)).await,
            _ => {}
        }
        let event = self.0 - 1;
        Ok(Some(Read { event: EventId(event), product: Ok(event) }))
    }
}

fn job(seed: u64) {
    let faults = !hash(seed, 0, 1).is_multiple_of(3);
    let chance = move |x: u64, place| hash(seed, x, place);
    let mut chain = Chain::new("stress");
    let x = chain.source::<u64>("x");
    let mut all = vec![x];
    let nodes = 1 + hash(seed, 1, 1) % 8;
    for node in 1..=nodes {
        let input = |which| all[(hash(seed, node, which) % all.len() as u64) as usize];
        let (a, b, c) = (input(10), input(11), input(12));
        let sum = chain.algorithm(
            &format!("a{node}"),
            (a, b),
            move |ctx: EventContext, a: Arc<u64>, b: Arc<u64>| async move {
                let event = ctx.id().0;
                dawdle(chance(event, node), faults).await?;
                let luck = chance(event, node + 100) % 12;
                let got = match luck {
                    0..3 => *ctx.get(c).await?,
                    3 => tokio::spawn(async move { ctx.get(c).await.map(|c| *c) }).await??,
                    4 => {
                        // Goes on beyond this algorithm, and perhaps its event.
                        tokio::spawn(async move {
                            tokio::task::yield_now().await;
                            let _ = ctx.get(c).await;
                            tokio::time::sleep(Duration::from_micros(100)).await;
                            let _ = ctx.get(c).await;
                        });
                        0
                    }
                    5 => {
                        let _ = tokio::time::timeout(Duration::from_micros(20), ctx.get(c)).await;
                        0
                    }
                    _ => 0,
                };
                dawdle(chance(event, node + 50), faults).await?;
                let used = if luck < 4 { got } else { 0 };
                Ok::<_, Error>(a.wrapping_mul(3).wrapping_add(*b).wrapping_add(used).wrapping_add(1))
            },
        );
        all.push(sum);
    }
    let out = Collected::of(&mut chain, *all.last().unwrap());
    let also = Collected::of_named(&mut chain, "also", all[all.len() / 2]);
    let events = hash(seed, 2, 1) % 60;
    let stop = Stop::new();
    let policy = ["skip", "retry=2,skip", "stop"][(hash(seed, 3, 1) % 3) as usize];
    let config = Config {
        threads: 1 + (hash(seed, 4, 1) % 4) as usize,
        slots: 1 + (hash(seed, 5, 1) % 9) as usize,
        ordered: hash(seed, 6, 1).is_multiple_of(2),
        deadline: faults.then(|| Duration::from_millis(2 + hash(seed, 7, 1) % 4)),
        on_error: policy.parse::<OnError>().unwrap(),
        warmup: if hash(seed, 8, 1).is_multiple_of(4) { 5 } else { 0 },
        stop: stop.clone(),
        ..Config::default()
    };
    let asked = hash(seed, 9, 1).is_multiple_of(5);
    if asked {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(hash(seed, 10, 1) % 3000));
            stop.drain();
        });
    }
    let (ordered, warmup) = (config.ordered, config.warmup.min(events));
    let result = Scheduler::new(config).run(chain, Slow(0, events, seed));
    let (report, ended) = match &result {
        Ok(report) => (report, asked),
        Err(error) => {
            assert!(policy == "stop" && faults, "seed {seed}: {error}");
            (error.report().unwrap(), true)
        }
    };
    let got = out.all();
    assert_eq!(also.all().len(), got.len(), "seed {seed}");
    if !ended {
        assert_eq!(got.len() as u64 + report.failed, events, "seed {seed}: {report}");
    }
    assert!(got.len() as u64 >= report.events && got.len() as u64 <= report.events + warmup, "seed {seed}");
    if ordered {
        assert!(got.is_sorted_by_key(|(event, _)| *event), "seed {seed}");
    }
    if !faults {
        assert_eq!(report.failed, 0, "seed {seed}: {report}");
    }
    let mut events: Vec<u64> = got.iter().map(|(event, _)| *event).collect();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), got.len(), "seed {seed}: an event came twice");
}

#[test]
fn short_jobs_of_every_kind_end_and_account_for_their_events() {
    let base: u64 = std::env::var("STRESS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let seconds: u64 = std::env::var("STRESS_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let begin = Instant::now();
    let (done, came) = channel();
    let mut jobs = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let (seed, done) = (base + jobs, done.clone());
        std::thread::spawn(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(|| job(seed))));
        });
        match came.recv_timeout(common::LONG) {
            Ok(Ok(())) => jobs += 1,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("seed {seed} hangs"),
        }
    }
    println!("{jobs} jobs");
}
