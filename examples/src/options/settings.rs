//! [`Settings`]: what holds for a job, after everything the user wrote is resolved.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::time::Clock;
use asynchrotron::timeline::{Level, TimelineConfig};
use asynchrotron::{Config, OnError, Result, read_quarantine};
use asynchrotron_devices::{Device, Devices, default_model_policy, default_policy};

use super::arguments::{ParameterArguments, RunArguments};
use super::file::ConfigFile;
use super::parameter::{Kind, Parameter, Values, window};
use crate::chains::Recipe;
use crate::error::usage;
use crate::io::Draft;

const fn option(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind, default, unit: "", doc }
}

/// The options that every chain has.
pub(crate) const GENERAL: &[Parameter] = &[
    option("input", Kind::Text, "", "file to read events from"),
    option("output", Kind::Text, "", "file to write results to"),
    option("events", Kind::Count, "", "events to run at most"),
    option("skip", Kind::Count, "0", "events to pass over at the beginning"),
    option("warmup", Kind::Count, "0", "events to run before the clock of the report starts"),
    option("threads", Kind::Count, "0", "worker threads; 0: one per core"),
    option("slots", Kind::Count, "0", "events in flight at most; 0: eight per thread"),
    option("device", Kind::Text, "auto", "where offloaded algorithms compute"),
    option(
        "spill",
        Kind::Choice(&["on", "off"]),
        "off",
        "on: the host takes batches that would wait longer for a GPU than it takes to compute them here",
    ),
    option("clock", Kind::Choice(&["real", "simulated"]), "real", "the time in which the job runs"),
    option(
        "batch",
        Kind::Batches,
        "auto",
        "how requests of many events form batches; auto: what suits the device",
    ),
    option("ordered", Kind::Flag, "false", "write results in the order of the input"),
    Parameter { unit: "ms", ..option("deadline-ms", Kind::Count, "", "give up an event after this time") },
    option("on-error", Kind::Policy, "stop", "stop, skip, quarantine=DIR, retry=N[,skip…]"),
    option("replay", Kind::Text, "", "run only the events in this quarantine folder"),
    option("trace", Kind::Text, "", "write a timeline to this file: .json, .json.gz or .pftrace"),
    option(
        "trace-level",
        Kind::Choice(&["full", "light"]),
        "",
        "how much the timeline holds; nothing: full, or light if the clock is simulated",
    ),
    option("trace-window", Kind::Window, "", "put only what begins in this time on the timeline"),
    option("trace-every", Kind::Count, "1", "put only every Nth event on the timeline"),
    option("status", Kind::Flag, "false", "print what every algorithm and batcher is doing, now and then"),
    option("seed", Kind::Count, "0", "seed of generated events"),
];

/// What cannot change a result. Left out of a result's provenance, so that equal results are equal files.
const NO_INFLUENCE: &[&str] = &[
    "output",
    "threads",
    "slots",
    "clock",
    "batch",
    "warmup",
    "ordered",
    "deadline-ms",
    "on-error",
    "replay",
    "trace",
    "trace-level",
    "trace-window",
    "trace-every",
    "status",
];

/// What holds for a job.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    chain: &'static str,
    general: Values,
    parameters: Values,
    /// One for the job and its devices.
    clock: Clock,
    /// Opened when first asked for.
    devices: OnceLock<Devices>,
}

impl Settings {
    /// What holds if the user writes nothing.
    pub(crate) fn defaults(recipe: &Recipe) -> Result<Self> {
        Self::resolve_parameters(recipe, &[], &ParameterArguments::default())
    }

    /// The configuration file, then `-P`, then flags.
    pub(crate) fn resolve(recipe: &Recipe, recipes: &[Recipe], arguments: &RunArguments) -> Result<Self> {
        let mut settings = Self::resolve_parameters(recipe, recipes, &arguments.parameters)?;
        for (name, text) in arguments.general() {
            settings.general.set_text(name, text).map_err(|error| usage!("--{error}"))?;
        }
        for (name, text) in arguments.sugar() {
            if !recipe.parameters.iter().any(|parameter| parameter.name == name) {
                return Err(usage!("--{name}: the chain {} has no such parameter", recipe.name));
            }
            settings.parameters.set_text(name, text).map_err(|error| usage!("--{error}"))?;
        }
        if settings.general.text("clock") == Some("simulated") {
            settings.clock = Clock::simulated();
        }
        settings.check()?;
        Ok(settings)
    }

    /// The configuration file, then `-P`.
    pub(crate) fn resolve_parameters(
        recipe: &Recipe,
        recipes: &[Recipe],
        arguments: &ParameterArguments,
    ) -> Result<Self> {
        let mut general = Values::defaults("key", GENERAL);
        let table = |recipe: &Recipe| {
            (
                recipe.name,
                Values::defaults(format!("parameter of the chain {}", recipe.name), recipe.parameters),
            )
        };
        let mut tables: Vec<(&str, Values)> = recipes.iter().map(table).collect();
        if let Some(path) = &arguments.config {
            ConfigFile::read(path)?.apply(&mut general, &mut tables, recipe.name)?;
        }
        let own = tables.into_iter().find(|(name, _)| *name == recipe.name);
        let (_, mut parameters) = own.unwrap_or_else(|| table(recipe));
        for given in &arguments.given {
            let (key, text) =
                given.split_once('=').ok_or_else(|| usage!("-P: expected KEY=VALUE, found `{given}`"))?;
            let values =
                if !parameters.has(key) && general.has(key) { &mut general } else { &mut parameters };
            values.set_text(key, text).map_err(|error| usage!("-P: {error}"))?;
        }
        Ok(Settings {
            chain: recipe.name,
            general,
            parameters,
            clock: Clock::real(),
            devices: OnceLock::new(),
        })
    }

    /// No file may be read and written, or written twice.
    fn check(&self) -> Result<()> {
        let files = [("input", self.input()), ("output", self.output()), ("trace", self.trace())];
        for (i, (name, file)) in files.iter().enumerate() {
            for (other_name, other) in &files[..i] {
                if let (Some(file), Some(other)) = (file, other)
                    && is_same_file(file, other)
                {
                    return Err(usage!(
                        "--{name}: {} is the --{other_name}: it would be lost",
                        file.display()
                    ));
                }
            }
        }
        let draft = self.output().map(|output| Draft::beside(&output));
        for (name, file) in files.iter().filter(|(name, _)| *name != "output") {
            if let (Some(file), Some(draft)) = (file, &draft)
                && is_same_file(file, draft)
            {
                return Err(usage!(
                    "--{name}: {} is where the --output is written until it is whole: it would be lost",
                    file.display()
                ));
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.general.text(name).map(PathBuf::from)
    }

    pub(crate) fn input(&self) -> Option<PathBuf> {
        self.path("input")
    }

    pub(crate) fn output(&self) -> Option<PathBuf> {
        self.path("output")
    }

    pub(crate) fn trace(&self) -> Option<PathBuf> {
        self.path("trace")
    }

    pub(crate) fn device(&self) -> &str {
        self.general.text("device").unwrap_or("auto")
    }

    /// The devices of this machine, for the job as a whole: who asks for the same one twice gets the same lanes.
    pub(crate) fn devices(&self) -> &Devices {
        let spill = self.general.text("spill") == Some("on");
        self.devices.get_or_init(|| crate::device::discover(self.clock.clone(), spill))
    }

    /// How the requests of an algorithm form batches: its own parameter, `--batch`, or what suits the device.
    pub(crate) fn batches(&self, parameter: &str, device: &dyn Device) -> BatchConfig {
        self.batches_or(parameter, default_policy(device))
    }

    /// The same for an algorithm that is a model.
    pub(crate) fn model_batches(&self, parameter: &str, device: &dyn Device) -> BatchConfig {
        self.batches_or(parameter, default_model_policy(device))
    }

    fn batches_or(&self, parameter: &str, default: BatchPolicy) -> BatchConfig {
        let chosen = self.parameters.text(parameter).or(self.general.text("batch"));
        let policy = chosen.and_then(|text| text.parse().ok()).unwrap_or(default);
        BatchConfig::default().with_policy(policy)
    }

    pub(crate) fn events(&self) -> Option<u64> {
        self.general.count("events")
    }

    pub(crate) fn skip(&self) -> u64 {
        self.general.count("skip").unwrap_or(0)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.general.count("seed").unwrap_or(0)
    }

    /// The parameters of the chain.
    pub(crate) fn parameters(&self) -> &Values {
        &self.parameters
    }

    /// What goes on the timeline.
    pub(crate) fn timeline(&self) -> Result<TimelineConfig> {
        let level = match self.general.text("trace-level") {
            Some("light") => Level::Light,
            Some(_) if self.clock.is_simulated() => {
                return Err(usage!(
                    "--trace-level: spans are in real time: with --clock simulated, it is light"
                ));
            }
            None if self.clock.is_simulated() => Level::Light,
            _ => Level::Full,
        };
        let every = self.general.count("trace-every").unwrap_or(1);
        if every == 0 {
            return Err(usage!("--trace-every: expected a whole number, 1 or more, found 0"));
        }
        let window = self.general.text("trace-window").and_then(window);
        Ok(TimelineConfig { level, every, window, ..TimelineConfig::default() })
    }

    /// Whether to print what is going on.
    pub(crate) fn status(&self) -> bool {
        self.general.flag("status")
    }

    /// How the scheduler is to run the chain.
    pub(crate) fn config(&self) -> Result<Config> {
        let count = |name| self.general.count(name);
        let small =
            |name| usize::try_from(count(name).unwrap_or(0)).map_err(|_| usage!("--{name}: too large"));
        let replay = self.path("replay").map(|folder| read_quarantine(&folder)).transpose()?;
        Ok(Config {
            threads: small("threads")?,
            slots: small("slots")?,
            ordered: self.general.flag("ordered"),
            deadline: count("deadline-ms").map(Duration::from_millis),
            on_error: self.general.text("on-error").unwrap_or("stop").parse::<OnError>()?,
            events: count("events"),
            skip: self.skip(),
            warmup: count("warmup").unwrap_or(0),
            replay,
            clock: self.clock.clone(),
            ..Config::default()
        })
    }

    /// Everything that holds, with comments, as `--config` reads it.
    pub(crate) fn dump(&self) -> String {
        let Settings { chain, general, parameters, .. } = self;
        format!(
            "# asynchrotron run {chain} --config THIS_FILE\n{}\n[{chain}]\n{}",
            general.to_toml(true, &[]),
            parameters.to_toml(true, &[])
        )
    }

    /// What determines the result, as TOML: to be kept with it.
    pub(crate) fn provenance(&self) -> String {
        let Settings { chain, general, parameters, .. } = self;
        let no_influence = parameters.names_of_batches();
        format!(
            "{}[{chain}]\n{}",
            general.to_toml(false, NO_INFLUENCE),
            parameters.to_toml(false, &no_influence)
        )
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let real = |path| std::fs::canonicalize(path).ok();
    a == b || real(a).is_some_and(|a| real(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Parameter] = &[option("cut", Kind::Number, "1", "a cut")];

    fn recipe(name: &'static str) -> Recipe {
        Recipe { name, parameters: TABLE, ..crate::chains::RECIPES[0] }
    }

    #[test]
    fn flags_for_a_parameter_that_the_chain_does_not_have_are_refused() {
        let (recipe, mut arguments) = (recipe("other"), RunArguments::default());
        arguments.parameters.given = vec!["cut=2".into()];
        assert_eq!(
            Settings::resolve(&recipe, &[recipe], &arguments).unwrap().parameters().number("cut"),
            2.0
        );
        let arguments = RunArguments::with_dc("1");
        let error = Settings::resolve(&recipe, &[recipe], &arguments).unwrap_err();
        assert_eq!(error.to_string(), "--dc: the chain other has no such parameter");
    }
}
