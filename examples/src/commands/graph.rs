//! `asynchrotron graph`.

use asynchrotron::Result;

use super::print;
use crate::chains::{RECIPES, find_recipe};
use crate::options::{GraphArguments, Settings};

pub(crate) fn graph(arguments: &GraphArguments) -> Result<()> {
    let recipe = find_recipe(&arguments.chain)?;
    let settings = Settings::resolve_parameters(recipe, RECIPES, &arguments.parameters)?;
    print(&(recipe.build)(&settings)?.chain.to_dot())
}
