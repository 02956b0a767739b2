//! The chain `calorimeter`: waveforms → pulses → cells → clusters, compared with the truth where it is known.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use asynchrotron::{Chain, Error, EventContext, EventId, Handle, Result, source};
use asynchrotron_algorithms::calorimeter::{
    Calibration, CalorimeterEvent, CellConfig, Cells, ClueClusterConfig, Clustering, Generator,
    GeneratorConfig, Geometry, LocalMaximumConfig, PulseConfig, Pulses, Quality, Waveforms, calibrate,
    cell_points, clusterize_local_maxima, find_pulses, measure_clusters,
};
use asynchrotron_algorithms::clue::{Clue, ClueResult, Points};
use asynchrotron_devices::Device;

use super::{Generator as GeneratorRecipe, Recipe};
use crate::device;
use crate::error::usage;
use crate::io::{Draft, EventsParquet, ParquetSink, RawReadout, Readout, cluster_rows, event_rows};
use crate::job::{Built, Fault, Job};
use crate::options::{Kind, Parameter, Settings, Values};

pub(crate) const RECIPE: Recipe = Recipe {
    name: "calorimeter",
    doc: "showers in an electromagnetic calorimeter, from waveforms to clusters",
    reads: "Parquet, as `generate calorimeter` writes it; without it, events are generated in memory",
    writes: "Parquet with a row for each event: event, and lists x_cm, y_cm, energy_gev, time_ns, seed_block, size",
    parameters: PARAMETERS,
    build,
    job,
};

pub(crate) const GENERATOR: GeneratorRecipe = GeneratorRecipe {
    name: "calorimeter",
    doc: "waveforms of photons and pions in the calorimeter, with their truth (Parquet)",
    job: generate,
};

/// Events of a job that has neither --input nor --events.
const EVENTS: u64 = 1000;

const fn number(
    name: &'static str,
    default: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> Parameter {
    Parameter { name, kind: Kind::Number, default, unit, doc }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "clusters",
        kind: Kind::Choice(&["clue", "local-max"]),
        default: "clue",
        unit: "",
        doc: "how cells become clusters",
    },
    number("pulse-threshold", "6", "ADC", "a pulse begins above this"),
    number("cell-energy-min", "0.015", "GeV", "least energy of a cell"),
    number("time-window", "30", "ns", "greatest distance of a cell from the trigger time"),
    number("dc", "1.5", "blocks", "CLUE: radius within which cells add to each other's density"),
    number("rhoc", "0.15", "GeV", "CLUE: least density of a seed"),
    number(
        "outlier-factor",
        "1.4666667",
        "dc",
        "CLUE: radius within which a cell looks for its nearest higher",
    ),
    number("seed-energy-min", "0.15", "GeV", "local-max: least energy of a seed"),
    number("coincidence", "20", "ns", "local-max: a cell joins a seed if their times differ by less"),
    number("cluster-energy-min", "0.3", "GeV", "least energy of a cluster"),
    number("log-weight", "4.2", "", "constant w0 of the logarithmic position weights"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Choices {
    pulses: PulseConfig,
    cells: CellConfig,
    clusters: Clusterizer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Clusterizer {
    Clue(ClueClusterConfig),
    LocalMaximum(LocalMaximumConfig),
}

impl Choices {
    fn of(parameters: &Values) -> Self {
        let number = |name| parameters.number(name);
        let pulses = PulseConfig { threshold_adc: number("pulse-threshold"), ..PulseConfig::default() };
        let cells =
            CellConfig { energy_gev_min: number("cell-energy-min"), time_window_ns: number("time-window") };
        let clusters = if parameters.text("clusters") == Some("local-max") {
            let mut config = LocalMaximumConfig {
                seed_energy_gev_min: number("seed-energy-min"),
                coincidence_ns: number("coincidence"),
                ..LocalMaximumConfig::default()
            };
            config.measure.energy_gev_min = number("cluster-energy-min");
            config.measure.log_weight = number("log-weight");
            Clusterizer::LocalMaximum(config)
        } else {
            let mut config = ClueClusterConfig::default();
            config.clue.density_radius = number("dc");
            config.clue.seed_density = number("rhoc");
            config.clue.outlier_factor = number("outlier-factor");
            config.measure.energy_gev_min = number("cluster-energy-min");
            config.measure.log_weight = number("log-weight");
            Clusterizer::Clue(config)
        };
        Choices { pulses, cells, clusters }
    }
}

fn generator(seed: u64) -> Generator {
    Generator::new(GeneratorConfig { seed, ..GeneratorConfig::default() })
}

/// The detector is known before it is read out: it does not depend on the seed of what is generated in it.
fn detector() -> Generator {
    generator(0)
}

/// Event numbers → readouts. Generation is an algorithm like any other, so it runs on all workers.
fn generated(chain: &mut Chain, seed: u64) -> Handle<Readout> {
    let number = chain.source::<u64>("number");
    let generator = chain.conditions("generator", Arc::new(generator(seed)));
    chain.algorithm("generate", (number, generator), async |number: Arc<u64>, generator: Arc<Generator>| {
        let CalorimeterEvent { waveforms, truth } = generator.generate(*number);
        Ok::<_, Error>(Readout { waveforms, truth: Some(truth) })
    })
}

/// Rows of a file → readouts.
fn decoded(chain: &mut Chain) -> Handle<Readout> {
    let raw = chain.source::<RawReadout>("raw");
    chain.algorithm("decode", (raw,), async |raw: Arc<RawReadout>| raw.decode())
}

/// Readouts → cells.
fn reconstruct_cells(chain: &mut Chain, readout: Handle<Readout>, choices: &Choices) -> Handle<Cells> {
    let Choices { pulses, cells, .. } = *choices;
    let calibration = chain.conditions("calibration", Arc::new(detector().calibration()));
    let pulses = chain.algorithm("find_pulses", (readout,), move |readout: Arc<Readout>| async move {
        let waveforms: &Waveforms = &readout.waveforms;
        Ok::<_, Error>(find_pulses(&pulses, waveforms))
    });
    chain.algorithm(
        "calibrate",
        (calibration, pulses),
        move |calibration: Arc<Calibration>, pulses: Arc<Pulses>| async move {
            Ok::<_, Error>(calibrate(&cells, &calibration, &pulses))
        },
    )
}

/// Cells → clusters.
fn reconstruct_clusters(
    chain: &mut Chain,
    cells: Handle<Cells>,
    choices: &Choices,
    device: Arc<dyn Device>,
) -> Result<Handle<Clustering>> {
    let geometry = chain.conditions("geometry", Arc::new(detector().geometry().clone()));
    match choices.clusters {
        Clusterizer::LocalMaximum(config) => Ok(chain.algorithm(
            "clusterize",
            (geometry, cells),
            move |geometry: Arc<Geometry>, cells: Arc<Cells>| async move {
                Ok::<_, Error>(clusterize_local_maxima(&config, &geometry, &cells))
            },
        )),
        Clusterizer::Clue(config) => {
            let clue = Clue::new(config.clue, device).map_err(|error| usage!("{error}"))?;
            let points = chain.algorithm(
                "place_cells",
                (geometry, cells),
                async |geometry: Arc<Geometry>, cells: Arc<Cells>| {
                    Ok::<_, Error>(cell_points(&geometry, &cells))
                },
            );
            let groups =
                chain.algorithm("clusterize", (points,), move |ctx: EventContext, points: Arc<Points>| {
                    let clue = clue.clone();
                    async move { clue.clusterize(&ctx, points).await }
                });
            Ok(chain.algorithm(
                "measure",
                (geometry, cells, groups),
                move |geometry: Arc<Geometry>, cells: Arc<Cells>, groups: Arc<ClueResult>| async move {
                    Ok::<_, Error>(measure_clusters(&config.measure, &geometry, &cells, groups.cluster()))
                },
            ))
        }
    }
}

/// What the sinks saw.
#[derive(Default)]
struct Seen {
    events: u64,
    clusters: u64,
    quality: Quality,
}

fn build(settings: &Settings) -> Result<Built> {
    let choices = Choices::of(settings.parameters());
    let device = device::select(settings.device())?;
    let mut chain = Chain::new(RECIPE.name);
    let readout = match settings.input() {
        Some(_) => decoded(&mut chain),
        None => generated(&mut chain, settings.seed()),
    };
    let cells = reconstruct_cells(&mut chain, readout, &choices);
    let clusters = reconstruct_clusters(&mut chain, cells, &choices, device)?;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let counted = seen.clone();
    chain.sink("count", clusters, move |_: EventId, found: Arc<Clustering>| {
        let mut seen = counted.lock().unwrap_or_else(PoisonError::into_inner);
        seen.events += 1;
        seen.clusters += found.clusters.len() as u64;
        Ok(())
    });
    let quality = chain.algorithm(
        "assess",
        (readout, cells, clusters),
        async |readout: Arc<Readout>, cells: Arc<Cells>, clusters: Arc<Clustering>| {
            let mut quality = Quality::default();
            if let Some(truth) = &readout.truth {
                quality.add(truth, &cells, &clusters);
            }
            Ok::<_, Error>(quality)
        },
    );
    let merged = seen.clone();
    chain.sink("quality", quality, move |_: EventId, quality: Arc<Quality>| {
        merged.lock().unwrap_or_else(PoisonError::into_inner).quality.merge(&quality);
        Ok(())
    });
    let mut drafts = Vec::new();
    if let Some(path) = settings.output() {
        let (sink, draft) = ParquetSink::create(&path, cluster_rows, &provenance(settings))?;
        chain.sink("write", clusters, sink);
        drafts.push(draft);
    }
    Ok(Built {
        chain,
        drafts,
        summary: Box::new(move || summary(&seen.lock().unwrap_or_else(PoisonError::into_inner))),
    })
}

fn provenance(settings: &Settings) -> [(&'static str, String); 4] {
    [
        ("chain", RECIPE.name.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("configuration", settings.provenance()),
        ("seed", settings.seed().to_string()),
    ]
}

fn summary(seen: &Seen) -> String {
    let Seen { events, clusters, quality } = seen;
    let mut text = format!("{clusters} clusters in {events} events\n");
    if quality.report().events > 0 {
        text += &format!("{quality}");
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

fn job(settings: &Settings) -> Result<Job> {
    let fault = Fault::default();
    match settings.input() {
        Some(path) => {
            let source = EventsParquet::open(&path, fault.clone())?;
            let reads = source.describe();
            Ok(Job::new(build(settings)?, source, fault, reads))
        }
        None => {
            let events = settings.events().unwrap_or(EVENTS);
            let end = settings.skip().saturating_add(events);
            let reads = format!("{events} events generated in memory, seed {}", settings.seed());
            Ok(Job::new(build(settings)?, source::from_iter(0..end), fault, reads))
        }
    }
}

fn generate(events: u64, seed: u64, path: &Path) -> Result<Job> {
    let mut chain = Chain::new("generate-calorimeter");
    let readout = generated(&mut chain, seed);
    let provenance = [
        ("generator", GENERATOR.name.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("seed", seed.to_string()),
    ];
    let (sink, draft): (_, Draft) = ParquetSink::create(path, event_rows, &provenance)?;
    chain.sink("write", readout, sink);
    let built = Built { chain, drafts: vec![draft], summary: Box::new(String::new) };
    Ok(Job::new(
        built,
        source::from_iter(0..events),
        Fault::default(),
        format!("{events} events, seed {seed}"),
    ))
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
    }
}
