//! The subcommands.

mod generate;
mod graph;
#[cfg(feature = "cuda")]
mod kernels;
mod list;
mod run;
mod trace;

use std::io::{ErrorKind, Write as _, stdout};

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Config, Monitor, Report, Result, Scheduler};

use crate::dump::dump_on_signal;
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
        #[cfg(feature = "cuda")]
        Command::Kernels(command) => kernels::kernels(&command),
        #[cfg(not(feature = "cuda"))]
        Command::Kernels(_) => Err(asynchrotron::anyhow::anyhow!(
            "this build has no CUDA support (feature `cuda`), and no kernels"
        )),
        Command::Bench(arguments) => crate::bench::run(&arguments.name, arguments.json),
    }
}

/// Runs a job with progress, or what is going on, on stderr, and signals in hand. The report is there if any event was run.
fn conduct(job: Job, config: Config, status: bool) -> Result<(Option<Report>, Result<String>)> {
    let monitor = Monitor::new();
    let display = if status { ProgressDisplay::status(monitor.clone()) } else { ProgressDisplay::new() };
    drain_on_interrupt(config.stop.clone(), display.announcer())?;
    dump_on_signal(monitor.clone(), display.announcer())?;
    let (ticker, monitor) = (Some(display.ticker.clone()), Some(monitor));
    let scheduler = Scheduler::new(Config { ticker, monitor, ..config });
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
