//! A trigger's scouting stream: every bunch crossing of the LHC as a few dozen 64-bit words, searched for low-pT τ leptons
//! that decayed to hadrons (modelled on the level-1 scouting of CMS).
//!
//! | step | function | from → to |
//! |---|---|---|
//! | 1 | [`unpack`] | words → [`Candidates`] |
//! | 2 | [`candidate_points`], [CLUE](crate::clue) | [`Candidates`] → the cluster of each |
//! | 3 | [`measure_clusters`] | [`Candidates`] → [`Clustering`] |
//! | 4 | [`compute_features`] | [`Clustering`] → [`Features`] `[16][clusters]` |
//! | 5a | [`TauNetwork`], [`TauStep`] | [`Features`] → [`Scores`] |
//! | 5b | [`tag_with_cuts`] | [`Features`] → [`Scores`] |
//! | 6 | [`select_taus`] | [`Clusters`], [`Scores`] → [`Taus`] |
//! | 2–5a | [`ReconstructionStep`] | the same on a GPU, without coming back to the host in between |
//!
//! [`Generator`] makes events with their truth, [`Quality`] compares.
//!
//! # The format
//! It is our own: it has the spirit of the words of a trigger's particle-flow candidates, and is compatible with none of
//! them. An event is one bunch crossing: a header word, so many candidate words as it says, and, in generated data, so many
//! truth words as it says. Words are 64-bit; their fields are, from the lowest bit on:
//!
//! | header | bits | |
//! |---|---|---|
//! | candidates | 0–11 | how many candidate words follow |
//! | truths | 12–17 | how many truth words follow those; 0 in data |
//! | bx | 18–29 | bunch crossing in its orbit: 0 to 3563 |
//! | orbit | 30–61 | |
//! | mark | 62–63 | 3 |
//!
//! | candidate | bits | |
//! |---|---|---|
//! | pt | 0–13 | pT in 0.25 GeV, not 0 |
//! | eta | 14–25 | η in π/720, two's complement |
//! | phi | 26–36 | φ in π/720, two's complement: -720 to 719 |
//! | pid | 37–39 | 0 neutral hadron, 1 photon, 2 h⁻, 3 h⁺, 4 e⁻, 5 e⁺, 6 μ⁻, 7 μ⁺ |
//! | charged: z0 | 40–49 | z at the beam line in 0.05 cm, two's complement |
//! | charged: dxy | 50–57 | transverse impact parameter in 0.005 cm, two's complement |
//! | charged: quality | 58–61 | of the track: 0 (worst) to 15 |
//! | neutral: weight | 40–49 | how likely it is from the primary vertex, in 1/512: 0 to 512 |
//! | neutral: reserved | 50–61 | 0 |
//! | mark | 62–63 | 0 |
//!
//! | truth | bits | |
//! |---|---|---|
//! | pt | 0–15 | visible pT in 1/64 GeV, not 0 |
//! | eta | 16–27 | η of the axis in π/720, two's complement |
//! | phi | 28–38 | φ of the axis in π/720, two's complement: -720 to 719 |
//! | origin | 39–41 | 0 jet, 1 τ → 1 prong, 2 with π⁰, 3 τ → 3 prongs, 4 with π⁰ |
//! | reserved | 42–61 | 0 |
//! | mark | 62–63 | 1 |
//!
//! The marks make each kind of word known by itself, so a reader that has lost its place finds the next event ([`frame`]).
//!
//! ```
//! use asynchrotron_algorithms::clue::clusterize;
//! use asynchrotron_algorithms::scouting::*;
//! use asynchrotron_devices::Offsets;
//!
//! let (config, cuts, network) = (ClusterConfig::default(), CutConfig::default(), TauNetwork::trained());
//! let generator = Generator::new(GeneratorConfig::default());
//! let mut quality = Quality::default();
//! for event in 0..300 {
//!     let BunchCrossing { candidates, truths, .. } = unpack(&generator.generate(event))?;
//!     let points = candidate_points(&candidates);
//!     let groups = clusterize(&config.clue(), &points, &Offsets::single(points.len()))?;
//!     let clustering = measure_clusters(config.pt_gev_min, &candidates, groups.cluster());
//!     let features = compute_features(&candidates, &clustering);
//!     let scores = network.evaluate(&features);
//!     let taus = select_taus(0.0, &clustering.clusters, &scores);    // a probability of at least a half
//!     assert!(taus.len() <= clustering.clusters.len());
//!     quality.add(&truths, &clustering, &[("network", &scores), ("cuts", &tag_with_cuts(&cuts, &features))]);
//! }
//! assert!(quality.report().taggers[0].area > 0.9);
//! println!("{quality}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod candidate_word;
mod candidates;
mod clusters;
mod cuts;
mod features;
mod generator;
mod matching;
mod network;
mod particle;
mod quality;
mod reconstruction;
mod response;
mod roc;
mod scores;
mod shower;
mod tag;
mod truth;
mod truth_word;
mod unpack;
mod words;

pub use candidate_word::{CandidateWord, DXY_STEP_CM, PT_STEP_GEV, Rest, WEIGHT_STEP, Z0_STEP_CM};
pub use candidates::{Candidate, Candidates, ClusterConfig, candidate_points};
pub use clusters::{Cluster, Clustering, Clusters, delta_r, measure_clusters};
pub use cuts::{CutConfig, tag_with_cuts};
pub use features::{Feature, Features, compute_features};
pub use generator::{Generator, GeneratorConfig};
pub use matching::{Label, match_clusters};
pub use network::TauNetwork;
pub use particle::Particle;
pub use quality::{Quality, QualityReport, TaggerReport};
pub use reconstruction::{
    Reconstructed, ReconstructedBatch, ReconstructionInput, ReconstructionRequest, ReconstructionStep,
};
pub use roc::Roc;
pub use scores::{Score, Scores, Tau, Taus, select_taus};
pub use tag::{TauRequest, TauStep, side_by_side};
pub use truth::{Origin, Truth, Truths};
pub use truth_word::TruthWord;
pub use unpack::{BunchCrossing, Frame, UnpackError, frame, unpack};
pub use words::{ANGLE_STEP, BX_PER_ORBIT, Header, STEPS_PER_TURN, WordError, WordKind, pack};
