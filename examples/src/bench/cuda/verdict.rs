//! What the measurements are held against: a line for each aim, from the cases of the parts that ran.

use serde_json::{Value, json};

/// CERN's graph with five suspensions on the same GPU took this much of the processor per event, at its best 12.9 k/s.
const CERN_CPU_US: f64 = 171.0;
/// What the bus carries each way.
const BUS_GB_PER_S: f64 = 55.0;
/// Runs of a tenth of a second differ by this much.
const NOISE: f64 = 0.05;

/// What one aim came to.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    aim: &'static str,
    /// `None` if its part ran without the case that it is about.
    found: Option<f64>,
    /// The case that was found, where there are several.
    of: String,
    /// `None` where nothing was aimed at.
    met: Option<bool>,
}

/// The verdicts on what was measured, aims of parts that did not run left out.
pub(super) fn verdicts(result: &Value) -> Vec<Verdict> {
    let part = |name: &str| result.get(name).and_then(Value::as_array);
    let mut all = Vec::new();
    if let Some(cases) = part("waits") {
        all.extend(waits(cases));
    }
    if let Some(cases) = part("graph") {
        all.extend(graph(cases));
    }
    if let Some(cases) = part("clue") {
        all.push(clue(cases));
    }
    if let Some(cases) = part("copies") {
        all.extend(copies(cases));
    }
    all
}

impl Verdict {
    fn at_least(aim: &'static str, limit: f64, found: Option<(f64, String)>) -> Self {
        Self::new(aim, found, |found| found >= limit)
    }

    fn at_most(aim: &'static str, limit: f64, found: Option<(f64, String)>) -> Self {
        Self::new(aim, found, |found| found <= limit)
    }

    fn new(aim: &'static str, found: Option<(f64, String)>, met: impl FnOnce(f64) -> bool) -> Self {
        let (found, of) = found.unzip();
        // What was not measured was not met.
        Self { aim, found, of: of.unwrap_or_default(), met: Some(found.is_some_and(met)) }
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        json!({ "aim": self.aim, "found": self.found.map(super::round), "of": self.of, "met": self.met })
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "found",
        };
        let found = self.found.map_or("not measured".into(), |found| super::round(found).to_string());
        let of = if self.of.is_empty() { String::new() } else { format!(" ({})", self.of) };
        format!("{met:6}  {}: {found}{of}", self.aim)
    }
}

fn number(case: &Value, field: &str) -> Option<f64> {
    case.get(field)?.as_f64()
}

fn is(case: &Value, field: &str, expected: f64) -> bool {
    number(case, field) == Some(expected)
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case.get(field).and_then(Value::as_str).unwrap_or("")
}

/// The greatest of a field, and the case that has it.
fn greatest<'a>(cases: impl Iterator<Item = &'a Value>, field: &str) -> Option<(f64, &'a Value)> {
    let found = cases.filter_map(|case| Some((number(case, field)?, case)));
    found.max_by(|(a, _), (b, _)| a.total_cmp(b))
}

fn waits(cases: &[Value]) -> Vec<Verdict> {
    let asked = || cases.iter().filter(|case| text(case, "way") == "ask");
    let of_limit = |kernel_us| {
        let mut these = asked().filter(move |case| {
            is(case, "tasks", 64.0) && is(case, "workers", 2.0) && is(case, "kernel_us", kernel_us)
        });
        these.find_map(|case| number(case, "of_limit")).map(|share| (share, String::new()))
    };
    let place = |(found, case): (f64, &Value)| {
        let of = |field| number(case, field).unwrap_or(f64::NAN);
        let (tasks, kernel, workers) = (of("tasks"), of("kernel_us"), of("workers"));
        (found, format!("the worst: {tasks} × {kernel} µs, {workers} workers"))
    };
    let latency = greatest(asked().filter(|case| is(case, "tasks", 1.0)), "p50_over_block");
    let cpu = greatest(asked(), "cpu_per_wait_over_least");
    vec![
        Verdict::at_least("waits of 64 × 500 µs with 2 workers, ≥ 0.95 of the limit", 0.95, of_limit(500.0)),
        Verdict::at_least("waits of 64 × 100 µs with 2 workers, ≥ 0.6 of the limit", 0.6, of_limit(100.0)),
        Verdict::at_most("latency of one task (p50), ≤ 1.3 × that of blocking", 1.3, latency.map(place)),
        Verdict::at_most("CPU per wait, ≤ 1.3 × that of the best way", 1.3, cpu.map(place)),
    ]
}

fn graph(cases: &[Value]) -> Vec<Verdict> {
    let place = |case: &Value| {
        let of = |field| number(case, field).unwrap_or(f64::NAN);
        format!("{}, {} slots, {} workers", text(case, "way"), of("slots"), of("workers"))
    };
    let best = |found: Option<(f64, &Value)>| found.map(|(per_s, case)| (per_s, place(case)));
    let alone = || cases.iter().filter(|case| text(case, "way") != "batched");
    let batched = cases.iter().filter(|case| text(case, "way") == "batched");
    let five = greatest(cases.iter().filter(|case| text(case, "way") == "five"), "events_per_s");
    let cpu = five.and_then(|(_, case)| Some((number(case, "cpu_us_per_event")?, place(case))));
    vec![
        Verdict::at_least(
            "events/s of CERN's graph, unbatched, ≥ 100 k",
            100e3,
            best(greatest(alone(), "events_per_s")),
        ),
        Verdict::at_least(
            "events/s of more workers over those of fewer, unbatched, ≥ 1 (within 5 %)",
            1.0 - NOISE,
            of_fewer(alone),
        ),
        Verdict::at_least(
            "events/s of CERN's graph, batched, ≥ 1 M",
            1e6,
            best(greatest(batched, "events_per_s")),
        ),
        Verdict::at_most(
            "CPU per event with five suspensions, ≤ 1/5 of CERN's 171 µs",
            CERN_CPU_US / 5.0,
            cpu,
        ),
    ]
}

/// The most that is lost by adding workers, with as many slots as are best for each number of workers. `None` with one number only.
fn of_fewer<'a, I: Iterator<Item = &'a Value>>(cases: impl Fn() -> I) -> Option<(f64, String)> {
    let mut workers: Vec<f64> = cases().filter_map(|case| number(case, "workers")).collect();
    workers.sort_by(f64::total_cmp);
    workers.dedup();
    let best = |&workers: &f64| greatest(cases().filter(|case| is(case, "workers", workers)), "events_per_s");
    let per_s: Vec<f64> = workers.iter().filter_map(|workers| Some(best(workers)?.0)).collect();
    let ratios = (1..per_s.len().min(workers.len())).map(|more| {
        let fewer = per_s[..more].iter().copied().fold(0.0, f64::max);
        (per_s[more] / fewer, format!("the worst: {} workers", workers[more]))
    });
    ratios.min_by(|(a, _), (b, _)| a.total_cmp(b))
}

fn clue(cases: &[Value]) -> Verdict {
    let same = cases.iter().filter(|case| case.get("identical") == Some(&Value::Bool(true))).count();
    let found = (!cases.is_empty()).then(|| (same as f64, format!("of {} cases", cases.len())));
    let met = same == cases.len();
    Verdict::new("CLUE identical on host and GPU, everywhere", found, |_| met)
}

fn copies(cases: &[Value]) -> Vec<Verdict> {
    let share = |aim, field, of: &str| {
        let found = greatest(cases.iter(), field);
        let found = found.map(|(gb, case)| (gb / BUS_GB_PER_S, number(case, of).unwrap_or(f64::NAN)));
        let (found, count) = found.unzip();
        let of = count.map_or(String::new(), |count| format!("{count} {of}"));
        Verdict { aim, found, of, met: None }
    };
    vec![
        share("share of the bus's 55 GB/s, pinned copies alone", "pinned_in_gb_per_s", "bytes"),
        share("share of the bus's 55 GB/s, each way at once beside kernels", "each_way_gb_per_s", "lanes"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(way: &str, tasks: u32, kernel_us: f64, workers: u32, [limit, latency, cpu]: [f64; 3]) -> Value {
        json!({
            "way": way, "tasks": tasks, "kernel_us": kernel_us, "workers": workers, "of_limit": limit, "p50_over_block": latency,
            "cpu_per_wait_over_least": cpu,
        })
    }

    fn event(way: &str, slots: u32, workers: u32, per_s: f64, cpu_us: f64) -> Value {
        json!({ "way": way, "slots": slots, "workers": workers, "events_per_s": per_s, "cpu_us_per_event": cpu_us })
    }

    fn lines(result: &Value) -> Vec<String> {
        verdicts(result).iter().map(Verdict::line).collect()
    }

    #[test]
    fn aims_that_are_met_say_by_how_much() {
        let result = json!({
            "machine": "some",
            "waits": [
                wait("ask", 64, 500.0, 2, [0.97, 1.0, 1.0]),
                wait("block", 64, 500.0, 2, [0.03, 1.0, 1.9]),
                wait("ask", 64, 100.0, 2, [0.61, 9.0, 1.1]),
                wait("ask", 64, 100.0, 8, [0.1, 9.0, 1.2]),
                wait("ask", 1, 0.0, 8, [f64::NAN, 1.29, 1.0]),
                wait("ask", 1, 20.0, 2, [0.7, 1.1, 1.0]),
                wait("thread", 1, 20.0, 2, [0.7, 2.0, 9.0]),
            ],
            "graph": [
                event("five", 16, 1, 110e3, 9.0),
                event("five", 64, 1, 120e3, 20.0),
                event("three", 64, 2, 190e3, 7.0),
                event("three", 64, 16, 188e3, 8.0),
                event("five", 64, 16, 90e3, 50.0),
                event("batched", 1024, 4, 2.5e6, 1.0),
            ],
            "clue": [{ "identical": true }, { "identical": true }],
            "copies": [
                { "bytes": 4096, "pinned_in_gb_per_s": 1.1 },
                { "bytes": 1_048_576, "pinned_in_gb_per_s": 52.8 },
                { "lanes": 1, "each_way_gb_per_s": 20.0 },
                { "lanes": 4, "each_way_gb_per_s": 44.0 },
            ],
        });
        assert_eq!(
            lines(&result),
            [
                "met     waits of 64 × 500 µs with 2 workers, ≥ 0.95 of the limit: 0.97",
                "met     waits of 64 × 100 µs with 2 workers, ≥ 0.6 of the limit: 0.61",
                "met     latency of one task (p50), ≤ 1.3 × that of blocking: 1.29 (the worst: 1 × 0 µs, 8 workers)",
                "met     CPU per wait, ≤ 1.3 × that of the best way: 1.2 (the worst: 64 × 100 µs, 8 workers)",
                "met     events/s of CERN's graph, unbatched, ≥ 100 k: 190000 (three, 64 slots, 2 workers)",
                "met     events/s of more workers over those of fewer, unbatched, ≥ 1 (within 5 %): 0.989 (the worst: 16 workers)",
                "met     events/s of CERN's graph, batched, ≥ 1 M: 2500000 (batched, 1024 slots, 4 workers)",
                "met     CPU per event with five suspensions, ≤ 1/5 of CERN's 171 µs: 20 (five, 64 slots, 1 workers)",
                "met     CLUE identical on host and GPU, everywhere: 2 (of 2 cases)",
                "found   share of the bus's 55 GB/s, pinned copies alone: 0.96 (1048576 bytes)",
                "found   share of the bus's 55 GB/s, each way at once beside kernels: 0.8 (4 lanes)",
            ]
        );
    }

    #[test]
    fn aims_that_are_missed_name_the_worst_case() {
        let result = json!({
            "waits": [
                wait("ask", 64, 500.0, 2, [0.949, 1.0, 1.31]),
                wait("ask", 64, 100.0, 2, [0.59, 1.0, 1.0]),
                wait("ask", 1, 20.0, 8, [0.5, 1.4, 1.0]),
            ],
            "graph": [
                event("five", 64, 1, 90e3, 35.0),
                event("five", 64, 2, 99e3, 34.3),
                event("five", 64, 16, 80e3, 30.0),
                event("batched", 64, 1, 0.9e6, 1.0),
            ],
            "clue": [{ "identical": true }, { "identical": false }],
        });
        let verdicts = verdicts(&result);
        assert!(verdicts.iter().all(|verdict| verdict.met == Some(false)), "{verdicts:?}");
        assert_eq!(
            verdicts[5].json(),
            json!({
                "aim": "events/s of more workers over those of fewer, unbatched, ≥ 1 (within 5 %)", "found": 0.808,
                "of": "the worst: 16 workers", "met": false,
            })
        );
        assert_eq!(verdicts[7].found, Some(34.3));
        assert_eq!((verdicts[8].found, verdicts.len()), (Some(1.0), 9));
    }

    #[test]
    fn parts_that_did_not_run_have_no_verdict_and_cases_that_are_missing_are_not_met() {
        assert_eq!(verdicts(&json!({ "bench": "cuda", "calls": [] })), []);
        let result = json!({ "waits": [], "graph": [], "clue": [] });
        for verdict in verdicts(&result) {
            assert_eq!(verdict.met, Some(false), "{verdict:?}");
            assert!(verdict.line().ends_with(": not measured"), "{}", verdict.line());
            assert_eq!(verdict.json()["found"], Value::Null);
        }
    }
}
