//! Timelines of jobs that end well and of jobs that do not: the file opens, what is lost is said, and results are the same.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use asynchrotron::prelude::*;
use asynchrotron::timeline::reading::{Recording, check};
use asynchrotron::timeline::{Level, Timeline, TimelineConfig};
use support::Folder;

/// The timeline is whole and sound.
#[track_caller]
fn sound(path: &Path, job: &str) -> Recording {
    let recording = Recording::open(path).unwrap_or_else(|error| panic!("{job}: {error:#}"));
    assert_eq!(check(&recording), Vec::<String>::new(), "{job}");
    recording
}

/// How many events failed, by cause.
fn failures(recording: &Recording) -> BTreeMap<&str, usize> {
    let mut causes = BTreeMap::new();
    for cause in recording.events.iter().filter_map(|event| event.failed) {
        *causes.entry(recording.name(cause)).or_default() += 1;
    }
    causes
}

#[test]
fn results_are_the_same_to_the_byte_whatever_is_recorded() {
    let folder = Folder::new();
    let device = "--device emulated:lanes=2,submission-us=50,row-ns=100 --batch size=4";
    let run = |flags: &str, name: &str| {
        let job = format!("run calorimeter --events 40 --ordered {device} {flags} --output {name}.parquet");
        let finished = folder.run(&job);
        finished.assert_ok();
        (std::fs::read(folder.path(&format!("{name}.parquet"))).unwrap(), finished.summary().to_owned())
    };
    let plain = run("", "plain");
    for (name, flags) in [
        ("light", "--trace light.json --trace-level light"),
        ("full", "--trace full.json"),
        ("zipped", "--trace zipped.json.gz --trace-level light"),
        ("native", "--trace native.pftrace"),
        ("every", "--trace every.json --trace-every 7"),
        ("window", "--trace window.json --trace-window 5ms:10ms"),
        ("none", "--trace none.json --trace-window 1000s:1s"),
    ] {
        assert!(run(flags, name) == plain, "{name}");
    }
    for (name, events) in [("light.json", 40), ("full.json", 40), ("zipped.json.gz", 40), ("every.json", 6)] {
        assert_eq!(sound(&folder.path(name), name).events.len(), events, "{name}");
    }
    for name in ["window.json", "none.json"] {
        sound(&folder.path(name), name);
    }
}

#[test]
fn the_timeline_of_each_chain_is_sound() {
    let folder = Folder::new();
    folder.run("generate points --events 30 --out p.csv").assert_ok();
    for chain in [
        "calorimeter --events 40",
        "calorimeter --events 40 --ordered --threads 2 --slots 1",
        "calorimeter --events 40 -P clusters=local-max",
        "calorimeter --events 40 --device emulated --batch adaptive --clock simulated",
        "clue --input p.csv",
        "clue --input p.csv --device emulated:lanes=2 --batch greedy",
    ] {
        let levels: &[&str] = if chain.contains("simulated") { &["light"] } else { &["light", "full"] };
        for level in levels {
            let job = format!("run {chain} --trace t.json --trace-level {level}");
            let ran = folder.run(&job);
            assert!(ran.assert_ok().stdout.contains(" records, none lost; t.json "), "{job}: {ran:#?}");
            let recording = sound(&folder.path("t.json"), &job);
            assert_eq!(recording.events.len(), if chain.starts_with("clue") { 30 } else { 40 }, "{job}");
            let checked = folder.run("trace --check t.json");
            assert!(checked.assert_ok().stdout.ends_with(" records, no problems\n"), "{job}");
        }
    }
}

#[test]
fn the_timeline_of_a_device_in_trouble_is_sound_however_batches_form() {
    let folder = Folder::new();
    let devices = [
        ("lanes=1,engines=1,submission-us=500,row-ns=5000", "an overloaded one"),
        ("lanes=2,fail-nth=5", "one failure"),
        ("lanes=2,fail-probability=0.2", "some failures"),
        ("lanes=2,fail-nth=20,sticky=true", "broken for good"),
        ("lanes=3,lose-lane-nth=4", "a lost lane"),
        ("lanes=2,memory-rows=60", "out of memory"),
    ];
    for policy in ["off", "greedy", "size=4", "delay=4:300", "adaptive", "fixed=4"] {
        for ((device, what), level) in devices.into_iter().zip(["light", "full"].into_iter().cycle()) {
            let device = format!("--device emulated:{device} --batch {policy} --on-error skip");
            let job = format!(
                "run calorimeter --events 40 --slots 16 {device} --trace t.json --trace-level {level}"
            );
            folder.run(&job).assert_ok();
            let recording = sound(&folder.path("t.json"), &format!("{what}: {job}"));
            assert_eq!(recording.events.len(), 40, "{what}: {job}");
        }
    }
}

#[test]
fn an_event_that_failed_says_where_and_why() {
    let folder = Folder::new();
    let device = "--device emulated:lanes=2,fail-nth=11,sticky=true --batch off --on-error skip";
    for level in ["light", "full"] {
        let job = format!("run calorimeter --events 30 {device} --trace t.json --trace-level {level}");
        let ran = folder.run(&job);
        let (before, _) = ran.assert_ok().stdout.split_once(" events failed").unwrap();
        let told: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
        let recording = sound(&folder.path("t.json"), &job);
        assert_eq!(recording.end.unwrap().failed, told as u64, "{job}");
        let causes = failures(&recording);
        assert_eq!(causes.values().sum::<usize>(), told, "{job}: {causes:?}");
        for (cause, _) in causes {
            assert!(cause.starts_with("clusterize: ") && cause.contains("emulated"), "{cause}");
        }
        for event in recording.events.iter().filter(|event| event.failed.is_some()) {
            let mut failed = recording.calls[event.calls.clone()].iter().filter(|call| call.failed);
            assert!(failed.any(|call| recording.name(call.algorithm) == "clusterize"), "event {}", event.id);
        }
        let batches = recording.lanes.iter().flat_map(|lane| &lane.batches);
        assert_eq!(batches.filter(|batch| batch.failed).count(), told, "{job}");
    }
}

#[test]
fn an_algorithm_that_panicked_is_on_the_timeline_with_what_it_said() {
    let folder = Folder::new();
    let config = TimelineConfig { level: Level::Light, ..TimelineConfig::default() };
    let timeline = Timeline::create(folder.path("t.json"), config).unwrap();
    let mut chain = Chain::new("panics");
    let x = chain.source::<u64>("x");
    let y = chain.algorithm("halve", (x,), async |x: Arc<u64>| {
        tokio::task::yield_now().await;
        assert!(x.is_multiple_of(2), "{x} is \"odd\"");
        Ok::<_, Error>(*x / 2)
    });
    chain.sink("drop", y, |_: EventId, _: Arc<u64>| Ok(()));
    let recorder = Some(timeline.recorder());
    let config =
        Config { threads: 2, on_error: "skip".parse().unwrap(), timeline: recorder, ..Config::default() };
    let report = Scheduler::new(config).run(chain, source::from_iter(0..10_u64)).unwrap();
    assert_eq!((report.events, report.failed), (5, 5));
    let written = timeline.finish().unwrap();
    assert_eq!((written.events, written.lost), (10, 0));
    let recording = sound(&folder.path("t.json"), "panics");
    let causes = failures(&recording);
    assert_eq!(causes.len(), 5, "{causes:?}");
    for (cause, _) in causes {
        assert!(cause.starts_with("halve: ") && cause.contains(" is \"odd\""), "{cause}");
    }
    assert_eq!(recording.calls.iter().filter(|call| call.failed).count(), 5);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_the_timeline_and_not_the_result() {
    let folder = Folder::new();
    folder.run("run calorimeter --events 30 --ordered --output plain.parquet").assert_ok();
    let plain = std::fs::read(folder.path("plain.parquet")).unwrap();
    for (name, level) in
        [("t.json", "light"), ("t.json", "full"), ("t.json.gz", "light"), ("t.pftrace", "full")]
    {
        let _ = std::fs::remove_file(folder.path(name));
        std::os::unix::fs::symlink("/dev/full", folder.path(name)).unwrap();
        let _ = std::fs::remove_file(folder.path("o.parquet"));
        let trace = format!("--trace {name} --trace-level {level}");
        let ran = folder.run(&format!("run calorimeter --events 30 --ordered --output o.parquet {trace}"));
        assert!(
            ran.stdout.starts_with("Processed 30 events") && ran.stdout.contains("V-measure"),
            "{ran:#?}"
        );
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let line = ran.stderr.lines().last().unwrap();
        let said = line.strip_prefix(&format!("asynchrotron: the trace {name} is incomplete, "));
        let (lost, why) = said.and_then(|said| said.split_once(" records are lost: ")).expect(line);
        // An event has seven algorithms, each with a poll and a state at least.
        assert!(lost.parse::<u64>().unwrap() > 30 * 7 * 2, "{line}");
        assert!(why.contains("No space left on device"), "{line}");
        assert!(std::fs::read(folder.path("o.parquet")).unwrap() == plain, "{name}, {level}");
    }
}

#[test]
fn what_makes_no_sense_is_said_in_one_line() {
    let folder = Folder::new();
    for (flags, parts) in [
        ("--trace-level heavy", ["--trace-level: expected one of full, light", "`heavy`"]),
        ("--trace-window 2s", ["--trace-window: expected ", "`2s`"]),
        ("--trace-window=-1s:1s", ["--trace-window: expected ", "`-1s:1s`"]),
        ("--trace-every 0", ["--trace-every: expected a whole number, 1 or more", "found 0"]),
        ("--trace-every few", ["--trace-every: expected a whole number", "`few`"]),
        (
            "--trace-level full --device emulated --clock simulated",
            ["--trace-level: spans are in real time", "with --clock simulated, it is light"],
        ),
    ] {
        folder.run(&format!("run calorimeter --events 1 --trace t.json {flags}")).assert_fails(2, &parts);
    }
    assert!(folder.files().is_empty());
}
