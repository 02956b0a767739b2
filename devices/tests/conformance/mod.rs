//! What every device promises, as tests. A device passes itself in:
//!
//! ```ignore
//! mod conformance;
//!
//! conformance::suite!(|| Arc::new(HostDevice::new(HostConfig { lanes: 3, ..HostConfig::default() })));
//! ```
//!
//! The device must have at least two lanes and run the steps' bodies for the host. Nothing here sleeps: tests are steered
//! through channels, and whatever hangs is ended by [`within_reason`].

#[cfg(feature = "cuda")]
mod gpus;
mod steps;

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use asynchrotron_devices::{Completion, Device, DeviceError, DeviceErrorKind, Step};

#[cfg(feature = "cuda")]
#[allow(unused_imports)] // most devices are none
pub(crate) use gpus::gpus;
pub(crate) use steps::*;

/// Makes one test of each promise. `$is_here`: whether there is such a device; it says so where there is none.
#[allow(unused_macros)] // some tests need its tools only
macro_rules! suite {
    ($factory:expr) => {
        $crate::conformance::suite!($factory, || true);
    };
    ($factory:expr, $is_here:expr) => {
        $crate::conformance::suite!(@tests $factory, $is_here,
            results_equal_the_hosts,
            many_concurrent_submissions_complete,
            completions_come_in_any_order,
            at_most_one_submission_per_lane,
            the_lane_is_back_before_the_completion,
            cancelled_while_waiting_for_a_lane,
            cancelled_right_after_submission,
            cancelled_while_running,
            cancelled_after_completion,
            an_error_of_a_step_arrives_and_the_device_goes_on,
            a_panic_of_a_step_arrives_and_the_device_goes_on,
            a_panic_while_dropping_an_output_costs_nobody_else,
            drain_waits_for_everything_submitted,
            after_a_drain_completions_are_there,
            a_cancelled_drain_leaves_the_others,
            a_closed_device_ends_what_it_has_and_takes_no_more,
            dropped_while_busy,
            dropped_by_its_own_work,
            a_stuck_step_does_not_hold_up_other_tasks,
        );
    };
    (@tests $factory:expr, $is_here:expr, $($test:ident,)+) => {
        $(
            #[test]
            fn $test() {
                if !$is_here() {
                    return;
                }
                $crate::conformance::within_reason(|| $crate::conformance::$test(&|| $factory()));
            }
        )+
    };
}
#[allow(unused_imports)]
pub(crate) use suite;

type Factory<'a> = &'a dyn Fn() -> Arc<dyn Device>;

/// Runs a test in a thread of its own, and fails it when it does not end.
pub(crate) fn within_reason(test: impl FnOnce() + Send + 'static) {
    let (ended, wait) = channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended; // dropped at the end, in a panic too
        test();
    });
    if let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(Duration::from_secs(60)) {
        panic!("the test hangs");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Runs a future on a runtime with one thread: whoever blocks it blocks everything.
#[allow(dead_code)]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Lets other tasks run until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Submits a held step to an idle lane and waits until it runs.
fn hold(device: &dyn Device, tracker: &Tracker) -> (Completion<Buffer, DeviceError>, Hold) {
    let (input, hold) = held(tracker.buffer());
    let lane = device.lanes().try_take().expect("an idle lane");
    let completion = device.submit(lane, Arc::new(Held), input);
    hold.wait_until_running();
    (completion, hold)
}

#[track_caller]
fn assert_idle(device: &dyn Device) {
    assert_eq!(device.lanes().available(), device.capability().lanes, "lanes are missing");
    assert_eq!(device.lanes().waiting(), 0);
}

#[track_caller]
fn assert_works(device: &dyn Device) {
    let sum = block_on(device.run(&Arc::new(Sum), vec![1.0, 2.0]));
    assert_eq!(sum.unwrap(), 3.0);
}

fn is_closed<T>(result: Result<T, DeviceError>) -> bool {
    result.is_err_and(|error| matches!(error.kind(), DeviceErrorKind::Closed))
}

pub(crate) fn results_equal_the_hosts(factory: Factory<'_>) {
    fn check<S: Step<Output: PartialEq + std::fmt::Debug>>(device: &dyn Device, step: S, input: S::Input)
    where
        S::Input: Clone,
    {
        let step = Arc::new(step);
        let expected = step.on_host(input.clone()).unwrap();
        // Several times, because a device may change its ways when it knows a step.
        for _ in 0..4 {
            assert_eq!(block_on(device.run(&step, input.clone())).unwrap(), expected);
        }
    }
    let device = factory();
    for rows in [0, 1, 7, 1000, 200_000] {
        let mut state = 1_u32;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        });
        let numbers: Vec<u32> = numbers.take(rows).collect();
        check(&*device, Sum, numbers.iter().map(|&number| number as f32).collect());
        check(&*device, Sorted, numbers.clone());
        check(&*device, Spread { factor: 3 }, numbers);
    }
    assert_idle(&*device);
}

pub(crate) fn many_concurrent_submissions_complete(factory: Factory<'_>) {
    let device = factory();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..50 * device.capability().lanes as u32)
            .map(|n| {
                let device = device.clone();
                tokio::spawn(async move { device.run(&Arc::new(Sorted), vec![n + 1, n]).await.unwrap() })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), [n as u32, n as u32 + 1]);
        }
    });
    assert_idle(&*device);
}

pub(crate) fn completions_come_in_any_order(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    let (first, first_hold) = hold(&*device, &tracker);
    let (second, second_hold) = hold(&*device, &tracker);
    block_on(async {
        let mut first = pin!(first);
        second_hold.open();
        second.await.unwrap();
        assert!(poll_once(first.as_mut()).await.is_pending());
        first_hold.open();
        first.await.unwrap();
    });
}

pub(crate) fn at_most_one_submission_per_lane(factory: Factory<'_>) {
    let device = factory();
    let lanes = device.capability().lanes;
    block_on(async {
        let step = Arc::new(Crowd::default());
        let (go, begun): (Vec<_>, Vec<_>) = (0..lanes + 5)
            .map(|_| {
                let (input, hold) = held(Tracker::default().buffer());
                let (device, step) = (device.clone(), step.clone());
                (hold, tokio::spawn(async move { device.run(&step, input).await }))
            })
            .unzip();
        until(|| device.lanes().waiting() == 5).await;
        go[..lanes].iter().for_each(Hold::wait_until_running);
        assert_eq!(device.lanes().available(), 0);
        assert!(go[lanes..].iter().all(|hold| !hold.is_running()));
        // Each that ends lets one more in.
        for hold in &go {
            until(|| hold.is_running()).await;
            hold.open();
        }
        for task in begun {
            task.await.unwrap().unwrap();
        }
        assert_eq!(step.most(), lanes);
    });
    assert_idle(&*device);
}

pub(crate) fn the_lane_is_back_before_the_completion(factory: Factory<'_>) {
    let device = factory();
    block_on(async {
        for _ in 0..200 {
            let (input, hold) = held(Tracker::default().buffer());
            hold.open();
            device.run(&Arc::new(Held), input).await.unwrap();
            assert_idle(&*device);
        }
    });
}

pub(crate) fn cancelled_while_waiting_for_a_lane(factory: Factory<'_>) {
    let (device, busy, tracker) = (factory(), Tracker::default(), Tracker::default());
    let running: Vec<_> = (0..device.capability().lanes).map(|_| hold(&*device, &busy)).collect();
    block_on(async {
        let (input, _hold) = held(tracker.buffer());
        let held = Arc::new(Held);
        let mut run = Box::pin(device.run(&held, input));
        assert!(poll_once(run.as_mut()).await.is_pending());
        assert_eq!((device.lanes().waiting(), tracker.alive()), (1, 1));
        drop(run);
        assert_eq!((device.lanes().waiting(), tracker.alive()), (0, 0));
        for (completion, hold) in running {
            hold.open();
            completion.await.unwrap();
        }
    });
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn cancelled_right_after_submission(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        for _ in 0..200 {
            let (input, hold) = held(tracker.buffer());
            hold.open();
            let lane = device.lanes().take().await.unwrap();
            drop(device.submit(lane, Arc::new(Held), input));
        }
        device.drain().await;
    });
    assert_eq!(tracker.alive(), 0);
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn cancelled_while_running(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    let lanes = device.capability().lanes;
    let (completion, hold) = hold(&*device, &tracker);
    drop(completion);
    // The device is not done with them.
    assert_eq!((tracker.alive(), device.lanes().available()), (1, lanes - 1));
    hold.open();
    block_on(device.drain());
    assert_eq!(tracker.alive(), 0);
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn cancelled_after_completion(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    let (completion, hold) = hold(&*device, &tracker);
    hold.open();
    block_on(device.drain());
    assert_eq!(tracker.alive(), 1, "the output waits in the completion");
    assert_idle(&*device);
    drop(completion);
    assert_eq!(tracker.alive(), 0);
}

pub(crate) fn an_error_of_a_step_arrives_and_the_device_goes_on(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    let failing = Arc::new(Failing);
    block_on(async {
        for n in 0..3 * device.capability().lanes {
            let error = device.run(&failing, (tracker.buffer(), n)).await.unwrap_err();
            assert_eq!((error.device(), error.step()), (device.name(), "failing"));
            assert_eq!(error.step_error(), Some(&Unlucky(n)));
            let text = format!("{:#}", anyhow::Error::from(error));
            assert_eq!(
                text,
                format!("step `failing` failed on device `{}`: number {n} is unlucky", device.name())
            );
        }
    });
    assert_eq!(tracker.alive(), 0);
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn a_panic_of_a_step_arrives_and_the_device_goes_on(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    let panicking = Arc::new(Panicking);
    block_on(async {
        for _ in 0..3 * device.capability().lanes {
            let error = device.run(&panicking, tracker.buffer()).await.unwrap_err();
            let text = format!("step `panicking` panicked on device `{}`: out of cheese", device.name());
            assert_eq!(error.to_string(), text);
        }
    });
    assert_eq!(tracker.alive(), 0);
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn a_panic_while_dropping_an_output_costs_nobody_else(factory: Factory<'_>) {
    let device = factory();
    block_on(async {
        for _ in 0..3 * device.capability().lanes {
            let (input, hold) = held(Tracker::default().buffer());
            let lane = device.lanes().take().await.unwrap();
            let completion = device.submit(lane, Arc::new(Trap), input);
            hold.wait_until_running();
            drop(completion); // so that the device drops the output
            hold.open();
            device.drain().await;
        }
    });
    assert_idle(&*device);
    assert_works(&*device);
}

pub(crate) fn after_a_drain_completions_are_there(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        for _ in 0..500 {
            let (input, hold) = held(tracker.buffer());
            let lane = device.lanes().try_take().unwrap();
            let completion = device.submit(lane, Arc::new(Held), input);
            hold.open();
            device.drain().await;
            assert!(poll_once(pin!(completion)).await.is_ready());
        }
    });
}

pub(crate) fn drain_waits_for_everything_submitted(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        device.drain().await; // nothing to wait for
        let (first, first_hold) = hold(&*device, &tracker);
        let (second, second_hold) = hold(&*device, &tracker);
        drop(second); // drained all the same
        let mut drain = pin!(device.drain());
        assert!(poll_once(drain.as_mut()).await.is_pending());
        first_hold.open();
        let mut first = pin!(first);
        first.as_mut().await.unwrap();
        assert!(poll_once(drain.as_mut()).await.is_pending());
        second_hold.open();
        drain.await;
        assert_eq!(tracker.alive(), 0);
        assert_idle(&*device);
    });
    assert_works(&*device);
}

pub(crate) fn a_cancelled_drain_leaves_the_others(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        let (_completion, hold) = hold(&*device, &tracker);
        let mut drains: Vec<_> = (0..3).map(|_| Box::pin(device.drain())).collect();
        for drain in &mut drains {
            assert!(poll_once(drain.as_mut()).await.is_pending());
        }
        drop(drains.remove(1));
        hold.open();
        for drain in drains {
            drain.await;
        }
    });
}

pub(crate) fn a_closed_device_ends_what_it_has_and_takes_no_more(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        let sum = Arc::new(Sum);
        for _ in 0..6 {
            device.run(&sum, vec![1.0]).await.unwrap(); // a well-known step is refused as well
        }
        let (completion, hold) = hold(&*device, &tracker);
        let kept = device.lanes().try_take().unwrap();
        let mut rest: Vec<_> = std::iter::from_fn(|| device.lanes().try_take()).collect();
        let mut waiting = pin!(device.run(&sum, vec![1.0; 1 << 20]));
        assert!(poll_once(waiting.as_mut()).await.is_pending());

        device.close();
        assert!(is_closed(waiting.await));
        assert!(is_closed(device.run(&sum, vec![1.0]).await));
        assert!(is_closed(device.submit(kept, sum.clone(), vec![1.0]).await));
        rest.clear();
        hold.open();
        completion.await.unwrap();
        device.drain().await;
    });
    assert_eq!(tracker.alive(), 0);
    assert_idle(&*device);
}

pub(crate) fn dropped_while_busy(factory: Factory<'_>) {
    let (device, tracker) = (factory(), Tracker::default());
    block_on(async {
        let (completion, hold) = hold(&*device, &tracker);
        let lanes = device.lanes().clone();
        let idle: Vec<_> = std::iter::from_fn(|| lanes.try_take()).collect();
        let mut take = pin!(lanes.take());
        assert!(poll_once(take.as_mut()).await.is_pending());
        let mut drain = pin!(device.drain());
        assert!(poll_once(drain.as_mut()).await.is_pending());

        drop(device); // does not wait for the step, which waits for this thread
        assert!(take.await.is_err());
        hold.open();
        assert!(completion.await.is_ok());
        drain.await;
        drop(idle);
        assert_eq!((tracker.alive(), lanes.available()), (0, lanes.len()));
    });
}

pub(crate) fn dropped_by_its_own_work(factory: Factory<'_>) {
    let device = factory();
    block_on(async {
        let (go, wait) = channel();
        let lane = device.lanes().try_take().unwrap();
        let completion = device.submit(lane, Arc::new(Dropping), (wait, device.clone()));
        drop(device);
        go.send(()).unwrap();
        completion.await.unwrap();
    });
}

pub(crate) fn a_stuck_step_does_not_hold_up_other_tasks(factory: Factory<'_>) {
    let device = factory();
    block_on(async {
        // Known to be short, until now.
        for _ in 0..6 {
            let (input, hold) = held(Tracker::default().buffer());
            hold.open();
            device.run(&Arc::new(Held), input).await.unwrap();
        }
        let (input, hold) = held(Tracker::default().buffer());
        let stuck = tokio::spawn({
            let device = device.clone();
            async move { device.run(&Arc::new(Held), input).await }
        });
        until(|| hold.is_running()).await;
        // This task runs, on the thread of the one that awaits the step; it is the one to end it.
        assert!(!stuck.is_finished());
        hold.open();
        stuck.await.unwrap().unwrap();
    });
}
