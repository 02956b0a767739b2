//! Timelines of jobs that are interrupted, or killed.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use asynchrotron::timeline::reading::{Recording, check};
use support::Folder;

/// Only to fail rather than to hang.
const PATIENCE: Duration = Duration::from_secs(120);

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Until the file, as far as it has been written, holds events.
fn wait_for_events(path: &Path, child: &mut Child) {
    let begin = Instant::now();
    while Recording::open(path).map_or(true, |recording| recording.events.is_empty()) {
        assert_eq!(child.try_wait().unwrap(), None, "the job has not ended");
        assert!(begin.elapsed() < PATIENCE, "no events in {}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_job_that_is_killed_leaves_a_timeline_that_can_be_read() {
    let folder = Folder::new();
    for (name, level) in
        [("t.json", "full"), ("t.json", "light"), ("t.json.gz", "full"), ("t.json.gz", "light")]
    {
        let path = folder.path(name);
        let _ = std::fs::remove_file(&path);
        let job = format!("run calorimeter --events 100000000 --trace {name} --trace-level {level}");
        let mut child = folder.command(&job).spawn().unwrap();
        wait_for_events(&path, &mut child);
        send("-KILL", &child);
        assert_eq!(child.wait().unwrap().code(), None);
        let recording = Recording::open(&path).unwrap();
        assert!(!recording.events.is_empty() && !recording.calls.is_empty(), "{job}");
        assert!(recording.cut_short.is_some() && recording.end.is_none(), "{job}");
        let words = folder.run(&format!("trace {name}"));
        assert!(words.assert_ok().stdout.contains("WARNING: the file is cut short"), "{words:#?}");
        // That it is cut short is all that is wrong with it.
        let problems = check(&recording);
        assert!(problems.iter().all(|problem| problem.starts_with("incomplete: ")), "{job}: {problems:#?}");
    }
}

#[test]
fn a_job_that_is_interrupted_finishes_its_timeline() {
    let folder = Folder::new();
    for level in ["full", "light"] {
        let job = format!("run calorimeter --events 100000000 --trace t.json --trace-level {level}");
        let mut child = folder.command(&job).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // It runs, and knows what to do about interrupts.
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains(" of 100000000 events, "), "{line}");
        send("-INT", &child);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{rest}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains("the job was ended early"), "{stdout}");
        assert!(folder.read("t.json").ends_with("]\n"));
        let recording = Recording::open(folder.path("t.json")).unwrap();
        let end = recording.end.expect("a record `trace ends`");
        assert!(stdout.starts_with(&format!("Processed {} events in ", end.events)), "{end:?}: {stdout}");
        assert!(recording.events.iter().all(|event| !event.unfinished), "events in flight were finished");
        if recording.lost == 0 {
            assert_eq!(recording.events.len() as u64, end.events);
            assert_eq!(check(&recording), Vec::<String>::new());
        }
    }
}
