//! The chain `calorimeter`: waveforms → pulses → cells → clusters, compared with the truth where it is known.

mod choices;
mod steps;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Chain, Error, EventId, Result, source};
use asynchrotron_algorithms::calorimeter::{Cells, Clustering, Quality};

use self::choices::{Choices, PARAMETERS};
use self::steps::{decoded, generated, reconstruct_cells, reconstruct_clusters};
use super::{Generator as GeneratorRecipe, Recipe, provenance};
use crate::io::{EventsParquet, LabelledCells, ParquetSink, Readout, cell_rows, cluster_rows, event_rows};
use crate::job::{Built, Job};
use crate::models::Models;
use crate::options::Settings;

pub(crate) const RECIPE: Recipe = Recipe {
    name: "calorimeter",
    doc: "showers in an electromagnetic calorimeter, from waveforms to clusters",
    reads: "Parquet, as `generate calorimeter` writes it; without it, events are generated in memory",
    writes: "Parquet with a row for each event: event, and lists x_cm, y_cm, energy_gev, time_ns, seed_block, size",
    parameters: PARAMETERS,
    build,
    job,
};

pub(crate) const GENERATOR: GeneratorRecipe = GeneratorRecipe {
    name: "calorimeter",
    doc: "waveforms of photons and pions in the calorimeter, with their truth (Parquet)",
    job: generate,
};

pub(crate) const CELLS_GENERATOR: GeneratorRecipe = GeneratorRecipe {
    name: "calorimeter-cells",
    doc: "cells of the calorimeter, with the photons they belong to: to train networks (Parquet)",
    job: generate_cells,
};

/// Events of a job that has neither --input nor --events.
const EVENTS: u64 = 1000;

/// What the sinks saw.
#[derive(Default)]
struct Seen {
    events: u64,
    clusters: u64,
    quality: Quality,
}

fn build(settings: &Settings) -> Result<Built> {
    let choices = Choices::of(settings.parameters());
    let mut chain = Chain::new(RECIPE.name);
    let readout = match settings.input() {
        Some(_) => decoded(&mut chain),
        None => generated(&mut chain, settings.seed()),
    };
    let cells = reconstruct_cells(&mut chain, readout, &choices);
    let mut models = Models::default();
    let clusters = reconstruct_clusters(&mut chain, cells, &choices, settings, &mut models)?;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let counted = seen.clone();
    chain.sink("count", clusters, move |_: EventId, found: Arc<Clustering>| {
        let mut seen = counted.lock().unwrap_or_else(PoisonError::into_inner);
        seen.events += 1;
        seen.clusters += found.clusters.len() as u64;
        Ok(())
    });
    let quality = chain.algorithm(
        "assess",
        (readout, cells, clusters),
        async |readout: Arc<Readout>, cells: Arc<Cells>, clusters: Arc<Clustering>| {
            let mut quality = Quality::default();
            if let Some(truth) = &readout.truth {
                quality.add(truth, &cells, &clusters);
            }
            Ok::<_, Error>(quality)
        },
    );
    let merged = seen.clone();
    chain.sink("quality", quality, move |_: EventId, quality: Arc<Quality>| {
        merged.lock().unwrap_or_else(PoisonError::into_inner).quality.merge(&quality);
        Ok(())
    });
    let mut drafts = Vec::new();
    if let Some(path) = settings.output() {
        let (sink, draft) =
            ParquetSink::create(&path, cluster_rows, &provenance(RECIPE.name, settings, &models))?;
        chain.sink("write", clusters, sink);
        drafts.push(draft);
    }
    Ok(Built {
        chain,
        drafts,
        models,
        summary: Box::new(move || summary(&seen.lock().unwrap_or_else(PoisonError::into_inner))),
    })
}

fn summary(seen: &Seen) -> String {
    let Seen { events, clusters, quality } = seen;
    let mut text = format!("{clusters} clusters in {events} events\n");
    if quality.report().events > 0 {
        text += &format!("{quality}");
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

fn job(settings: &Settings) -> Result<Job> {
    match settings.input() {
        Some(path) => {
            let source = EventsParquet::open(&path)?;
            let reads = source.describe();
            Ok(Job::new(build(settings)?, source, reads))
        }
        None => {
            let events = settings.events().unwrap_or(EVENTS);
            let end = settings.skip().saturating_add(events);
            let reads = format!("{events} events generated in memory, seed {}", settings.seed());
            Ok(Job::new(build(settings)?, source::from_iter(0..end), reads))
        }
    }
}

fn generate(events: u64, seed: u64, path: &Path) -> Result<Job> {
    let mut chain = Chain::new("generate-calorimeter");
    let readout = generated(&mut chain, seed);
    let provenance = [
        ("generator", GENERATOR.name.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("seed", seed.to_string()),
    ];
    let (sink, draft) = ParquetSink::create(path, event_rows, &provenance)?;
    chain.sink("write", readout, sink);
    let built = Built::writing(chain, draft);
    Ok(Job::new(built, source::from_iter(0..events), format!("{events} events, seed {seed}")))
}

/// The cells are those of a job with the default parameters.
fn generate_cells(events: u64, seed: u64, path: &Path) -> Result<Job> {
    let settings = Settings::defaults(&RECIPE)?;
    let choices = Choices::of(settings.parameters());
    let mut chain = Chain::new("generate-calorimeter-cells");
    let readout = generated(&mut chain, seed);
    let cells = reconstruct_cells(&mut chain, readout, &choices);
    let labelled =
        chain.algorithm("label", (readout, cells), async |readout: Arc<Readout>, cells: Arc<Cells>| {
            let truth = readout.truth.as_ref().context("a generated event has its truth")?;
            Ok::<_, Error>(LabelledCells::new(&cells, truth))
        });
    let provenance = [
        ("generator", CELLS_GENERATOR.name.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("configuration", settings.provenance()),
        ("seed", seed.to_string()),
    ];
    let (sink, draft) = ParquetSink::create(path, cell_rows, &provenance)?;
    chain.sink("write", labelled, sink);
    let built = Built::writing(chain, draft);
    Ok(Job::new(built, source::from_iter(0..events), format!("{events} events, seed {seed}")))
}
