//! `asynchrotron run`.

use asynchrotron::timeline::Timeline;
use asynchrotron::{Error, Result};

use super::{conduct, print};
use crate::chains::{RECIPES, find_recipe};
use crate::device;
use crate::error::Interrupted;
use crate::options::{RunArguments, Settings};

pub(crate) fn run(arguments: &RunArguments) -> Result<()> {
    let recipe = find_recipe(&arguments.chain)?;
    let settings = Settings::resolve(recipe, RECIPES, arguments)?;
    if arguments.dump_config {
        return print(&settings.dump());
    }
    let (mut config, trace) = (settings.config()?, settings.timeline()?);
    let job = (recipe.job)(&settings)?;
    if arguments.dry_run {
        let (threads, slots) = (config.resolved_threads(), config.resolved_slots());
        let device = device::select(&settings)?;
        let plan = job.plan();
        return print(&format!(
            "{plan}device      {}\nthreads     {threads}\nslots       {slots}\n",
            device.name()
        ));
    }
    let models = job.models();
    let timeline = settings.trace().map(|path| Timeline::create(path, trace)).transpose()?;
    config.timeline = timeline.as_ref().map(Timeline::recorder);
    let (report, result) = conduct(job, config, settings.status())?;
    let traced = timeline.map(Timeline::finish).transpose();
    let interrupted = report.as_ref().is_some_and(|report| report.interrupted);
    if let Some(report) = report {
        let traced = traced.as_ref().ok().and_then(Option::as_ref).map_or(String::new(), ToString::to_string);
        print(&format!("{}\n{models}{traced}", report.to_string().trim_end()))?;
    }
    print(&format!("\n{}", result?))?;
    // The job is what was asked for: a trace that is incomplete comes second.
    traced?;
    if interrupted { Err(Error::new(Interrupted)) } else { Ok(()) }
}
