//! [`Models`]: the models that a job runs, for its report and for the provenance of what it writes.

use std::fmt;
use std::sync::Arc;

use asynchrotron_devices::inference::ModelReport;

/// The models that a job runs. Clones are the same models.
#[derive(Clone, Default)]
pub(crate) struct Models(Vec<Arc<dyn Fn() -> Option<ModelReport>>>);

impl Models {
    /// Adds a model that can be asked; none, if there is nothing to tell of it.
    pub(crate) fn add(&mut self, report: impl Fn() -> Option<ModelReport> + 'static) {
        if report().is_some() {
            self.0.push(Arc::new(report));
        }
    }

    fn reports(&self) -> impl Iterator<Item = ModelReport> {
        self.0.iter().filter_map(|report| report())
    }

    /// Which models they are, to the bit.
    pub(crate) fn provenance(&self) -> impl Iterator<Item = (String, String)> {
        self.reports().map(|report| (format!("model.{}.sha256", report.name), report.sha256))
    }
}

/// A line for each.
impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reports().try_for_each(|report| writeln!(f, "{report}"))
    }
}
