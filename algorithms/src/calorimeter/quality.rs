use super::{Cells, Clustering, Truth};
use crate::sample::{quantile, sorted, width68};
use std::fmt;

/// A cluster further than this from the photon that gave it most of its energy is not counted as that photon, in cm:
/// one and a half blocks.
const DISTANCE_CM_MAX: f32 = 3.0;

/// Compares clusters with the truth, over many events.
///
/// Events may be added, and parts merged, in any order with an identical result: counts and fixed-point sums are
/// integers, samples are sorted before anything is computed from them.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    events: u64,
    photons: u64,
    clusters: u64,
    matched: u64,
    split: u64,
    response: Vec<f32>,
    dx_cm: Vec<f32>,
    dy_cm: Vec<f32>,
    /// Entropies times cells, [`FIXED`] per nat: H(photon), H(photon | cluster), H(cluster), H(cluster | photon).
    entropies: [i128; 4],
    /// Energy of the clustered cells, and of those that belong to their cluster's photon, in [`FIXED`] per GeV.
    energy: [i128; 2],
}

const FIXED: f64 = (1_u64 << 32) as f64;

/// What [`Quality`] found. Shares are 0 to 1, and NaN where there was nothing to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityReport {
    /// The number of events.
    pub events: u64,
    /// The number of photons.
    pub photons: u64,
    /// The number of clusters.
    pub clusters: u64,
    /// The share of photons that have a cluster: the cluster's energy comes mostly from the photon, and its position is
    /// at most 3 cm away.
    pub efficiency: f64,
    /// The share of clusters that are the (largest) cluster of a photon.
    pub purity: f64,
    /// The share of clusters that belong to no photon.
    pub fake_rate: f64,
    /// The share of clusters that are a further cluster of a photon.
    pub split_rate: f64,
    /// Mean of E_rec / E_true of matched photons, within 2.5 σ.
    pub response_mean: f64,
    /// Standard deviation of E_rec / E_true within 2.5 σ.
    pub response_sigma: f64,
    /// Median of E_rec / E_true.
    pub response_median: f64,
    /// Half of the width of the central 68 % of E_rec / E_true.
    pub response_width68: f64,
    /// Half of the width of the central 68 % of x_rec − x_true, in cm.
    pub x_width68_cm: f64,
    /// Half of the width of the central 68 % of y_rec − y_true, in cm.
    pub y_width68_cm: f64,
    /// 1 − H(photon | cluster) / H(photon): each cluster holds cells of one photon only. Over cells that belong to a
    /// photon; those in no cluster count as one cluster.
    pub homogeneity: f64,
    /// 1 − H(cluster | photon) / H(cluster): the cells of each photon are in one cluster.
    pub completeness: f64,
    /// The harmonic mean of both.
    pub v_measure: f64,
    /// The share of clustered energy in cells that belong to their cluster's main photon.
    pub energy_purity: f64,
}

impl Quality {
    /// Adds one event.
    pub fn add(&mut self, truth: &Truth, cells: &Cells, clustering: &Clustering) {
        let photon_of_cell: Vec<i32> = cells.block().iter().map(|block| photon_of(truth, *block)).collect();
        self.events += 1;
        self.photons += truth.photons.len() as u64;
        self.clusters += clustering.clusters.len() as u64;
        self.add_matches(truth, cells, clustering, &photon_of_cell);
        self.add_entropies(&photon_of_cell, &clustering.cluster_of_cell);
    }

    fn add_matches(&mut self, truth: &Truth, cells: &Cells, clustering: &Clustering, photon_of_cell: &[i32]) {
        let mut found = vec![false; truth.photons.len()];
        // From the most energetic cluster on, so that a photon's first match is its largest cluster.
        let mut order: Vec<usize> = (0..clustering.clusters.len()).collect();
        let energy = clustering.clusters.energy_gev();
        order.sort_by(|&a, &b| energy[b].total_cmp(&energy[a]).then(a.cmp(&b)));
        for index in order {
            let cluster = clustering.clusters.row(index);
            let members = clustering.cells_of_cluster.elements(index);
            let mut by_photon = vec![0.0; truth.photons.len()];
            let mut total = 0.0;
            for &cell in members {
                let cell_energy = f64::from(cells.energy_gev()[cell as usize]);
                total += cell_energy;
                if let Ok(photon) = usize::try_from(photon_of_cell[cell as usize]) {
                    by_photon[photon] += cell_energy;
                }
            }
            let main = (0..by_photon.len()).reduce(|a, b| if by_photon[b] > by_photon[a] { b } else { a });
            let main_energy = main.map_or(0.0, |photon| by_photon[photon]);
            self.energy[0] += (total * FIXED) as i128;
            self.energy[1] += (main_energy * FIXED) as i128;
            let Some(main) = main.filter(|_| main_energy > 0.0) else { continue };
            let photon = truth.photons.row(main);
            let (dx, dy) = (cluster.x_cm - photon.x_cm, cluster.y_cm - photon.y_cm);
            if dx.hypot(dy) > DISTANCE_CM_MAX {
                continue;
            }
            if found[main] {
                self.split += 1;
                continue;
            }
            found[main] = true;
            self.matched += 1;
            self.response.push(cluster.energy_gev / photon.energy_gev);
            self.dx_cm.push(dx);
            self.dy_cm.push(dy);
        }
    }

    fn add_entropies(&mut self, photon_of_cell: &[i32], cluster_of_cell: &[i32]) {
        let mut pairs: Vec<[i32; 2]> = photon_of_cell
            .iter()
            .zip(cluster_of_cell)
            .filter(|(photon, _)| **photon >= 0)
            .map(|(&photon, &cluster)| [photon, cluster])
            .collect();
        let n_log_n = |counts: &[usize]| counts.iter().map(|&n| n as f64 * (n as f64).ln()).sum::<f64>();
        let counts = |pairs: &[[i32; 2]], same: fn(&[i32; 2], &[i32; 2]) -> bool| {
            n_log_n(&pairs.chunk_by(same).map(<[_]>::len).collect::<Vec<_>>())
        };
        if pairs.is_empty() {
            return;
        }
        pairs.sort_unstable();
        let all = n_log_n(&[pairs.len()]);
        let both = counts(&pairs, |a, b| a == b);
        let photons = counts(&pairs, |a, b| a[0] == b[0]);
        pairs.sort_unstable_by_key(|&[photon, cluster]| [cluster, photon]);
        let clusters = counts(&pairs, |a, b| a[1] == b[1]);
        for (sum, entropy) in
            self.entropies.iter_mut().zip([all - photons, clusters - both, all - clusters, photons - both])
        {
            *sum += (entropy * FIXED).round() as i128;
        }
    }

    /// Adds what another one has seen.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.photons += other.photons;
        self.clusters += other.clusters;
        self.matched += other.matched;
        self.split += other.split;
        self.response.extend_from_slice(&other.response);
        self.dx_cm.extend_from_slice(&other.dx_cm);
        self.dy_cm.extend_from_slice(&other.dy_cm);
        self.entropies.iter_mut().zip(other.entropies).for_each(|(sum, more)| *sum += more);
        self.energy.iter_mut().zip(other.energy).for_each(|(sum, more)| *sum += more);
    }

    /// Computes everything.
    pub fn report(&self) -> QualityReport {
        let share = |part: u64, all: u64| part as f64 / all as f64;
        let response = sorted(&self.response);
        let (response_mean, response_sigma) = core(&response);
        let one_minus = |part: i128, all: i128| if all == 0 { 1.0 } else { 1.0 - part as f64 / all as f64 };
        let homogeneity = one_minus(self.entropies[1], self.entropies[0]);
        let completeness = one_minus(self.entropies[3], self.entropies[2]);
        let v_measure = if homogeneity + completeness > 0.0 {
            2.0 * homogeneity * completeness / (homogeneity + completeness)
        } else {
            0.0
        };
        QualityReport {
            events: self.events,
            photons: self.photons,
            clusters: self.clusters,
            efficiency: share(self.matched, self.photons),
            purity: share(self.matched, self.clusters),
            fake_rate: share(self.clusters - self.matched - self.split, self.clusters),
            split_rate: share(self.split, self.clusters),
            response_mean,
            response_sigma,
            response_median: quantile(&response, 0.5),
            response_width68: width68(&response),
            x_width68_cm: width68(&sorted(&self.dx_cm)),
            y_width68_cm: width68(&sorted(&self.dy_cm)),
            homogeneity,
            completeness,
            v_measure,
            energy_purity: self.energy[1] as f64 / self.energy[0] as f64,
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(formatter)
    }
}

impl fmt::Display for QualityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        writeln!(f, "events {}   photons {}   clusters {}", self.events, self.photons, self.clusters)?;
        let line = [
            ("efficiency", percent(self.efficiency)),
            ("purity", percent(self.purity)),
            ("fakes", percent(self.fake_rate)),
            ("splits", percent(self.split_rate)),
            ("E_rec/E_true core mean", format!("{:.4}", self.response_mean)),
            ("core sigma", percent(self.response_sigma)),
            ("median", format!("{:.4}", self.response_median)),
            ("68 % half-width", percent(self.response_width68)),
            ("x 68 % half-width", format!("{:.3} cm", self.x_width68_cm)),
            ("y 68 % half-width", format!("{:.3} cm", self.y_width68_cm)),
            ("homogeneity", format!("{:.4}", self.homogeneity)),
            ("completeness", format!("{:.4}", self.completeness)),
            ("V-measure", format!("{:.4}", self.v_measure)),
            ("energy purity", percent(self.energy_purity)),
        ];
        for pair in line.chunks(2) {
            let cells: Vec<String> =
                pair.iter().map(|(name, value)| format!("{name:<24}{value:>10}")).collect();
            writeln!(f, "{}", cells.join("    "))?;
        }
        Ok(())
    }
}

/// The photon that a block belongs to, or -1.
fn photon_of(truth: &Truth, block: u16) -> i32 {
    truth.deposits.block().binary_search(&block).map_or(-1, |row| truth.deposits.photon()[row])
}

/// Mean and standard deviation within 2.5 σ, iterated from the median and the 68 % width.
fn core(sorted: &[f32]) -> (f64, f64) {
    let (mut mean, mut sigma) = (quantile(sorted, 0.5), width68(sorted));
    for _ in 0..5 {
        let inside = || {
            sorted.iter().map(|&value| f64::from(value)).filter(|value| (value - mean).abs() <= 2.5 * sigma)
        };
        let n = inside().count() as f64;
        if n < 2.0 {
            break;
        }
        let next = inside().sum::<f64>() / n;
        sigma = (inside().map(|value| (value - next).powi(2)).sum::<f64>() / n).sqrt();
        mean = next;
    }
    (mean, sigma)
}
