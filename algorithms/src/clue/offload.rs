use super::{ClueConfig, ClueError, ClueResult, Points, clusterize};
use asynchrotron::batch::{BatchConfig, Batcher};
use asynchrotron::{EventContext, Result};
use asynchrotron_devices::{BatchStep, Columns, Device, Offsets, OnDevice, Step, default_policy};
use std::sync::Arc;

/// CLUE on a device: the same type whichever device it is. Cheap to clone.
///
/// | crosses | direction | bytes per point | for |
/// |---|---|---|---|
/// | [`Points`]: x, y, weight | host → device | 12 | tiles, densities |
/// | offsets of the events | host → device | 4 per event | keys offset per event |
/// | [`ClueResult`]: rho, delta, nearest higher, seed, cluster | device → host | 17 | |
///
/// On the host nothing is copied: the points are shared, the result is moved.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use asynchrotron::prelude::*;
/// use asynchrotron_algorithms::clue::{Clue, ClueConfig, ClueResult, Point, Points};
/// use asynchrotron_devices::{DeviceConfig, Devices};
///
/// let devices = Devices::discover(&DeviceConfig::default());
/// let config = ClueConfig { density_radius: 1.0, seed_density: 1.5, ..ClueConfig::default() };
/// let clue = Clue::new(config, devices.select("auto")?)?;
///
/// let mut chain = Chain::new("clue");
/// let points = chain.source::<Points>("points");
/// let clusters = chain.offload("clusterize", (points,), clue.batcher());
/// chain.sink("check", clusters, |_, clusters: Arc<ClueResult>| {
///     ensure!(clusters.cluster() == [0, 0, -1]);
///     Ok(())
/// });
///
/// let event = Points::from_rows(&[0.0, 0.5, 9.0].map(|x| Point { x, y: 0.0, weight: 1.0 }));
/// let report = Scheduler::default().run(chain, source::from_iter([event]))?;
/// assert_eq!(report.algorithm("clusterize").unwrap().calls, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clue {
    batcher: Batcher<OnDevice<ClueStep>>,
}

impl Clue {
    /// CLUE with this configuration, on this device, in the batches that [suit](default_policy) the device.
    ///
    /// # Errors
    /// [`ClueError::Config`] if a choice makes no sense.
    pub fn new(config: ClueConfig, device: Arc<dyn Device>) -> Result<Self, ClueError> {
        let batches = BatchConfig::default().with_policy(default_policy(&*device));
        Self::batched(config, device, batches)
    }

    /// CLUE with this configuration, on this device, in batches of this kind. A row is a point.
    ///
    /// # Errors
    /// [`ClueError::Config`] if a choice makes no sense.
    pub fn batched(
        config: ClueConfig,
        device: Arc<dyn Device>,
        batches: BatchConfig,
    ) -> Result<Self, ClueError> {
        Ok(Self { batcher: OnDevice::batcher(ClueStep::new(config)?, device, batches) })
    }

    /// Clusters the points of one event. The chain must say that the algorithm [uses](asynchrotron::Chain::uses)
    /// [`batcher`](Self::batcher).
    ///
    /// # Errors
    /// [`DeviceError`](asynchrotron_devices::DeviceError): the device's, or with a [`ClueError`] as its cause if a point
    /// makes no sense.
    ///
    /// # Cancel safety
    /// May be dropped at any time: see [`Batcher::submit`]. The device lets go of the points when it is done with them.
    pub async fn clusterize(&self, ctx: &EventContext, points: Arc<Points>) -> Result<ClueResult> {
        self.batcher.submit(ctx, ClueRequest(points)).await
    }

    /// What collects the points of many events.
    pub fn batcher(&self) -> &Batcher<OnDevice<ClueStep>> {
        &self.batcher
    }

    /// What is computed.
    pub fn config(&self) -> &ClueConfig {
        self.batcher.offload().step().config()
    }

    /// Where it is computed.
    pub fn device(&self) -> &Arc<dyn Device> {
        self.batcher.offload().device()
    }
}

/// What CLUE asks a device for: [`clusterize`], over one or many events.
#[derive(Clone, Copy, Debug)]
pub struct ClueStep {
    config: ClueConfig,
}

impl ClueStep {
    /// The step with this configuration.
    ///
    /// # Errors
    /// [`ClueError::Config`] if a choice makes no sense.
    pub fn new(config: ClueConfig) -> Result<Self, ClueError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// What is computed.
    pub fn config(&self) -> &ClueConfig {
        &self.config
    }
}

impl Step for ClueStep {
    type Input = CluePoints;
    type Output = ClueResult;

    fn name(&self) -> &str {
        "clue"
    }

    fn rows(&self, input: &CluePoints) -> usize {
        input.len()
    }

    fn bytes(&self, input: &CluePoints) -> usize {
        size_of::<[f32; 3]>() * input.len() + size_of_val(input.events.as_slice())
    }

    /// All points are outliers.
    fn placeholder(&self, input: &CluePoints) -> Option<ClueResult> {
        let mut result = ClueResult::with_len(input.len());
        let (.., nearest_higher, _, cluster) = result.columns_mut();
        nearest_higher.fill(-1);
        cluster.fill(-1);
        Some(result)
    }

    fn on_host(&self, input: CluePoints) -> Result<ClueResult> {
        Ok(clusterize(&self.config, &input.joined(), &input.events)?)
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(&self) -> Option<&dyn asynchrotron_devices::cuda::CudaBody<CluePoints, ClueResult>> {
        Some(self)
    }
}

/// The points of one event, to be clustered.
#[derive(Clone, Debug)]
pub struct ClueRequest(pub Arc<Points>);

impl From<(Arc<Points>,)> for ClueRequest {
    fn from((points,): (Arc<Points>,)) -> Self {
        Self(points)
    }
}

impl BatchStep for ClueStep {
    type Request = ClueRequest;
    type Reply = ClueResult;
    type Parts = Offsets;

    fn request_rows(&self, request: &ClueRequest) -> usize {
        request.0.len()
    }

    fn request_bytes(&self, request: &ClueRequest) -> usize {
        size_of::<[f32; 3]>() * request.0.len() + size_of::<u32>()
    }

    fn pack(&self, requests: &[&ClueRequest], _rows: usize) -> (CluePoints, Offsets) {
        let points: Vec<_> = requests.iter().map(|request| request.0.clone()).collect();
        let events = Offsets::from_counts(points.iter().map(|event| event.len()));
        let input = CluePoints { points, events };
        let parts = input.events.clone();
        (input, parts)
    }

    fn unpack(&self, output: ClueResult, parts: Offsets) -> Vec<ClueResult> {
        if parts.len() == 1 { vec![output] } else { output.split(&parts) }
    }
}

/// The points of one or many events, shared with whoever else reads them.
#[derive(Clone, Debug)]
pub struct CluePoints {
    /// The points, event after event, in any number of pieces: they are put side by side where they are computed.
    pub points: Vec<Arc<Points>>,
    /// Which points belong to which event.
    pub events: Offsets,
}

impl CluePoints {
    /// The points of one event.
    pub fn single(points: Arc<Points>) -> Self {
        let events = Offsets::single(points.len());
        Self { points: vec![points], events }
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.points.iter().map(|points| points.len()).sum()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All points in one piece; a copy unless they are.
    pub fn joined(&self) -> Arc<Points> {
        match self.points.as_slice() {
            [only] => only.clone(),
            many => Arc::new(Points::concat(&many.iter().map(|points| &**points).collect::<Vec<_>>()).0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clue::Point;
    use asynchrotron::{Chain, Config, OnError, Scheduler, Then, source};
    use asynchrotron_devices::{DeviceConfig, DeviceError, Devices};
    use std::sync::Mutex;

    fn config() -> ClueConfig {
        ClueConfig { density_radius: 1.0, seed_density: 1.5, ..ClueConfig::default() }
    }

    fn points(x: &[f32]) -> Points {
        x.iter().map(|&x| Point { x, y: 0.0, weight: 1.0 }).collect()
    }

    #[test]
    fn events_side_by_side_give_what_they_give_alone() {
        let step = ClueStep::new(config()).unwrap();
        let events = [points(&[0.0, 0.5, 9.0]), points(&[]), points(&[0.2, 0.4, 0.6, 5.0, 5.5])];
        let (together, offsets) = Points::concat(&events.each_ref());
        let input = CluePoints { points: vec![Arc::new(together)], events: offsets.clone() };
        assert_eq!((step.rows(&input), step.bytes(&input)), (8, 8 * 12 + 4 * 4));
        let together = step.on_host(input).unwrap().split(&offsets);
        for (event, together) in events.into_iter().zip(together) {
            let alone = step.on_host(CluePoints::single(Arc::new(event))).unwrap();
            assert!(alone.same_bits(&together));
        }
    }

    #[test]
    fn a_point_that_makes_no_sense_costs_its_event_only_and_says_why() {
        let device = Devices::discover(&DeviceConfig::default()).select("host").unwrap();
        let clue = Clue::new(config(), device).unwrap();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let mut chain = Chain::new("clue");
        let event = chain.source::<Points>("points");
        let (seen, using) = (errors.clone(), clue.clone());
        let clusters = chain.algorithm("clue", (event,), move |ctx: EventContext, event: Arc<Points>| {
            let (clue, seen) = (clue.clone(), seen.clone());
            async move {
                let result = clue.clusterize(&ctx, event).await;
                if let Err(error) = &result {
                    let device_error = error.downcast_ref::<DeviceError>().unwrap();
                    let why = *device_error.step_error::<ClueError>().unwrap();
                    seen.lock().unwrap().push((format!("{error:#}"), why));
                }
                result
            }
        });
        chain.uses(clusters, using.batcher());
        chain.sink("out", clusters, |_, _: Arc<ClueResult>| Ok(()));
        let events = [points(&[0.0, 0.5]), points(&[0.0, f32::INFINITY]), points(&[1.0])];
        let config =
            Config { on_error: OnError { then: Then::Skip, ..OnError::default() }, ..Config::default() };
        Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
        let errors = errors.lock().unwrap();
        let [(text, ClueError::Point { row: 1, column: "x", .. })] = errors.as_slice() else {
            panic!("{errors:?}");
        };
        assert_eq!(text, "step `clue` failed on device `host`: event 0, row 1: x = inf must be finite");
    }

    #[test]
    fn choices_that_make_no_sense_are_refused_before_any_event() {
        let device = Devices::discover(&DeviceConfig::default()).select("host").unwrap();
        let config = ClueConfig { outlier_factor: 0.5, ..config() };
        assert!(matches!(Clue::new(config, device), Err(ClueError::Config { option: "outlier_factor", .. })));
    }
}
