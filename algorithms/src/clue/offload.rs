use super::{ClueConfig, ClueError, ClueResult, Points, clusterize};
use asynchrotron::{EventContext, Result};
use asynchrotron_devices::{Device, Offsets, Step};
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
/// let clusters = chain.algorithm("clusterize", (points,), move |ctx: EventContext, points: Arc<Points>| {
///     let clue = clue.clone();
///     async move { clue.clusterize(&ctx, points).await }
/// });
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
    step: Arc<ClueStep>,
    device: Arc<dyn Device>,
}

impl Clue {
    /// CLUE with this configuration, on this device.
    ///
    /// # Errors
    /// [`ClueError::Config`] if a choice makes no sense.
    pub fn new(config: ClueConfig, device: Arc<dyn Device>) -> Result<Self, ClueError> {
        Ok(Self { step: Arc::new(ClueStep::new(config)?), device })
    }

    /// Clusters the points of one event.
    ///
    /// # Errors
    /// [`DeviceError`](asynchrotron_devices::DeviceError): the device's, or with a [`ClueError`] as its cause if a point
    /// makes no sense.
    ///
    /// # Cancel safety
    /// May be dropped at any time: see [`run`](asynchrotron_devices::Device#method.run). The device lets go of the points
    /// when it is done with them.
    pub async fn clusterize(&self, _ctx: &EventContext, points: Arc<Points>) -> Result<ClueResult> {
        Ok(self.device.run(&self.step, CluePoints::single(points)).await?)
    }

    /// What is computed.
    pub fn config(&self) -> &ClueConfig {
        self.step.config()
    }

    /// Where it is computed.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
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
        input.points.len()
    }

    fn bytes(&self, input: &CluePoints) -> usize {
        size_of::<[f32; 3]>() * input.points.len() + size_of_val(input.events.as_slice())
    }

    fn on_host(&self, input: CluePoints) -> Result<ClueResult> {
        Ok(clusterize(&self.config, &input.points, &input.events)?)
    }
}

/// The points of one or many events, shared with whoever else reads them.
#[derive(Clone, Debug)]
pub struct CluePoints {
    /// The points, event after event.
    pub points: Arc<Points>,
    /// Which points belong to which event.
    pub events: Offsets,
}

impl CluePoints {
    /// The points of one event.
    pub fn single(points: Arc<Points>) -> Self {
        let events = Offsets::single(points.len());
        Self { points, events }
    }
}
