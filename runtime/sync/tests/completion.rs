//! Completions: either end may leave at any time.
#![allow(missing_docs)] // lost with the rest where the cfg empties the file
#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::Arc;
use std::task::{Poll, Waker};

use asynchrotron_sync::{Completion, Lost, completion};
use support::{Bell, block_on, poll};

#[derive(Debug, PartialEq)]
enum Error {
    Device(u32),
    Lost,
}

impl From<Lost> for Error {
    fn from(_: Lost) -> Self {
        Error::Lost
    }
}

#[test]
fn result_that_comes_first_is_ready_at_the_first_poll() {
    let (signaller, mut completion) = completion::<_, Error>();
    assert_eq!(signaller.complete(Ok(7)), Ok(()));
    assert_eq!(poll(&mut completion, Waker::noop()), Poll::Ready(Ok(7)));
}

#[test]
fn result_that_comes_later_wakes_once() {
    let (signaller, mut completion) = completion::<_, Error>();
    let (bell, waker) = Bell::new();
    assert_eq!(poll(&mut completion, &waker), Poll::Pending);
    assert_eq!(poll(&mut completion, &waker), Poll::Pending);
    signaller.complete(Ok(7)).unwrap();
    assert_eq!(bell.rings(), 1);
    assert_eq!(poll(&mut completion, &waker), Poll::Ready(Ok(7)));
}

#[test]
fn only_the_latest_waker_is_woken() {
    let (signaller, mut completion) = completion::<_, Error>();
    let ((old, old_waker), (new, new_waker)) = (Bell::new(), Bell::new());
    assert!(poll(&mut completion, &old_waker).is_pending());
    assert!(poll(&mut completion, &new_waker).is_pending());
    assert_eq!(Arc::strong_count(&old), 2, "the replaced waker is dropped");
    signaller.complete(Ok(7)).unwrap();
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn device_error_arrives() {
    let (signaller, completion) = completion::<u32, _>();
    signaller.complete(Err(Error::Device(700))).unwrap();
    assert_eq!(block_on(completion), Err(Error::Device(700)));
}

#[test]
fn dropped_signaller_completes_with_lost() {
    let (signaller, mut completion) = completion::<u32, Error>();
    let (bell, waker) = Bell::new();
    assert!(poll(&mut completion, &waker).is_pending());
    drop(signaller);
    assert_eq!(bell.rings(), 1);
    assert_eq!(poll(&mut completion, &waker), Poll::Ready(Err(Error::Lost)));
}

#[test]
fn dropped_waiter_gives_the_result_back_to_the_driver() {
    let (signaller, mut completion) = completion::<_, Error>();
    let (bell, waker) = Bell::new();
    assert!(!signaller.is_abandoned());
    assert!(poll(&mut completion, &waker).is_pending());
    drop(completion);
    assert!(signaller.is_abandoned());
    assert_eq!(Arc::strong_count(&bell), 2, "the waker left with the waiter");
    let buffer = Arc::new(());
    let back = signaller.complete(Ok(buffer.clone())).unwrap_err();
    assert!(Arc::ptr_eq(&back.unwrap(), &buffer));
    assert_eq!(bell.rings(), 0);
}

#[test]
fn result_nobody_awaits_is_dropped_with_the_waiter() {
    let (signaller, completion) = completion::<_, Error>();
    let buffer = Arc::new(());
    signaller.complete(Ok(buffer.clone())).unwrap();
    assert_eq!(Arc::strong_count(&buffer), 2);
    drop(completion);
    assert_eq!(Arc::strong_count(&buffer), 1);
}

#[test]
fn ready_needs_no_signaller() {
    assert_eq!(block_on(Completion::<_, Error>::ready(Ok(7))), Ok(7));
    assert_eq!(block_on(Completion::<u32, _>::ready(Err(Error::Device(2)))), Err(Error::Device(2)));
}

#[test]
#[should_panic = "polled after it completed"]
fn poll_after_the_end_panics() {
    let mut completion = Completion::<_, Error>::ready(Ok(7));
    assert!(poll(&mut completion, Waker::noop()).is_ready());
    let _ = poll(&mut completion, Waker::noop());
}

#[test]
fn waker_that_drops_the_waiter_finds_the_lock_free() {
    // The task's last reference is its waker, and the task owns the completion.
    struct Task(#[allow(dead_code)] std::sync::Mutex<Option<Completion<u32, Error>>>);
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let (signaller, completion) = completion::<u32, Error>();
    let task = Arc::new(Task(std::sync::Mutex::new(Some(completion))));
    let waker = Waker::from(task.clone());
    assert!(poll(task.0.lock().unwrap().as_mut().unwrap(), &waker).is_pending());
    drop((task, waker));
    signaller.complete(Ok(1)).unwrap(); // drops the waker, the task and the completion
}

#[test]
fn both_ends_are_send() {
    fn send<T: Send>() {}
    send::<asynchrotron_sync::Signaller<Vec<u8>, Error>>();
    send::<Completion<Vec<u8>, Error>>();
}
