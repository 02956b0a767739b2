//! Points to try CLUE on: Gaussian clusters over uniform noise, in the square of the toy detector of CLUE's paper.

use std::path::Path;
use std::sync::Arc;

use asynchrotron::{Chain, Error, Result, source};
use asynchrotron_algorithms::clue::{Point, Points};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::chains::Generator;
use crate::io::PointsCsvSink;
use crate::job::{Built, Job};

pub(crate) const GENERATOR: Generator = Generator {
    name: "points",
    doc: "clusters of points over noise, for the chain clue and its default parameters (CSV)",
    job: generate,
};

const HALF_SIZE: f32 = 250.0;
const CLUSTERS: usize = 12;
const POINTS_PER_CLUSTER: usize = 70;
const CLUSTER_SIGMA: f32 = 7.0;
const NOISE_POINTS: usize = 160;

/// The points of one event: a function of seed and event only.
fn points(seed: u64, event: u64) -> Points {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(event);
    let mut rows = Vec::with_capacity(CLUSTERS * POINTS_PER_CLUSTER + NOISE_POINTS);
    for _ in 0..CLUSTERS {
        let centre: [f32; 2] = std::array::from_fn(|_| rng.random_range(-HALF_SIZE..HALF_SIZE));
        for _ in 0..POINTS_PER_CLUSTER {
            let [x, y] = centre.map(|at| at + CLUSTER_SIGMA * rng.sample::<f32, _>(StandardNormal));
            rows.push(Point { x, y, weight: 1.0 });
        }
    }
    for _ in 0..NOISE_POINTS {
        let [x, y] = std::array::from_fn(|_| rng.random_range(-HALF_SIZE..HALF_SIZE));
        rows.push(Point { x, y, weight: 1.0 });
    }
    Points::from_rows(&rows)
}

fn generate(events: u64, seed: u64, path: &Path) -> Result<Job> {
    let mut chain = Chain::new("generate-points");
    let number = chain.source::<u64>("number");
    let points = chain.algorithm("generate", (number,), move |number: Arc<u64>| async move {
        Ok::<_, Error>(points(seed, *number))
    });
    let (sink, draft) = PointsCsvSink::create(path)?;
    chain.sink("write", points, sink);
    let built = Built::writing(chain, draft);
    Ok(Job::new(built, source::from_iter(0..events), format!("{events} events, seed {seed}")))
}
