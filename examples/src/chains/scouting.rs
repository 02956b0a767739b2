//! The chain `scouting`: words of a trigger → candidates → clusters → τ leptons, compared with the truth where it is known.

mod choices;
mod steps;
mod together;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron::{Chain, Error, EventId, Result, source};
use asynchrotron_algorithms::scouting::{
    BunchCrossing, Clustering, Features, Quality, TauStep, Taus, match_clusters,
};
use asynchrotron_devices::Device;

use self::choices::{Choices, PARAMETERS, Tagger};
use self::steps::{extracted_features, generated, reconstruct_clusters, unpacked};
use self::together::{Together, tagged_clusters};
use super::{Generator as GeneratorRecipe, Recipe, provenance};
use crate::device;
use crate::io::{LabelledFeatures, ParquetSink, WordsFile, WordsSink, feature_rows, tau_rows};
use crate::job::{Built, Job};
use crate::models::Models;
use crate::options::Settings;

pub(crate) const RECIPE: Recipe = Recipe {
    name: "scouting",
    doc: "tau leptons in the words of a trigger, bunch crossing by bunch crossing",
    reads: "scouting words, as `generate scouting` writes them; without it, events are generated in memory",
    writes: "Parquet with a row for each event: event, and lists pt_gev, eta, phi, score, cluster_pt_gev, charge, charged",
    parameters: PARAMETERS,
    build,
    job,
};

pub(crate) const GENERATOR: GeneratorRecipe = GeneratorRecipe {
    name: "scouting",
    doc: "words of soft particles, jets and taus, with their truth (a binary file of 64-bit words)",
    job: generate,
};

pub(crate) const FEATURES_GENERATOR: GeneratorRecipe = GeneratorRecipe {
    name: "scouting-features",
    doc: "what the tau tagger sees of generated clusters, with the truth: to train networks (Parquet)",
    job: generate_features,
};

/// Events of a job that has neither --input nor --events.
const EVENTS: u64 = 10_000;

/// What the sinks saw.
#[derive(Default)]
struct Seen {
    events: u64,
    taus: u64,
    quality: Quality,
}

fn build(settings: &Settings) -> Result<Built> {
    let choices = Choices::of(settings.parameters())?;
    let device = device::select(settings)?;
    let tau = match choices.tagger {
        Tagger::Network => Some(TauStep::trained(&*device)?),
        Tagger::Cuts => None,
    };
    let together = Together::on(&*device, &choices, tau.as_ref());
    build_with(settings, &choices, &device, tau, together)
}

fn build_with(
    settings: &Settings,
    choices: &Choices,
    device: &Arc<dyn Device>,
    tau: Option<TauStep>,
    together: Together,
) -> Result<Built> {
    let mut chain = Chain::new(RECIPE.name);
    let words = match settings.input() {
        Some(_) => chain.source("words"),
        None => generated(&mut chain, settings.seed()),
    };
    let crossing = unpacked(&mut chain, words);
    let mut models = Models::default();
    if let Some(asked) = tau.clone() {
        models.not_on_gpu(asked.not_on_gpu());
        models.add(move || asked.model());
    }
    let (taus, quality) = tagged_clusters(&mut chain, crossing, choices, settings, device, tau, together)?;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let counted = seen.clone();
    chain.sink("count", taus, move |_: EventId, taus: Arc<Taus>| {
        let mut seen = counted.lock().unwrap_or_else(PoisonError::into_inner);
        seen.events += 1;
        seen.taus += taus.len() as u64;
        Ok(())
    });
    let merged = seen.clone();
    chain.sink("quality", quality, move |_: EventId, quality: Arc<Quality>| {
        merged.lock().unwrap_or_else(PoisonError::into_inner).quality.merge(&quality);
        Ok(())
    });
    let mut drafts = Vec::new();
    if let Some(path) = settings.output() {
        let (sink, draft) =
            ParquetSink::create(&path, tau_rows, &provenance(RECIPE.name, settings, &models))?;
        chain.sink("write", taus, sink);
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
    let Seen { events, taus, quality } = seen;
    let mut text = format!("{taus} taus selected in {events} events\n");
    // Data has no truth; and without any τ, there is nothing to compare with.
    if quality.report().taus > 0 {
        text += &quality.to_string();
    }
    text
}

fn job(settings: &Settings) -> Result<Job> {
    match settings.input() {
        Some(path) => {
            let source = WordsFile::open(&path)?;
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
    let mut chain = Chain::new("generate-scouting");
    let words = generated(&mut chain, seed);
    let (sink, draft) = WordsSink::create(path)?;
    chain.sink("write", words, sink);
    let built = Built::writing(chain, draft);
    Ok(Job::new(built, source::from_iter(0..events), format!("{events} events, seed {seed}")))
}

/// The features are those of a job with the default parameters.
fn generate_features(events: u64, seed: u64, path: &Path) -> Result<Job> {
    let settings = Settings::defaults(&RECIPE)?;
    let choices = Choices::of(settings.parameters())?;
    let mut chain = Chain::new("generate-scouting-features");
    let words = generated(&mut chain, seed);
    let crossing = unpacked(&mut chain, words);
    let device = device::select(&settings)?;
    let clusters = reconstruct_clusters(&mut chain, crossing, &choices, &settings, &device)?;
    let features = extracted_features(&mut chain, crossing, clusters);
    let labelled = chain.algorithm(
        "label",
        (crossing, clusters, features),
        async |crossing: Arc<BunchCrossing>, clusters: Arc<Clustering>, features: Arc<Features>| {
            let labels = match_clusters(&crossing.truths, &clusters.clusters);
            Ok::<_, Error>(LabelledFeatures::new(&features, &labels, &crossing.truths))
        },
    );
    let provenance = [
        ("generator", FEATURES_GENERATOR.name.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("configuration", settings.provenance()),
        ("seed", seed.to_string()),
    ];
    let (sink, draft) = ParquetSink::create(path, feature_rows, &provenance)?;
    chain.sink("write", labelled, sink);
    let built = Built::writing(chain, draft);
    Ok(Job::new(built, source::from_iter(0..events), format!("{events} events, seed {seed}")))
}
