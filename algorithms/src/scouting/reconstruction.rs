//! Candidates → clusters → features → scores, as one step of a device.

#[cfg(feature = "cuda")]
mod cuda;

use super::{
    BunchCrossing, ClusterConfig, Clustering, Features, Scores, TauStep, candidate_points, compute_features,
    measure_clusters,
};
use crate::clue::{ClueError, ClueStep, Points, clusterize};
use asynchrotron::Result;
use asynchrotron_devices::{BatchStep, Columns, Offsets, Step};
use std::sync::Arc;

/// Candidates → clusters → features → scores as one step, so that on a GPU nothing comes back to the host in between. The results are
/// those of the algorithms one by one.
///
/// | crosses | direction | bytes | for |
/// |---|---|---|---|
/// | columns of [`Candidates`](super::Candidates), as 32-bit numbers | host → device | 28 per candidate | CLUE, `scouting_measure` |
/// | offsets of candidates and rows | host → device | 8 per event | |
/// | [`Features`], [`Clusters`](super::Clusters) | device → host | 64 and 28 per row | cuts, selection |
/// | members of the clusters, their number | device → host | 4 per candidate, 4 per event | |
/// | [`Scores`] | device → host | 8 per row | selection |
///
/// How many clusters there are is known on the device only. So each event has as many *rows* as it can have clusters, since each takes a
/// share of its pT; the network runs on all of them, and what is beyond the clusters is zero, and is left there.
///
/// | device | runs |
/// |---|---|
/// | `cuda…` | `kernels/clue.cu`, `kernels/scouting.cu`, `models/tau.onnx`, on the lane's stream; if the network cannot run there, all runs on the host beside it |
/// | any other | [`clusterize`], [`measure_clusters`], [`compute_features`], [`TauNetwork`](super::TauNetwork) |
#[derive(Clone, Debug)]
pub struct ReconstructionStep {
    clue: ClueStep,
    pt_gev_min: f32,
    tau: Option<TauStep>,
}

impl ReconstructionStep {
    /// Up to the features.
    ///
    /// # Errors
    /// [`ClueError::Config`] if a choice makes no sense.
    pub fn new(config: &ClusterConfig) -> Result<Self, ClueError> {
        Ok(Self { clue: ClueStep::new(config.clue())?, pt_gev_min: config.pt_gev_min, tau: None })
    }

    /// Up to the scores of this network.
    #[must_use]
    pub fn with_network(self, tau: TauStep) -> Self {
        Self { tau: Some(tau), ..self }
    }

    /// The network, if it has one.
    pub fn network(&self) -> Option<&TauStep> {
        self.tau.as_ref()
    }
}

/// What is reconstructed of one bunch crossing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconstructed {
    /// The clusters.
    pub clustering: Clustering,
    /// What the taggers see of each.
    pub features: Arc<Features>,
    /// What the network says of each; empty if the step has none.
    pub scores: Scores,
}

/// The candidates of one or many events.
#[derive(Clone, Debug)]
pub struct ReconstructionInput {
    /// The events.
    pub crossings: Vec<Arc<BunchCrossing>>,
    /// Which candidates belong to which event.
    pub events: Offsets,
}

impl ReconstructionInput {
    /// These events.
    pub fn new(crossings: Vec<Arc<BunchCrossing>>) -> Self {
        let events = Offsets::from_counts(crossings.iter().map(|crossing| crossing.candidates.len()));
        Self { crossings, events }
    }

    /// The candidates as points for CLUE.
    fn points(&self) -> Points {
        let points: Vec<Points> =
            self.crossings.iter().map(|crossing| candidate_points(&crossing.candidates)).collect();
        Points::concat(&points.iter().collect::<Vec<_>>()).0
    }
}

/// What a device gives for a batch.
#[derive(Debug)]
pub struct ReconstructedBatch(Batch);

#[derive(Debug)]
enum Batch {
    OnHost(Vec<Reconstructed>),
    #[cfg(feature = "cuda")]
    OnGpu(cuda::Landing),
}

impl ReconstructedBatch {
    /// The events, in their order.
    pub fn into_events(self) -> Vec<Reconstructed> {
        match self.0 {
            Batch::OnHost(events) => events,
            #[cfg(feature = "cuda")]
            Batch::OnGpu(landed) => landed.events(),
        }
    }
}

impl Step for ReconstructionStep {
    type Input = ReconstructionInput;
    type Output = ReconstructedBatch;

    fn name(&self) -> &str {
        if self.tau.is_some() { "clue+tau" } else { "clue+features" }
    }

    fn rows(&self, input: &ReconstructionInput) -> usize {
        input.events.rows()
    }

    fn bytes(&self, input: &ReconstructionInput) -> usize {
        size_of::<[u32; 7]>() * input.events.rows() + 2 * size_of_val(input.events.as_slice())
    }

    fn on_host(&self, input: ReconstructionInput) -> Result<ReconstructedBatch> {
        let groups = clusterize(self.clue.config(), &input.points(), &input.events)?;
        let event = |(crossing, range): (&Arc<BunchCrossing>, std::ops::Range<usize>)| {
            let candidates = &crossing.candidates;
            let clustering = measure_clusters(self.pt_gev_min, candidates, &groups.cluster()[range]);
            let features = Arc::new(compute_features(candidates, &clustering));
            let scores =
                self.tau.as_ref().map_or_else(|| Ok(Scores::default()), |tau| tau.on_host(features.clone()));
            Ok(Reconstructed { clustering, features, scores: scores? })
        };
        let events = input.crossings.iter().zip(input.events.iter()).map(event);
        Ok(ReconstructedBatch(Batch::OnHost(events.collect::<Result<_>>()?)))
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(
        &self,
    ) -> Option<&dyn asynchrotron_devices::cuda::CudaBody<ReconstructionInput, ReconstructedBatch>> {
        self.tau.as_ref().is_none_or(TauStep::is_on_gpu).then_some(self)
    }
}

/// The candidates of one event, to be clustered and scored.
#[derive(Clone, Debug)]
pub struct ReconstructionRequest(pub Arc<BunchCrossing>);

impl From<(Arc<BunchCrossing>,)> for ReconstructionRequest {
    fn from((crossing,): (Arc<BunchCrossing>,)) -> Self {
        Self(crossing)
    }
}

impl BatchStep for ReconstructionStep {
    type Request = ReconstructionRequest;
    type Reply = Reconstructed;
    type Parts = ();

    fn request_rows(&self, request: &ReconstructionRequest) -> usize {
        request.0.candidates.len()
    }

    fn request_bytes(&self, request: &ReconstructionRequest) -> usize {
        size_of::<[u32; 7]>() * request.0.candidates.len() + size_of::<[u32; 2]>()
    }

    fn pack(&self, requests: &[&ReconstructionRequest], _rows: usize) -> (ReconstructionInput, ()) {
        (ReconstructionInput::new(requests.iter().map(|request| request.0.clone()).collect()), ())
    }

    fn unpack(&self, output: ReconstructedBatch, (): ()) -> Vec<Reconstructed> {
        output.into_events()
    }
}
