//! The step on a GPU: what each part leaves on the lane, the next one takes up there.
//!
//! ```text
//!   candidates ─copied─▶ CLUE ─▶ scouting_measure ─▶ features, clusters, members ─copied─▶ Landing
//!                                                       └─▶ network ─▶ scores ─copied─▶
//! ```

use std::ops::Range;

use asynchrotron::Result;
use asynchrotron::anyhow::{bail, ensure};
use asynchrotron_devices::cuda::{
    CudaBody, DeviceColumns, DeviceSlice, Fault, Finish, KernelSource, Launch, PinnedBytes, Work,
};
use asynchrotron_devices::{Columns, Offsets};

use super::{Batch, Reconstructed, ReconstructedBatch, ReconstructionInput, ReconstructionStep};
use crate::AssociationMap;
use crate::clue::{ClueResult, DevicePoints, largest_event, validate};
use crate::kernels::{CLUE, SCOUTING};
use crate::scouting::{Candidates, Clustering, Clusters, Features, Scores, TauStep};

/// Threads of a block at most.
const BLOCK: u32 = 256;
/// What `scouting_measure` notes for each candidate.
const NOTE_BYTES: usize = 64;

impl CudaBody<ReconstructionInput, ReconstructedBatch> for ReconstructionStep {
    fn kernels(&self) -> &'static [&'static KernelSource] {
        static KERNELS: [&KernelSource; 2] = [&CLUE, &SCOUTING];
        &KERNELS
    }

    fn enqueue(&self, input: ReconstructionInput, work: &mut Work<'_>) -> Result<Finish<ReconstructedBatch>> {
        let events = input.events.len();
        if input.events.rows() == 0 {
            let nothing = vec![Reconstructed::default(); events];
            return Ok(Finish::when_done(|_| Ok(ReconstructedBatch(Batch::OnHost(nothing)))));
        }
        let bounds = input.crossings.iter();
        let bounds = bounds.map(|crossing| clusters_max(self.pt_gev_min, &crossing.candidates));
        let rows = Offsets::from_counts(bounds);
        let stride = self.tau.as_ref().map_or(rows.rows(), |tau| tau.rows_on_gpu(rows.rows()));
        let places = Places { candidates: input.events.clone(), rows, stride };

        let candidates = DeviceCandidates::send(&input, &places.rows, work)?;
        let results = work.allocate::<u32>(places.words())?;
        work.fill(&results.part(places.zeroed()), 0)?;
        let groups = self.clue.enqueue_columns(&candidates.points, &results.part(places.bad()), work)?;
        self.measure(&candidates, &groups, &results, &places, work)?;
        let scores = match &self.tau {
            Some(tau) => {
                let features = results.part(places.features()).cast::<f32>();
                let scores = tau.enqueue_columns(features, stride, work)?;
                Some(work.download(&scores.part(0..2 * places.rows.rows()).cast::<u8>())?)
            }
            None => None,
        };
        let results = work.download(&results.cast::<u8>())?;
        let config = *self.clue.config();
        Ok(Finish::when_done(move |landed| {
            let scores = scores.map(|scores| scores.into_bytes(landed));
            let landing = Landing { results: results.into_bytes(landed), scores, places };
            if landing.words()[landing.places.bad()] != [0] {
                // The host says which candidate of which event, and what is wrong with it.
                validate(&config, &input.points(), &input.events)?;
                bail!("the GPU found a candidate that makes no sense, and the host does not");
            }
            landing.check()?;
            Ok(ReconstructedBatch(Batch::OnGpu(landing)))
        }))
    }

    fn needs_lanes_thread(&self) -> bool {
        self.tau.is_some()
    }
}

impl ReconstructionStep {
    /// One launch for all events.
    fn measure(
        &self,
        candidates: &DeviceCandidates,
        groups: &DeviceColumns<ClueResult>,
        results: &DeviceSlice<u32>,
        places: &Places,
        work: &mut Work<'_>,
    ) -> Result<()> {
        let DeviceCandidates { points, z0, dxy, weight, pid, rows } = candidates;
        let (features, clusters) = (results.part(places.features()), results.part(places.clusters()));
        let (members, counts) = (results.part(places.members()), results.part(places.counts()));
        let bad = results.part(places.bad());
        let notes = work.allocate::<u8>(NOTE_BYTES * points.x.len())?;
        let threads = (points.largest as u32).next_multiple_of(32).min(BLOCK);
        let launch = Launch::blocks(places.candidates.len() as u32, threads);
        let arguments = [
            (&points.x).into(),
            (&points.y).into(),
            (&points.weight).into(),
            z0.into(),
            dxy.into(),
            weight.into(),
            pid.into(),
            (&points.events).into(),
            rows.into(),
            (&groups.column::<u8>(3)).into(),
            (&groups.column::<i32>(4)).into(),
            (&bad).into(),
            self.pt_gev_min.into(),
            (places.rows.rows() as u32).into(),
            (places.stride as u32).into(),
            (&notes).into(),
            (&features).into(),
            (&clusters).into(),
            (&members).into(),
            (&counts).into(),
        ];
        Ok(work.launch(work.kernel(&SCOUTING, "scouting_measure")?, launch, &arguments)?)
    }
}

/// How many clusters there can be: each has `pt_gev_min` at least, of the pT that there is. Not less than there are, however the sums of
/// 32 bits are rounded.
fn clusters_max(pt_gev_min: f32, candidates: &Candidates) -> usize {
    let n = candidates.len();
    let pt: f64 = candidates.pt_gev().iter().map(|&pt| f64::from(pt)).sum();
    let most = pt * (1.0 + n as f64 * f64::from(f32::EPSILON)) / f64::from(pt_gev_min);
    // Not with NaN, or where clusters need no pT.
    if most >= 0.0 && most < n as f64 { most as usize } else { n }
}

/// What was sent.
struct DeviceCandidates {
    /// η, φ and pT.
    points: DevicePoints,
    z0: DeviceSlice<f32>,
    dxy: DeviceSlice<f32>,
    weight: DeviceSlice<f32>,
    pid: DeviceSlice<u32>,
    rows: DeviceSlice<u32>,
}

impl DeviceCandidates {
    /// With one copy: seven columns, and the two lists of offsets. There must be candidates.
    fn send(input: &ReconstructionInput, rows: &Offsets, work: &mut Work<'_>) -> Result<Self, Fault> {
        let (n, offsets) = (input.events.rows(), input.events.as_slice().len());
        let mut staged = work.stage::<u32>(7 * n + 2 * offsets)?;
        let (columns, tail) = staged.split_at_mut(7 * n);
        let mut columns = columns.chunks_exact_mut(n);
        let [x, y, weights, z0s, dxys, likelihoods, pids] =
            std::array::from_fn(|_| columns.next().expect("seven columns"));
        for (crossing, range) in input.crossings.iter().zip(input.events.iter()) {
            let (pt, eta, phi, pid, z0, dxy, weight, _) = crossing.candidates.columns();
            x[range.clone()].iter_mut().zip(eta).for_each(|(to, &eta)| *to = f32::from(eta).to_bits());
            y[range.clone()].iter_mut().zip(phi).for_each(|(to, &phi)| *to = f32::from(phi).to_bits());
            weights[range.clone()].copy_from_slice(bytemuck::cast_slice(pt));
            z0s[range.clone()].copy_from_slice(bytemuck::cast_slice(z0));
            dxys[range.clone()].copy_from_slice(bytemuck::cast_slice(dxy));
            likelihoods[range.clone()].copy_from_slice(bytemuck::cast_slice(weight));
            pids[range].iter_mut().zip(pid).for_each(|(to, &pid)| *to = pid.into());
        }
        tail[..offsets].copy_from_slice(input.events.as_slice());
        tail[offsets..].copy_from_slice(rows.as_slice());
        let sent = work.send(staged)?;
        let column = |index: usize| sent.part(index * n..(index + 1) * n);
        Ok(Self {
            points: DevicePoints {
                x: column(0).cast(),
                y: column(1).cast(),
                weight: column(2).cast(),
                events: sent.part(7 * n..7 * n + offsets),
                largest: largest_event(&input.events),
            },
            z0: column(3).cast(),
            dxy: column(4).cast(),
            weight: column(5).cast(),
            pid: column(6),
            rows: sent.part(7 * n + offsets..7 * n + 2 * offsets),
        })
    }
}

/// What the GPU has written, and the host has not looked at yet.
#[derive(Debug)]
pub(super) struct Landing {
    results: PinnedBytes,
    scores: Option<PinnedBytes>,
    places: Places,
}

impl Landing {
    fn words(&self) -> &[u32] {
        bytemuck::cast_slice(&self.results)
    }

    fn count(&self, event: usize) -> usize {
        self.words()[self.places.counts()][event] as usize
    }

    /// That nothing was left out.
    fn check(&self) -> Result<()> {
        for (event, rows) in self.places.rows.iter().enumerate() {
            let (count, most) = (self.count(event), rows.len());
            ensure!(count <= most, "event {event}: {count} clusters, where there can be {most} at most");
        }
        Ok(())
    }

    pub(super) fn events(&self) -> Vec<Reconstructed> {
        (0..self.places.rows.len()).map(|event| self.event(event)).collect()
    }

    fn event(&self, event: usize) -> Reconstructed {
        let (clusters, sizes) = self.clusters(event);
        let offsets = Offsets::from_counts(sizes.iter().map(|&size| size as usize));
        let members = &self.words()[self.places.members()][self.places.candidates.range(event)];
        let members = members[..offsets.rows()].to_vec();
        let candidates_of_cluster = AssociationMap::from_parts(offsets, members);
        let features = self.features(event, clusters.pt_gev()).into();
        let scores = self.scores(event);
        Reconstructed { clustering: Clustering { clusters, candidates_of_cluster }, features, scores }
    }

    /// And the number of candidates of each.
    fn clusters(&self, event: usize) -> (Clusters, &[u32]) {
        let (words, places) = (&self.words()[self.places.clusters()], &self.places);
        let (first, count) = (places.rows.range(event).start, self.count(event));
        let column = |index: usize| &words[index * places.rows.rows() + first..][..count];
        let sizes = column(4);
        let mut clusters = Clusters::with_len(count);
        let (pt, eta, phi, lead, size, charged, charge) = clusters.columns_mut();
        pt.copy_from_slice(bytemuck::cast_slice(column(0)));
        eta.copy_from_slice(bytemuck::cast_slice(column(1)));
        phi.copy_from_slice(bytemuck::cast_slice(column(2)));
        lead.copy_from_slice(column(3));
        size.iter_mut().zip(sizes).for_each(|(to, &size)| *to = size as u16);
        charged.iter_mut().zip(column(5)).for_each(|(to, &charged)| *to = charged as u16);
        charge.iter_mut().zip(column(6)).for_each(|(to, &charge)| *to = charge as i16);
        (clusters, sizes)
    }

    fn features(&self, event: usize, pt_gev: &[f32]) -> Features {
        let (words, places) = (&self.words()[self.places.features()], &self.places);
        let (first, count) = (places.rows.range(event).start, self.count(event));
        let mut features = Features::with_packed_len(count);
        let layout = features.layout();
        for index in 0..Features::SCHEMA.len() {
            let column = &words[index * places.stride + first..][..count];
            let to = &mut features.buffer_mut().as_bytes_mut()[layout.range(index)];
            to.copy_from_slice(bytemuck::cast_slice(column));
        }
        // GPUs have another logarithm, and the last bit decides whether a candidate of just enough pT passes a cut.
        features.log_pt_mut().iter_mut().zip(pt_gev).for_each(|(log_pt, pt)| *log_pt = pt.ln());
        features
    }

    fn scores(&self, event: usize) -> Scores {
        let Some(scores) = &self.scores else { return Scores::default() };
        let (first, count) = (self.places.rows.range(event).start, self.count(event));
        TauStep::scores(&bytemuck::cast_slice(scores)[2 * first..2 * (first + count)])
    }
}

/// Where everything lies in the results, in words of 32 bits: one piece, so that it comes back with one copy. The features come first:
/// the network wants them aligned.
#[derive(Debug)]
struct Places {
    candidates: Offsets,
    rows: Offsets,
    /// Rows of the features, those that only the network wants included.
    stride: usize,
}

impl Places {
    fn features(&self) -> Range<usize> {
        0..Features::SCHEMA.len() * self.stride
    }

    /// What CLUE says of the candidates.
    fn bad(&self) -> Range<usize> {
        let begin = self.features().end;
        begin..begin + 1
    }

    /// What begins with zeros.
    fn zeroed(&self) -> Range<usize> {
        0..self.bad().end
    }

    fn clusters(&self) -> Range<usize> {
        let begin = self.bad().end;
        begin..begin + Clusters::SCHEMA.len() * self.rows.rows()
    }

    fn members(&self) -> Range<usize> {
        let begin = self.clusters().end;
        begin..begin + self.candidates.rows()
    }

    fn counts(&self) -> Range<usize> {
        let begin = self.members().end;
        begin..begin + self.rows.len()
    }

    fn words(&self) -> usize {
        self.counts().end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scouting::{Candidate, measure_clusters};

    fn candidates(pt: &[f32]) -> Candidates {
        pt.iter().map(|&pt_gev| Candidate { pt_gev, ..Candidate::default() }).collect()
    }

    #[test]
    fn there_are_never_more_clusters_than_can_be() {
        assert_eq!(clusters_max(5.0, &candidates(&[])), 0);
        assert_eq!(clusters_max(5.0, &candidates(&[4.0, 0.5, 0.25])), 0);
        assert_eq!(clusters_max(5.0, &candidates(&[4.0, 0.75, 0.25])), 1);
        assert_eq!(clusters_max(5.0, &candidates(&[10.0, 0.25])), 2);
        // Never more than candidates, and all of them where nothing is asked for.
        assert_eq!(clusters_max(5.0, &candidates(&[1e30, 1e30])), 2);
        for pt_gev_min in [0.0, -1.0, f32::NAN] {
            assert_eq!(clusters_max(pt_gev_min, &candidates(&[0.0, 1.0])), 2);
        }
        assert_eq!(clusters_max(5.0, &candidates(&[f32::NAN, 1.0])), 2);
        // Sums that are rounded up, each to the least pT.
        let many = candidates(&[0.1; 2000]);
        let group = |i: usize| (i / 20) as i32;
        let groups: Vec<i32> = (0..2000).map(group).collect();
        let sum = measure_clusters(0.0, &many, &groups).clusters.pt_gev()[0];
        assert!(f64::from(sum) > 20.0 * f64::from(0.1_f32));
        assert_eq!(measure_clusters(sum, &many, &groups).clusters.len(), 100);
        assert_eq!(clusters_max(sum, &many), 100);
    }
}
