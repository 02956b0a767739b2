/// How an electromagnetic shower spreads sideways: the sum of two two-dimensional Lorentz-like shapes, integrated in
/// closed form (A. A. Lednev, Nucl. Instrum. Meth. A 366 (1995) 292).
///
/// # Default
/// Lead tungstate: 0.728, 0.966 and 0.993 of the energy lie in the 1 × 1, 3 × 3 and 5 × 5 cells of 20.5 mm around a
/// central hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LateralShape {
    /// Shares of the two shapes; their sum is 1.
    pub a: [f64; 2],
    /// Widths of the two shapes, in mm.
    pub b_mm: [f64; 2],
}

impl Default for LateralShape {
    fn default() -> Self {
        Self { a: [1.191, -0.191], b_mm: [4.66, 30.6] }
    }
}

impl LateralShape {
    /// The share of the energy at x' < `x_mm` and y' < `y_mm` from the shower's axis:
    /// F = 1/4 + Σ a/2π · (atan(x/b) + atan(y/b) + atan(x y / (b √(b² + x² + y²)))).
    pub fn cumulative(&self, x_mm: f64, y_mm: f64) -> f64 {
        let shape = |(a, b): (f64, f64)| {
            let root = (b * b + x_mm * x_mm + y_mm * y_mm).sqrt();
            a * ((x_mm / b).atan() + (y_mm / b).atan() + (x_mm * y_mm / (b * root)).atan())
        };
        0.25 + self.a.into_iter().zip(self.b_mm).map(shape).sum::<f64>() / std::f64::consts::TAU
    }

    /// The share of the energy in a rectangle, whose low and high edges are given relative to the shower's axis.
    ///
    /// # Examples
    /// ```
    /// use asynchrotron_algorithms::calorimeter::LateralShape;
    /// let shape = LateralShape::default();
    /// let share = |cells: f64| shape.share([-10.25 * cells; 2], [10.25 * cells; 2]);
    /// assert_eq!([1.0, 3.0, 5.0].map(|cells| (1000.0 * share(cells)).round()), [728.0, 966.0, 993.0]);
    /// ```
    pub fn share(&self, low_mm: [f64; 2], high_mm: [f64; 2]) -> f64 {
        let f = |x, y| self.cumulative(x, y);
        f(high_mm[0], high_mm[1]) - f(low_mm[0], high_mm[1]) - f(high_mm[0], low_mm[1])
            + f(low_mm[0], low_mm[1])
    }
}
