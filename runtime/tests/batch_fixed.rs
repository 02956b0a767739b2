//! `fixed=N`: which requests share a batch, and in which order, is a function of the events' numbers alone: the same with any
//! threads, slots and lanes, however long everything takes.

mod common;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy, Batcher};
use asynchrotron::prelude::*;
use asynchrotron::time::Clock;
use asynchrotron::{OnError, Then};
use common::device::{Failed, Number, Square};
use common::suspend;

/// Nobody knows what it will be.
fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

async fn dawdle() {
    match chance() % 6 {
        0 => Clock::real().sleep(Duration::from_micros(chance() % 200)).await,
        1..3 => suspend().await,
        _ => {}
    }
}

/// Gives events with these numbers.
struct Numbered(std::vec::IntoIter<u64>);

impl Source for Numbered {
    type Product = u64;

    async fn next(&mut self) -> Result<Option<Read<u64>>> {
        dawdle().await;
        Ok(self.0.next().map(|number| Read { event: EventId(number), product: Ok(number) }))
    }
}

type Batchers = [Batcher<Square>; 2];

/// All batches of one run, of each batcher, in an order that does not depend on when they ran.
fn batches(
    numbers: &[u64],
    rows_max: usize,
    config: Config,
    lanes: usize,
    add: &impl Fn(&mut Chain, Handle<u64>, &Batchers) -> Handle<u64>,
) -> Vec<Vec<Vec<u64>>> {
    let device = |name| {
        let device =
            Square { name, rows: |number| number as usize % 3, ..Square::new(&Clock::real(), lanes) };
        device.failing(|numbers| {
            std::thread::sleep(Duration::from_micros(chance() % 50));
            numbers.iter().find(|number| *number % 100 == 99).map(|&number| Failed::Guilty(number))
        })
    };
    let devices = [device("one"), device("other")];
    let logs = [0, 1].map(|which| devices[which].batches.clone());
    let policy = |size| BatchConfig { policy: BatchPolicy::Fixed(size), rows_max, ..BatchConfig::default() };
    let mut sizes = [5, 3].into_iter();
    let batchers = devices.map(|device| Batcher::new(device, policy(sizes.next().unwrap())));
    let mut chain = Chain::new("fixed");
    let x = chain.source::<u64>("x");
    let asked = add(&mut chain, x, &batchers);
    chain.sink("drop", asked, |_, _: Arc<u64>| Ok(()));
    let report = Scheduler::new(config).run(chain, Numbered(Vec::from(numbers).into_iter())).unwrap();
    assert!(report.elapsed < Duration::from_secs(10), "{report}");
    let sorted = |log: &Mutex<Vec<Vec<u64>>>| {
        let mut batches = std::mem::take(&mut *log.lock().unwrap());
        batches.sort();
        batches
    };
    logs.iter().map(|log| sorted(log)).collect()
}

fn always_the_same(
    numbers: &[u64],
    rows_max: usize,
    change: impl Fn(&mut Config),
    add: impl Fn(&mut Chain, Handle<u64>, &Batchers) -> Handle<u64>,
) -> Vec<Vec<Vec<u64>>> {
    let mut first = None;
    for (run, (threads, slots)) in [(1, 1), (1, 64), (2, 9), (4, 20), (3, 200), (8, 3), (2, 64), (16, 8)]
        .repeat(5)
        .into_iter()
        .enumerate()
    {
        let mut config = Config {
            threads,
            slots,
            on_error: OnError { then: Then::Skip, ..OnError::default() },
            ..Config::default()
        };
        change(&mut config);
        let batches = batches(numbers, rows_max, config, 1 + run % 3, &add);
        let first = first.get_or_insert_with(|| batches.clone());
        assert_eq!(*first, batches, "run {run}: {threads} threads, {slots} slots");
    }
    first.unwrap()
}

/// An algorithm that asks as often as `ask` says.
fn algorithm<F, Fut>(
    chain: &mut Chain,
    name: &str,
    x: Handle<u64>,
    batchers: &Batchers,
    ask: F,
) -> Handle<u64>
where
    F: Fn(EventContext, u64, Batchers) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u64>> + Send,
{
    let using = batchers.clone();
    let asked =
        chain.algorithm(name, (x,), move |ctx: EventContext, x: Arc<u64>| ask(ctx, *x, using.clone()));
    batchers.iter().for_each(|batcher| chain.uses(asked, batcher));
    asked
}

/// What an event asks for in some place: the guilty ones end with 99.
fn number(event: u64, place: u64) -> Number {
    Number(100 * event + place)
}

const ALL: usize = usize::MAX;

fn with_gaps() -> Vec<u64> {
    (1000..1150).filter(|number| number % 7 != 2 && !(1040..1052).contains(number)).collect()
}

#[test]
fn once_whatever_the_numbers() {
    for numbers in [(0..100).collect(), with_gaps(), (3..400).step_by(9).collect::<Vec<u64>>()] {
        let batches = always_the_same(
            &numbers,
            ALL,
            |_| {},
            |chain, x, batchers| {
                algorithm(chain, "ask", x, batchers, async |ctx, x, [one, _]| {
                    dawdle().await;
                    one.submit(&ctx, number(x, 0)).await
                })
            },
        );
        for batch in &batches[0] {
            let groups: HashSet<u64> = batch.iter().map(|number| number / 500).collect();
            assert!(groups.len() == 1 && batch.is_sorted(), "{batch:?}");
        }
        let groups: HashSet<u64> = numbers.iter().map(|number| number / 5).collect();
        assert_eq!(batches[0].len(), groups.len());
    }
}

#[test]
fn twice_and_on_condition_with_skips_and_replays() {
    let change = |config: &mut Config| {
        config.skip = 3;
        config.replay = Some((0..2000).filter(|event| event % 11 != 5).map(EventId).collect());
    };
    always_the_same(&with_gaps(), ALL, change, |chain, x, batchers| {
        algorithm(chain, "ask", x, batchers, async |ctx, x, [one, _]| {
            dawdle().await;
            if x % 4 == 0 {
                return Ok(0);
            }
            one.submit(&ctx, number(x, 0)).await?;
            dawdle().await;
            if x % 3 == 0 {
                return Ok(0);
            }
            ensure!(x % 5 != 0, "unlucky");
            one.submit(&ctx, number(x, 1)).await
        })
    });
}

#[test]
fn limited_in_rows_and_with_guilty_ones() {
    let batches = always_the_same(
        &(0..90).collect::<Vec<_>>(),
        4,
        |_| {},
        |chain, x, batchers| {
            algorithm(chain, "ask", x, batchers, async |ctx, x, [one, _]| {
                dawdle().await;
                one.submit(&ctx, number(x, if x % 13 == 4 { 99 } else { 0 })).await
            })
        },
    );
    assert!(batches[0].iter().all(|batch| batch.iter().map(|number| number % 3).sum::<u64>() <= 4));
}

#[test]
fn two_algorithms_that_share_a_batcher() {
    always_the_same(
        &with_gaps(),
        ALL,
        |_| {},
        |chain, x, batchers| {
            let ask = |place| {
                move |ctx: EventContext, x: u64, [one, _]: Batchers| async move {
                    dawdle().await;
                    one.submit(&ctx, number(x, place)).await
                }
            };
            let left = algorithm(chain, "left", x, batchers, ask(0));
            let right = algorithm(chain, "right", x, batchers, ask(1));
            chain.algorithm("both", (left, right), async |a: Arc<u64>, b: Arc<u64>| Ok::<_, Error>(*a + *b))
        },
    );
}

#[test]
fn events_that_are_tried_again() {
    let tried = Arc::new(Mutex::new(HashSet::new()));
    let clear = tried.clone();
    let change = move |config: &mut Config| {
        clear.lock().unwrap().clear();
        config.on_error.retries = 1;
    };
    always_the_same(&with_gaps(), ALL, change, move |chain, x, batchers| {
        let tried = tried.clone();
        algorithm(chain, "ask", x, batchers, move |ctx, x, [one, _]| {
            let first_time = tried.lock().unwrap().insert(x);
            async move {
                dawdle().await;
                ensure!(x % 6 != 1 || !first_time, "unlucky");
                one.submit(&ctx, number(x, 0)).await?;
                dawdle().await;
                ensure!(x % 6 != 2 || !first_time, "unlucky");
                one.submit(&ctx, number(x, 1)).await
            }
        })
    });
}

#[test]
fn all_slots_hold_one_group_whose_events_wait_for_each_other() {
    // The last event of each group asks `first` only when `second` has answered, for which the others wait in turn. Nothing
    // moves then, and after a while the group in front goes as it is.
    for (threads, slots) in [(1, 5), (3, 5), (1, 40)] {
        let device = Square::new(&Clock::real(), 1);
        let policy = BatchPolicy::Fixed(5);
        let config = BatchConfig { policy, patience: Duration::from_millis(20), ..BatchConfig::default() };
        let batcher = Batcher::new(device, config);
        let mut chain = Chain::new("crossing");
        let x = chain.source::<u64>("x");
        let offload = |chain: &mut Chain, name: &str| {
            let using = batcher.clone();
            let asked = chain.algorithm(name, (x,), move |ctx: EventContext, x: Arc<u64>| {
                let batcher = using.clone();
                async move { batcher.submit(&ctx, Number(*x)).await }
            });
            chain.uses(asked, &batcher);
            asked
        };
        let (first, second) = (offload(&mut chain, "first"), offload(&mut chain, "second"));
        let both = chain.algorithm("both", (x,), move |ctx: EventContext, x: Arc<u64>| async move {
            let (one, other) = if *x % 5 == 4 { (second, first) } else { (first, second) };
            Ok::<_, Error>(*ctx.get(one).await? + *ctx.get(other).await?)
        });
        chain.sink("drop", both, |_, _: Arc<u64>| Ok(()));
        let config = Config { threads, slots, ..Config::default() };
        let run = move || Scheduler::new(config).run(chain, source::from_iter(0..50_u64)).unwrap();
        let (done, came) = std::sync::mpsc::channel();
        std::thread::spawn(move || drop(done.send(run())));
        let report = came.recv_timeout(common::LONG / 3).expect("hangs");
        assert_eq!((report.events, report.batchers[0].requests), (50, 100));
    }
}

#[test]
fn more_slots_than_anybody_has_are_refused() {
    let device = Square::new(&Clock::real(), 1);
    let batcher = Batcher::new(device, BatchConfig::default().with_policy(BatchPolicy::Fixed(usize::MAX)));
    let mut chain = Chain::new("huge");
    let x = chain.source::<u64>("x");
    let square = chain.offload("square", (x,), &batcher);
    chain.sink("drop", square, |_, _: Arc<u64>| Ok(()));
    let error = Scheduler::default().run(chain, source::from_iter([1_u64])).unwrap_err();
    assert!(error.to_string().contains("a slot for each of their requests"), "{error}");
}
