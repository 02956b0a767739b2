//! The published results of CLUE, for whoever compares with them.

use asynchrotron_algorithms::clue::{ClueConfig, CluePoint, Point, Points};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of reference data, if there is one. It is not part of the project.
fn reference() -> Option<PathBuf> {
    let folder = std::env::var_os("ASYNCHROTRON_REFERENCE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let folder = folder.join("clue/reference");
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the test runner, which shows what a test prints only if it fails.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED the published results of CLUE: none in {}; set ASYNCHROTRON_REFERENCE_DATA to their folder",
        folder.display()
    );
    None
}

/// What was published of a point.
pub(crate) struct Row {
    pub(crate) point: Point,
    rho: f32,
    delta: f32,
    nearest_higher: i32,
    is_seed: u8,
    cluster: i32,
}

impl Row {
    pub(crate) fn assert_same(&self, found: &CluePoint, file: &str, point: usize) {
        assert_eq!(found.rho.to_bits(), self.rho.to_bits(), "{file}, point {point}: rho");
        let delta = if found.delta > 999.0 { 999.0 } else { found.delta };
        assert_eq!(delta, self.delta, "{file}, point {point}: delta"); // 9 digits are an f32, exactly
        assert_eq!(found.nearest_higher, self.nearest_higher, "{file}, point {point}: nearest higher");
        assert_eq!(found.is_seed, self.is_seed, "{file}, point {point}: seed");
        assert_eq!(found.cluster, self.cluster, "{file}, point {point}: cluster");
    }
}

/// index,x,y,layer,weight,rho,delta,nh,isSeed,clusterId
fn parse(line: &str) -> Row {
    let field: Vec<&str> = line.trim().split(',').collect();
    let float = |i: usize| field[i].parse::<f32>().unwrap();
    let integer = |i: usize| field[i].parse::<i32>().unwrap();
    Row {
        point: Point { x: float(1), y: float(2), weight: float(4) },
        rho: float(5),
        delta: float(6),
        nearest_higher: integer(7),
        is_seed: integer(8) as u8,
        cluster: integer(9),
    }
}

/// NAME_dcA_rhoB_fC
fn config(name: &str) -> ClueConfig {
    let option = |prefix: &str| {
        let part = name.split('_').rev().find_map(|part| part.strip_prefix(prefix)?.parse().ok());
        part.unwrap_or_else(|| panic!("no {prefix} in {name}"))
    };
    ClueConfig {
        density_radius: option("dc"),
        seed_density: option("rho"),
        outlier_factor: option("f"),
        ..ClueConfig::default()
    }
}

/// One event and its results.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) config: ClueConfig,
    pub(crate) points: Points,
    pub(crate) rows: Vec<Row>,
}

/// All of them, if they are here.
pub(crate) fn files() -> Option<Vec<File>> {
    let mut files: Vec<_> =
        std::fs::read_dir(reference()?).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the reference folder is empty");
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let rows: Vec<Row> = text.lines().skip(1).map(parse).collect();
        let points = rows.iter().map(|row| row.point).collect();
        File { config: config(&name), name, points, rows }
    };
    Some(files.into_iter().map(read).collect())
}
