use super::{Clustering, Label, Roc, Scores, Truths, match_clusters};
use crate::sample::{quantile, sorted, width68};
use std::fmt;

/// Compares taggers with the truth, over many events.
///
/// Events may be added, and parts merged, in any order with an identical result: counts are integers, samples are sorted
/// before anything is computed from them.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    events: u64,
    taus: u64,
    clusters: u64,
    /// Reconstructed over true pT of matched τ: of the cluster, and corrected by the first tagger.
    response: Vec<f32>,
    corrected: Vec<f32>,
    taggers: Vec<Tagger>,
}

/// The scores of one tagger.
#[derive(Clone, Debug)]
struct Tagger {
    name: &'static str,
    signal: Vec<f32>,
    background: Vec<f32>,
}

/// What [`Quality`] found. Shares are 0 to 1, and NaN where there was nothing to count.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityReport {
    /// The number of events.
    pub events: u64,
    /// The number of τ.
    pub taus: u64,
    /// The number of clusters.
    pub clusters: u64,
    /// The share of τ that have a cluster.
    pub efficiency: f64,
    /// The number of clusters that are background.
    pub background: u64,
    /// Median, and half of the width of the central 68 %, of pT of the cluster over true pT.
    pub response: [f64; 2],
    /// The same of pT corrected by the first tagger.
    pub corrected: [f64; 2],
    /// One for each tagger.
    pub taggers: Vec<TaggerReport>,
}

/// How well a tagger does. Efficiencies are shares of the τ that have a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggerReport {
    /// Its name.
    pub name: &'static str,
    /// The area under its ROC curve; see [`Roc::area`].
    pub area: f64,
    /// One over the share of background that is kept at 50 % and at 80 % efficiency.
    pub rejection: [f64; 2],
}

impl Quality {
    /// Adds one event, with the scores of the same taggers in the same order as for all others. The pT of the first is taken as
    /// the corrected one.
    ///
    /// # Panics
    /// If a tagger has not one score per cluster.
    pub fn add(&mut self, truths: &Truths, clustering: &Clustering, taggers: &[(&'static str, &Scores)]) {
        let clusters = &clustering.clusters;
        self.events += 1;
        self.taus += truths.iter().filter(super::Truth::is_tau).count() as u64;
        self.clusters += clusters.len() as u64;
        let labels = match_clusters(truths, clusters);
        for (index, &(name, scores)) in taggers.iter().enumerate() {
            assert_eq!(scores.len(), clusters.len(), "one score per cluster");
            let tagger = self.tagger(index, name);
            for (label, &score) in labels.iter().zip(scores.tau()) {
                match label {
                    Label::Tau(_) => tagger.signal.push(score),
                    Label::Background => tagger.background.push(score),
                    Label::Ambiguous => {}
                }
            }
        }
        for (cluster, label) in labels.iter().enumerate() {
            if let Label::Tau(truth) = *label {
                let response = clusters.pt_gev()[cluster] / truths.pt_gev()[truth];
                let log_ratio = taggers.first().map_or(0.0, |(_, scores)| scores.log_pt_ratio()[cluster]);
                self.response.push(response);
                self.corrected.push(response * log_ratio.exp());
            }
        }
    }

    fn tagger(&mut self, index: usize, name: &'static str) -> &mut Tagger {
        if self.taggers.len() <= index {
            self.taggers.push(Tagger { name, signal: Vec::new(), background: Vec::new() });
        }
        let tagger = &mut self.taggers[index];
        assert_eq!(tagger.name, name, "the same taggers in each event");
        tagger
    }

    /// Adds what another one has seen.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.taus += other.taus;
        self.clusters += other.clusters;
        self.response.extend_from_slice(&other.response);
        self.corrected.extend_from_slice(&other.corrected);
        for (index, other) in other.taggers.iter().enumerate() {
            let tagger = self.tagger(index, other.name);
            tagger.signal.extend_from_slice(&other.signal);
            tagger.background.extend_from_slice(&other.background);
        }
    }

    /// Computes everything.
    pub fn report(&self) -> QualityReport {
        let spread = |samples: &[f32]| {
            let samples = sorted(samples);
            [quantile(&samples, 0.5), width68(&samples)]
        };
        let tagger = |Tagger { name, signal, background }: &Tagger| {
            let roc = Roc::new(signal, background);
            TaggerReport { name, area: roc.area(), rejection: [0.5, 0.8].map(|share| roc.rejection(share)) }
        };
        QualityReport {
            events: self.events,
            taus: self.taus,
            clusters: self.clusters,
            efficiency: self.response.len() as f64 / self.taus as f64,
            background: self.taggers.first().map_or(0, |tagger| tagger.background.len() as u64),
            response: spread(&self.response),
            corrected: spread(&self.corrected),
            taggers: self.taggers.iter().map(tagger).collect(),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(formatter)
    }
}

impl fmt::Display for QualityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, taus, clusters, efficiency, background, response, corrected, taggers } = self;
        writeln!(f, "events {events}   taus {taus}   clusters {clusters}   of them background {background}")?;
        writeln!(f, "{:<34}{:>9.2} %", "taus with a cluster", 100.0 * efficiency)?;
        for (name, [median, width]) in [("cluster", response), ("corrected", corrected)] {
            let name = format!("pT/pT_true of the {name}, median");
            writeln!(f, "{name:<34}{median:>11.4}    68 % half-width{:>8.2} %", 100.0 * width)?;
        }
        for TaggerReport { name, area, rejection: [half, most] } in taggers {
            let name = format!("{name}: area under ROC");
            writeln!(
                f,
                "{name:<34}{area:>11.4}    background rejection at 50 %{half:>9.1}, at 80 %{most:>8.1}"
            )?;
        }
        Ok(())
    }
}
