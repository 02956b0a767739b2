//! What the user may choose of the chain `calorimeter`, and [`Choices`]: what was chosen.

use asynchrotron_algorithms::calorimeter::{
    CellConfig, ClueClusterConfig, CondensationConfig, LocalMaximumConfig, MeasureConfig, PulseConfig,
};

use crate::options::{Kind, Parameter, Values};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "clusters",
        kind: Kind::Choice(&["clue", "local-max", "condensation"]),
        default: "clue",
        unit: "",
        doc: "how cells become clusters",
    },
    Parameter::batches("clusterize-batch"),
    Parameter::batches("condense-batch"),
    Parameter::number("pulse-threshold", "6", "ADC", "a pulse begins above this"),
    Parameter::number("cell-energy-min", "0.015", "GeV", "least energy of a cell"),
    Parameter::number("time-window", "30", "ns", "greatest distance of a cell from the trigger time"),
    Parameter::number("dc", "1.5", "blocks", "CLUE: radius within which cells add to each other's density"),
    Parameter::number("rhoc", "0.15", "GeV", "CLUE: least density of a seed"),
    Parameter::number(
        "outlier-factor",
        "1.4666667",
        "dc",
        "CLUE: radius within which a cell looks for its nearest higher",
    ),
    Parameter::number("seed-energy-min", "0.15", "GeV", "local-max: least energy of a seed"),
    Parameter::number(
        "coincidence",
        "20",
        "ns",
        "local-max: a cell joins a seed if their times differ by less",
    ),
    Parameter::number("beta-min", "0.3", "", "condensation: least beta of a condensation point, 0 to 1"),
    Parameter::number(
        "latent-distance",
        "0.8",
        "blocks",
        "condensation: a cell joins a condensation point that is nearer in latent space",
    ),
    Parameter::number("cluster-energy-min", "0.3", "GeV", "least energy of a cluster"),
    Parameter::number("log-weight", "4.2", "", "constant w0 of the logarithmic position weights"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choices {
    pub(super) pulses: PulseConfig,
    pub(super) cells: CellConfig,
    pub(super) clusters: Clusterizer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Clusterizer {
    Clue(ClueClusterConfig),
    LocalMaximum(LocalMaximumConfig),
    Condensation(CondensationConfig),
}

impl Choices {
    pub(super) fn of(parameters: &Values) -> Self {
        let number = |name| parameters.number(name);
        let pulses = PulseConfig { threshold_adc: number("pulse-threshold"), ..PulseConfig::default() };
        let cells =
            CellConfig { energy_gev_min: number("cell-energy-min"), time_window_ns: number("time-window") };
        let measured = |measure: &mut MeasureConfig| {
            measure.energy_gev_min = number("cluster-energy-min");
            measure.log_weight = number("log-weight");
        };
        let clusters = match parameters.text("clusters") {
            Some("local-max") => {
                let mut config = LocalMaximumConfig {
                    seed_energy_gev_min: number("seed-energy-min"),
                    coincidence_ns: number("coincidence"),
                    ..LocalMaximumConfig::default()
                };
                measured(&mut config.measure);
                Clusterizer::LocalMaximum(config)
            }
            Some("condensation") => {
                let mut config = CondensationConfig {
                    beta_min: number("beta-min"),
                    distance_max: number("latent-distance"),
                    ..CondensationConfig::default()
                };
                measured(&mut config.measure);
                Clusterizer::Condensation(config)
            }
            _ => {
                let mut config = ClueClusterConfig::default();
                config.clue.density_radius = number("dc");
                config.clue.seed_density = number("rhoc");
                config.clue.outlier_factor = number("outlier-factor");
                measured(&mut config.measure);
                Clusterizer::Clue(config)
            }
        };
        Choices { pulses, cells, clusters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_algorithms() {
        let mut parameters = Values::defaults("parameter", PARAMETERS);
        let choices = Choices::of(&parameters);
        assert_eq!((choices.pulses, choices.cells), (PulseConfig::default(), CellConfig::default()));
        assert_eq!(choices.clusters, Clusterizer::Clue(ClueClusterConfig::default()));
        parameters.set_text("clusters", "local-max").unwrap();
        let clusters = Choices::of(&parameters).clusters;
        assert_eq!(clusters, Clusterizer::LocalMaximum(LocalMaximumConfig::default()));
        parameters.set_text("clusters", "condensation").unwrap();
        let clusters = Choices::of(&parameters).clusters;
        assert_eq!(clusters, Clusterizer::Condensation(CondensationConfig::default()));
    }
}
