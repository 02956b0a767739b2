//! The chains that can be named on the command line.

mod calorimeter;
mod clue;
mod scouting;

use asynchrotron::Result;

use crate::error::unknown;
use crate::job::{Built, Job};
use crate::models::Models;
use crate::options::{Parameter, Settings};

/// A chain that can be named on the command line.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// What `--input` may be.
    pub(crate) reads: &'static str,
    /// What `--output` becomes.
    pub(crate) writes: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// Builds the chain without its input: for listings and drawings, and as a part of `job`.
    pub(crate) build: fn(&Settings) -> Result<Built>,
    /// Opens the input as well.
    pub(crate) job: fn(&Settings) -> Result<Job>,
}

/// The chains, in the order in which they are listed.
pub(crate) const RECIPES: &[Recipe] = &[calorimeter::RECIPE, clue::RECIPE, scouting::RECIPE];

/// Something that `asynchrotron generate` can write.
#[derive(Clone, Copy)]
pub(crate) struct Generator {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// Makes the job that writes `events` events to a file.
    pub(crate) job: fn(events: u64, seed: u64, file: &std::path::Path) -> Result<Job>,
}

/// What can be generated.
pub(crate) const GENERATORS: &[Generator] = &[
    calorimeter::GENERATOR,
    calorimeter::CELLS_GENERATOR,
    clue::GENERATOR,
    scouting::GENERATOR,
    scouting::FEATURES_GENERATOR,
];

/// What a result comes from: to be kept with it.
fn provenance(chain: &str, settings: &Settings, models: &Models) -> Vec<(String, String)> {
    let own = [
        ("chain", chain.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("configuration", settings.provenance()),
        ("seed", settings.seed().to_string()),
    ];
    own.map(|(key, value)| (key.into(), value)).into_iter().chain(models.provenance()).collect()
}

pub(crate) fn find_recipe(name: &str) -> Result<&'static Recipe> {
    let names: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
    RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| unknown("chain", name, &names))
}

pub(crate) fn find_generator(name: &str) -> Result<&'static Generator> {
    let names: Vec<&str> = GENERATORS.iter().map(|generator| generator.name).collect();
    GENERATORS
        .iter()
        .find(|generator| generator.name == name)
        .ok_or_else(|| unknown("generator", name, &names))
}
