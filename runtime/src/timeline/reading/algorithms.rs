//! [`AlgorithmFigures`]: what the calls of an algorithm spent their lives with.

use std::collections::BTreeMap;

use serde::Serialize;

use super::events::mean_and_error;
use super::intervals::share;
use super::percentiles::Percentiles;
use super::recording::{Call, Name, Recording, StateKind};

/// What the calls of an algorithm spent their lives with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlgorithmFigures {
    /// Its name in the chain.
    pub name: String,
    /// Times that it was called.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// How often it was polled.
    pub polls: u64,
    /// From when its inputs were there to its end.
    pub life: Percentiles,
    /// The sum of its lives; that of its states, if nothing is missing from the file.
    pub life_ns: i64,
    /// Those that occurred.
    pub states: Vec<StateFigures>,
}

/// One state of an algorithm.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StateFigures {
    /// Which.
    pub state: StateKind,
    /// The sum over all calls.
    pub total_ns: i64,
    /// Of all lives.
    pub share: f64,
    /// For one call, on average.
    pub mean_ns: f64,
    /// How far the mean may be off by chance: its standard error.
    pub error_ns: f64,
}

impl AlgorithmFigures {
    /// By the sum of their lives, the longest first.
    pub(super) fn of_all(recording: &Recording) -> Vec<AlgorithmFigures> {
        let mut by_name: BTreeMap<Name, Vec<&Call>> = BTreeMap::new();
        for call in &recording.calls {
            by_name.entry(call.algorithm).or_default().push(call);
        }
        let mut all: Vec<_> =
            by_name.into_iter().map(|(name, calls)| Self::of(recording, name, &calls)).collect();
        all.sort_by(|a, b| b.life_ns.cmp(&a.life_ns).then_with(|| a.name.cmp(&b.name)));
        all
    }

    fn of(recording: &Recording, name: Name, calls: &[&Call]) -> AlgorithmFigures {
        let lives: Vec<i64> = calls.iter().map(|call| call.life_ns()).collect();
        let life_ns = lives.iter().sum();
        let mut states = Vec::new();
        for state in StateKind::ALL {
            let times = calls.iter().map(|call| {
                let own = recording.states[call.states.clone()].iter().filter(|one| one.kind == state);
                own.map(|one| one.end_ns - one.begin_ns).sum::<i64>()
            });
            let total_ns: i64 = times.clone().sum();
            if total_ns != 0 {
                let (mean_ns, error_ns) = mean_and_error(times);
                states.push(StateFigures {
                    state,
                    total_ns,
                    share: share(total_ns, life_ns),
                    mean_ns,
                    error_ns,
                });
            }
        }
        AlgorithmFigures {
            name: recording.name(name).to_owned(),
            calls: calls.len() as u64,
            failed: calls.iter().filter(|call| call.failed).count() as u64,
            polls: calls.iter().map(|call| call.polls).sum(),
            life: Percentiles::of(lives),
            life_ns,
            states,
        }
    }

    /// The sum over all calls; zero of what did not occur.
    pub fn total_ns(&self, state: StateKind) -> i64 {
        self.states.iter().find(|figures| figures.state == state).map_or(0, |figures| figures.total_ns)
    }
}

impl Call {
    /// From when its inputs were there to its end.
    pub fn life_ns(&self) -> i64 {
        self.end_ns - self.begin_ns
    }
}
