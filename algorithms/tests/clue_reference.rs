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
            rows.iter()
                .zip(result.iter())
                .enumerate()
                .for_each(|(i, (row, found))| row.assert_same(&found, &name, i));
            println!("{name}: {} points identical ({points_per_tile} per tile)", rows.len());
        }
    }
}
