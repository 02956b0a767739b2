use asynchrotron_devices::Offsets;

/// Not looked at yet.
const UNKNOWN: i32 = -2;

/// Step 6: numbers the seeds of each event in the order of their indices; every other point follows its nearest higher
/// points to a seed and takes its number, or -1 if the chain ends at a point that is no seed.
///
/// # Panics
/// If the slices differ in length, or if `nearest_higher` names a point outside of its event.
pub fn assign_clusters(events: &Offsets, nearest_higher: &[i32], is_seed: &[u8], cluster: &mut [i32]) {
    assert!(nearest_higher.len() == cluster.len() && is_seed.len() == cluster.len(), "one of each per point");
    for range in events.iter() {
        let (next, is_seed, cluster) =
            (&nearest_higher[range.clone()], &is_seed[range.clone()], &mut cluster[range]);
        let mut seeds = 0;
        for (point, cluster) in cluster.iter_mut().enumerate() {
            *cluster = match (is_seed[point] != 0, next[point]) {
                (true, _) => {
                    seeds += 1;
                    seeds - 1
                }
                (false, -1) => -1,
                (false, _) => UNKNOWN,
            };
        }
        // Each walk marks its whole path, so all walks together take one step per point, also along a chain of n points.
        for start in 0..cluster.len() {
            let mut end = start;
            while cluster[end] == UNKNOWN {
                end = next[end] as usize;
            }
            let found = cluster[end];
            let mut point = start;
            while cluster[point] == UNKNOWN {
                cluster[point] = found;
                point = next[point] as usize;
            }
        }
    }
}
