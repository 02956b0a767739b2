//! The chains on device `onnx`, and without it.

mod support;

use support::{Finished, Folder, key_values, parquet_rows};

/// What has a network on device `onnx`: its chain, its batcher, and its file.
const CHAINS: [(&str, &str, &str); 2] = [
    ("scouting --events 300", "tau", "tau.onnx"),
    ("calorimeter --events 40 -P clusters=condensation", "condensation", "condensation.onnx"),
];

/// Why the device is not here; says so past the test runner, which shows what a test prints only if it fails.
fn why_not_here(folder: &Folder) -> Option<String> {
    use std::io::Write as _;
    let list = folder.run("list").assert_ok().stdout.clone();
    let line = list.lines().find_map(|line| line.trim().strip_prefix("onnx ")).unwrap().trim().to_owned();
    if !line.starts_with("not here: ") {
        return None;
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED a test of device onnx: {line}");
    Some(line)
}

/// All numbers of a file, in its order.
fn numbers(rows: &[String]) -> Vec<f64> {
    let separators = |c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c));
    rows.iter().flat_map(|row| row.split(separators)).filter_map(|word| word.parse().ok()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_chain_gives_on_onnx_runtime_what_it_gives_on_the_host_however_batches_form() {
    let folder = Folder::new();
    if why_not_here(&folder).is_some() {
        return;
    }
    for (chain, batcher, _) in CHAINS {
        let run = |name: &str, flags: &str| -> (Finished, Vec<f64>) {
            let finished = folder.run(&format!("run {chain} --ordered --output {name} {flags}"));
            finished.assert_ok();
            let numbers = numbers(&parquet_rows(&folder.path(name)));
            (finished, numbers)
        };
        let (host, expected) = run("host.parquet", "");
        assert!(!host.stdout.contains("\nmodel ") && expected.len() > 300, "{host:#?}");
        for (policy, threads, slots) in
            [("off", 1, 1), ("size=9", 2, 64), ("adaptive", 2, 256), ("fixed=8", 2, 64)]
        {
            let flags = format!("--device onnx --batch {policy} --threads {threads} --slots {slots}");
            let (onnx, found) = run("onnx.parquet", &flags);
            assert!(onnx.stdout.contains(&format!("batcher {batcher} ({policy}")), "{onnx:#?}");
            assert_eq!(found.len(), expected.len(), "{flags}");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
                    "{found} {expected} {flags}"
                );
            }
            let first = |finished: &Finished| finished.summary().lines().next().unwrap().to_owned();
            assert_eq!(first(&onnx), first(&host));
        }
        // What runs no model on this device does what it does on the host, where nothing is gained by a batch.
        let (onnx, _) = run("onnx.parquet", "--device onnx");
        assert!(onnx.stdout.contains(&format!("batcher {batcher} (adaptive)")), "{onnx:#?}");
        assert!(batcher != "tau" || onnx.stdout.contains("batcher clue (off)"), "{onnx:#?}");
    }
}

#[test]
fn the_report_and_the_file_say_which_model_it_was() {
    let folder = Folder::new();
    if why_not_here(&folder).is_some() {
        return;
    }
    for (chain, model, file) in CHAINS {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../algorithms/models");
        let sha256 = sha256(&std::fs::read(format!("{models}/{file}")).unwrap());
        let onnx = folder.run(&format!("run {chain} --device onnx --output onnx.parquet"));
        let line = onnx.assert_ok().stdout.lines().find(|line| line.starts_with("model ")).unwrap();
        let expected = format!("model {model} (built in, sha256 {}…): ", &sha256[..12]);
        assert!(line.starts_with(&expected), "{line}");
        for part in [" loaded in ", ", warmed up in ", " runs of ", " rows took ", " per row"] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
        let key = format!("asynchrotron.model.{model}.sha256");
        assert_eq!(key_values(&folder.path("onnx.parquet")).get(&key), Some(&sha256));

        folder.run(&format!("run {chain} --output host.parquet")).assert_ok();
        assert!(!key_values(&folder.path("host.parquet")).keys().any(|key| key.contains("model")));
    }
}

#[test]
fn without_the_library_a_job_on_the_device_fails_with_one_line_and_others_run() {
    let folder = Folder::new();
    for (chain, ..) in CHAINS {
        let mut command = folder.command(&format!("run {chain} --device onnx --output o.parquet"));
        let failed = Finished::of(command.env("ORT_DYLIB_PATH", "/nowhere"));
        // A build without the feature says that.
        failed.assert_fails(1, &["device `onnx` is not here: "]);
        assert!(folder.files().is_empty());
        let mut command = folder.command(&format!("run {chain}"));
        Finished::of(command.env("ORT_DYLIB_PATH", "/nowhere")).assert_ok();
    }
}
