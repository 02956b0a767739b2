//! What spills, what is held, and where that goes. Nothing here depends on how long anything takes: the forecast is told.

use super::*;

#[test]
fn nothing_spills_while_a_member_has_a_lane() {
    let all = Setup::spilling(&[2, 1], 2);
    all.teach(1, 1000, 1);
    assert_eq!(all.balanced.capability().lanes, 5);
    for _ in 0..3 {
        let outcomes = all.submit_all([1, 1, 1]);
        assert_eq!(all.sight(), (vec![vec![1, 1], vec![1]], vec![], 0));
        all.members[0].end_one();
        all.members[0].end_one();
        all.members[1].end_one();
        assert!(all_came(outcomes));
    }
    assert_eq!(all.balanced.spilled(), 0);
}

#[test]
fn what_the_host_is_expected_to_end_first_spills_and_else_is_held_until_a_lane_is_free() {
    let all = Setup::spilling(&[2], 3);
    all.teach(8, 10, 100);
    let mut outcomes = all.submit_all([8, 9, 10, 11]);
    assert_eq!(all.sight(), (vec![vec![8, 9]], vec![], 2));
    // Now waiting costs 5 for a lane, 10 for what is held, and 10 on a member, against 24 on the host.
    all.teach(16, 10, 24);
    outcomes.extend(all.submit_all([16]));
    assert_eq!(all.sight(), (vec![vec![8, 9]], vec![16], 2));
    assert_eq!((all.balanced.spilled(), all.balanced.lanes().available()), (1, 0));
    assert!(format!("{:?}", all.balanced).contains("spilled: 1, held: 2"));

    // The oldest goes to the lane that is free first.
    all.members[0].end_one();
    assert_eq!(all.sight(), (vec![vec![9, 10]], vec![16], 1));
    all.members[0].end_one();
    assert_eq!(all.sight(), (vec![vec![10, 11]], vec![16], 0));
    all.reserve.end_one();
    all.members[0].end_one();
    all.members[0].end_one();
    assert!(all_came(outcomes));
    assert_eq!(all.balanced.lanes().available(), 5);
    assert!(poll(all.balanced.drain()).is_ready());
}

#[test]
fn long_submissions_before_it_make_a_short_one_spill() {
    let all = Setup::spilling(&[2], 2);
    all.teach(1, 1, 3);
    all.teach(512, 1000, 100_000);
    let kept = all.submit_all([512, 513, 1]);
    assert_eq!(all.sight(), (vec![vec![512, 513]], vec![1], 0));
    all.reserve.end_one();
    drop(kept);
}

#[test]
fn an_unknown_host_is_tried_once_at_a_time() {
    let all = Setup::spilling(&[1], 3);
    let outcomes = all.submit_all([4, 5, 6, 1]);
    assert_eq!(all.sight(), (vec![vec![4]], vec![5, 1], 1));
    assert_eq!(all.balanced.spilled(), 2);
    drop(outcomes);
}

#[test]
fn who_comes_does_not_overtake_what_is_held() {
    let all = Setup::spilling(&[2], 3);
    all.teach(4, 10, 1000);
    let foreign = all.members[0].lanes.try_take().unwrap();
    let mut outcomes = all.submit_all([4, 5]);
    assert_eq!(all.sight(), (vec![vec![4]], vec![], 1));
    drop(foreign); // somebody else's: nobody here is told
    outcomes.push(all.submit(6));
    assert_eq!(all.sight(), (vec![vec![4, 5]], vec![], 1));
    (0..3).for_each(|_| all.members[0].end_one());
    assert!(all_came(outcomes));
}

#[test]
fn what_is_held_goes_where_its_input_lies() {
    let all = Setup::spilling(&[2, 2], 1);
    all.teach(4, 10, 1000);
    let foreign = [0, 1].map(|member: usize| all.members[member].lanes.try_take().unwrap());
    let mut outcomes = all.submit_all([4, 5]);
    outcomes.push(all.submit_lying(Some(1), 6));
    assert_eq!(all.sight(), (vec![vec![4], vec![5]], vec![], 1));
    drop(foreign); // nobody here is told
    all.members[0].end_one();
    assert_eq!(all.sight(), (vec![vec![], vec![5, 6]], vec![], 0));
    (0..2).for_each(|_| all.members[1].end_one());
    assert!(all_came(outcomes));
}

#[test]
fn with_nothing_left_on_a_member_nothing_is_held() {
    let all = Setup::spilling(&[1], 2);
    all.teach(4, 10, 1000);
    let first = all.submit(4);
    let held = all.submit(5);
    // Somebody else has closed the member.
    let (lane, mut job) = all.members[0].has.lock().unwrap().remove(0);
    all.members[0].lanes.close();
    job.compute_on_host();
    drop(lane);
    job.complete();
    assert_eq!(all.sight(), (vec![vec![]], vec![5], 0));
    let more = all.submit(6);
    assert_eq!(all.sight(), (vec![vec![]], vec![5, 6], 0));
    assert_eq!(all.balanced.spilled(), 0);
    all.reserve.end_one();
    all.reserve.end_one();
    assert!(all_came(vec![first, held, more]));
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    let all = Setup::spilling(&[1], 3);
    all.teach(4, 10, 1000);
    let first = all.submit(4);
    let (left, stays) = (all.submit_all([5, 6]), all.submit(7));
    drop(left);
    assert_eq!(all.sight(), (vec![vec![4]], vec![], 3));
    all.members[0].end_one();
    assert_eq!(all.sight(), (vec![vec![7]], vec![], 0));
    assert_eq!(all.balanced.lanes().available(), 3);
    all.members[0].end_one();
    assert!(all_came(vec![first, stays]));
}

#[test]
fn what_ends_at_once_is_no_recursion() {
    const MANY: usize = 1500;
    fn test() {
        let all = Setup::spilling(&[1], MANY);
        all.teach(4, 10, 1_000_000_000);
        all.teach(1000, 1, 1_000_000_000);
        let first = all.submit(4);
        let failing = all.submit_all((0..MANY).map(|_| 1000));
        assert_eq!(all.balanced.held(), MANY);
        all.members[0].end_one();
        assert_eq!(all.sight(), (vec![vec![]], vec![], 0));
        assert!(failing.into_iter().all(|outcome| matches!(poll(outcome), Poll::Ready(Err(_)))));
        assert!(all_came(vec![first]));
        assert_eq!(all.balanced.lanes().available(), MANY + 1);
    }
    // A few hundred bytes for each would be too much.
    std::thread::Builder::new().stack_size(256 << 10).spawn(test).unwrap().join().unwrap();
}

#[test]
fn when_the_members_are_gone_what_is_held_goes_to_the_reserve() {
    let all = Setup::spilling(&[1, 1], 2);
    all.teach(4, 10, 1000);
    let outcomes = all.submit_all([4, 5, 6, 7]);
    assert_eq!(all.balanced.held(), 2);
    all.members[0].retire();
    assert_eq!(all.sight(), (vec![vec![], vec![5]], vec![], 2));
    all.members[1].retire();
    assert_eq!(all.sight(), (vec![vec![], vec![]], vec![6, 7], 0));
    assert_eq!(all.balanced.spilled(), 0);
    all.reserve.end_one();
    all.reserve.end_one();
    let told: Vec<bool> =
        outcomes.into_iter().map(|outcome| matches!(poll(outcome), Poll::Ready(Ok(_)))).collect();
    assert_eq!(told, [false, false, true, true]);
    assert_eq!(all.balanced.lanes().available(), 4);
}

#[test]
fn with_a_member_less_no_more_is_held_than_there_are_additional_lanes() {
    let all = Setup::spilling(&[2, 1], 1);
    all.teach(4, 10, 1000);
    all.members[0].retire();
    let outcomes = all.submit_all([4, 5, 6, 7]);
    assert_eq!(all.sight(), (vec![vec![], vec![4]], vec![6, 7], 1));
    // Their lanes are not for the member that is left.
    all.reserve.end_one();
    all.reserve.end_one();
    assert_eq!(all.balanced.lanes().available(), 0);
    all.members[1].end_one();
    all.members[1].end_one();
    assert_eq!(all.balanced.lanes().available(), 2);
    assert!(all_came(outcomes));
}

#[test]
fn closed_it_ends_what_it_holds_and_drains() {
    let all = Setup::spilling(&[1], 2);
    all.teach(4, 10, 1000);
    let outcomes = all.submit_all([4, 5]);
    let late = all.balanced.lanes().try_take().unwrap();
    all.balanced.close();
    assert_eq!(all.sight(), (vec![vec![4]], vec![5], 0));
    let Poll::Ready(Err(error)) = poll(all.device().submit(late, Arc::<Rows>::default(), 1)) else {
        panic!("it is closed")
    };
    assert!(matches!(error.kind(), DeviceErrorKind::Closed), "{error}");
    let mut drain = pin!(all.balanced.drain());
    assert!(poll(drain.as_mut()).is_pending());
    all.members[0].end_one();
    all.reserve.end_one();
    assert!(poll(drain).is_ready() && all_came(outcomes));
}

#[test]
fn dropped_it_ends_what_it_holds() {
    let all = Setup::spilling(&[1], 1);
    all.teach(4, 10, 1000);
    let outcomes = all.submit_all([4, 5]);
    let Setup { members, balanced, .. } = all;
    let (lanes, drain) = (balanced.lanes().clone(), balanced.drain());
    drop(balanced);
    assert!(lanes.is_closed());
    members[0].end_one();
    members[0].end_one();
    assert!(all_came(outcomes) && poll(drain).is_ready());
}
