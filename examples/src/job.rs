//! [`Job`]: a chain with its source and its outputs, ready to run.

use asynchrotron::{Chain, Error, Report, Result, RunError, Scheduler, Source};

use crate::io::Draft;
use crate::models::Models;

/// A chain with the means to say what it found.
pub(crate) struct Built {
    pub(crate) chain: Chain,
    /// The files that its sinks write.
    pub(crate) drafts: Vec<Draft>,
    /// The models that its algorithms run.
    pub(crate) models: Models,
    /// What the sinks saw, to be printed after the report. Asked once, after the last event.
    pub(crate) summary: Box<dyn FnOnce() -> String>,
}

impl Built {
    /// A chain that writes one file, and has no more to say.
    pub(crate) fn writing(chain: Chain, draft: Draft) -> Self {
        Built { chain, drafts: vec![draft], models: Models::default(), summary: Box::new(String::new) }
    }
}

/// Runs a chain on a source of some type.
type Run = Box<dyn FnOnce(&Scheduler, Chain) -> Result<Report, RunError>>;

/// A chain with its source and its outputs, ready to run.
pub(crate) struct Job {
    built: Built,
    run: Run,
    /// One line on what the source is.
    reads: String,
}

impl Job {
    pub(crate) fn new<S: Source>(built: Built, source: S, reads: String) -> Self {
        Job { built, run: Box::new(move |scheduler, chain| scheduler.run(chain, source)), reads }
    }

    /// What would be run, for `--dry-run`.
    pub(crate) fn plan(&self) -> String {
        let mut lines =
            vec![format!("chain       {}", self.built.chain.name()), format!("reads       {}", self.reads)];
        for algorithm in self.built.chain.algorithms() {
            lines.push(format!("algorithm   {} ({})", algorithm.name, algorithm.inputs.join(", ")));
        }
        lines.extend(self.built.drafts.iter().map(|draft| format!("writes      {}", draft.path().display())));
        lines.join("\n") + "\n"
    }

    /// The models that it runs.
    pub(crate) fn models(&self) -> Models {
        self.built.models.clone()
    }

    /// Runs the job to its end. The report is there if any event was run, also if the job failed.
    pub(crate) fn run(self, scheduler: &Scheduler) -> (Option<Report>, Result<String>) {
        let Built { chain, drafts, summary, .. } = self.built;
        let (report, result) = match (self.run)(scheduler, chain) {
            Ok(report) => (Some(report), Ok(())),
            Err(error) => (error.report().cloned(), Err(Error::new(error))),
        };
        if let Err(error) = result {
            let kept: Vec<String> = drafts.into_iter().filter_map(Draft::keep).collect();
            let error = if kept.is_empty() {
                error
            } else {
                Error::msg(format!("{error:#} (what was done until then is in {})", kept.join(", ")))
            };
            return (report, Err(error));
        }
        let published = drafts.into_iter().try_for_each(Draft::publish);
        (report, published.map(|()| summary()))
    }
}
