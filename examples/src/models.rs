//! [`Models`]: the models that a job runs, for its report and for the provenance of what it writes.

use std::fmt;
use std::sync::Arc;

use asynchrotron_devices::inference::{ModelError, ModelReport};

/// The models that a job runs. Clones are the same models.
#[derive(Clone, Default)]
pub(crate) struct Models {
    reports: Vec<Arc<dyn Fn() -> Option<ModelReport>>>,
    /// What was to run on GPUs, and does not.
    not_on_gpu: Vec<ModelError>,
}

impl Models {
    /// Adds a model that can be asked; none, if there is nothing to tell of it.
    pub(crate) fn add(&mut self, report: impl Fn() -> Option<ModelReport> + 'static) {
        if report().is_some() {
            self.reports.push(Arc::new(report));
        }
    }

    /// Says why a model runs on the host beside the GPUs, if it does.
    pub(crate) fn not_on_gpu(&mut self, why: Option<&ModelError>) {
        self.not_on_gpu.extend(why.cloned());
    }

    fn reports(&self) -> impl Iterator<Item = ModelReport> {
        self.reports.iter().filter_map(|report| report())
    }

    /// Which models they are, to the bit.
    pub(crate) fn provenance(&self) -> impl Iterator<Item = (String, String)> {
        self.reports().map(|report| (format!("model.{}.sha256", report.name), report.sha256))
    }
}

/// A line for each.
impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reports().try_for_each(|report| writeln!(f, "{report}"))?;
        let host = |why| writeln!(f, "{why}; its network runs on the host beside the GPU");
        self.not_on_gpu.iter().try_for_each(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_on_the_gpu_says_so_in_one_line() {
        let mut models = Models::default();
        models.not_on_gpu(None);
        assert_eq!(models.to_string(), "");
        models.not_on_gpu(Some(&ModelError::NoProvider { model: "tau".into(), why: "it is late".into() }));
        let line =
            "model `tau` does not run on GPUs: it is late; its network runs on the host beside the GPU\n";
        assert_eq!(models.to_string(), line);
        assert_eq!(models.provenance().count(), 0);
    }
}
