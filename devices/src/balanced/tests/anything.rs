//! Whatever happens, nothing is lost.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Rows, and where they lie.
    Submit(usize, Option<usize>),
    End(usize),
    Retire(usize),
    Leave,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..20_usize, prop::option::of(0..4_usize)).prop_map(|(rows, on)| Act::Submit(rows, on)),
        6 => (0..4_usize).prop_map(Act::End),
        1 => (0..3_usize).prop_map(Act::Retire),
        2 => Just(Act::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, everything that was submitted is told once, and what it took comes back.
    #[test]
    fn nothing_is_lost(
        lanes in prop::collection::vec(1..4_usize, 3),
        additional in 0..4_usize,
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let all = Setup::spilling(&lanes, additional);
        let mut waiting = Vec::new();
        let mut alive: Vec<bool> = vec![true; 3];
        for act in acts {
            match act {
                Act::Submit(rows, on) => {
                    if let Some(lane) = all.balanced.lanes().try_take() {
                        waiting.push(all.device().submit(lane, Arc::new(Rows { on }), rows));
                    }
                }
                Act::End(which) => {
                    let device = all.members.get(which).unwrap_or(&all.reserve);
                    if !device.rows().is_empty() {
                        device.end_one();
                    }
                }
                Act::Retire(which) => {
                    alive[which] = false;
                    all.members[which].retire();
                }
                Act::Leave => drop(waiting.pop()),
            }
            prop_assert!(!all.balanced.lanes().is_closed());
        }
        let devices: Vec<_> = all.members.iter().chain([&all.reserve]).collect();
        // What one of them ends makes place on it for what is held.
        while let Some(busy) = devices.iter().find(|device| !device.rows().is_empty()) {
            busy.end_one();
        }
        for completion in waiting {
            match poll(completion) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => prop_assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{}", error),
                Poll::Pending => prop_assert!(false, "it was not told"),
            }
        }
        let of = |which: &[bool]| (0..3).filter(|member| which[*member]).map(|member| lanes[member]).sum::<usize>();
        let (available, left) = (all.balanced.lanes().available(), of(&alive));
        prop_assert!(available >= (left + additional).max(1), "{} of {}", available, left);
        prop_assert!(available <= of(&[true; 3]) + additional, "{} of {}", available, left);
        prop_assert!(poll(all.balanced.drain()).is_ready());
    }
}
