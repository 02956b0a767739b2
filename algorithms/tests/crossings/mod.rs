//! Bunch crossings for the tests of what is reconstructed on GPUs.

use asynchrotron_algorithms::scouting::*;
use proptest::prelude::*;

/// As they are generated.
pub(crate) fn generated(events: std::ops::Range<u64>) -> Vec<BunchCrossing> {
    let generator = Generator::new(GeneratorConfig::default());
    events.map(|event| unpack(&generator.generate(event)).unwrap()).collect()
}

/// On few places and with few values of pT: equal clusters, equal leads, several candidates in one place; also pT that is not a multiple
/// of the format's, so that the order of sums matters, and numbers that no particle has.
fn candidate() -> impl Strategy<Value = Candidate> {
    let pt_gev = prop_oneof![
        4 => (0_u8..20).prop_map(|steps| f32::from(steps) * 0.25),
        1 => (0_u8..9).prop_map(|steps| f32::from(steps) * 0.37),
        1 => Just(6.0_f32),
    ];
    let phi_step = prop_oneof![(-720_i16..720), (-3_i16..3).prop_map(|step| 60 * step), (700_i16..=719)];
    let track = (-5.0..5.0_f32, -0.3..0.3_f32, 0.0..1.0_f32);
    (pt_gev, -60_i16..60, phi_step, 0_u8..10, track).prop_map(
        |(pt_gev, eta_step, phi_step, pid, (z0_cm, dxy_cm, weight))| Candidate {
            pt_gev,
            eta_step: eta_step * 4,
            phi_step,
            pid,
            z0_cm,
            dxy_cm,
            weight,
            quality: 1,
        },
    )
}

/// One with fewer candidates than this, often with none.
pub(crate) fn crossing(most: usize) -> impl Strategy<Value = BunchCrossing> {
    let candidates = prop_oneof![
        1 => Just(Vec::new()),
        4 => prop::collection::vec(candidate(), 0..most),
        // One cluster that is like another.
        1 => (prop::collection::vec(candidate(), 0..most / 2)).prop_map(|half| {
            let far = half.iter().map(|row| Candidate { eta_step: row.eta_step + 1500, ..*row });
            half.iter().copied().chain(far).collect()
        }),
    ];
    candidates.prop_map(|rows| BunchCrossing { candidates: rows.into_iter().collect(), ..Default::default() })
}
