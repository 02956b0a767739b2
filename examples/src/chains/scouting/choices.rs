//! What the user may choose of the chain `scouting`, and [`Choices`]: what was chosen.

use asynchrotron::Result;
use asynchrotron_algorithms::scouting::{ClusterConfig, CutConfig};

use crate::error::usage;
use crate::options::{Kind, Parameter, Values};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "tagger",
        kind: Kind::Choice(&["network", "cuts"]),
        default: "network",
        unit: "",
        doc: "what tells taus from jets",
    },
    Parameter {
        name: "resident",
        kind: Kind::Choice(&["on", "off"]),
        default: "on",
        unit: "",
        doc: "on: what is on a GPU stays there from the candidates to the scores, in the batches of clusterize-batch",
    },
    Parameter::batches("clusterize-batch"),
    Parameter::batches("tag-batch"),
    Parameter::number("dc", "0.15", "ΔR", "CLUE: radius within which candidates add to each other's density"),
    Parameter::number("rhoc", "3", "GeV", "CLUE: least density of a seed"),
    Parameter::number(
        "outlier-factor",
        "2.6666667",
        "dc",
        "CLUE: radius within which a candidate looks for its nearest higher",
    ),
    Parameter::number("cluster-pt-min", "5", "GeV", "least pT of a cluster"),
    Parameter::number("probability-min", "0.5", "", "network: least probability of a tau, 0 to 1"),
    Parameter::number("charged-max", "3", "", "cuts: the most charged candidates of a cluster"),
    Parameter::number("candidates-max", "6", "", "cuts: the most candidates of a cluster"),
    Parameter::number("isolation-max", "0.5", "", "cuts: the greatest pT around a cluster, over its own"),
    Parameter::number("lead-pt-min", "5", "GeV", "cuts: least pT of a tau's hardest candidate"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choices {
    pub(super) clusters: ClusterConfig,
    pub(super) tagger: Tagger,
    /// Whether what is on a GPU stays there.
    pub(super) resident: bool,
    pub(super) cuts: CutConfig,
    /// What a τ scores at least.
    pub(super) score_min: f32,
}

/// What tells τ leptons from jets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tagger {
    Network,
    Cuts,
}

impl Choices {
    pub(super) fn of(parameters: &Values) -> Result<Self> {
        let number = |name| parameters.number(name);
        let clusters = ClusterConfig {
            density_radius: number("dc"),
            seed_density_gev: number("rhoc"),
            outlier_factor: number("outlier-factor"),
            pt_gev_min: number("cluster-pt-min"),
        };
        let cuts = CutConfig {
            charged_max: number("charged-max"),
            candidates_max: number("candidates-max"),
            isolation_max: number("isolation-max"),
        };
        let probability = number("probability-min");
        if !(0.0..=1.0).contains(&probability) {
            return Err(usage!("probability-min = {probability} must lie in 0 to 1"));
        }
        let (tagger, score_min) = if parameters.text("tagger") == Some("cuts") {
            (Tagger::Cuts, number("lead-pt-min"))
        } else {
            (Tagger::Network, (probability / (1.0 - probability)).ln())
        };
        let resident = parameters.text("resident") != Some("off");
        Ok(Choices { clusters, tagger, resident, cuts, score_min })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_algorithms() {
        let mut parameters = Values::defaults("parameter", PARAMETERS);
        let choices = Choices::of(&parameters).unwrap();
        assert_eq!((choices.clusters, choices.cuts), (ClusterConfig::default(), CutConfig::default()));
        assert_eq!((choices.tagger, choices.resident, choices.score_min), (Tagger::Network, true, 0.0));
        parameters.set_text("resident", "off").unwrap();
        assert!(!Choices::of(&parameters).unwrap().resident);
        parameters.set_text("tagger", "cuts").unwrap();
        let choices = Choices::of(&parameters).unwrap();
        assert_eq!((choices.tagger, choices.score_min), (Tagger::Cuts, 5.0));
    }
}
