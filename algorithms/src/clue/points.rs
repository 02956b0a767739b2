use asynchrotron_devices::columns;

columns! {
    /// Weighted points in a plane: the input of CLUE. Coordinates and the density radius share one
    /// unit, whatever it is.
    pub struct Points, row Point {
        /// First coordinate.
        x: f32,
        /// Second coordinate; may be periodic.
        y: f32,
        /// Weight, usually an energy; not negative.
        weight: f32,
    }
}

columns! {
    /// What CLUE finds for each point, in the order of the points. Indices are local to the point's event.
    pub struct ClueResult, row CluePoint {
        /// Local density, in units of weight.
        rho: f32,
        /// Distance to the nearest point of higher density, in units of the coordinates; infinite where there is none.
        delta: f32,
        /// The nearest point of higher density, or -1.
        nearest_higher: i32,
        /// 1 for the seed of a cluster, else 0.
        is_seed: u8,
        /// The cluster: 0, 1, … in the order of the seeds' indices, or -1 for an outlier.
        cluster: i32,
    }
}
