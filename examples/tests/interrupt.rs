//! Ctrl-C.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command};

use support::{Folder, parquet_rows};

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn the_first_interrupt_drains_and_the_files_are_closed_well() {
    let folder = Folder::new();
    let mut child = folder.command("run calorimeter --events 100000000 --output o.parquet").spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains(" of 100000000 events, "), "{line}");
    send("-INT", &child);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(rest.contains("asynchrotron: interrupted: the events in flight are being finished"), "{rest}");
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(stdout.contains("the job was ended early") && stdout.contains("V-measure"), "{stdout}");
    assert_eq!(folder.files(), ["o.parquet"]);
    let events = parquet_rows(&folder.path("o.parquet")).len();
    assert!(
        events > 0 && stdout.starts_with(&format!("Processed {events} events in ")),
        "{events}: {stdout}"
    );
}

#[test]
fn a_crash_leaves_no_half_file_under_the_final_name() {
    let folder = Folder::new();
    let mut child = folder.command("run calorimeter --events 100000000 --output o.parquet").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    send("-KILL", &child);
    assert_eq!(child.wait().unwrap().code(), None);
    assert_eq!(folder.files(), ["o.parquet.partial"]);
}

#[test]
fn the_second_interrupt_leaves_at_once() {
    let folder = Folder::new();
    // The source waits for rows that never come, so the job cannot drain.
    assert!(Command::new("mkfifo").arg(folder.path("p.csv")).status().unwrap().success());
    let mut child = folder.command("run clue --input p.csv --output o.csv --threads 2").spawn().unwrap();
    let mut rows = std::fs::File::options().write(true).open(folder.path("p.csv")).unwrap();
    rows.write_all(b"x,y,weight\n1,1,1\n").unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    for expected in ["asynchrotron: 0 of 1 events", "asynchrotron: interrupted"] {
        let mut line = String::new();
        while !line.starts_with(expected) {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "no line `{expected}…`");
        }
        send("-INT", &child);
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.path("o.csv").exists());
}
