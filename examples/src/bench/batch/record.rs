//! [`Record`]: when each request was answered, and after how long.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// When each request was answered, and after how long, in the order of the answers.
pub(super) struct Record {
    next: AtomicUsize,
    answers: Box<[(AtomicU64, AtomicU64)]>,
}

/// What a record comes to. The first and the last tenth of the answers do not count.
#[derive(Clone, Copy)]
pub(super) struct Figures {
    pub(super) per_s: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Record {
    pub(super) fn new(requests: u64) -> Self {
        let answers = (0..requests).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
        Record { next: AtomicUsize::new(0), answers }
    }

    pub(super) fn answered(&self, asked: Duration, now: Duration) {
        let index = self.next.fetch_add(1, Relaxed);
        if let Some((latency, at)) = self.answers.get(index) {
            latency.store(now.saturating_sub(asked).as_nanos() as u64, Relaxed);
            at.store(now.as_nanos() as u64, Relaxed);
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let answers: Vec<(u64, u64)> =
            self.answers.iter().map(|(latency, at)| (latency.load(Relaxed), at.load(Relaxed))).collect();
        let (begin, end) = window(answers.len());
        // Answers come in lumps: those of the first instant are left out, those of the last are all counted.
        let (first, last) = (answers[begin].1, answers[end].1);
        let counted = answers.iter().filter(|(_, at)| (first + 1..=last).contains(at)).count();
        let mut latencies: Vec<u64> = answers[begin..end].iter().map(|(latency, _)| *latency).collect();
        latencies.sort_unstable();
        let quantile = |q: f64| Duration::from_nanos(latencies[(q * (latencies.len() - 1) as f64) as usize]);
        Figures {
            per_s: 1e9 * counted as f64 / (last - first) as f64,
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

/// Of so many, the first that counts and the first that does not any more.
pub(super) fn window(requests: usize) -> (usize, usize) {
    (requests / 10, requests - requests / 10 - 1)
}
