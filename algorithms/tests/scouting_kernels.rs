//! The kernel that measures clusters of candidates, on the CPU: what `measure_clusters` and `compute_features` give, to the bit, in
//! whatever order threads run, and nothing beside it.

mod crossings;
mod on_host;

use std::ffi::c_void;
use std::ptr::from_mut;
use std::sync::OnceLock;

use asynchrotron_algorithms::clue::{ClueResult, Points, clusterize};
use asynchrotron_algorithms::scouting::*;
use asynchrotron_devices::{Columns, Offsets};
use crossings::{crossing, generated};
use on_host::{Buffer, Kernels};
use proptest::prelude::*;

const FEATURES: usize = 16;

fn kernels() -> Option<&'static Kernels> {
    static KERNELS: OnceLock<Option<Kernels>> = OnceLock::new();
    KERNELS.get_or_init(|| Kernels::build(include_str!("../kernels/scouting.cu"))).as_ref()
}

/// A launch as the file describes it.
struct Launch<'a> {
    pt_gev_min: f32,
    crossings: &'a [BunchCrossing],
    /// How many clusters there is room for.
    rows: Vec<usize>,
    threads: usize,
    /// As CLUE says it.
    bad: u32,
}

/// All that is written.
#[derive(Debug, PartialEq)]
struct Found {
    features: Vec<u32>,
    clusters: Vec<u32>,
    members: Vec<u32>,
    counts: Vec<u32>,
}

const RUBBISH: u32 = 0xa5a5_a5a5;

impl Launch<'_> {
    fn stride(&self) -> usize {
        self.rows.iter().sum::<usize>() + 3
    }

    fn run(&self, kernels: &Kernels, groups: &ClueResult) -> Found {
        let candidates: Vec<&Candidates> =
            self.crossings.iter().map(|crossing| &crossing.candidates).collect();
        let (all, events) = Candidates::concat(&candidates);
        let rows = Offsets::from_counts(self.rows.iter().copied());
        let points = candidate_points(&all);
        let pid: Vec<u32> = all.pid().iter().map(|&pid| pid.into()).collect();
        let mut inputs = [points.x(), points.y(), points.weight(), all.z0_cm(), all.dxy_cm(), all.weight()]
            .map(Buffer::of);
        let (mut pid, mut first, mut first_row) =
            (Buffer::of(&pid), Buffer::of(events.as_slice()), Buffer::of(rows.as_slice()));
        let (mut is_seed, mut cluster) = (Buffer::of(groups.is_seed()), Buffer::of(groups.cluster()));
        let (mut bad, mut notes) = (Buffer::of(&[self.bad]), Buffer::new(64 * all.len()));
        let mut features = Buffer::zeroed(4 * FEATURES * self.stride());
        let [mut clusters, mut members] = [4 * 7 * rows.rows(), 4 * all.len()].map(Buffer::new);
        let mut counts = Buffer::new(4 * events.len());
        let mut pointers: Vec<*mut u8> = inputs.iter_mut().map(Buffer::at).collect();
        let rest = [&mut pid, &mut first, &mut first_row, &mut is_seed, &mut cluster, &mut bad];
        pointers.extend(rest.map(Buffer::at));
        let out = [&mut notes, &mut features, &mut clusters, &mut members, &mut counts];
        let mut out = out.map(Buffer::at);
        let (mut pt_min, mut n_rows, mut stride) =
            (self.pt_gev_min, rows.rows() as u32, self.stride() as u32);
        let mut arguments: Vec<*mut c_void> = pointers.iter_mut().map(|at| from_mut(at).cast()).collect();
        arguments.extend([
            from_mut(&mut pt_min).cast(),
            from_mut(&mut n_rows).cast(),
            from_mut(&mut stride).cast(),
        ]);
        arguments.extend(out.iter_mut().map(|at| from_mut(at).cast::<c_void>()));
        // SAFETY: the types are those of the kernel's parameters, and the sizes those that its file says; guards watch them.
        let done =
            unsafe { kernels.launch("scouting_measure", [events.len(), self.threads], 0, &mut arguments) };
        assert_eq!(done, 0);
        drop(notes.values::<u32>());
        Found {
            features: features.values(),
            clusters: clusters.values(),
            members: members.values(),
            counts: counts.values(),
        }
    }

    /// What the host says should be there; everything else stays as it was.
    fn expected(&self, clusterings: &[Clustering]) -> Found {
        let n_rows: usize = self.rows.iter().sum();
        let n: usize = self.crossings.iter().map(|crossing| crossing.candidates.len()).sum();
        let mut found = Found {
            features: vec![0; FEATURES * self.stride()],
            clusters: vec![RUBBISH; 7 * n_rows],
            members: vec![RUBBISH; n],
            counts: Vec::new(),
        };
        let (mut first, mut first_row) = (0, 0);
        for ((crossing, clustering), rows) in self.crossings.iter().zip(clusterings).zip(&self.rows) {
            let features = compute_features(&crossing.candidates, clustering);
            let columns = features.tensor::<f32>().unwrap();
            let columns = columns.values();
            let count = clustering.clusters.len();
            for (row, cluster) in clustering.clusters.iter().enumerate().take(*rows) {
                let at = first_row + row;
                for feature in 0..FEATURES {
                    found.features[feature * self.stride() + at] = columns[feature * count + row].to_bits();
                }
                let values = [
                    cluster.pt_gev.to_bits(),
                    cluster.eta_step.to_bits(),
                    cluster.phi_step.to_bits(),
                    cluster.lead,
                    cluster.size.into(),
                    cluster.charged.into(),
                    i32::from(cluster.charge) as u32,
                ];
                for (column, value) in values.into_iter().enumerate() {
                    found.clusters[column * n_rows + at] = value;
                }
            }
            let members = clustering.candidates_of_cluster.offsets().as_slice()[count.min(*rows)];
            let members = &clustering.candidates_of_cluster.content()[..members as usize];
            found.members[first..first + members.len()].copy_from_slice(members);
            found.counts.push(count as u32);
            first += crossing.candidates.len();
            first_row += rows;
        }
        found
    }
}

/// CLUE's result for the batch, and what the host makes of it.
fn on_host(config: &ClusterConfig, crossings: &[BunchCrossing]) -> (ClueResult, Vec<Clustering>) {
    let points: Vec<Points> =
        crossings.iter().map(|crossing| candidate_points(&crossing.candidates)).collect();
    let (points, events) = Points::concat(&points.iter().collect::<Vec<_>>());
    let groups = clusterize(&config.clue(), &points, &events).unwrap();
    let clustering = |(crossing, range): (&BunchCrossing, std::ops::Range<usize>)| {
        measure_clusters(config.pt_gev_min, &crossing.candidates, &groups.cluster()[range])
    };
    let clusterings = crossings.iter().zip(events.iter()).map(clustering).collect();
    (groups, clusterings)
}

/// Runs the kernel in several orders, with more rows than clusters, and compares.
fn check(config: &ClusterConfig, crossings: &[BunchCrossing], spare: usize, seeds: &[u64]) {
    let Some(kernels) = kernels() else { return };
    let (groups, clusterings) = on_host(config, crossings);
    let rows = clusterings.iter().map(|clustering| clustering.clusters.len() + spare).collect();
    for (&seed, threads) in seeds.iter().zip([32, 64, 256].into_iter().cycle()) {
        kernels.shuffle_threads(seed);
        let launch =
            Launch { pt_gev_min: config.pt_gev_min, crossings, rows: Clone::clone(&rows), threads, bad: 0 };
        let found = launch.run(kernels, &groups);
        kernels.shuffle_threads(0);
        assert_eq!(found, launch.expected(&clusterings), "order {seed}");
    }
}

#[test]
fn generated_events_are_measured_as_on_the_host() {
    let crossings = generated(0..120);
    let config = ClusterConfig::default();
    check(&config, &crossings, 0, &[0, 1]);
    let (_, clusterings) = on_host(&config, &crossings);
    // Among them some with nothing, and some with several.
    let counts: Vec<usize> = clusterings.iter().map(|clustering| clustering.clusters.len()).collect();
    assert!(counts.contains(&0) && counts.iter().any(|&count| count > 2), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn any_events_are_measured_as_on_the_host(
        crossings in prop::collection::vec(crossing(90), 1..7),
        pt_gev_min in prop_oneof![Just(0.0_f32), Just(2.5), Just(5.0)],
        density_radius in prop_oneof![Just(0.15_f32), 0.05..0.6_f32],
        seed_density_gev in prop_oneof![Just(0.5_f32), Just(3.0)],
        spare in 0_usize..3,
        seed: u64,
    ) {
        let config = ClusterConfig { pt_gev_min, density_radius, seed_density_gev, ..ClusterConfig::default() };
        check(&config, &crossings, spare, &[0, seed]);
    }
}

#[test]
fn large_events_are_measured_as_on_the_host() {
    let crossings = generated(0..80);
    let all: Vec<&Candidates> = crossings.iter().map(|crossing| &crossing.candidates).collect();
    let (candidates, _) = Candidates::concat(&all);
    assert!(candidates.len() > 3000);
    let large = BunchCrossing { candidates, ..BunchCrossing::default() };
    check(&ClusterConfig::default(), &[large, crossings[0].clone()], 1, &[0]);
}

#[test]
fn clusters_beyond_the_rows_are_counted_and_not_written() {
    let Some(kernels) = kernels() else { return };
    let crossings = generated(0..60);
    let config = ClusterConfig { pt_gev_min: 2.0, ..ClusterConfig::default() };
    let (groups, clusterings) = on_host(&config, &crossings);
    let counts: Vec<u32> = clusterings.iter().map(|clustering| clustering.clusters.len() as u32).collect();
    assert!(counts.iter().any(|&count| count > 2));
    let launch = Launch { pt_gev_min: 2.0, crossings: &crossings, rows: vec![1; 60], threads: 64, bad: 0 };
    let found = launch.run(kernels, &groups);
    assert_eq!(found.counts, counts);
    assert_eq!(found, launch.expected(&clusterings));
}

#[test]
fn where_clue_found_a_candidate_that_makes_no_sense_nothing_is_measured() {
    let Some(kernels) = kernels() else { return };
    let crossings = generated(0..20);
    let (groups, _) = on_host(&ClusterConfig::default(), &crossings);
    let launch = Launch { pt_gev_min: 5.0, crossings: &crossings, rows: vec![9; 20], threads: 64, bad: !7 };
    let found = launch.run(kernels, &groups);
    assert_eq!(found, launch.expected(&vec![Clustering::default(); 20]));
}
