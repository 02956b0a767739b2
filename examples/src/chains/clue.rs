//! The chain `clue`: points from a CSV file, clustered.

mod toy;

use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron::{Chain, EventId, Result};
use asynchrotron_algorithms::clue::{Clue, ClueConfig, ClueResult, Points};

pub(crate) use self::toy::GENERATOR;
use super::Recipe;
use crate::device;
use crate::error::usage;
use crate::io::{ClueCsv, PointsCsv};
use crate::job::{Built, Job};
use crate::models::Models;
use crate::options::{Kind, Parameter, Settings, Values};

pub(crate) const RECIPE: Recipe = Recipe {
    name: "clue",
    doc: "density-based clustering of weighted points in a plane",
    reads: "CSV with columns x,y,weight (or x0,x1,weight), and event if there are several",
    writes: "CSV with columns index,event,rho,delta,nh,is_seed,cluster",
    parameters: PARAMETERS,
    build,
    job,
};

const PARAMETERS: &[Parameter] = &[
    Parameter::number("dc", "20", "unit of x", "radius within which points add to each other's density"),
    Parameter::number("rhoc", "25", "unit of weight", "least density of a seed"),
    Parameter::number(
        "outlier-factor",
        "2",
        "dc",
        "radius within which a point looks for its nearest higher",
    ),
    Parameter::number("y-period", "0", "unit of x", "period of y if it is an angle; 0: it is not"),
    Parameter::batches("clusterize-batch"),
    Parameter {
        name: "points-per-tile",
        kind: Kind::Count,
        default: "2",
        unit: "",
        doc: "changes the speed, and rho by its rounding where weights do not add up exactly",
    },
];

fn config(parameters: &Values) -> ClueConfig {
    let period = parameters.number("y-period");
    ClueConfig {
        density_radius: parameters.number("dc"),
        seed_density: parameters.number("rhoc"),
        outlier_factor: parameters.number("outlier-factor"),
        y_period: (period != 0.0).then_some(period),
        points_per_tile: u32::try_from(parameters.count("points-per-tile").unwrap_or_default())
            .unwrap_or(u32::MAX),
    }
}

#[derive(Default)]
struct Counts {
    points: usize,
    clusters: usize,
    outliers: usize,
}

impl Counts {
    fn add(&mut self, result: &ClueResult) {
        self.points += result.len();
        self.clusters += result.is_seed().iter().filter(|&&seed| seed != 0).count();
        self.outliers += result.cluster().iter().filter(|&&cluster| cluster < 0).count();
    }
}

fn build(settings: &Settings) -> Result<Built> {
    let device = device::select(settings)?;
    let batches = settings.batches("clusterize-batch", &*device);
    let clue = Clue::batched(config(settings.parameters()), device, batches);
    let clue = clue.map_err(|error| usage!("{error}"))?;
    let mut chain = Chain::new("clue");
    let points = chain.source::<Points>("points");
    let clusters = chain.offload("clusterize", (points,), clue.batcher());

    let counts = Arc::new(Mutex::new(Counts::default()));
    let counted = counts.clone();
    chain.sink("count", clusters, move |_: EventId, result: Arc<ClueResult>| {
        counted.lock().unwrap_or_else(PoisonError::into_inner).add(&result);
        Ok(())
    });
    let mut drafts = Vec::new();
    if let Some(path) = settings.output() {
        let (csv, draft) = ClueCsv::create(&path)?;
        chain.sink("write", clusters, csv);
        drafts.push(draft);
    }
    let summary = move || {
        let Counts { points, clusters, outliers } = *counts.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{clusters} clusters (one seed each) and {outliers} outliers among {points} points\n")
    };
    Ok(Built { chain, drafts, models: Models::default(), summary: Box::new(summary) })
}

fn job(settings: &Settings) -> Result<Job> {
    let input = settings.input().ok_or_else(|| {
        usage!("the chain clue needs --input FILE: {} (`generate points` makes one)", RECIPE.reads)
    })?;
    let source = PointsCsv::open(&input)?;
    let reads = source.describe();
    Ok(Job::new(build(settings)?, source, reads))
}
