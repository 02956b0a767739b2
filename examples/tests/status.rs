//! What a running job says of itself: `--status`, and SIGUSR1.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command};

use support::Folder;

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The next line that contains `part`.
#[track_caller]
fn line_with(stderr: &mut BufReader<ChildStderr>, part: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no `{part}` in:\n{seen}");
        if line.contains(part) {
            return line;
        }
        seen += &line;
    }
}

#[test]
fn a_job_that_hangs_says_at_what_as_often_as_it_is_asked() {
    let folder = Folder::new();
    // One lane, which never comes back from its third submission.
    let command = "run calorimeter --events 20 --slots 4 --threads 2 --batch size=1 \
                   --device emulated:lanes=1,hang-nth=3";
    let mut child = folder.command(command).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // Progress: the signal is caught by now.
    line_with(&mut stderr, " of 20 events, ");
    for _ in 0..2 {
        send("-USR1", &child);
        line_with(&mut stderr, "asynchrotron: 4 events in flight after ");
        let event = line_with(&mut stderr, "  event ");
        assert!(event.contains(" in slot ") && event.contains(" for "), "{event}");
        let hangs = line_with(&mut stderr, ": on device `");
        assert!(hangs.starts_with("    clusterize: on device `clue` for "), "{hangs}");
    }
    send("-INT", &child);
    line_with(&mut stderr, "asynchrotron: interrupted");
    send("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_status_shows_algorithms_and_batchers_until_the_job_ends() {
    let folder = Folder::new();
    let command = "run calorimeter --events 100000000 --threads 2 --slots 16 --status \
                   --device emulated:lanes=1,submission-us=20000";
    let mut child = folder.command(command).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    for last in [false, true] {
        let first = line_with(&mut stderr, "asynchrotron: ");
        assert!(first.contains(" of 100000000 events in ") && first.contains(" slots, 2 threads"), "{first}");
        let head = line_with(&mut stderr, "algorithm");
        for state in ["running", "ready", "inputs", "queued", "lane", "device", "suspended"] {
            assert!(head.contains(state), "{head}");
        }
        let clusterize: Vec<String> =
            line_with(&mut stderr, "clusterize").split_whitespace().map(str::to_owned).collect();
        assert_eq!(clusterize.len(), 8, "a number for each state: {clusterize:?}");
        let batcher = line_with(&mut stderr, "batcher clue (");
        assert!(batcher.contains(" requests queued (") && batcher.contains(" so far"), "{batcher}");
        if !last {
            send("-INT", &child);
            line_with(&mut stderr, "asynchrotron: interrupted");
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_short_job_has_no_status() {
    let folder = Folder::new();
    let finished = folder.run("run calorimeter --events 3 --status");
    assert_eq!(finished.assert_ok().stderr, "");
}
