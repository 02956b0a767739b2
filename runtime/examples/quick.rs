use asynchrotron::prelude::*;
use std::sync::Arc;
async fn double(x: Arc<u64>) -> Result<u64> { Ok(*x * 2) }
async fn spin5(x: Arc<u64>) -> Result<u64> { let t=std::time::Instant::now(); while t.elapsed().as_nanos() < 5000 {} Ok(*x * 2) }
async fn yielding(x: Arc<u64>) -> Result<u64> { tokio::task::yield_now().await; Ok(*x * 2) }
async fn mini_yield(x: Arc<u64>) -> Result<u64> {
    let mut done = false;
    std::future::poll_fn(|cx| { if done { std::task::Poll::Ready(()) } else { done = true; cx.waker().wake_by_ref(); std::task::Poll::Pending } }).await;
    Ok(*x * 2)
}
fn run(name: &str, threads: usize, slots: usize, n: u64, build: impl Fn(&mut Chain, Handle<u64>) -> Handle<u64>) {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut chain = Chain::new("c");
        let src = chain.source::<u64>("src");
        let out = build(&mut chain, src);
        let mut sum = 0;
        chain.sink("sum", out, move |_: EventId, x: Arc<u64>| { sum += *x; Ok(()) });
        let report = Scheduler::new(Config { threads, slots, ..Default::default() }).run(chain, source::from_iter(0..n)).unwrap();
        best = best.min(report.elapsed.as_secs_f64());
        assert_eq!(report.events, n);
    }
    println!("{name:10} {threads} threads {slots} slots {:9.0} ev/s {:6.0} ns/ev", n as f64 / best, best * 1e9 / n as f64);
}
fn main() {
    if std::env::args().nth(1).is_some() { let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap(); run("one", 1, 8, n, |c, h| c.algorithm("double", (h,), double)); run("chain16", 1, 8, n / 10, |c, mut h| { for i in 0..16 { h = c.algorithm(&format!("d{i}"), (h,), double) } h }); return }
    for t in [1, 2] {
        for slots in [8, 64] {
            run("one", t, slots, 2_000_000, |c, h| c.algorithm("double", (h,), double));
            run("spin5", t, slots, 200_000, |c, h| c.algorithm("double", (h,), spin5));
            run("yield", t, slots, 1_000_000, |c, h| c.algorithm("double", (h,), yielding));
            run("miniyield", t, slots, 1_000_000, |c, h| c.algorithm("double", (h,), mini_yield));
            run("chain16", t, slots, 200_000, |c, mut h| { for i in 0..16 { h = c.algorithm(&format!("d{i}"), (h,), double) } h });
        }
    }
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let t = std::time::Instant::now();
    rt.block_on(async { tokio::spawn(async { for _ in 0..1_000_000 { tokio::spawn(async {}).await.unwrap(); } }).await.unwrap() });
    println!("spawn+join {} ns", t.elapsed().as_nanos() / 1_000_000);
}
