//! CLUE against published results: those of the serial code of the CLUE paper (cms-patatrack/heterogeneous-clue).

use asynchrotron_algorithms::clue::{ClueConfig, Point, Points, clusterize};
use asynchrotron_devices::Offsets;
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

struct Row {
    point: Point,
    rho: f32,
    delta: f32,
    nearest_higher: i32,
    is_seed: u8,
    cluster: i32,
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

#[test]
fn published_results_are_reproduced() {
    let Some(folder) = reference() else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the reference folder is empty");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let rows: Vec<Row> = text.lines().skip(1).map(parse).collect();
        let points: Points = rows.iter().map(|row| row.point).collect();
        for points_per_tile in [1, 2, 50] {
            let config = ClueConfig { points_per_tile, ..config(name) };
            let result = clusterize(&config, &points, &Offsets::single(points.len())).unwrap();
            for (i, (row, found)) in rows.iter().zip(result.iter()).enumerate() {
                assert_eq!(found.rho.to_bits(), row.rho.to_bits(), "{name}, point {i}: rho");
                let delta = if found.delta > 999.0 { 999.0 } else { found.delta };
                assert_eq!(delta, row.delta, "{name}, point {i}: delta"); // 9 digits are an f32, exactly
                assert_eq!(found.nearest_higher, row.nearest_higher, "{name}, point {i}: nearest higher");
                assert_eq!(found.is_seed, row.is_seed, "{name}, point {i}: seed");
                assert_eq!(found.cluster, row.cluster, "{name}, point {i}: cluster");
            }
            println!("{name}: {} points identical ({points_per_tile} per tile)", rows.len());
        }
    }
}
