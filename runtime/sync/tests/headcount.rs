//! Headcounts: who waits is told when nobody is inside any more.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

use asynchrotron_sync::Headcount;

#[test]
fn who_waits_for_nobody_gets_the_waiter_back() {
    let headcount = Headcount::new();
    assert_eq!(headcount.wait(1), Some(1));
    headcount.enter();
    assert!(headcount.leave().is_empty());
    assert_eq!(headcount.wait(2), Some(2));
}

#[test]
fn all_who_wait_are_told_by_the_last_who_leaves() {
    let headcount = Headcount::new();
    (0..3).for_each(|_| headcount.enter());
    assert_eq!(headcount.wait(1), None);
    assert!(headcount.leave().is_empty());
    assert_eq!(headcount.wait(2), None);
    assert!(headcount.leave().is_empty());
    assert_eq!(headcount.leave(), [1, 2]);
    headcount.enter();
    assert!(headcount.leave().is_empty(), "told once");
}

#[test]
fn who_is_forgotten_is_not_told() {
    let headcount = Headcount::new();
    headcount.enter();
    (1..=4).for_each(|waiter| assert_eq!(headcount.wait(waiter), None));
    headcount.retain(|waiter| waiter % 2 == 0);
    assert_eq!(headcount.leave(), [2, 4]);
}
