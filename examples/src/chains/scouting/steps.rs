//! The algorithms of the chain `scouting`, as parts of a chain.

use std::sync::Arc;

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Chain, Error, Handle, Result};
use asynchrotron_algorithms::clue::{Clue, ClueResult};
use asynchrotron_algorithms::scouting::{
    BunchCrossing, Clustering, CutConfig, Features, Generator, GeneratorConfig, Quality, Reconstructed,
    ReconstructionStep, Scores, TauRequest, TauStep, Taus, candidate_points, compute_features,
    measure_clusters, select_taus, tag_with_cuts, unpack,
};
use asynchrotron_devices::{Device, OnDevice};

use super::choices::Choices;
use super::together::Holds;
use crate::error::usage;
use crate::io::Words;
use crate::options::Settings;

/// Event numbers → words. Generation is an algorithm like any other, so it runs on all workers.
pub(super) fn generated(chain: &mut Chain, seed: u64) -> Handle<Words> {
    let number = chain.source::<u64>("number");
    let generator = Generator::new(GeneratorConfig { seed, ..GeneratorConfig::default() });
    let generator = chain.conditions("generator", Arc::new(generator));
    chain.algorithm("generate", (number, generator), async |number: Arc<u64>, generator: Arc<Generator>| {
        Ok::<_, Error>(Words { words: generator.generate(*number), at: None })
    })
}

/// Words → candidates, and the truth if it is there.
pub(super) fn unpacked(chain: &mut Chain, words: Handle<Words>) -> Handle<BunchCrossing> {
    chain.algorithm("unpack", (words,), async |words: Arc<Words>| {
        let crossing = unpack(&words.words);
        match words.at {
            Some(at) => crossing.with_context(|| format!("at word {at} of the file")),
            None => crossing.map_err(Error::new),
        }
    })
}

/// Candidates → clusters.
pub(super) fn reconstruct_clusters(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    choices: &Choices,
    settings: &Settings,
    device: &Arc<dyn Device>,
) -> Result<Handle<Clustering>> {
    let batches = settings.batches("clusterize-batch", &**device);
    let clue =
        Clue::batched(choices.clusters.clue(), device.clone(), batches).map_err(|error| usage!("{error}"))?;
    let points = chain.algorithm("place_candidates", (crossing,), async |crossing: Arc<BunchCrossing>| {
        Ok::<_, Error>(candidate_points(&crossing.candidates))
    });
    let groups = chain.offload("clusterize", (points,), clue.batcher());
    let pt_gev_min = choices.clusters.pt_gev_min;
    Ok(chain.algorithm(
        "measure",
        (crossing, groups),
        move |crossing: Arc<BunchCrossing>, groups: Arc<ClueResult>| async move {
            Ok::<_, Error>(measure_clusters(pt_gev_min, &crossing.candidates, groups.cluster()))
        },
    ))
}

/// Clusters → what the taggers see of them.
pub(super) fn extracted_features(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    clusters: Handle<Clustering>,
) -> Handle<Features> {
    chain.algorithm(
        "extract_features",
        (crossing, clusters),
        async |crossing: Arc<BunchCrossing>, clusters: Arc<Clustering>| {
            Ok::<_, Error>(compute_features(&crossing.candidates, &clusters))
        },
    )
}

/// Candidates → clusters, features and, with a network, scores, as one step of the device.
pub(super) fn reconstructed(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    choices: &Choices,
    network: Option<TauStep>,
    settings: &Settings,
    device: &Arc<dyn Device>,
) -> Result<Handle<Reconstructed>> {
    let batches = settings.batches("clusterize-batch", &**device);
    let step = ReconstructionStep::new(&choices.clusters).map_err(|error| usage!("{error}"))?;
    let step = match network {
        Some(network) => step.with_network(network),
        None => step,
    };
    Ok(chain.offload("reconstruct", (crossing,), &OnDevice::batcher(step, device.clone(), batches)))
}

/// Features → scores of the network, as the device computes them.
pub(super) fn network_scores<F>(
    chain: &mut Chain,
    features: Handle<F>,
    step: TauStep,
    settings: &Settings,
    device: &Arc<dyn Device>,
) -> Handle<Scores>
where
    F: Send + Sync + 'static,
    TauRequest: From<(Arc<F>,)>,
{
    let batches = settings.model_batches("tag-batch", &**device);
    chain.offload("tag", (features,), &OnDevice::batcher(step, device.clone(), batches))
}

/// Features → scores of the cuts.
pub(super) fn cut_scores<F: Holds<Features>>(
    chain: &mut Chain,
    features: Handle<F>,
    cuts: CutConfig,
) -> Handle<Scores> {
    chain.algorithm("cut", (features,), move |features: Arc<F>| async move {
        Ok::<_, Error>(tag_with_cuts(&cuts, (*features).held()))
    })
}

/// Clusters and their scores → τ leptons.
pub(super) fn selected_taus<C: Holds<Clustering>, S: Holds<Scores>>(
    chain: &mut Chain,
    clusters: Handle<C>,
    scores: Handle<S>,
    score_min: f32,
) -> Handle<Taus> {
    chain.algorithm("select", (clusters, scores), move |clusters: Arc<C>, scores: Arc<S>| async move {
        Ok::<_, Error>(select_taus(score_min, &(*clusters).held().clusters, (*scores).held()))
    })
}

/// What the taggers found, against the truth. The cuts are always among them, to compare with.
pub(super) fn assessed<C: Holds<Clustering>, S: Holds<Scores>>(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    clusters: Handle<C>,
    network: Option<Handle<S>>,
    cuts: Handle<Scores>,
) -> Handle<Quality> {
    let assess = |crossing: &BunchCrossing, clusters: &C, taggers: &[(&'static str, &Scores)]| {
        let mut quality = Quality::default();
        quality.add(&crossing.truths, clusters.held(), taggers);
        quality
    };
    match network {
        None => chain.algorithm(
            "assess",
            (crossing, clusters, cuts),
            move |crossing: Arc<BunchCrossing>, clusters: Arc<C>, cuts: Arc<Scores>| async move {
                Ok::<_, Error>(assess(&crossing, &clusters, &[("cuts", &cuts)]))
            },
        ),
        Some(network) => chain.algorithm(
            "assess",
            (crossing, clusters, network, cuts),
            move |crossing: Arc<BunchCrossing>, clusters: Arc<C>, network: Arc<S>, cuts: Arc<Scores>| async move {
                let taggers = [("network", (*network).held()), ("cuts", &*cuts)];
                Ok::<_, Error>(assess(&crossing, &clusters, &taggers))
            },
        ),
    }
}
