//! The scouting chain, from generated words to τ candidates, against brute force, against itself rotated, against the truth.

use asynchrotron_algorithms::clue::{ClueConfig, ClueResult, Point, Points, clusterize};
use asynchrotron_algorithms::scouting::*;
use asynchrotron_devices::{Columns, Offsets};
use proptest::prelude::*;

const TURN: i32 = STEPS_PER_TURN as i32;

fn wrap(steps: i32) -> i16 {
    ((steps + TURN / 2).rem_euclid(TURN) - TURN / 2) as i16
}

fn rotated(candidates: &Candidates, by: i32) -> Candidates {
    let rotate = |row: Candidate| Candidate { phi_step: wrap(i32::from(row.phi_step) + by), ..row };
    candidates.iter().map(rotate).collect()
}

fn clue(config: &ClusterConfig, candidates: &Candidates) -> ClueResult {
    clusterize(&config.clue(), &candidate_points(candidates), &Offsets::single(candidates.len())).unwrap()
}

fn reconstruct(candidates: &Candidates) -> (ClueResult, Clustering, Features) {
    let config = ClusterConfig::default();
    let groups = clue(&config, candidates);
    let clustering = measure_clusters(config.pt_gev_min, candidates, groups.cluster());
    let features = compute_features(candidates, &clustering);
    (groups, clustering, features)
}

fn generated(seed: u64, event: u64) -> BunchCrossing {
    let generator = Generator::new(GeneratorConfig { seed, taus_mean: 1.0, ..GeneratorConfig::default() });
    unpack(&generator.generate(event)).unwrap()
}

/// CLUE by its definition, in whole steps and quarters of GeV: no tiles, no rounding, and the plane unrolled by hand. Every point
/// looks at three images of every other, one turn apart.
fn brute_force(config: &ClueConfig, points: &Points) -> Vec<(f32, i32, i32)> {
    let n = points.len();
    let squared = |i: usize, j: usize| {
        let dx = points.x()[i] - points.x()[j];
        let images = [-1.0, 0.0, 1.0].map(|turn| points.y()[i] - points.y()[j] + turn * TURN as f32);
        images.map(|dy| dx * dx + dy * dy).into_iter().fold(f32::INFINITY, f32::min)
    };
    let within = |i: usize, j: usize, radius: f32| squared(i, j).sqrt() <= radius;
    let weight = points.weight();
    let rho: Vec<f32> = (0..n)
        .map(|i| {
            let others = (0..n).filter(|&j| j != i && within(i, j, config.density_radius));
            weight[i] + others.map(|j| 0.5 * weight[j]).sum::<f32>()
        })
        .collect();
    let rank = |j: usize| (rho[j], j);
    let nearest: Vec<Option<usize>> = (0..n)
        .map(|i| {
            let higher = (0..n).filter(|&j| rank(j) > rank(i) && within(i, j, config.outlier_radius()));
            higher.min_by(|&j, &k| {
                squared(i, j).total_cmp(&squared(i, k)).then(rank(k).partial_cmp(&rank(j)).unwrap())
            })
        })
        .collect();
    let is_seed = |i: usize| {
        rho[i] >= config.seed_density && nearest[i].is_none_or(|j| !within(i, j, config.density_radius))
    };
    let seeds: Vec<usize> = (0..n).filter(|&i| is_seed(i)).collect();
    let cluster = |mut i: usize| loop {
        if let Some(seed) = seeds.iter().position(|&seed| seed == i) {
            return seed as i32;
        }
        match nearest[i] {
            Some(next) => i = next,
            None => return -1,
        }
    };
    (0..n).map(|i| (rho[i], nearest[i].map_or(-1, |j| j as i32), cluster(i))).collect()
}

/// Candidates in a few blobs, some across the end of φ, over noise.
fn candidates() -> impl Strategy<Value = Candidates> {
    let blob = (-300_i32..300, prop_oneof![Just(720_i32), -720_i32..720]);
    let blobs = prop::collection::vec((blob, prop::collection::vec((-25_i32..25, -25_i32..25), 1..12)), 0..4);
    let noise = prop::collection::vec((-400_i32..400, -720_i32..720), 0..40);
    (blobs, noise, prop::collection::vec(1_u16..24, 100)).prop_map(|(blobs, noise, pt)| {
        let around = |((eta, phi), offsets): ((i32, i32), Vec<(i32, i32)>)| {
            offsets.into_iter().map(move |(d_eta, d_phi)| (eta + d_eta, phi + d_phi)).collect::<Vec<_>>()
        };
        let places = blobs.into_iter().flat_map(around).chain(noise);
        let row = |((eta, phi), pt): ((i32, i32), u16)| Candidate {
            pt_gev: 0.25 * f32::from(pt),
            eta_step: eta as i16,
            phi_step: wrap(phi),
            pid: (pt % 8) as u8,
            z0_cm: 0.05 * f32::from(pt % 13),
            dxy_cm: 0.005 * f32::from(pt % 5),
            weight: 1.0,
            quality: 9,
        };
        places.zip(pt).map(row).collect()
    })
}

fn config() -> impl Strategy<Value = ClusterConfig> {
    let radius = prop_oneof![Just(0.15), 0.02..0.5_f32, Just(2.0), Just(4.0)];
    (radius, 0.0..8.0_f32, 1.0..4.0_f32).prop_map(|(density_radius, seed_density_gev, outlier_factor)| {
        ClusterConfig { density_radius, seed_density_gev, outlier_factor, pt_gev_min: 2.0 }
    })
}

proptest! {
    #[test]
    fn clustering_on_the_cylinder_agrees_with_brute_force(config in config(), candidates in candidates()) {
        let found = clue(&config, &candidates);
        let expected = brute_force(&config.clue(), &candidate_points(&candidates));
        for (point, (rho, nearest_higher, cluster)) in found.iter().zip(expected) {
            prop_assert_eq!((point.rho, point.nearest_higher, point.cluster), (rho, nearest_higher, cluster));
        }
    }

    #[test]
    fn a_rotation_changes_nothing(config in config(), candidates in candidates(), by in -720_i32..720) {
        let other = rotated(&candidates, by);
        let (groups, other_groups) = (clue(&config, &candidates), clue(&config, &other));
        prop_assert!(groups.same_bits(&other_groups));
        let clustering = measure_clusters(config.pt_gev_min, &candidates, groups.cluster());
        let other_clustering = measure_clusters(config.pt_gev_min, &other, groups.cluster());
        prop_assert_eq!(&clustering.candidates_of_cluster, &other_clustering.candidates_of_cluster);
        for (cluster, moved) in clustering.clusters.iter().zip(other_clustering.clusters.iter()) {
            let difference = (moved.phi_step - cluster.phi_step - by as f32).rem_euclid(TURN as f32);
            prop_assert!(difference < 1e-3 || difference > TURN as f32 - 1e-3, "{}", difference);
            prop_assert!(moved.phi_step.abs() <= 720.0);
            prop_assert_eq!(super_fields(&moved), super_fields(&cluster));
        }
        let features = compute_features(&candidates, &clustering);
        prop_assert!(features.same_bits(&compute_features(&other, &other_clustering)));
    }

    #[test]
    fn clusters_hold_their_candidates_and_features_are_numbers(candidates in candidates()) {
        let (groups, clustering, features) = reconstruct(&candidates);
        let clusters = &clustering.clusters;
        prop_assert_eq!((clusters.len(), features.len()), (clustering.candidates_of_cluster.len(), clusters.len()));
        prop_assert!(clusters.pt_gev().is_sorted_by(|a, b| a >= b));
        for (cluster, members) in clusters.iter().zip(clustering.candidates_of_cluster.iter()) {
            let pt: f32 = members.iter().map(|&member| candidates.pt_gev()[member as usize]).sum();
            prop_assert_eq!((cluster.pt_gev, usize::from(cluster.size)), (pt, members.len()));
            let group = groups.cluster()[members[0] as usize];
            prop_assert_eq!(members.len(), groups.cluster().iter().filter(|&&other| other == group).count());
            prop_assert!(members.contains(&cluster.lead));
        }
        prop_assert!(features.tensor::<f32>().unwrap().values().iter().all(|value| value.is_finite()));
        for row in features.iter() {
            let shares = [row.lead_share, row.charged_share, row.photon_share];
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            prop_assert!(row.width <= row.radius * 1.0001 && row.charged + row.photons <= row.candidates);
        }
    }
}

fn super_fields(cluster: &Cluster) -> (f32, f32, u32, u16, u16, i16) {
    let Cluster { pt_gev, eta_step, lead, size, charged, charge, .. } = *cluster;
    (pt_gev, eta_step, lead, size, charged, charge)
}

#[test]
fn a_plane_that_is_not_periodic_and_one_whose_period_is_out_of_reach_agree() {
    let flat = ClueConfig { y_period: None, ..ClusterConfig::default().clue() };
    for event in 0..20 {
        let points = candidate_points(&generated(3, event).candidates);
        let half: Points = points.iter().map(|point| Point { y: 0.25 * point.y, ..point }).collect();
        let offsets = Offsets::single(half.len());
        let wide = ClueConfig { y_period: Some(1440.0), ..flat };
        let (flat, wide) =
            (clusterize(&flat, &half, &offsets).unwrap(), clusterize(&wide, &half, &offsets).unwrap());
        assert!(flat.same_bits(&wide));
    }
}

#[test]
fn features_of_a_cluster_across_the_end_of_phi_are_what_one_computes_by_hand() {
    let row = |pt_gev, eta_step, phi_step, pid, z0_cm, dxy_cm| Candidate {
        pt_gev,
        eta_step,
        phi_step,
        pid,
        z0_cm,
        dxy_cm,
        weight: 0.5,
        quality: 0,
    };
    let candidates = Candidates::from_rows(&[
        row(2.0, 100, -716, 2, 1.5, -0.01),
        row(5.0, 100, 716, 3, 1.0, 0.02),
        row(1.0, 106, -720, 1, 0.0, 0.0),
        row(1.0, 160, 716, 1, 0.0, 0.0), // ΔR = 60 steps = 0.26: isolation
    ]);
    let (groups, clustering, features) = reconstruct(&candidates);
    assert_eq!(groups.cluster(), [0, 0, 0, 0]);
    assert_eq!(clustering.clusters.row(0).charge, 0);
    let row = features.row(0);
    let step = f64::from(ANGLE_STEP);
    let close =
        |found: f32, expected: f64| assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    close(row.log_pt, 9.0_f64.ln());
    close(row.lead_share, 5.0 / 9.0);
    close(row.eta_abs, 100.0 * step);
    assert_eq!([row.candidates, row.charged, row.photons, row.charge_abs], [4.0, 2.0, 2.0, 0.0]);
    close(row.charged_share, 7.0 / 9.0);
    close(row.photon_share, 2.0 / 9.0);
    let third = 52.0_f64.sqrt();
    close(row.width, step * (2.0 * 8.0 + third + 60.0) / 9.0);
    close(row.radius, step * 60.0);
    close(row.z0_spread_cm, 0.25);
    close(row.dxy_cm, 0.015);
    close(row.isolation, 1.0 / 9.0);
    close(row.weight, 0.5);
    let rows = [(2.0, 100.0, 724.0), (5.0, 100.0, 716.0), (1.0, 106.0, 720.0), (1.0, 160.0, 716.0)];
    let mut squared = 0.0;
    for (i, a) in rows.iter().enumerate() {
        for b in &rows[..i] {
            squared += 2.0 * a.0 * b.0 * ((step * (a.1 - b.1)).cosh() - (step * (a.2 - b.2)).cos());
        }
    }
    close(row.mass_gev, squared.sqrt());
}

#[test]
fn a_bunch_crossing_depends_on_seed_and_number_only() {
    let generator = Generator::new(GeneratorConfig::default());
    let forwards: Vec<_> = (0..10).map(|event| generator.generate(event)).collect();
    let backwards: Vec<_> = (0..10).rev().map(|event| generator.clone().generate(event)).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    let other = Generator::new(GeneratorConfig { seed: 2, ..GeneratorConfig::default() });
    assert_ne!(forwards[0], other.generate(0));
    let nothing =
        GeneratorConfig { soft_mean: 0.0, jets_mean: 0.0, taus_mean: 0.0, ..GeneratorConfig::default() };
    assert_eq!(Generator::new(nothing).generate(5), pack(5, &[], &[]));
}

/// With the C library of other platforms, `exp` and `ln` may differ in their last bit.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[test]
fn a_seed_makes_the_same_words_for_ever() {
    let generator = Generator::new(GeneratorConfig::default());
    let mut digest = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    for byte in (0..50).flat_map(|event| generator.generate(event)).flat_map(u64::to_le_bytes) {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    assert_eq!(
        digest, 0x1bea_2a00_3237_1c70,
        "0x{digest:016x}: change the number only if the generator was meant to change"
    );
}

#[test]
fn taus_are_found_and_cuts_tell_them_from_jets() {
    let generator = Generator::new(GeneratorConfig { seed: 5, ..GeneratorConfig::default() });
    let mut quality = Quality::default();
    for event in 0..1500 {
        let BunchCrossing { candidates, truths, .. } = unpack(&generator.generate(event)).unwrap();
        let (_, clustering, features) = reconstruct(&candidates);
        let scores = tag_with_cuts(&CutConfig::default(), &features);
        quality.add(&truths, &clustering, &[("cuts", &scores)]);
    }
    let report = quality.report();
    println!("{report}");
    assert!(report.efficiency > 0.7, "{report}");
    assert!((report.response[0] - 1.0).abs() < 0.1 && report.response[1] < 0.3, "{report}");
    assert!((0.7..0.9).contains(&report.taggers[0].area), "{report}");
    assert!(report.taggers[0].rejection[0] > 5.0, "{report}");
}

#[test]
fn quality_does_not_depend_on_the_order_of_events_or_parts() {
    let part = |events: &[u64]| {
        let mut quality = Quality::default();
        for &event in events {
            let BunchCrossing { candidates, truths, .. } = generated(1, event);
            let (_, clustering, features) = reconstruct(&candidates);
            let scores = tag_with_cuts(&CutConfig::default(), &features);
            quality.add(&truths, &clustering, &[("cuts", &scores)]);
        }
        quality
    };
    let all = part(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut merged = part(&[9, 2, 7]);
    merged.merge(&part(&[]));
    merged.merge(&part(&[5, 0, 1, 3, 8, 6, 4]));
    assert_eq!(merged.to_string(), all.to_string());
    assert!(part(&[]).report().efficiency.is_nan());
}

#[test]
fn selected_taus_carry_the_corrected_momentum() {
    let crossing = (0..).map(|event| generated(1, event)).find(|crossing| crossing.truths.len() > 2).unwrap();
    let (_, clustering, _) = reconstruct(&crossing.candidates);
    let clusters = &clustering.clusters;
    let score = |i: usize| Score { tau: i as f32, log_pt_ratio: 0.5_f32.ln() };
    let scores: Scores = (0..clusters.len()).map(score).collect();
    let taus = select_taus(1.0, clusters, &scores);
    assert_eq!(taus.len(), clusters.len() - 1);
    for (tau, cluster) in taus.iter().zip(clusters.iter().skip(1)) {
        assert_eq!((tau.cluster_pt_gev, tau.phi), (cluster.pt_gev, cluster.phi()));
        assert!((tau.pt_gev - 0.5 * cluster.pt_gev).abs() < 1e-5);
    }
}
