//! What the user may choose of the chain `scouting`, and [`Choices`]: what was chosen.

use asynchrotron_algorithms::scouting::{ClusterConfig, CutConfig};

use crate::options::{Parameter, Values};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter::batches("clusterize-batch"),
    Parameter::number("dc", "0.15", "ΔR", "CLUE: radius within which candidates add to each other's density"),
    Parameter::number("rhoc", "3", "GeV", "CLUE: least density of a seed"),
    Parameter::number(
        "outlier-factor",
        "2.6666667",
        "dc",
        "CLUE: radius within which a candidate looks for its nearest higher",
    ),
    Parameter::number("cluster-pt-min", "5", "GeV", "least pT of a cluster"),
    Parameter::number("charged-max", "3", "", "cuts: the most charged candidates of a cluster"),
    Parameter::number("candidates-max", "6", "", "cuts: the most candidates of a cluster"),
    Parameter::number("isolation-max", "0.5", "", "cuts: the greatest pT around a cluster, over its own"),
    Parameter::number("lead-pt-min", "5", "GeV", "cuts: least pT of a tau's hardest candidate"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choices {
    pub(super) clusters: ClusterConfig,
    pub(super) cuts: CutConfig,
    pub(super) score_min: f32,
}

impl Choices {
    pub(super) fn of(parameters: &Values) -> Self {
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
        Choices { clusters, cuts, score_min: number("lead-pt-min") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_algorithms() {
        let choices = Choices::of(&Values::defaults("parameter", PARAMETERS));
        assert_eq!((choices.clusters, choices.cuts), (ClusterConfig::default(), CutConfig::default()));
    }
}
