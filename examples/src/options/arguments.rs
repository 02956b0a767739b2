//! The command line as it was typed: flags are text here, and mean something only after [`Settings`](super::Settings).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Runs chains of reconstruction algorithms on events, many at a time.
#[derive(Parser, Debug)]
#[command(name = "asynchrotron", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a chain
    #[command(allow_negative_numbers = true)]
    Run(Box<RunArguments>),
    /// List chains with their algorithms and parameters, generators, benchmarks and devices
    List,
    /// Print a chain as a graph for Graphviz: `asynchrotron graph clue | dot -Tsvg > clue.svg`
    Graph(GraphArguments),
    /// Write a file of generated events
    Generate(GenerateArguments),
    /// Say in words what a timeline shows, which `run --trace` wrote
    Trace(TraceArguments),
    /// Measure something
    Bench(BenchArguments),
    /// Device code: what there is, and compiling it ahead of time
    #[command(subcommand)]
    Kernels(KernelsCommand),
}

#[derive(Args, Debug, Default)]
pub(crate) struct RunArguments {
    /// The chain, as `asynchrotron list` names it
    pub(crate) chain: String,
    /// File to read events from
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// File to write results to
    #[arg(long, value_name = "FILE")]
    output: Option<String>,
    /// Events to run at most
    #[arg(long, value_name = "N")]
    events: Option<String>,
    /// Events to pass over at the beginning
    #[arg(long, value_name = "N")]
    skip: Option<String>,
    /// Events to run before the clock of the report starts
    #[arg(long, value_name = "N")]
    warmup: Option<String>,
    /// Worker threads [0: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// Events in flight at most [0: eight per thread]
    #[arg(long, value_name = "N")]
    slots: Option<String>,
    /// Where offloaded algorithms compute: auto, host, cuda, cuda:N, cuda:all, emulated[:KEY=VALUE,…], … (see `asynchrotron list`)
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// The time in which the job runs: real, or simulated, which needs one thread and is meant for emulated devices
    #[arg(long, value_name = "CLOCK")]
    clock: Option<String>,
    /// How requests of many events form batches: auto, off, greedy, size=N, delay=N:US, adaptive, adaptive=PRICE, fixed=N
    #[arg(long, value_name = "POLICY")]
    batch: Option<String>,
    /// Write results in the order of the input
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ordered: Option<String>,
    /// Give up an event after this time, in ms
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<String>,
    /// What becomes of events that fail: stop, skip, quarantine=DIR, retry=N[,skip…]
    #[arg(long, value_name = "POLICY")]
    on_error: Option<String>,
    /// Run only the events that an earlier job put in quarantine
    #[arg(long, value_name = "DIR")]
    replay: Option<String>,
    /// Write a timeline, to be opened in Perfetto: a .json, .json.gz or .pftrace
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// How much the timeline holds: full, with the spans of `tracing`, or light [full; light if the clock is simulated]
    #[arg(long, value_name = "LEVEL")]
    trace_level: Option<String>,
    /// Put only what begins so long after the job, and for so long, on the timeline: 2s:500ms
    #[arg(long, value_name = "START:LENGTH")]
    trace_window: Option<String>,
    /// Put only every Nth event on the timeline
    #[arg(long, value_name = "N")]
    trace_every: Option<String>,
    /// Print what every algorithm and batcher is doing, now and then
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    status: Option<String>,
    /// Seed of generated events
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// CLUE's density radius: the same as -P dc=…
    #[arg(long, value_name = "NUMBER", help_heading = "CLUE")]
    dc: Option<String>,
    /// CLUE's least density of a seed: the same as -P rhoc=…
    #[arg(long, value_name = "NUMBER", help_heading = "CLUE")]
    rhoc: Option<String>,
    /// CLUE's search radius for higher points, in dc: the same as -P outlier-factor=…
    #[arg(long, value_name = "NUMBER", help_heading = "CLUE")]
    outlier_factor: Option<String>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArguments,
    /// Print what holds as TOML, which --config reads, and do not run
    #[arg(long)]
    pub(crate) dump_config: bool,
    /// Build everything, check that the input can be read, print the plan, and do not run
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl RunArguments {
    /// The general flags that were given.
    pub(crate) fn general(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let flags: [(&'static str, &Option<String>); 20] = [
            ("input", &self.input),
            ("output", &self.output),
            ("events", &self.events),
            ("skip", &self.skip),
            ("warmup", &self.warmup),
            ("threads", &self.threads),
            ("slots", &self.slots),
            ("device", &self.device),
            ("batch", &self.batch),
            ("clock", &self.clock),
            ("ordered", &self.ordered),
            ("deadline-ms", &self.deadline_ms),
            ("on-error", &self.on_error),
            ("replay", &self.replay),
            ("trace", &self.trace),
            ("trace-level", &self.trace_level),
            ("trace-window", &self.trace_window),
            ("trace-every", &self.trace_every),
            ("status", &self.status),
            ("seed", &self.seed),
        ];
        flags.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// The flags that stand for parameters of a chain.
    pub(crate) fn sugar(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let flags = [("dc", &self.dc), ("rhoc", &self.rhoc), ("outlier-factor", &self.outlier_factor)];
        flags.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }
}

#[derive(Args, Debug, Default)]
pub(crate) struct ParameterArguments {
    /// Set a parameter of the chain, or another option by its name (repeat for more): spill=on lets the host take batches that
    /// would wait longer for a GPU than it takes to compute them here
    #[arg(short = 'P', value_name = "KEY=VALUE")]
    pub(crate) given: Vec<String>,
    /// Read options and parameters from a TOML file; -P and flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct GraphArguments {
    /// The chain, as `asynchrotron list` names it
    pub(crate) chain: String,
    #[command(flatten)]
    pub(crate) parameters: ParameterArguments,
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArguments {
    /// What to generate, as `asynchrotron list` names it
    pub(crate) what: String,
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) events: u64,
    /// Seed: the same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct TraceArguments {
    /// The timeline: FILE.json or FILE.json.gz
    #[arg(value_name = "FILE", required_unless_present = "diff")]
    pub(crate) file: Option<PathBuf>,
    /// Compare two timelines: what became slower, by how much
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["file", "check"])]
    pub(crate) diff: Vec<PathBuf>,
    /// Say what is wrong with the file, a line for each problem; exit with 1 if there are any
    #[arg(long, conflicts_with = "json")]
    pub(crate) check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    /// The benchmark, as `asynchrotron list` names it
    pub(crate) name: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) enum KernelsCommand {
    /// Compile all kernels into a folder, for machines without the compiler, or for a quicker start: run with
    /// ASYNCHROTRON_KERNELS=DIR
    Build(KernelsBuildArguments),
    /// List the sources of kernels, the compiler, and where compiled kernels are looked for
    List,
}

#[derive(Args, Debug)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) struct KernelsBuildArguments {
    /// A GPU's architecture, as `asynchrotron list` shows it: sm_90 (repeat for more)
    #[arg(long = "arch", value_name = "ARCH", required = true)]
    pub(crate) archs: Vec<String>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Reads the command line; where there is nothing to execute (help, mistakes) gives the exit code instead.
pub(crate) fn parse_arguments() -> Result<Command, ExitCode> {
    Arguments::try_parse().map(|arguments| arguments.command).map_err(|error| {
        if !error.use_stderr() {
            // A reader that has closed the pipe has seen enough.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let _ = error.print();
            return ExitCode::from(2);
        }
        let text = error.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let line = lines.join(" ").replace(" tip: ", "; ");
        eprintln!("asynchrotron: {}", line.strip_prefix("error: ").unwrap_or(&line));
        ExitCode::from(2)
    })
}

#[cfg(test)]
impl RunArguments {
    pub(crate) fn with_dc(dc: &str) -> Self {
        RunArguments { dc: Some(dc.into()), ..RunArguments::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
