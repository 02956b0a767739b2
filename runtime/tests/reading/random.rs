//! Whatever a job did, its figures add up, and nothing is found wrong with it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::jobs::{Durations, rounds};
use crate::sample::Sample;

/// Some of nothing, as events have them whose algorithms do not wait; most of some microseconds.
fn duration() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 4 => 1..50_000_i64]
}

fn job() -> impl Strategy<Value = Sample> {
    (1..5_u64, 1..4_u64).prop_flat_map(|(slots, lanes)| {
        let durations = proptest::array::uniform12(duration());
        let events = vec(durations, 1..=slots as usize);
        let all = vec((events, [duration(), duration(), duration()]), 1..8);
        all.prop_map(move |all: Vec<(Vec<Durations>, [i64; 3])>| rounds(&all, slots, lanes))
    })
}

fn total(job: &Sample, is: impl Fn(&Value) -> bool) -> i64 {
    let durations =
        job.records.iter().filter(|record| is(record)).map(|record| record["dur"].as_f64().unwrap());
    durations.map(|us| (1e3 * us).round() as i64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sums_hold_and_nothing_is_found(job in job()) {
        prop_assert_eq!(job.problems(), Vec::<String>::new());
        let analysis = job.analysis();

        let mut lives = BTreeMap::new();
        for algorithm in &analysis.algorithms {
            let states: i64 = algorithm.states.iter().map(|state| state.total_ns).sum();
            prop_assert_eq!(states, algorithm.life_ns, "{}", algorithm.name);
            lives.insert(algorithm.name.as_str(), algorithm.life_ns);
        }
        for (name, life) in lives {
            prop_assert_eq!(life, total(&job, |record| record["cat"] == "algorithm" && record["name"] == name));
        }
        let lives = total(&job, |record| record["cat"] == "event");
        prop_assert_eq!(analysis.event_time.iter().map(|part| part.total_ns).sum::<i64>(), lives);
        for path in analysis.slowest.iter().chain(&analysis.median) {
            prop_assert_eq!(path.segments.iter().map(|segment| segment.duration_ns).sum::<i64>(), path.life_ns);
            // Before the first algorithm the source is read; after that, something is known of every moment.
            let nothing = path.segments.iter().skip(1).filter(|segment| segment.step.what == "nothing recorded");
            prop_assert_eq!(nothing.count(), 0, "{:?}", path);
        }
        for lane in &analysis.lanes {
            let gaps = lane.gaps;
            let parts = gaps.no_requests_ns + gaps.not_enough_requests_ns + gaps.host_not_ready_ns;
            prop_assert_eq!(parts, gaps.total_ns);
            prop_assert_eq!(lane.busy_ns + gaps.total_ns + lane.outside_ns, analysis.span_ns);
        }
        let busy: i64 = analysis.workers.iter().map(|worker| worker.busy_ns).sum();
        prop_assert_eq!(busy, total(&job, |record| record["cat"] == "asynchrotron"));
        prop_assert!(analysis.advice.len() <= 5);
    }

    #[test]
    fn figures_do_not_depend_on_the_order_of_slices_in_the_file(job in job()) {
        let mut turned = job.clone();
        let is_slice = |record: &Value| record["ph"] == "X";
        let mut slices: Vec<Value> = turned.records.iter().filter(|record| is_slice(record)).cloned().collect();
        for record in turned.records.iter_mut().filter(|record| is_slice(record)) {
            *record = slices.pop().unwrap();
        }
        prop_assert_eq!(job.analysis(), turned.analysis());
    }

    #[test]
    fn a_state_that_is_a_little_short_is_found(job in job(), which in any::<proptest::sample::Index>()) {
        let mut job = job;
        let is_state = |record: &Value| record["cat"] == "state" && record["dur"].as_f64().unwrap() > 0.001;
        let mut states: Vec<&mut Value> = job.records.iter_mut().filter(|record| is_state(record)).collect();
        prop_assume!(!states.is_empty());
        let index = which.index(states.len());
        let short = states[index]["dur"].as_f64().unwrap() - 0.001;
        states[index]["dur"] = ((1e3 * short).round() / 1e3).into();
        let problems = job.problems();
        prop_assert_eq!(problems.len(), 1, "{:?}", problems);
        prop_assert!(problems[0].starts_with("states: ") && problems[0].contains("has no state for 0.001 µs"));
    }
}
