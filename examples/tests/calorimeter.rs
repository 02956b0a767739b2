//! The chain `calorimeter`, in memory and on Parquet files, good and bad ones.

mod support;

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::types::{Int64Type, UInt16Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, RecordBatch, UInt64Array};
use support::{Folder, key_values, parquet_rows};

fn lists<T: ArrowPrimitiveType>(lists: &[Vec<T::Native>]) -> ArrayRef {
    let mut column = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for list in lists {
        column.values().append_slice(list);
        column.append(true);
    }
    Arc::new(column.finish())
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn numbers(numbers: &[u64]) -> ArrayRef {
    Arc::new(UInt64Array::from(numbers.to_vec()))
}

#[test]
fn events_from_a_file_give_what_the_same_events_in_memory_give() {
    let folder = Folder::new();
    let generated = folder.run("generate calorimeter --events 40 --seed 5 --out e.parquet");
    assert_eq!(generated.assert_ok().stdout, "wrote 40 events to e.parquet\n");
    let file = folder.run("run calorimeter --input e.parquet --output a.parquet --ordered");
    let memory = folder.run("run calorimeter --events 40 --seed 5 --output b.parquet --ordered");
    assert!(file.assert_ok().summary().contains("V-measure"), "{file:#?}");
    assert_eq!(file.summary(), memory.assert_ok().summary());
    let rows = parquet_rows(&folder.path("a.parquet"));
    assert_eq!(rows.len(), 40);
    assert_eq!(rows, parquet_rows(&folder.path("b.parquet")));
    assert_eq!(folder.files(), ["a.parquet", "b.parquet", "e.parquet"]);
}

#[test]
fn output_does_not_depend_on_how_batches_form() {
    let folder = Folder::new();
    folder.run("run calorimeter --events 30 --ordered --output host.parquet").assert_ok();
    let expected = parquet_rows(&folder.path("host.parquet"));
    let policies =
        ["off", "greedy", "size=7", "size=1000", "delay=5:300", "adaptive", "adaptive=0", "fixed=8"];
    let shapes = [(1, 1), (2, 256), (4, 4), (8, 256)];
    for (policy, (threads, slots)) in
        policies.into_iter().flat_map(|policy| shapes.map(|shape| (policy, shape)))
    {
        let name = format!("{policy}-{threads}.parquet");
        let flags = format!("--batch {policy} --threads {threads} --slots {slots} --output {name}");
        folder
            .run(&format!("run calorimeter --events 30 --ordered --device emulated:lanes=2 {flags}"))
            .assert_ok();
        assert_eq!(parquet_rows(&folder.path(&name)), expected, "{name}");
    }
    // The files are the same to the byte: how batches form is no part of what a result comes from.
    let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert!(bytes("off-1.parquet") == bytes("adaptive-8.parquet"));
    let flags = "--batch off -P clusterize-batch=size=4 --output own.parquet";
    let own = folder.run(&format!("run calorimeter --events 30 --ordered --device emulated:lanes=2 {flags}"));
    assert!(own.assert_ok().stdout.contains("batcher clue (size=4): 30 requests"), "{own:#?}");
    assert!(bytes("own.parquet") == bytes("off-1.parquet"));
}

#[test]
fn simulated_time_gives_the_same_output_and_the_same_report_each_time() {
    let folder = Folder::new();
    folder.run("run calorimeter --events 30 --ordered --output host.parquet").assert_ok();
    // Two hours of the device, which nobody waits for.
    let device = "emulated:lanes=2,submission-us=1000000000,row-ns=100000,jitter=0.2";
    let run = |name: &str| {
        let flags = format!("--device {device} --clock simulated --batch size=2 --output {name}");
        folder
            .run(&format!("run calorimeter --events 30 --slots 4 --ordered {flags}"))
            .assert_ok()
            .stdout
            .clone()
    };
    let (first, second) = (run("first.parquet"), run("second.parquet"));
    assert_eq!(first, second);
    assert!(first.contains("batcher clue (size=2): 30 requests"), "{first}");
    let seconds: f64 = first.split(" seconds").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 7200.0, "{first}");
    assert_eq!(parquet_rows(&folder.path("first.parquet")), parquet_rows(&folder.path("host.parquet")));
}

#[test]
fn object_condensation_can_be_chosen_and_gives_the_same_in_any_batch() {
    let folder = Folder::new();
    let host =
        folder.run("run calorimeter --events 30 -P clusters=condensation --ordered --output a.parquet");
    assert!(host.assert_ok().summary().contains("V-measure"), "{host:#?}");
    let flags = "-P clusters=condensation -P condense-batch=size=7 --device emulated:lanes=2 --ordered";
    let batched = folder.run(&format!("run calorimeter --events 30 {flags} --output b.parquet"));
    assert!(
        batched.assert_ok().stdout.contains("batcher condensation (size=7): 30 requests"),
        "{batched:#?}"
    );
    assert_eq!(parquet_rows(&folder.path("a.parquet")), parquet_rows(&folder.path("b.parquet")));
    assert_eq!(host.summary(), batched.summary());
}

#[test]
fn an_emulated_device_that_fails_costs_what_it_must_and_nothing_hangs() {
    let folder = Folder::new();
    let run = |device: &str, flags: &str| {
        folder.run(&format!("run calorimeter --events 60 --device emulated:lanes=2,{device} {flags}"))
    };
    // One failed submission is tried again in halves; a lost lane is one less.
    for fault in ["fail-nth=2", "lose-lane-nth=2", "memory-rows=200"] {
        let ran = run(fault, "--batch size=4");
        assert!(ran.assert_ok().stdout.starts_with("Processed 60 events"), "{fault}: {ran:#?}");
    }
    run("fail-nth=2,sticky=true", "").assert_fails(1, &["event ", "clusterize", "device `emulated"]);
    let skipped = run("fail-nth=2,sticky=true", "--on-error skip");
    assert!(skipped.assert_ok().stdout.contains("events failed"), "{skipped:#?}");
    let hung = run("hang-nth=2", "--on-error skip --deadline-ms 200 --batch size=4");
    assert!(hung.assert_ok().stdout.contains("4 events failed (4 of them timed out)"), "{hung:#?}");
}

#[test]
fn output_does_not_depend_on_threads_and_slots() {
    let folder = Folder::new();
    for (threads, slots) in [(1, 1), (1, 64), (2, 1), (2, 64)] {
        let name = format!("{threads}-{slots}.parquet");
        let flags = format!("--threads {threads} --slots {slots} --ordered --output {name}");
        folder.run(&format!("run calorimeter --events 30 {flags}")).assert_ok();
        assert!(
            std::fs::read(folder.path(&name)).unwrap() == std::fs::read(folder.path("1-1.parquet")).unwrap(),
            "{name}"
        );
    }
    for out in ["a.parquet", "b.parquet"] {
        folder.run(&format!("generate calorimeter --events 70 --out {out}")).assert_ok();
    }
    assert!(
        std::fs::read(folder.path("a.parquet")).unwrap() == std::fs::read(folder.path("b.parquet")).unwrap()
    );
}

#[test]
fn a_trace_is_written_and_changes_nothing() {
    let folder = Folder::new();
    let plain = folder.run("run calorimeter --events 20 --ordered --output a.parquet");
    let traced = folder.run("run calorimeter --events 20 --ordered --output b.parquet --trace t.json");
    assert_eq!(plain.assert_ok().summary(), traced.assert_ok().summary());
    assert!(
        std::fs::read(folder.path("a.parquet")).unwrap() == std::fs::read(folder.path("b.parquet")).unwrap()
    );
    let records: serde_json::Value = serde_json::from_str(&folder.read("t.json")).unwrap();
    let polls = records
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["name"] == "find_pulses" && record["ph"] == "B");
    assert_eq!(polls.count(), 20);
    folder
        .run("run calorimeter --events 1 --trace no/t.json")
        .assert_fails(1, &["cannot write the trace no/t.json"]);
}

#[test]
fn events_past_their_deadline_are_given_up_and_counted() {
    let folder = Folder::new();
    let finished = folder.run("run calorimeter --events 5 --deadline-ms 0 --on-error skip");
    assert!(finished.assert_ok().stdout.contains("5 events failed (5 of them timed out)"), "{finished:#?}");
    assert_eq!(finished.summary(), "0 clusters in 0 events\n");
}

#[test]
fn an_output_says_where_it_comes_from() {
    let folder = Folder::new();
    folder.run("run calorimeter --events 2 --seed 9 -P dc=1.25 --output o.parquet").assert_ok();
    let value = |key: &str| key_values(&folder.path("o.parquet"))[key].clone();
    assert_eq!((value("asynchrotron.chain"), value("asynchrotron.seed")), ("calorimeter".into(), "9".into()));
    // The configuration is one: it can be run again.
    folder.write("c.toml", &value("asynchrotron.configuration"));
    let again = folder.run("run calorimeter --config c.toml --dump-config");
    assert!(
        again.assert_ok().stdout.contains("\ndc = 1.25 ") && again.stdout.contains("\nevents = 2 "),
        "{again:#?}"
    );
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_refused() {
    let folder = Folder::new();
    folder.run("generate calorimeter --events 20 --out e.parquet").assert_ok();
    let whole = std::fs::read(folder.path("e.parquet")).unwrap();
    let run = || folder.run("run calorimeter --input p.parquet --output o.parquet --on-error skip");
    for content in [&whole[..whole.len() / 2], b"x,y,weight\n1,2,3\n", b""] {
        std::fs::write(folder.path("p.parquet"), content).unwrap();
        run().assert_fails(1, &["p.parquet: not a Parquet file, or cut short"]);
    }
    let block = lists::<UInt16Type>(&[vec![3]]);
    let samples = lists::<UInt16Type>(&[vec![200; 110]]);
    let wrong = lists::<Int64Type>(&[vec![3]]);
    let cases = [
        (
            vec![("event", numbers(&[1])), ("block", block.clone())],
            "column samples: expected a list of UInt16, but there is no",
        ),
        (
            vec![("event", numbers(&[1])), ("block", wrong.clone()), ("samples", samples.clone())],
            "column block: expected a list of UInt16, found",
        ),
        (
            vec![("event", block.clone()), ("block", block.clone()), ("samples", samples.clone())],
            "column event: expected UInt64, found",
        ),
        (
            vec![("block", block.clone()), ("samples", samples.clone())],
            "column event: expected UInt64, but there is no",
        ),
        (
            vec![("event", numbers(&[1])), ("block", block), ("samples", samples), ("deposit_block", wrong)],
            "column photon_x_cm: expected",
        ),
    ];
    for (columns, message) in cases {
        write_parquet(&folder.path("p.parquet"), columns);
        run().assert_fails(1, &["p.parquet", message]);
    }
    assert_eq!(folder.files(), ["e.parquet", "p.parquet"]);
}

#[test]
fn a_file_that_is_damaged_in_the_middle_fails_the_job_whatever_the_policy() {
    let folder = Folder::new();
    folder.run("generate calorimeter --events 200 --out e.parquet").assert_ok();
    let mut bytes = std::fs::read(folder.path("e.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(folder.path("p.parquet"), bytes).unwrap();
    let failed = folder.run("run calorimeter --input p.parquet --on-error skip --output o.parquet");
    failed.assert_fails(1, &["the source cannot be read on: ", "p.parquet: ", "o.parquet.partial"]);
    assert_eq!(folder.files(), ["e.parquet", "o.parquet.partial", "p.parquet"]);
}

#[test]
fn an_event_that_makes_no_sense_fails_alone() {
    let folder = Folder::new();
    let columns = vec![
        ("event", numbers(&[10, 11, 12, 13])),
        ("block", lists::<UInt16Type>(&[vec![3], vec![1080], vec![4, 5], vec![]])),
        ("samples", lists::<UInt16Type>(&[vec![200; 110], vec![200; 110], vec![200; 219], vec![]])),
    ];
    write_parquet(&folder.path("p.parquet"), columns);
    let failed = folder.run("run calorimeter --input p.parquet");
    failed.assert_fails(1, &["`decode` failed"]);
    let skipped = folder.run("run calorimeter --input p.parquet --on-error skip --output o.parquet");
    assert!(skipped.assert_ok().stdout.contains("Processed 2 events"), "{skipped:#?}");
    for part in ["event 11: ", "no block 1080", "event 12: ", "do not make 219 samples"] {
        assert!(skipped.stdout.contains(part), "no `{part}` in {}", skipped.stdout);
    }
    assert_eq!(skipped.summary(), "0 clusters in 2 events\n");
    let retried = folder.run("run calorimeter --input p.parquet --on-error retry=3,skip");
    assert!(
        retried.assert_ok().stdout.contains("2 events failed (0 of them timed out), 6 attempts"),
        "{retried:#?}"
    );
    assert_eq!(parquet_rows(&folder.path("o.parquet")).len(), 2);
}
