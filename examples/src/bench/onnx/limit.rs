//! The limit: bare runs in a loop, a session per thread, with the batch size that is best.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use asynchrotron::prelude::*;
use asynchrotron_devices::LaneId;
use asynchrotron_devices::onnx::OnnxModel;

use super::models::Model;

/// The sizes that are tried.
const SIZES: [usize; 9] = [1, 4, 16, 64, 128, 256, 512, 1024, 4096];
/// No batch is tried that takes longer.
const LONGEST: Duration = Duration::from_millis(60);

/// The rows of a batch for which bare runs are best.
pub(super) fn best_size(model: &Model, loaded: &OnnxModel, threads: usize) -> Result<usize> {
    let (mut best, mut most) = (1, 0.0);
    for size in SIZES {
        let begin = Instant::now();
        loaded.run(LaneId(0), &model.requests(size)[0])?;
        if begin.elapsed() > LONGEST {
            break;
        }
        let per_s = rows_per_s(model, loaded, threads, size, Duration::from_millis(60))?;
        if per_s > most {
            (best, most) = (size, per_s);
        }
    }
    Ok(best)
}

/// Rows per second of all threads together.
pub(super) fn rows_per_s(
    model: &Model,
    loaded: &OnnxModel,
    threads: usize,
    size: usize,
    duration: Duration,
) -> Result<f64> {
    let requests = model.requests(size);
    let start = Barrier::new(threads);
    let run = |lane: usize| -> Result<f64> {
        start.wait();
        let (begin, mut runs) = (Instant::now(), 0_usize);
        while runs < 3 || begin.elapsed() < duration {
            std::hint::black_box(loaded.run(LaneId(lane), &requests[runs % requests.len()])?);
            runs += 1;
        }
        Ok((runs * size) as f64 / begin.elapsed().as_secs_f64())
    };
    let run = &run;
    let rates: Result<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|lane| scope.spawn(move || run(lane))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    Ok(rates?.iter().sum())
}
