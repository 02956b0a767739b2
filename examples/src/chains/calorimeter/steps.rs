//! The algorithms of the chain `calorimeter`, as parts of a chain.

use std::sync::Arc;

use asynchrotron::{Chain, Error, Handle, Result};
use asynchrotron_algorithms::calorimeter::{
    Calibration, CalorimeterEvent, CellGrid, Cells, Clustering, CondensationGrid, CondensationStep,
    Generator, GeneratorConfig, Geometry, Pulses, Waveforms, calibrate, cell_grid, cell_points,
    clusterize_local_maxima, condense, find_pulses, measure_clusters,
};
use asynchrotron_algorithms::clue::{Clue, ClueResult};
use asynchrotron_devices::OnDevice;

use super::choices::{Choices, Clusterizer};
use crate::device;
use crate::error::usage;
use crate::io::{RawReadout, Readout};
use crate::models::Models;
use crate::options::Settings;

fn generator(seed: u64) -> Generator {
    Generator::new(GeneratorConfig { seed, ..GeneratorConfig::default() })
}

/// The detector is known before it is read out: it does not depend on the seed of what is generated in it.
fn detector() -> Generator {
    generator(0)
}

/// Event numbers → readouts. Generation is an algorithm like any other, so it runs on all workers.
pub(super) fn generated(chain: &mut Chain, seed: u64) -> Handle<Readout> {
    let number = chain.source::<u64>("number");
    let generator = chain.conditions("generator", Arc::new(generator(seed)));
    chain.algorithm("generate", (number, generator), async |number: Arc<u64>, generator: Arc<Generator>| {
        let CalorimeterEvent { waveforms, truth } = generator.generate(*number);
        Ok::<_, Error>(Readout { waveforms, truth: Some(truth) })
    })
}

/// Rows of a file → readouts.
pub(super) fn decoded(chain: &mut Chain) -> Handle<Readout> {
    let raw = chain.source::<RawReadout>("raw");
    chain.algorithm("decode", (raw,), async |raw: Arc<RawReadout>| raw.decode())
}

/// Readouts → cells.
pub(super) fn reconstruct_cells(
    chain: &mut Chain,
    readout: Handle<Readout>,
    choices: &Choices,
) -> Handle<Cells> {
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
pub(super) fn reconstruct_clusters(
    chain: &mut Chain,
    cells: Handle<Cells>,
    choices: &Choices,
    settings: &Settings,
    models: &mut Models,
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
        Clusterizer::Condensation(config) => {
            let calibration = chain.conditions("trigger", Arc::new(detector().calibration()));
            let grid = chain.algorithm(
                "fill_grid",
                (calibration, cells),
                async |calibration: Arc<Calibration>, cells: Arc<Cells>| {
                    Ok::<_, Error>(cell_grid(calibration.trigger_time_ns, &cells))
                },
            );
            let network = condensation_grid(chain, grid, settings, models)?;
            Ok(chain.algorithm(
                "condense",
                (geometry, cells, network),
                move |geometry: Arc<Geometry>, cells: Arc<Cells>, network: Arc<CondensationGrid>| async move {
                    Ok::<_, Error>(condense(&config, &geometry, &cells, &network))
                },
            ))
        }
        Clusterizer::Clue(config) => {
            let device = device::select(settings)?;
            let batches = settings.batches("clusterize-batch", &*device);
            let clue = Clue::batched(config.clue, device, batches).map_err(|error| usage!("{error}"))?;
            let points = chain.algorithm(
                "place_cells",
                (geometry, cells),
                async |geometry: Arc<Geometry>, cells: Arc<Cells>| {
                    Ok::<_, Error>(cell_points(&geometry, &cells))
                },
            );
            let groups = chain.offload("clusterize", (points,), clue.batcher());
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

/// What the network says of each block, as the device computes it.
fn condensation_grid(
    chain: &mut Chain,
    grid: Handle<CellGrid>,
    settings: &Settings,
    models: &mut Models,
) -> Result<Handle<CondensationGrid>> {
    let device = device::select(settings)?;
    let batches = settings.model_batches("condense-batch", &*device);
    let step = CondensationStep::trained(&*device)?;
    models.not_on_gpu(step.not_on_gpu());
    let network = OnDevice::batcher(step, device, batches);
    let asked = network.clone();
    models.add(move || asked.offload().step().model());
    Ok(chain.offload("evaluate", (grid,), &network))
}
