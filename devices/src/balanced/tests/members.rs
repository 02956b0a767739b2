//! Which member takes what, and what becomes of that when one is gone.

use std::sync::Barrier;

use super::*;

#[test]
fn the_member_with_the_fewest_rows_takes_the_next() {
    let all = Setup::new(&[3, 3]);
    let kept: Vec<_> = [10, 3, 4, 0].map(|rows| all.submit(rows)).into();
    assert_eq!((all.members[0].rows(), all.members[1].rows()), (vec![10], vec![3, 4, 0]));
    // It would be the second one's turn, which has no lane left.
    let more = all.submit(5);
    assert_eq!(all.members[0].rows(), [10, 5]);
    all.members[0].end_one();
    all.members[1].end_one();
    // 5 rows against 4, and the one that nothing weighs.
    let again = all.submit(2);
    assert_eq!((all.members[0].rows(), all.members[1].rows()), (vec![5, 2], vec![4, 0]));
    assert!(all.reserve.rows().is_empty());
    drop((kept, more, again));
}

#[test]
fn what_was_on_a_member_that_dies_is_told_and_the_others_take_what_comes() {
    let all = Setup::new(&[2, 2]);
    let first = all.submit(1);
    let second = all.submit(1);
    all.members[0].retire();
    let Poll::Ready(Err(error)) = poll(first) else { panic!("the lane was lost") };
    assert!(matches!(error.kind(), DeviceErrorKind::LaneLost), "{error}");
    assert_eq!(error.device(), "all");

    // One more fits on the other member. Two do not, and go to the reserve, for the only time.
    let more: Vec<_> = (0..3).map(|_| all.submit(1)).collect();
    assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (2, 2));
    all.reserve.end_one();
    all.reserve.end_one();
    assert_eq!(all.balanced.lanes().available(), 0);
    all.members[1].end_one();
    all.members[1].end_one();
    assert_eq!(all.balanced.lanes().available(), 2);
    for completion in more.into_iter().chain([second]) {
        assert!(matches!(poll(completion), Poll::Ready(Ok(1))));
    }

    // From now on, everything is on the member that is left.
    let kept: Vec<_> = (0..2).map(|_| all.submit(1)).collect();
    assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (2, 0));
    assert_eq!(all.balanced.lanes().available(), 0);

    // Until that one is gone as well: then the reserve has as many as all had.
    all.members[1].retire();
    drop(kept);
    let mut kept = vec![all.submit(1)];
    assert_eq!(all.balanced.lanes().available(), 3);
    kept.extend((0..3).map(|_| all.submit(1)));
    assert_eq!(all.reserve.rows().len(), 4);
    drop(kept);
}

#[test]
fn when_the_last_member_is_gone_the_reserve_takes_all() {
    let all = Setup::new(&[1, 2]);
    all.members.iter().for_each(|member| member.retire());
    for _ in 0..3 {
        let completions: Vec<_> = (0..3).map(|_| all.submit(1)).collect();
        assert_eq!((all.reserve.rows().len(), all.balanced.lanes().available()), (3, 0));
        (0..3).for_each(|_| all.reserve.end_one());
        assert!(completions.into_iter().all(|completion| matches!(poll(completion), Poll::Ready(Ok(1)))));
        assert_eq!((all.balanced.lanes().len(), all.balanced.lanes().available()), (3, 3));
    }
}

#[test]
fn closed_it_takes_no_more_and_drains() {
    let all = Setup::new(&[1, 1]);
    let lanes: Vec<_> = std::iter::from_fn(|| all.balanced.lanes().try_take()).collect();
    let [first, second]: [Lane<LaneId>; 2] = lanes.try_into().unwrap();
    let before = all.device().submit(first, Arc::<Rows>::default(), 1);
    let mut drain = pin!(all.balanced.drain());
    assert!(poll(drain.as_mut()).is_pending());
    all.balanced.close();
    assert!(all.members.iter().all(|member| member.lanes.is_closed()) && all.reserve.lanes.is_closed());
    let Poll::Ready(Err(error)) = poll(all.device().submit(second, Arc::<Rows>::default(), 1)) else {
        panic!("closed")
    };
    assert!(matches!(error.kind(), DeviceErrorKind::Closed), "{error}");
    all.members[0].end_one();
    assert!(poll(drain).is_ready());
    assert!(matches!(poll(before), Poll::Ready(Ok(1))));
}

#[test]
fn many_at_once_park_no_lane_too_many() {
    for _ in 0..50 {
        let all = Setup::new(&[7, 1]);
        let lanes: Vec<_> = std::iter::from_fn(|| all.balanced.lanes().try_take()).collect();
        all.members[0].retire();
        let begin = Barrier::new(lanes.len());
        std::thread::scope(|scope| {
            for lane in lanes {
                scope.spawn(|| {
                    begin.wait();
                    drop(all.device().submit(lane, Arc::<Rows>::default(), 1));
                });
            }
        });
        assert_eq!((all.members[1].rows().len(), all.reserve.rows().len()), (1, 7));
        assert_eq!(all.balanced.lanes().available(), 0);
        all.members[1].end_one();
        (0..7).for_each(|_| all.reserve.end_one());
        assert_eq!(all.balanced.lanes().available(), 1);
    }
}

#[test]
fn a_submission_goes_where_its_input_lies() {
    let all = Setup::new(&[2, 2, 2]);
    let kept = [2, 1, 1, 0].map(|gpu| all.submit_lying(Some(gpu), 7));
    assert_eq!(all.on_members(), [vec![7], vec![7, 7], vec![7]]);
    // What lies on the host, or on a GPU that is none of these, goes to the least busy one.
    all.members[2].end_one();
    let more = [None, Some(3)].map(|on| all.submit_lying(on, 1));
    assert_eq!(all.on_members(), [vec![7], vec![7, 7], vec![1, 1]]);
    assert!(all.reserve.rows().is_empty());
    drop((kept, more));
}

#[test]
fn two_steps_in_a_row_go_where_the_first_ones_input_lies() {
    let fused = crate::Fused::new(Rows { on: Some(1) }, Rows { on: Some(0) }, |rows| rows);
    assert_eq!(fused.lies_on(&7), Some(1));
}

#[test]
fn a_gpu_with_too_much_more_to_do_is_not_waited_for() {
    let all = Setup::new(&[4, 4]);
    // As many rows more as its own are not too much, one more is.
    let busy = all.submit_lying(Some(1), 10);
    let at_most = all.submit_lying(Some(1), 10);
    assert_eq!(all.on_members(), [vec![], vec![10, 10]]);
    let too_much = all.submit_lying(Some(1), 19);
    assert_eq!(all.on_members(), [vec![19], vec![10, 10]]);
    // The other one has more to do now.
    let again = all.submit_lying(Some(1), 1);
    assert_eq!(all.on_members(), [vec![19], vec![10, 10, 1]]);
    drop((busy, at_most, too_much, again));
}

#[test]
fn a_gpu_without_a_lane_is_not_waited_for() {
    let all = Setup::new(&[2, 1]);
    let kept = [1, 1].map(|gpu| all.submit_lying(Some(gpu), 5));
    assert_eq!(all.on_members(), [vec![5], vec![5]]);
    // Nor is one that is gone.
    all.members[1].retire();
    let more = all.submit_lying(Some(1), 5);
    assert_eq!(all.on_members(), [vec![5, 5], vec![]]);
    assert!(all.reserve.rows().is_empty());
    drop((kept, more));
}

#[test]
fn what_a_member_without_a_lane_has_to_do_says_nothing_about_the_others() {
    let all = Setup::new(&[2, 1, 2, 1]);
    let kept = [(0, 9), (1, 1), (2, 9), (3, 1)].map(|(gpu, rows)| all.submit_lying(Some(gpu), rows));
    all.members[3].retire();
    // Two have less to do, and can take nothing.
    let beside_its_input = all.submit_lying(Some(2), 1);
    assert_eq!(all.on_members(), [vec![9], vec![1], vec![9, 1], vec![]]);
    drop((kept, beside_its_input));
}
