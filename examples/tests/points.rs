//! The chain `clue` on CSV files: good ones, and all the ways in which they can be bad.

mod support;

use support::Folder;

const CLUE: &str = "run clue --input p.csv --dc 1 --rhoc 1.5 --outlier-factor 2";

#[test]
fn points_are_clustered_and_written_in_the_order_of_the_file() {
    let folder = Folder::new();
    folder.write("p.csv", "weight,note,x1,x0\n1,a,0,0\n 1 ,b,0,0.5\n1,c,0,5\n\n1,\"d,e\",0,5.5\n1,f,0,50\n");
    let finished = folder.run(&format!("{CLUE} --output o.csv"));
    finished.assert_ok();
    assert!(finished.stdout.starts_with("Processed 1 events in "), "{}", finished.stdout);
    assert_eq!(finished.summary(), "2 clusters (one seed each) and 1 outliers among 5 points\n");
    assert_eq!(
        folder.read("o.csv"),
        "index,event,rho,delta,nh,is_seed,cluster\n\
         0,0,1.5,0.5,1,0,0\n1,0,1.5,999,-1,1,0\n2,0,1.5,0.5,3,0,1\n3,0,1.5,999,-1,1,1\n4,0,1,999,-1,0,-1\n"
    );
    assert_eq!(folder.files(), ["o.csv", "p.csv"]);
}

#[test]
fn a_file_without_the_right_columns_or_without_rows_is_refused() {
    let folder = Folder::new();
    let cases = [
        ("", "p.csv: the file is empty: expected a header x,y,weight"),
        ("x,y,weight\n", "p.csv: the file has a header, but no rows"),
        ("x,weight\n1,1\n", "p.csv: line 1: expected a column `y` (or `x1`), found the columns `x,weight`"),
        ("x,y,energy\n1,1,1\n", "expected a column `weight`, found"),
    ];
    for (text, message) in cases {
        folder.write("p.csv", text);
        folder.run(&format!("{CLUE} --on-error skip")).assert_fails(1, &[message]);
    }
}

#[test]
fn a_bad_row_stops_the_job_with_file_line_and_what_was_expected() {
    let folder = Folder::new();
    let cases = [
        ("x,1,1", "line 3: column x: expected a finite number, found `x`"),
        ("1,NaN,1", "line 3: column y: expected a finite number, found `NaN`"),
        ("inf,1,1", "line 3: column x: expected a finite number, found `inf`"),
        ("1,1,-0.5", "line 3: column weight: expected a finite number, 0 or more, found `-0.5`"),
        ("1,1,1e99", "line 3: column weight"),
        ("1,,1", "line 3: column y: expected a finite number, found ``"),
        ("1,1", "line 3: expected 3 fields, found 2"),
        ("1,1,1,1", "line 3: expected 3 fields, found 4"),
    ];
    for (row, message) in cases {
        folder.write("p.csv", &format!("x,y,weight\n1,1,1\n{row}\n1,1,1\n"));
        let failed = folder.run(&format!("{CLUE} --output o.csv"));
        failed.assert_fails(1, &["event 0", "p.csv", message]);
        assert!(failed.stdout.contains("1 events failed"), "{}", failed.stdout);
        assert!(!folder.path("o.csv").exists());
    }
}

const EVENTS: &str =
    "event,x,y,weight\n7,0,0,1\n7,0.5,0,1\n3,1,1,-1\n3,1,1,1\n4,0,0,1\n7,2,2,2\n7,3,3,3\nx,0,0,1\n9,5,5,1\n";

#[test]
fn skipped_events_are_counted_and_the_others_are_processed() {
    let folder = Folder::new();
    folder.write("p.csv", EVENTS);
    let finished = folder.run(&format!("{CLUE} --output o.csv --on-error skip --ordered"));
    finished.assert_ok();
    assert!(
        finished.stdout.contains("Processed 3 events") && finished.stdout.contains("2 events failed"),
        "{finished:#?}"
    );
    for part in ["p.csv, line 4: column weight", "p.csv, line 7: event 7 came before"] {
        assert!(finished.stdout.contains(part), "no `{part}` in {}", finished.stdout);
    }
    let written = folder.read("o.csv");
    let rows: Vec<&str> = written.lines().skip(1).map(|row| &row[..3]).collect();
    assert_eq!(rows, ["0,7", "1,7", "0,4", "0,9"]);
}

#[test]
fn events_in_quarantine_can_be_replayed_alone() {
    let folder = Folder::new();
    folder.write("p.csv", "event,x,y,weight\n1,0,0,1\n2,0,0,-1\n3,0,0,1\n4,0,z,1\n4,1,1,1\n");
    let first = folder.run(&format!("{CLUE} --on-error quarantine=bad"));
    assert!(first.assert_ok().stdout.contains("Processed 2 events"), "{first:#?}");
    assert_eq!(folder.read("bad/quarantine.jsonl").lines().count(), 2);
    folder.write("p.csv", "event,x,y,weight\n1,0,0,1\n2,0,0,1\n3,0,0,1\n4,0,0,1\n4,1,1,1\n");
    let replayed = folder.run(&format!("{CLUE} --replay bad --ordered --output o.csv"));
    assert!(replayed.assert_ok().stdout.contains("Processed 2 events"), "{replayed:#?}");
    let written = folder.read("o.csv");
    assert_eq!(written.lines().skip(1).map(|row| &row[..3]).collect::<Vec<_>>(), ["0,2", "0,4", "1,4"]);
}

#[test]
fn output_does_not_depend_on_threads_and_slots() {
    let folder = Folder::new();
    let generated = folder.run("generate points --events 25 --seed 3 --out p.csv");
    assert_eq!(generated.assert_ok().stdout, "wrote 25 events to p.csv\n");
    for (threads, slots) in [(1, 1), (1, 64), (2, 1), (2, 64)] {
        let name = format!("{threads}-{slots}.csv");
        let flags = format!("--threads {threads} --slots {slots} --ordered --output {name}");
        let finished = folder.run(&format!("run clue --input p.csv {flags}"));
        assert!(finished.assert_ok().stdout.contains("Processed 25 events"), "{finished:#?}");
        assert!(folder.read(&name) == folder.read("1-1.csv"), "{name}");
    }
}

#[test]
fn skip_and_events_choose_events() {
    let folder = Folder::new();
    let rows: String = (0..10).map(|event| format!("{event},0,0,1\n")).collect();
    folder.write("p.csv", &format!("event,x,y,weight\n{rows}"));
    folder.run(&format!("{CLUE} --skip 3 --events 2 --ordered --output o.csv")).assert_ok();
    let written = folder.read("o.csv");
    assert_eq!(written.lines().skip(1).map(|row| &row[..3]).collect::<Vec<_>>(), ["0,3", "0,4"]);
}

#[test]
fn what_is_read_is_never_where_the_output_is_written_until_it_is_whole() {
    let folder = Folder::new();
    folder.write("out.csv.partial", "x,y,weight\n1,2,3\n");
    folder
        .run("run clue --input out.csv.partial --output out.csv")
        .assert_fails(2, &["--input", "out.csv.partial", "would be lost"]);
    assert_eq!(folder.read("out.csv.partial"), "x,y,weight\n1,2,3\n");
}
