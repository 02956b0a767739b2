use super::ClueConfig;

/// Step 5: a point is a seed if delta > density radius and rho ≥ seed density (1, else 0).
///
/// # Panics
/// If the slices differ in length.
pub fn mark_seeds(config: &ClueConfig, rho: &[f32], delta: &[f32], is_seed: &mut [u8]) {
    assert!(rho.len() == delta.len() && rho.len() == is_seed.len(), "one of each per point");
    for ((&rho, &delta), is_seed) in rho.iter().zip(delta).zip(is_seed) {
        *is_seed = u8::from(delta > config.density_radius && rho >= config.seed_density);
    }
}
