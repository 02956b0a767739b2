use super::{Features, Scores, TauNetwork};
use asynchrotron::Result;
use asynchrotron_devices::{BatchStep, Columns, Offsets, Step};
use std::sync::Arc;

/// What the τ tagger asks a device for: its network, over the clusters of one or many events.
///
/// | crosses | direction | bytes per cluster | for |
/// |---|---|---|---|
/// | [`Features`], packed: `[16][rows]` | host → device | 64 | the model's input, as it is |
/// | [`Scores`] | device → host | 8 | |
///
/// On the host nothing is copied for one event.
#[derive(Clone, Debug)]
pub struct TauStep {
    network: Arc<TauNetwork>,
}

impl TauStep {
    /// The step with this network.
    pub fn new(network: TauNetwork) -> Self {
        Self { network: Arc::new(network) }
    }
}

impl Step for TauStep {
    type Input = Arc<Features>;
    type Output = Scores;

    fn name(&self) -> &str {
        "tau"
    }

    fn rows(&self, features: &Arc<Features>) -> usize {
        features.len()
    }

    fn bytes(&self, features: &Arc<Features>) -> usize {
        size_of::<[f32; 16]>() * features.len()
    }

    /// Nothing looks like a τ, or like anything else.
    fn placeholder(&self, features: &Arc<Features>) -> Option<Scores> {
        Some(Scores::with_len(features.len()))
    }

    fn on_host(&self, features: Arc<Features>) -> Result<Scores> {
        Ok(self.network.evaluate(&features))
    }
}

/// The clusters of one event, to be scored.
#[derive(Clone, Debug)]
pub struct TauRequest(pub Arc<Features>);

impl From<(Arc<Features>,)> for TauRequest {
    fn from((features,): (Arc<Features>,)) -> Self {
        Self(features)
    }
}

impl BatchStep for TauStep {
    type Request = TauRequest;
    type Reply = Scores;
    type Parts = Offsets;

    fn request_rows(&self, request: &TauRequest) -> usize {
        request.0.len()
    }

    fn request_bytes(&self, request: &TauRequest) -> usize {
        size_of::<[f32; 16]>() * request.0.len()
    }

    fn pack(&self, requests: &[&TauRequest], rows: usize) -> (Arc<Features>, Offsets) {
        match requests {
            [only] if only.0.len() >= rows => (only.0.clone(), Offsets::single(only.0.len())),
            many => {
                let events: Vec<&Features> = many.iter().map(|request| &*request.0).collect();
                let (features, events) = side_by_side(&events, rows);
                (Arc::new(features), events)
            }
        }
    }

    fn unpack(&self, scores: Scores, parts: Offsets) -> Vec<Scores> {
        if parts.len() == 1 && parts.rows() == scores.len() {
            return vec![scores];
        }
        parts.iter().map(|rows| scores.slice(rows)).collect()
    }
}

/// The features of several events as one `[16][rows]` block, filled up with rows of 0 if `rows` are more than there are.
pub fn side_by_side(events: &[&Features], rows: usize) -> (Features, Offsets) {
    let offsets = Offsets::from_counts(events.iter().map(|features| features.len()));
    let mut all = Features::with_packed_len(rows.max(offsets.rows()));
    let layout = all.layout();
    for index in 0..Features::SCHEMA.len() {
        let mut rest = &mut all.buffer_mut().as_bytes_mut()[layout.range(index)];
        for features in events {
            let from = features.column_bytes(index);
            let (to, tail) = rest.split_at_mut(from.len());
            to.copy_from_slice(from);
            rest = tail;
        }
    }
    (all, offsets)
}
