//! What of the chain `scouting` is one step of a device, and [`tagged_clusters`]: the part of the chain that depends on it.

use std::sync::Arc;

use asynchrotron::{Chain, Handle, Result};
use asynchrotron_algorithms::scouting::{
    BunchCrossing, Clustering, Features, Quality, Reconstructed, Scores, TauStep, Taus,
};
use asynchrotron_devices::{Device, DeviceKind};

use super::choices::Choices;
use super::steps::{
    assessed, cut_scores, extracted_features, network_scores, reconstruct_clusters, reconstructed,
    selected_taus,
};
use crate::options::Settings;

/// What the device does as one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Together {
    /// Each algorithm is one of its own.
    Nothing,
    /// What is up to the features.
    Features,
    /// What is up to the scores.
    Scores,
}

impl Together {
    /// What a GPU can keep, if it may.
    pub(super) fn on(device: &dyn Device, choices: &Choices, tau: Option<&TauStep>) -> Self {
        if device.kind() != DeviceKind::Cuda || !choices.resident {
            Self::Nothing
        } else if tau.is_some_and(TauStep::is_on_gpu) {
            Self::Scores
        } else {
            Self::Features
        }
    }
}

/// Candidates → τ leptons, and how well they are found.
pub(super) fn tagged_clusters(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    choices: &Choices,
    settings: &Settings,
    device: &Arc<dyn Device>,
    tau: Option<TauStep>,
    together: Together,
) -> Result<(Handle<Taus>, Handle<Quality>)> {
    Ok(match together {
        Together::Nothing => {
            let clusters = reconstruct_clusters(chain, crossing, choices, settings, device)?;
            let features = extracted_features(chain, crossing, clusters);
            let network = tau.map(|tau| network_scores(chain, features, tau, settings, device));
            tagged(chain, crossing, clusters, features, network, choices)
        }
        Together::Features => {
            let found = reconstructed(chain, crossing, choices, None, settings, device)?;
            let network = tau.map(|tau| network_scores(chain, found, tau, settings, device));
            tagged(chain, crossing, found, found, network, choices)
        }
        Together::Scores => {
            let network = tau.is_some();
            let found = reconstructed(chain, crossing, choices, tau, settings, device)?;
            tagged(chain, crossing, found, found, network.then_some(found), choices)
        }
    })
}

/// What the cuts, or the network, take for τ leptons, and how well both do.
fn tagged<C, F, S>(
    chain: &mut Chain,
    crossing: Handle<BunchCrossing>,
    clusters: Handle<C>,
    features: Handle<F>,
    network: Option<Handle<S>>,
    choices: &Choices,
) -> (Handle<Taus>, Handle<Quality>)
where
    C: Holds<Clustering>,
    F: Holds<Features>,
    S: Holds<Scores>,
{
    let cuts = cut_scores(chain, features, choices.cuts);
    let taus = match network {
        Some(network) => selected_taus(chain, clusters, network, choices.score_min),
        None => selected_taus(chain, clusters, cuts, choices.score_min),
    };
    (taus, assessed(chain, crossing, clusters, network, cuts))
}

/// A product that holds another: results come one by one, or several together.
pub(super) trait Holds<T>: Send + Sync + 'static {
    fn held(&self) -> &T;
}

impl<T: Send + Sync + 'static> Holds<T> for T {
    fn held(&self) -> &T {
        self
    }
}

impl Holds<Clustering> for Reconstructed {
    fn held(&self) -> &Clustering {
        &self.clustering
    }
}

impl Holds<Features> for Reconstructed {
    fn held(&self) -> &Features {
        &self.features
    }
}

impl Holds<Scores> for Reconstructed {
    fn held(&self) -> &Scores {
        &self.scores
    }
}

#[cfg(test)]
mod tests {
    use asynchrotron::{Config, Scheduler, source};

    use super::super::{RECIPE, build_with};
    use super::*;
    use crate::chains::scouting::choices::Tagger;
    use crate::job::Job;
    use crate::options::RunArguments;

    #[test]
    fn what_is_done_together_changes_no_result() {
        let folder = tempfile::tempdir().unwrap();
        for tagger in ["network", "cuts"] {
            let mut expected = None;
            for together in [Together::Nothing, Together::Features, Together::Scores] {
                let output = folder.path().join(format!("{tagger}-{together:?}.parquet"));
                let mut arguments = RunArguments::default();
                arguments.parameters.given =
                    vec![format!("tagger={tagger}"), format!("output={}", output.display())];
                let settings = Settings::resolve(&RECIPE, &[RECIPE], &arguments).unwrap();
                let choices = Choices::of(settings.parameters()).unwrap();
                let device = settings.devices().select("host").unwrap();
                let tau = (choices.tagger == Tagger::Network).then(|| TauStep::trained(&*device).unwrap());
                assert_eq!(Together::on(&*device, &choices, tau.as_ref()), Together::Nothing);
                let built = build_with(&settings, &choices, &device, tau, together).unwrap();
                let job = Job::new(built, source::from_iter(0..300_u64), String::new());
                let config = Config { ordered: true, ..Config::default() };
                let summary = job.run(&Scheduler::new(config)).1.unwrap();
                assert!(summary.contains("taus selected in 300 events"), "{summary}");
                let result = (summary, std::fs::read(&output).unwrap());
                assert!(*expected.get_or_insert(result.clone()) == result, "{tagger}, {together:?}");
            }
        }
    }
}
