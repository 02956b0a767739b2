//! `asynchrotron trace`: a timeline in words, as JSON, compared, checked.

mod support;

use std::process::{Command, Stdio};

use support::{COMMAND, Folder};

/// A job of one event: it is prepared, and clusterized in a batch of its own. `{ready}` is when it could go on at last, and
/// `{end}` when it had.
const TIMELINE: &str = r#"[
{"ph":"M","pid":1,"name":"process_name","args":{"name":"workers"}},
{"ph":"i","s":"g","pid":1,"tid":0,"ts":0.000,"cat":"job","name":"trace begins","args":{"version":2,"chain":"tiny","threads":1,"slots":1,"level":"full","every":1,"clock":"real"}},
{"ph":"M","pid":1,"tid":100,"name":"thread_name","args":{"name":"worker-0"}},
{"ph":"M","pid":2,"tid":1000,"name":"thread_name","args":{"name":"slot 0"}},
{"ph":"M","pid":3,"tid":10,"name":"thread_name","args":{"name":"emulated lane 0"}},
{"ph":"B","pid":1,"tid":100,"ts":1.000,"cat":"asynchrotron","name":"prepare","args":{"event":17}},
{"ph":"B","pid":1,"tid":100,"ts":2.500,"cat":"physics","name":"decode","args":{"file":"run \"7\""}},
{"ph":"E","pid":1,"tid":100,"ts":4.500,"cat":"physics","name":"decode"},
{"ph":"E","pid":1,"tid":100,"ts":11.000,"cat":"asynchrotron","name":"prepare"},
{"ph":"B","pid":1,"tid":100,"ts":11.000,"cat":"asynchrotron","name":"clusterize","args":{"event":17}},
{"ph":"s","pid":1,"tid":100,"ts":11.500,"cat":"flow","name":"request","id":1},
{"ph":"E","pid":1,"tid":100,"ts":12.500,"cat":"asynchrotron","name":"clusterize"},
{"ph":"X","pid":3,"tid":10,"ts":20.000,"dur":30.125,"cat":"batch","name":"clue","args":{"batch":1,"requests":1,"rows":412,"padding":0,"bytes":4944,"closed":"age","closed_us":18.000,"held_us":6.500}},
{"ph":"t","pid":3,"tid":10,"ts":20.000,"cat":"flow","name":"request","id":1},
{"ph":"B","pid":1,"tid":100,"ts":{ready},"cat":"asynchrotron","name":"clusterize","args":{"event":17}},
{"ph":"f","bp":"e","pid":1,"tid":100,"ts":{ready},"cat":"flow","name":"request","id":1},
{"ph":"E","pid":1,"tid":100,"ts":{end},"cat":"asynchrotron","name":"clusterize"},
{"ph":"X","pid":2,"tid":1000,"ts":0.000,"dur":{end},"cat":"event","name":"event 17","args":{"event":17,"slot":0}},
{"ph":"X","pid":2,"tid":1000,"ts":1.000,"dur":10.000,"cat":"algorithm","name":"prepare","args":{"event":17,"polls":1}},
{"ph":"X","pid":2,"tid":1000,"ts":1.000,"dur":10.000,"cat":"state","name":"running","args":{"event":17}},
{"ph":"X","pid":2,"tid":1000,"ts":11.000,"dur":{life},"cat":"algorithm","name":"clusterize","args":{"event":17,"polls":2}},
{"ph":"X","pid":2,"tid":1000,"ts":11.000,"dur":1.500,"cat":"state","name":"running","args":{"event":17}},
{"ph":"X","pid":2,"tid":1000,"ts":12.500,"dur":5.500,"cat":"state","name":"queued in batch","args":{"event":17,"batcher":"clue","rows":412}},
{"ph":"X","pid":2,"tid":1000,"ts":18.000,"dur":2.000,"cat":"state","name":"awaiting lane","args":{"event":17,"batcher":"clue"}},
{"ph":"X","pid":2,"tid":1000,"ts":20.000,"dur":30.125,"cat":"state","name":"on device","args":{"event":17,"batcher":"clue","batch":1}},
{"ph":"X","pid":2,"tid":1000,"ts":50.125,"dur":{waits},"cat":"state","name":"ready","args":{"event":17}},
{"ph":"X","pid":2,"tid":1000,"ts":{ready},"dur":10.000,"cat":"state","name":"running","args":{"event":17}},
{"ph":"C","pid":2,"ts":0.000,"name":"events in flight","args":{"value":1}},
{"ph":"C","pid":3,"ts":11.500,"name":"queue depth clue","args":{"value":1}},
{"ph":"C","pid":3,"ts":18.000,"name":"queue depth clue","args":{"value":0}},
{"ph":"C","pid":3,"ts":18.000,"name":"batch size clue","args":{"value":1}},
{"ph":"C","pid":3,"ts":20.000,"name":"occupancy emulated","args":{"value":1}},
{"ph":"i","s":"g","pid":1,"tid":0,"ts":{end},"cat":"job","name":"trace ends","args":{"records":31,"lost":0,"events":1,"failed":0}}
]
"#;

/// The timeline of an event that was ready for so long, in nanoseconds.
fn timeline(waits: u64) -> String {
    let us = |ns: u64| format!("{}.{:03}", ns / 1000, ns % 1000);
    let ready = 50_125 + waits;
    TIMELINE
        .replace("{waits}", &us(waits))
        .replace("{ready}", &us(ready))
        .replace("{end}", &us(ready + 10_000))
        .replace("{life}", &us(ready + 10_000 - 11_000))
}

#[test]
fn a_timeline_is_said_in_words() {
    let folder = Folder::new();
    folder.write("t.json", &timeline(2_000));
    let words = folder.run("trace t.json").assert_ok().stdout.clone();
    for part in [
        "t.json: tiny, 1 threads, 1 slots, level full, real time\n  1 events in 62.1µs",
        "\n  clusterize ",
        "queued in batch",
        "\n  emulated lane 0   48.5 % ",
        "\n  batches of clue closed: 1 age\n",
        "\n  worker-0   34.6 %        3        1 (33.3 %)\n",
        "the median event: event 17, 62.1µs\n    nothing recorded 1.0µs (1.6 %) → prepare: running 10.0µs (16.1 %)",
        "\nWhat would shorten the job most\n  1. ",
    ] {
        assert!(words.contains(part), "no `{part}` in\n{words}");
    }
    assert!(!words.contains("WARNING"), "{words}");
}

#[test]
fn a_timeline_is_one_json_object() {
    let folder = Folder::new();
    folder.write("t.json", &timeline(2_000));
    let text = folder.run("trace t.json --json").assert_ok().stdout.clone();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!((&json["span_ns"], &json["events"]["completed"]), (&62_125.into(), &1.into()));
    let clusterize = &json["algorithms"][0];
    assert_eq!((&clusterize["name"], &clusterize["life_ns"]), (&"clusterize".into(), &51_125.into()));
    let states = clusterize["states"].as_array().unwrap().iter();
    assert_eq!(states.map(|state| state["total_ns"].as_i64().unwrap()).sum::<i64>(), 51_125);
}

#[test]
fn two_timelines_are_compared() {
    let folder = Folder::new();
    folder.write("a.json", &timeline(2_000));
    folder.write("b.json", &timeline(22_000));
    let words = folder.run("trace --diff a.json b.json").assert_ok().stdout.clone();
    let line = words.lines().find(|line| line.contains("clusterize: ready")).expect("what became slower");
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["clusterize:", "ready", "2.0µs", "22.0µs", "+20.0µs", "11.00"]
    );
    assert!(words.contains("5 states of algorithms changed by no more than chance"), "{words}");
    let json = folder.run("trace --diff a.json b.json --json").assert_ok().stdout.clone();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["states"][0]["change"], 20_000.0);
}

#[test]
fn a_sound_file_passes_the_check_and_of_a_broken_one_each_problem_is_a_line() {
    let folder = Folder::new();
    folder.write("t.json", &timeline(2_000));
    let sound = folder.run("trace --check t.json").assert_ok().stdout.clone();
    assert_eq!(sound, "t.json: 33 records, no problems\n");

    let broken = timeline(2_000).replace("\"dur\":5.500", "\"dur\":5.499").replace("occupancy", "vacancy");
    folder.write("b.json", &broken);
    let found = folder.run("trace --check b.json");
    found.assert_fails(1, &["b.json: 2 problems"]);
    assert_eq!(
        found.stdout,
        "states: slot 0: `clusterize` of event 17 (line 22) has no state for 0.001 µs before `awaiting lane`\n\
         counters: there is no `occupancy emulated`\n"
    );
}

#[test]
fn a_file_that_was_cut_short_is_read_as_far_as_it_goes() {
    let folder = Folder::new();
    let whole = timeline(2_000);
    let tear = whole.find("\"name\":\"on device\"").unwrap();
    folder.write("t.json", &whole[..tear]);
    let words = folder.run("trace t.json").assert_ok().stdout.clone();
    assert!(words.contains("WARNING: the file is cut short: line 26 is torn"), "{words}");
    assert!(words.contains("1 events in 62.1µs"), "{words}");
    folder.run("trace --check t.json").assert_fails(1, &["t.json: 1 problem"]);
}

#[test]
fn what_is_no_timeline_is_said_in_one_line() {
    let folder = Folder::new();
    folder.write("points.csv", "x,y\n1,2\n");
    folder.write("empty.json", "");
    folder.write("t.pftrace", "\n5\u{8}\u{1}");
    folder.write("other.json", "[\n{\"ph\":\"X\",\"ts\":1}\n]\n");
    for (file, message) in [
        ("none.json", "cannot read none.json"),
        (".", ". is a folder: expected a timeline"),
        ("empty.json", "empty.json is empty: expected a timeline"),
        ("points.csv", "points.csv, line 1: expected `[`: this is not a timeline of ours"),
        ("t.pftrace", "native trace of Perfetto: only JSON is read here; run again with `--trace FILE.json`"),
        ("other.json", "expected a record `trace begins`"),
    ] {
        folder.run(&format!("trace {file}")).assert_fails(1, &[message]);
        folder.run(&format!("trace --check {file}")).assert_fails(1, &[message]);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_no_job() {
    let folder = Folder::new();
    folder.run("trace").assert_fails(2, &["FILE"]);
    folder.run("trace --diff a.json").assert_fails(2, &["--diff"]);
    folder.run("trace c.json --diff a.json b.json").assert_fails(2, &["--diff"]);
    folder.run("trace --check --json t.json").assert_fails(2, &["--check", "--json"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new();
    folder.write("t.json", &timeline(2_000));
    let mut child = Command::new(COMMAND)
        .arg("trace")
        .arg(folder.path("t.json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
