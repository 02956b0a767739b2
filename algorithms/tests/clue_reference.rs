//! CLUE against published results: those of the serial code of the CLUE paper (cms-patatrack/heterogeneous-clue).

mod published;

use asynchrotron_algorithms::clue::{ClueConfig, clusterize};
use asynchrotron_devices::Offsets;

#[test]
fn published_results_are_reproduced() {
    let Some(files) = published::files() else { return };
    for published::File { name, config, points, rows } in files {
        for points_per_tile in [1, 2, 50] {
            let config = ClueConfig { points_per_tile, ..config };
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
