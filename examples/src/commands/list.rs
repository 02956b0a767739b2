//! `asynchrotron list`.

use std::fmt::Write as _;

use asynchrotron::Result;
use asynchrotron::time::Clock;

use super::print;
use crate::bench::BENCHMARKS;
use crate::chains::{GENERATORS, RECIPES, Recipe};
use crate::device::discover;
use crate::options::{RunArguments, Settings};

pub(crate) fn list() -> Result<()> {
    let mut text = String::from("Chains (asynchrotron run <chain>)\n");
    for recipe in RECIPES {
        list_chain(&mut text, recipe)?;
    }
    text += "\nGenerators (asynchrotron generate <what> --out FILE)\n";
    for generator in GENERATORS {
        let _ = writeln!(text, "  {:<16} {}", generator.name, generator.doc);
    }
    text += "\nBenchmarks (asynchrotron bench <name>)\n";
    for (name, _) in BENCHMARKS {
        let _ = writeln!(text, "  {name}");
    }
    text += "\nDevices (--device)\n";
    for line in discover(Clock::real(), false).to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    print(&text)
}

fn list_chain(text: &mut String, recipe: &Recipe) -> Result<()> {
    let settings = Settings::resolve(recipe, RECIPES, &RunArguments::default())?;
    let chain = (recipe.build)(&settings)?.chain;
    let Recipe { name, doc, reads, writes, .. } = recipe;
    let _ = writeln!(text, "  {name:<16} {doc}\n    --input        {reads}\n    --output       {writes}");
    for algorithm in chain.algorithms() {
        let _ = writeln!(text, "    algorithm      {} ({})", algorithm.name, algorithm.inputs.join(", "));
    }
    for parameter in recipe.parameters {
        let unit = if parameter.unit.is_empty() { String::new() } else { format!(" [{}]", parameter.unit) };
        let _ = writeln!(
            text,
            "    -P {:<24} {}{unit}: {}",
            format!("{}={}", parameter.name, parameter.default),
            parameter.kind.expected(),
            parameter.doc
        );
    }
    Ok(())
}
