//! Who runs, when, how often, and together with whom.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};

use asynchrotron::prelude::*;
use common::{Collected, config, suspend};
use proptest::prelude::*;

type Calls = Arc<AtomicUsize>;

fn counted(calls: &Calls) -> impl Fn(Arc<u64>) -> std::future::Ready<Result<u64>> + Send + Sync + 'static {
    let calls = calls.clone();
    move |x| {
        calls.fetch_add(1, SeqCst);
        std::future::ready(Ok(*x + 1))
    }
}

#[test]
fn an_algorithm_runs_once_per_event_however_many_want_its_product() {
    let calls = Calls::default();
    let mut chain = Chain::new("shared");
    let x = chain.source::<u64>("x");
    let shared = chain.algorithm("shared", (x,), counted(&calls));
    let left = chain.algorithm("left", (shared,), async |x: Arc<u64>| Ok::<_, Error>(*x * 2));
    let right = chain.algorithm("right", (shared,), async |x: Arc<u64>| {
        suspend().await;
        Ok::<_, Error>(*x * 3)
    });
    let both =
        chain.algorithm("both", (left, right, shared), async |a: Arc<u64>, b: Arc<u64>, c: Arc<u64>| {
            Ok::<_, Error>(*a + *b + *c)
        });
    let out = Collected::of(&mut chain, both);
    let report = Scheduler::new(config(2, 4)).run(chain, source::from_iter(0..100u64)).unwrap();
    assert_eq!(out.sorted(), (0..100).map(|x| (x, 6 * (x + 1))).collect::<Vec<_>>());
    assert_eq!((calls.load(SeqCst), report.algorithm("shared").unwrap().calls), (100, 100));
}

#[test]
fn what_nobody_wants_does_not_run() {
    let calls = Calls::default();
    let mut chain = Chain::new("idle");
    let x = chain.source::<u64>("x");
    let idle = chain.algorithm("idle", (x,), counted(&calls));
    chain.algorithm("idler", (idle,), counted(&calls));
    let out = Collected::of(&mut chain, x);
    let demanded: Vec<bool> = chain.algorithms().iter().map(|algorithm| algorithm.demanded).collect();
    assert_eq!(demanded, [false, false]);
    Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..10u64)).unwrap();
    assert_eq!((out.all().len(), calls.load(SeqCst)), (10, 0));
}

#[test]
fn a_conditional_demand_runs_its_producer_in_those_events_only() {
    let calls = Calls::default();
    let mut chain = Chain::new("conditional");
    let x = chain.source::<u64>("x");
    let costly = chain.algorithm("costly", (x,), counted(&calls));
    let picky = chain.algorithm("picky", (x,), move |ctx: EventContext, x: Arc<u64>| async move {
        assert_eq!((ctx.algorithm(), ctx.id()), ("picky", EventId(*x)));
        if !x.is_multiple_of(10) {
            return Ok::<_, Error>(0);
        }
        // Twice: the second time it is there already.
        Ok(*ctx.get(costly).await? + *ctx.get(costly).await?)
    });
    let out = Collected::of(&mut chain, picky);
    Scheduler::new(config(2, 8)).run(chain, source::from_iter(0..100u64)).unwrap();
    assert_eq!(calls.load(SeqCst), 10);
    let expected = |x| if x % 10 == 0 { 2 * (x + 1) } else { 0 };
    assert_eq!(out.sorted(), (0..100).map(|x| (x, expected(x))).collect::<Vec<_>>());
}

#[test]
fn a_demand_that_is_given_up_leaves_the_product_to_others() {
    let calls = Calls::default();
    let mut chain = Chain::new("impatient");
    let x = chain.source::<u64>("x");
    let ran = calls.clone();
    let slow = chain.algorithm("slow", (x,), move |x: Arc<u64>| {
        let ran = ran.clone();
        async move {
            ran.fetch_add(1, SeqCst);
            for _ in 0..10 {
                suspend().await;
            }
            Ok::<_, Error>(*x)
        }
    });
    let impatient = chain.algorithm("impatient", (x,), move |ctx: EventContext, _: Arc<u64>| async move {
        tokio::select! {
            biased;
            slow = ctx.get(slow) => Ok::<_, Error>(*slow?),
            () = suspend() => Ok(1000),
        }
    });
    let sum =
        chain.algorithm("sum", (impatient, slow), async |a: Arc<u64>, b: Arc<u64>| Ok::<_, Error>(*a + *b));
    let out = Collected::of(&mut chain, sum);
    Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..20u64)).unwrap();
    assert_eq!(calls.load(SeqCst), 20);
    assert_eq!(out.all(), (0..20).map(|x| (x, 1000 + x)).collect::<Vec<_>>());
}

/// Each of two algorithms ends only after the other has begun.
fn meeting(threads: usize, slots: usize) {
    let mut chain = Chain::new("meeting");
    let x = chain.source::<u64>("x");
    let (a, b) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let meet = |mine: &Arc<tokio::sync::Notify>, other: &Arc<tokio::sync::Notify>| {
        let (mine, other) = (mine.clone(), other.clone());
        move |_: Arc<u64>| {
            let (mine, other) = (mine.clone(), other.clone());
            async move {
                other.notify_one();
                mine.notified().await;
                Ok::<_, Error>(())
            }
        }
    };
    let left = chain.algorithm("left", (x,), meet(&a, &b));
    let right = chain.algorithm("right", (x,), meet(&b, &a));
    let both = chain.algorithm("both", (left, right), async |_: Arc<()>, _: Arc<()>| Ok::<_, Error>(()));
    let out = Collected::of(&mut chain, both);
    let deadline = Some(common::LONG);
    Scheduler::new(Config { deadline, ..config(threads, slots) })
        .run(chain, source::from_iter(0..50u64))
        .unwrap();
    assert_eq!(out.all().len(), 50);
}

#[test]
fn independent_algorithms_of_an_event_run_concurrently() {
    meeting(1, 1);
    meeting(2, 1);
}

#[test]
fn with_fewer_slots_than_workers_one_event_uses_several_workers() {
    let mut chain = Chain::new("wide");
    let x = chain.source::<u64>("x");
    // Neither suspends: they can pass the barrier only on two threads.
    let barrier = Arc::new(Barrier::new(2));
    let meet = |barrier: &Arc<Barrier>| {
        let barrier = barrier.clone();
        move |_: Arc<u64>| {
            barrier.wait();
            std::future::ready(Ok::<_, Error>(()))
        }
    };
    let left = chain.algorithm("left", (x,), meet(&barrier));
    let right = chain.algorithm("right", (x,), meet(&barrier));
    let out = Collected::of(&mut chain, left);
    chain.sink("right", right, |_: EventId, _: Arc<()>| Ok(()));
    Scheduler::new(config(2, 1)).run(chain, source::from_iter(0..20u64)).unwrap();
    assert_eq!(out.all().len(), 20);
}

#[test]
fn algorithms_take_zero_to_eight_inputs_with_and_without_a_context() {
    let mut chain = Chain::new("wide");
    let x = chain.source::<u64>("x");
    let none = chain.algorithm("none", (), async || Ok::<_, Error>(1u64));
    let context = chain.algorithm("context", (), async |ctx: EventContext| Ok::<_, Error>(ctx.id().0));
    type A = Arc<u64>;
    let eight = chain.algorithm(
        "eight",
        (x, x, x, x, x, x, none, context),
        async |a: A, b: A, c: A, d: A, e: A, f: A, g: A, h: A| {
            Ok::<_, Error>(*a + *b + *c + *d + *e + *f + *g + *h)
        },
    );
    let nine = chain.algorithm(
        "nine",
        (x, x, x, x, x, x, x, eight),
        async |ctx: EventContext, _: A, _: A, _: A, _: A, _: A, _: A, _: A, h: A| {
            Ok::<_, Error>(*h + ctx.id().0)
        },
    );
    let out = Collected::of(&mut chain, nine);
    Scheduler::new(config(1, 2)).run(chain, source::from_iter(0..5u64)).unwrap();
    assert_eq!(out.sorted(), (0..5).map(|x| (x, 8 * x + 1)).collect::<Vec<_>>());
}

#[test]
fn conditions_are_one_object_for_all_events() {
    let mut chain = Chain::new("conditions");
    let x = chain.source::<u64>("x");
    let gains = Arc::new(vec![2u64, 3]);
    let address = Arc::as_ptr(&gains).addr();
    let gains = chain.conditions("gains", gains);
    let seen = chain.algorithm("seen", (x, gains), move |x: Arc<u64>, gains: Arc<Vec<u64>>| async move {
        ensure!(Arc::as_ptr(&gains).addr() == address, "another object");
        Ok(*x * gains[0] + gains[1])
    });
    let out = Collected::of(&mut chain, seen);
    Scheduler::new(config(2, 3)).run(chain, source::from_iter(0..10u64)).unwrap();
    assert_eq!(out.sorted(), (0..10).map(|x| (x, 2 * x + 3)).collect::<Vec<_>>());
}

#[test]
fn a_chain_of_ten_thousand_algorithms_needs_no_deep_stack() {
    let mut chain = Chain::new("deep");
    let x = chain.source::<u64>("x");
    let mut last = x;
    for i in 0..10_000 {
        last = chain.algorithm(&format!("a{i}"), (last,), async |x: Arc<u64>| Ok::<_, Error>(*x + 1));
    }
    let out = Collected::of(&mut chain, last);
    Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..2u64)).unwrap();
    assert_eq!(out.all(), [(0, 10_000), (1, 10_001)]);
}

#[test]
fn a_task_spawned_by_an_algorithm_may_demand_products() {
    let mut chain = Chain::new("spawned");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), async |x: Arc<u64>| {
        suspend().await;
        Ok::<_, Error>(*x + 1)
    });
    let z = chain.algorithm("z", (), move |ctx: EventContext| async move {
        let y = tokio::spawn(async move { ctx.get(y).await }).await??;
        Ok::<_, Error>(*y * 2)
    });
    let out = Collected::of(&mut chain, z);
    Scheduler::new(config(2, 2)).run(chain, source::from_iter(0..200u64)).unwrap();
    assert_eq!(out.sorted(), (0..200).map(|x| (x, 2 * (x + 1))).collect::<Vec<_>>());
}

#[test]
fn a_context_kept_beyond_its_event_fails_instead_of_hanging() {
    let mut chain = Chain::new("leak");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("y", (x,), async |x: Arc<u64>| Ok::<_, Error>(*x));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let z = chain.algorithm("z", (x,), move |ctx: EventContext, x: Arc<u64>| {
        keep.lock().unwrap().push(ctx);
        std::future::ready(Ok::<_, Error>(*x))
    });
    let out = Collected::of(&mut chain, z);
    Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..3u64)).unwrap();
    assert_eq!(out.all(), [(0, 0), (1, 1), (2, 2)]);
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (i, ctx) in kept.lock().unwrap().iter().enumerate() {
        assert_eq!(ctx.id(), EventId(i as u64), "a context stays with its event");
        let late = executor.block_on(ctx.get(y)).unwrap_err();
        assert!(late.to_string().contains("the event has ended"), "{late}");
    }
}

/// How often each algorithm ran in each event.
type Runs = Arc<Mutex<BTreeMap<(u64, usize), u32>>>;

/// A random chain: each algorithm adds up some of the products before it, and suspends or not.
fn random_chain(edges: &[(Vec<usize>, bool)]) -> (Chain, Collected<u64>, Runs) {
    let runs = Arc::new(Mutex::new(BTreeMap::new()));
    let mut chain = Chain::new("random");
    let mut products = vec![chain.source::<u64>("x")];
    for (i, (inputs, suspends)) in edges.iter().enumerate() {
        let inputs: Vec<_> = inputs.iter().map(|&input| products[input % products.len()]).collect();
        let (runs, suspends) = (runs.clone(), *suspends);
        products.push(chain.algorithm(&format!("a{i}"), (), move |ctx: EventContext| {
            let (runs, inputs) = (runs.clone(), inputs.clone());
            async move {
                *runs.lock().unwrap().entry((ctx.id().0, i)).or_insert(0) += 1;
                let mut sum = i as u64;
                for input in inputs {
                    sum = sum.wrapping_mul(3).wrapping_add(*ctx.get(input).await?);
                    if suspends {
                        suspend().await;
                    }
                }
                Ok::<_, Error>(sum)
            }
        }));
    }
    let out = Collected::of(&mut chain, *products.last().unwrap());
    (chain, out, runs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn results_do_not_depend_on_threads_or_slots(
        edges in prop::collection::vec((prop::collection::vec(0usize..20, 0..4), any::<bool>()), 1..16),
        threads in 1usize..4,
        slots in 1usize..20,
    ) {
        let (chain, reference, _) = random_chain(&edges);
        Scheduler::new(config(1, 1)).run(chain, source::from_iter(0..40u64)).unwrap();
        let (chain, out, runs) = random_chain(&edges);
        Scheduler::new(Config { ordered: true, ..config(threads, slots) }).run(chain, source::from_iter(0..40u64)).unwrap();
        prop_assert_eq!(out.all(), reference.all());
        prop_assert!(runs.lock().unwrap().values().all(|&runs| runs == 1));
    }
}
