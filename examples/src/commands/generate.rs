//! `asynchrotron generate`.

use asynchrotron::{Config, Result};

use super::{conduct, print};
use crate::chains::find_generator;
use crate::options::GenerateArguments;

pub(crate) fn generate(arguments: &GenerateArguments) -> Result<()> {
    let generator = find_generator(&arguments.what)?;
    let job = (generator.job)(arguments.events, arguments.seed, &arguments.out)?;
    // The same seed gives the same file, however many workers there are.
    let (report, result) = conduct(job, Config { ordered: true, ..Config::default() }, false)?;
    let summary = result?;
    let events = report.map_or(0, |report| report.events);
    print(&format!("wrote {events} events to {}\n{summary}", arguments.out.display()))
}
