//! Tasks that do the same again and again: how often all of them together, how long it takes, and what it costs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;

use super::super::machine::median;

/// How long one run should take.
const RUN: Duration = Duration::from_millis(80);

/// What one run found.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) laps_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) cores: f64,
}

impl Run {
    /// The median of several runs.
    pub(super) fn median(runs: &[Self], field: fn(&Self) -> f64) -> f64 {
        median(&mut runs.iter().map(field).collect::<Vec<_>>())
    }
}

/// The laps of one task, timed.
pub(super) struct Laps {
    end: Instant,
    begun: Option<Instant>,
    us: Vec<f64>,
}

impl Laps {
    /// Ends a lap, and says whether there is time for another.
    pub(super) fn next(&mut self) -> bool {
        let now = Instant::now();
        if let Some(begun) = self.begun.replace(now) {
            self.us.push(now.duration_since(begun).as_secs_f64() * 1e6);
        }
        now < self.end
    }
}

/// One run of so many tasks on so many workers, each of which does its laps and gives them back.
pub(super) fn measure<F>(
    workers: usize,
    tasks: usize,
    task: impl Fn(Laps) -> F + Send + Sync + 'static,
) -> Result<Run>
where
    F: Future<Output = Result<Laps>> + Send + 'static,
{
    let end = Instant::now() + RUN;
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut chain = Chain::new("tasks");
    let number = chain.source::<u64>("number");
    let known = latencies.clone();
    let done = chain.algorithm("laps", (number,), move |_number: Arc<u64>| {
        let (laps, latencies) = (task(Laps { end, begun: None, us: Vec::new() }), known.clone());
        async move {
            let Laps { us, .. } = laps.await?;
            latencies.lock().expect("nobody panics with it").extend(us);
            Ok::<_, Error>(())
        }
    });
    chain.sink("drop", done, |_: EventId, _: Arc<()>| Ok(()));
    let config = Config { threads: workers, slots: tasks, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..tasks as u64))?;
    ensure!(report.events == tasks as u64, "{} of {tasks} tasks came to their end", report.events);
    let mut latencies = std::mem::take(&mut *latencies.lock().expect("nobody panics with it"));
    latencies.sort_by(f64::total_cmp);
    let elapsed = report.elapsed.as_secs_f64();
    Ok(Run {
        laps_per_s: latencies.len() as f64 / elapsed,
        p50_us: latencies[latencies.len() / 2],
        p99_us: latencies[latencies.len() * 99 / 100],
        cores: report.cpu.as_secs_f64() / elapsed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_is_a_lap_also_past_the_end() {
        let now = Instant::now();
        let mut laps = Laps { end: now + Duration::from_secs(1000), begun: None, us: Vec::new() };
        assert!(laps.next() && laps.us.is_empty());
        assert!(laps.next() && laps.us.len() == 1);
        laps.end = now;
        assert!(!laps.next() && laps.us.len() == 2);
    }

    #[test]
    fn all_tasks_do_laps_and_one_that_fails_is_told() {
        let run = measure(2, 3, |mut laps| async move {
            while laps.next() {
                tokio::task::yield_now().await;
            }
            ensure!(!laps.us.is_empty(), "it did none");
            Ok(laps)
        });
        let run = run.unwrap();
        assert!(run.laps_per_s > 0.0 && run.p50_us <= run.p99_us);
        let failed = measure(1, 1, |_| async { bail!("no lap today") });
        assert!(format!("{:#}", failed.err().unwrap()).contains("no lap today"));
    }
}
