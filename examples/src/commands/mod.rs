//! The subcommands.

mod generate;
mod graph;
mod list;
mod run;
mod trace;

use std::io::{ErrorKind, Write as _, stdout};

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Config, Report, Result, Scheduler};

use crate::interrupt::drain_on_interrupt;
use crate::job::Job;
use crate::options::Command;
use crate::progress::ProgressDisplay;

pub(crate) fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::List => list::list(),
        Command::Graph(arguments) => graph::graph(&arguments),
        Command::Generate(arguments) => generate::generate(&arguments),
        Command::Trace(arguments) => trace::trace(&arguments),
        Command::Bench(arguments) => crate::bench::run(&arguments.name, arguments.json),
    }
}

/// Runs a job with progress on stderr and Ctrl-C in hand. The report is there if any event was run.
fn conduct(job: Job, config: Config) -> Result<(Option<Report>, Result<String>)> {
    let display = ProgressDisplay::new();
    drain_on_interrupt(config.stop.clone(), display.announcer())?;
    let scheduler = Scheduler::new(Config { ticker: Some(display.ticker.clone()), ..config });
    Ok(job.run(&scheduler))
}

/// Writes to stdout. A reader that has seen enough (`asynchrotron list | head -1`) is no error.
fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
