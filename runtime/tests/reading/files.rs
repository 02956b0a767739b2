//! Files that are zipped, torn, strange, or somebody else's.

use std::io::Write as _;

use asynchrotron::timeline::reading::{Analysis, Recording};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::jobs::two_events;

fn zipped(parts: &[&[u8]]) -> Vec<u8> {
    let member = |part: &&[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    parts.iter().flat_map(member).collect()
}

fn read(bytes: &[u8]) -> Result<Recording, String> {
    Recording::from_reader("f.json", bytes).map_err(|error| format!("{error:#}"))
}

#[test]
fn a_zipped_file_of_several_members_is_the_same() {
    let text = two_events().text();
    let expected = Analysis::of(&read(text.as_bytes()).unwrap());
    let (first, second) = text.as_bytes().split_at(1234);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json.gz");
    std::fs::write(&path, zipped(&[first, second])).unwrap();
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.cut_short, None);
    let mut analysis = Analysis::of(&recording);
    analysis.source = "f.json".into();
    assert_eq!(analysis, expected);
}

#[test]
fn a_file_that_is_cut_anywhere_is_read_as_far_as_it_goes() {
    let text = two_events().text();
    let zip = zipped(&[&text.as_bytes()[..3000], &text.as_bytes()[3000..]]);
    let head = text.find("trace begins").unwrap() + 200;
    for end in (head..text.len() - 3).step_by(97) {
        let recording = read(&text.as_bytes()[..end]).unwrap();
        assert!(recording.cut_short.is_some() && recording.job.version == 2, "{end}");
        // Nothing of it may panic.
        let text = Analysis::of(&recording).to_string();
        assert!(text.contains("WARNING: the file is cut short"), "{text}");
    }
    for end in (0..zip.len() - 1).step_by(13) {
        match read(&zip[..end]) {
            Ok(recording) => assert!(recording.cut_short.is_some(), "{end}"),
            Err(error) => assert!(end < 400, "{end}: {error}"),
        }
    }
    let mut padded = zip.clone();
    padded.extend([0; 512]);
    let recording = read(&padded).unwrap();
    assert_eq!(recording.events.len(), 2, "zeros at the end, as a crash of the machine leaves them");
}

#[test]
fn unknown_records_and_other_spans_are_left_out() {
    let mut job = two_events();
    let expected = job.analysis();
    job.add(json!({"ph": "X", "pid": 1, "tid": 100, "cat": "other", "name": "io", "ts": 3.0, "dur": 5.0, "args": {}}));
    job.add(
        json!({"ph": "X", "pid": 9, "tid": "x", "cat": "event", "name": "event 3", "ts": 3.0, "dur": 900.0}),
    );
    job.add(json!({"ph": "N", "id": "0x12", "future": [1, {"a": null}]}));
    job.add(json!({"ph": "i", "pid": 1, "tid": 100, "cat": "asynchrotron", "name": "event failed", "ts": 1,
        "args": {"event": 3, "algorithm": "clusterize", "cause": "no \"reason\"\n"}}));
    assert_eq!(job.analysis(), expected);
    assert_eq!(job.problems(), Vec::<String>::new());
}

#[test]
fn files_that_are_none_are_answered_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Recording::open(folder.path().join(name)).map(drop).unwrap_err();
    assert!(format!("{:#}", open("none.json")).contains("cannot read"));
    assert!(format!("{:#}", open("")).contains("is a folder: expected a timeline"));
    std::fs::write(folder.path().join("t.pftrace"), b"\x0a\x10\x50\x01").unwrap();
    assert!(format!("{:#}", open("t.pftrace")).contains("run again with `--trace FILE.json`"));

    let error = |bytes: &[u8]| read(bytes).map(drop).unwrap_err();
    assert_eq!(error(b""), "f.json is empty: expected a timeline");
    assert_eq!(error(&zipped(&[b""])), "f.json is empty: expected a timeline");
    assert!(error(b"x,y\n1,2\n").contains("line 1: expected `[`: this is not a timeline of ours"));
    assert!(error(b"[\n{\"ph\":\"X\"}\n]\n").contains("expected a record `trace begins`"));
    let newer = two_events().text().replace("\"version\":2", "\"version\":3");
    assert_eq!(error(newer.as_bytes()), "f.json is of version 3, and this program reads up to 2");
    let damaged = two_events().text().replace("\"thread_name\",\"ph\":\"M\"", "\"thread_name\",\"ph\":M");
    assert!(
        error(damaged.as_bytes()).starts_with("f.json, line 6: expected a record, an object in one line")
    );
}
