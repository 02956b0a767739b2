//! Alarms: in order, once each, cancellable, and watched.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use asynchrotron_sync::{Alarms, Pace, Watch};
use support::Bell;

struct Note(u32, Arc<Mutex<Vec<u32>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn alarms_ring_in_the_order_of_their_times_and_then_of_their_setting() {
    let (alarms, notes) = (Alarms::new(), Arc::default());
    let kept: Vec<_> = [30, 10, 20, 10, 50, 40]
        .into_iter()
        .zip(0..)
        .map(|(at, number)| alarms.set(at, Arc::new(Note(number, Arc::clone(&notes))).into()))
        .collect();
    assert_eq!((alarms.len(), alarms.earliest()), (6, Some(10)));
    assert_eq!(alarms.ring_due(9), 0);
    assert_eq!(alarms.ring_due(40), 5);
    assert_eq!(*notes.lock().unwrap(), [1, 3, 2, 0, 5]);
    let rung: Vec<_> = kept.iter().map(asynchrotron_sync::Alarm::has_rung).collect();
    assert_eq!(rung, [true, true, true, true, false, true]);
}

#[test]
fn more_than_are_rung_at_once_are_all_rung() {
    let alarms = Alarms::new();
    let (bell, waker) = Bell::new();
    let kept: Vec<_> = (0..1000).map(|at| alarms.set(at % 7, waker.clone())).collect();
    assert_eq!(alarms.ring_due(6), 1000);
    assert_eq!((bell.rings(), alarms.len()), (1000, 0));
    drop(kept);
}

#[test]
fn cancelled_alarms_do_not_pile_up() {
    let alarms = Alarms::new();
    let (bell, waker) = Bell::new();
    for at in 0..1000 {
        drop(alarms.set(1_000_000 + at, waker.clone()));
    }
    assert_eq!((alarms.len(), alarms.earliest(), alarms.is_quiet()), (0, None, true));
    assert_eq!((alarms.ring_due(u64::MAX - 1), bell.rings()), (0, 0));
    assert_eq!(Arc::strong_count(&bell), 2, "a waker was kept");
}

#[test]
fn another_waker_is_woken_instead() {
    let alarms = Alarms::new();
    let ((first, first_waker), (second, second_waker)) = (Bell::new(), Bell::new());
    let alarm = alarms.set(5, first_waker);
    assert!(alarm.rewake(&second_waker));
    alarms.ring_due(5);
    assert_eq!((first.rings(), second.rings()), (0, 1));
    assert!(!alarm.rewake(&second_waker));
}

#[test]
fn a_waker_may_set_and_cancel_alarms() {
    struct Again(Alarms, Mutex<Vec<asynchrotron_sync::Alarm>>);
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            let mut kept = self.1.lock().unwrap();
            if kept.len() < 40 {
                kept.push(self.0.set(1, self.clone().into()));
            }
        }
    }
    let alarms = Alarms::new();
    let again = Arc::new(Again(alarms.clone(), Mutex::default()));
    let _first = alarms.set(1, again.clone().into());
    while alarms.ring_due(1) > 0 {}
    assert_eq!((again.1.lock().unwrap().len(), alarms.len()), (40, 0));
    again.1.lock().unwrap().clear();
}

#[test]
fn the_watch_rings_what_nobody_else_rings() {
    let alarms = Alarms::new();
    let begin = Instant::now();
    let now = move || begin.elapsed().as_nanos() as u64;
    let watch = {
        let alarms = alarms.clone();
        thread::spawn(move || {
            while alarms.wait(now()) == Watch::Look {
                alarms.ring_due(now());
            }
        })
    };
    let waits: Vec<_> = [3_000, 500, 2_000, 0]
        .into_iter()
        .map(|us| {
            let alarms = alarms.clone();
            thread::spawn(move || {
                let (bell, waker) = Bell::new();
                let _alarm = alarms.set(now() + us * 1000, waker);
                while bell.rings() == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
            })
        })
        .collect();
    waits.into_iter().for_each(|wait| wait.join().unwrap());
    alarms.close();
    watch.join().unwrap();
    assert_eq!(alarms.wait(0), Watch::Closed);
}

#[test]
fn an_alarm_beyond_all_time_never_rings() {
    let alarms = Alarms::new();
    let alarm = alarms.set(u64::MAX, Waker::noop().clone());
    assert!(!alarms.is_quiet() && !alarms.is_due(u64::MAX - 2));
    drop(alarm);
    assert!(alarms.rung(7).has_rung());
}

#[test]
fn time_is_free_when_nobody_holds_it_and_the_pacer_has_run() {
    let pace = Pace::new();
    let (bell, waker) = Bell::new();
    assert!(pace.is_free());
    drop(pace.hold());
    assert!(pace.is_free(), "nobody keeps the pace yet");
    pace.run_once(&waker);
    let (first, second) = (pace.hold(), pace.hold());
    drop(first);
    assert!(!pace.is_free() && bell.rings() == 0);
    drop(second);
    assert!(!pace.is_free() && bell.rings() == 1);
    drop(pace.hold());
    assert!(!pace.is_free(), "the pacer has not run");
    pace.run_once(&waker);
    assert!(pace.is_free());
}
