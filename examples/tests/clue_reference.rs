//! The chain `clue` against published results: the files of the reference data, whatever the threads and slots.
#![allow(missing_docs)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use support::Folder;

/// The reference data, if it is there.
fn reference_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("ASYNCHROTRON_REFERENCE_DATA").map_or_else(beside, PathBuf::from);
    if folder.join("clue").is_dir() {
        return folder.canonicalize().ok();
    }
    // Past the test runner, which shows what a test prints only if it fails.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED the published results of CLUE: none in {}; set ASYNCHROTRON_REFERENCE_DATA to their folder",
        folder.display()
    );
    None
}

/// Parts of a name such as `toyDetector_10000_dc2.5_rho2_f3`: the input, and the flags that it stands for.
fn flags(name: &str) -> Option<(&str, String)> {
    let (rest, factor) = name.rsplit_once("_f")?;
    let (rest, rho) = rest.rsplit_once("_rho")?;
    let (input, dc) = rest.rsplit_once("_dc")?;
    Some((input, format!("--dc {dc} --rhoc {rho} --outlier-factor {factor}")))
}

fn fields<'a>(line: &'a str, columns: &[usize]) -> Vec<&'a str> {
    let fields: Vec<_> = line.split(',').collect();
    columns.iter().map(|&column| fields[column]).collect()
}

#[test]
fn every_reference_file_is_reproduced_whatever_the_threads_and_slots() {
    let Some(data) = reference_data() else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(data.join("clue/reference")).unwrap() {
        let reference = entry.unwrap().path();
        let name = reference.file_stem().unwrap().to_str().unwrap();
        let (input, flags) = flags(name).expect("a name with dc, rho and f");
        let input = data.join(format!("clue/input/{input}.csv"));
        let expected = std::fs::read_to_string(&reference).unwrap();
        let folder = Folder::new();
        for job in ["--threads 1 --slots 1", "--threads 2 --slots 1", "--threads 2 --slots 64"] {
            folder
                .run(&format!("run clue --input {} {flags} {job} --output out.csv", input.display()))
                .assert_ok();
            let found = folder.read("out.csv");
            assert_eq!(found.lines().count(), expected.lines().count(), "{name}");
            for (found, expected) in found.lines().zip(expected.lines()).skip(1) {
                let (found, expected) =
                    (fields(found, &[0, 2, 3, 4, 5, 6]), fields(expected, &[0, 5, 6, 7, 8, 9]));
                let number = |text: &str| text.parse::<f32>().unwrap();
                // index, nearest higher, seed, cluster
                for column in [0, 3, 4, 5] {
                    assert_eq!(found[column], expected[column], "{name} {job}: {found:?} {expected:?}");
                }
                assert_eq!(number(found[1]).to_bits(), number(expected[1]).to_bits(), "{name} {job}: rho");
                // The reference prints nine digits, which tell every f32 apart.
                assert_eq!(number(found[2]).to_bits(), number(expected[2]).to_bits(), "{name} {job}: delta");
            }
        }
        files += 1;
    }
    assert!(files >= 7, "only {files} reference files");
}
