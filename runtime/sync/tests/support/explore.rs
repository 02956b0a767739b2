//! Runs loom models: counts what they explored, and shows that they can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use asynchrotron_sync::broken::Fault;
use loom::model::Builder;

use super::refute::refute_by;

/// Two threads: every schedule. Three: at most three preemptions. Four, or three with a long way to go: two.
pub const TWO_THREADS: Option<usize> = None;
pub const THREE_THREADS: Option<usize> = Some(3);
pub const THREE_LONG: Option<usize> = Some(2);
pub const FOUR_THREADS: Option<usize> = Some(2);

fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    // Either limit would end a model early and call it a pass, also when the environment sets it.
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}

/// Explores `model` completely within the bound, and expects that to take more than `more_than` executions: a model that
/// suddenly explores less no longer races as it was meant to.
pub fn explore(
    name: &str,
    preemptions: Option<usize>,
    more_than: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let executions = check(preemptions, model);
    println!("explored {name}: {executions} executions");
    assert!(executions > more_than, "{name}: only {executions} executions, expected more than {more_than}");
}

/// Expects loom to find `fault`, with a message that contains one of `says`. `test` is the name of the calling test.
pub fn refute(
    test: &str,
    fault: Fault,
    preemptions: Option<usize>,
    says: &[&str],
    model: impl Fn() + Send + Sync + 'static,
) {
    refute_by(test, fault, says, || {
        check(preemptions, model);
    });
}
