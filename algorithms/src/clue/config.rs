/// What the user of CLUE chooses.
///
/// # Default
/// The toy detector of the paper's code: density radius 20, seed density 25, outlier factor 2, plane not periodic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClueConfig {
    /// Radius within which points add to each other's density ("dc"), in units of the coordinates.
    pub density_radius: f32,
    /// The least density of a seed ("rhoc"), in units of weight.
    pub seed_density: f32,
    /// A point looks for its nearest higher up to `outlier_factor · density_radius` ("dm"); at least 1.
    pub outlier_factor: f32,
    /// If y is an angle or the like: its period. y must then lie in [-period, period].
    pub y_period: Option<f32>,
    /// Aim at so many points per tile. Changes the speed; changes rho by rounding only, and only where sums of weights
    /// are not exact.
    pub points_per_tile: u32,
}

impl Default for ClueConfig {
    fn default() -> Self {
        Self {
            density_radius: 20.0,
            seed_density: 25.0,
            outlier_factor: 2.0,
            y_period: None,
            points_per_tile: 2,
        }
    }
}

impl ClueConfig {
    /// The radius within which a nearest higher point is looked for ("dm").
    pub fn outlier_radius(&self) -> f32 {
        self.outlier_factor * self.density_radius
    }

    /// Checks the choices.
    ///
    /// # Errors
    /// [`ClueError::Config`] names the first choice that makes no sense. Radii must lie in 1e-15..1e15, where their
    /// squares are ordinary `f32`.
    pub fn validate(&self) -> Result<(), ClueError> {
        let radius = 1e-15..=1e15_f32;
        let check = |good: bool, option: &'static str, value: f32, rule: &'static str| {
            if good { Ok(()) } else { Err(ClueError::Config { option, value, rule }) }
        };
        check(
            radius.contains(&self.density_radius),
            "density_radius",
            self.density_radius,
            "lie in 1e-15..1e15",
        )?;
        check(self.seed_density >= 0.0, "seed_density", self.seed_density, "not be negative")?;
        check(self.outlier_factor >= 1.0, "outlier_factor", self.outlier_factor, "be at least 1")?;
        check(
            radius.contains(&self.outlier_radius()),
            "outlier_factor",
            self.outlier_factor,
            "keep the outlier radius below 1e15",
        )?;
        let period = self.y_period.unwrap_or(1.0);
        check(radius.contains(&period), "y_period", period, "lie in 1e-15..1e15")?;
        check(self.points_per_tile > 0, "points_per_tile", 0.0, "be at least 1")
    }
}

/// Why there is no clustering.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ClueError {
    /// A choice of the user makes no sense.
    #[error("CLUE option {option} = {value} must {rule}")]
    Config {
        /// The field of [`ClueConfig`].
        option: &'static str,
        /// Its value.
        value: f32,
        /// What it must do.
        rule: &'static str,
    },
    /// The offsets do not describe the points.
    #[error("the events' offsets cover {covered} rows, there are {points} points")]
    Offsets {
        /// The number of rows that the offsets cover.
        covered: usize,
        /// The number of points.
        points: usize,
    },
    /// A point makes no sense.
    #[error("event {event}, row {row}: {column} = {value} must {rule}")]
    Point {
        /// The event's position in the batch.
        event: usize,
        /// The point's position in the event.
        row: usize,
        /// The column of [`Points`](super::Points).
        column: &'static str,
        /// Its value.
        value: f32,
        /// What it must do.
        rule: &'static str,
    },
}
