//! [`Drivers`]: the threads that compute what is too long for a worker, one per lane.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What is sent to a driver thread. It holds the lane.
pub(crate) trait Errand: Send + 'static {
    fn run(self);

    /// It cannot be run, for this reason.
    fn refuse(self, why: &str);
}

/// One driver thread per lane, started when first needed. Dropping this ends each when it has done what it has; they are not
/// joined: that would block for as long as the longest step, for ever if that step waits for this thread.
pub(crate) struct Drivers<E> {
    device: &'static str,
    lanes: Box<[Driver<E>]>,
}

/// The driver thread of one lane. A lane carries one errand at a time, so a channel for one never fills.
struct Driver<E> {
    /// `None` until first needed. Locked by the holder of the lane only.
    errands: Mutex<Option<SyncSender<E>>>,
}

impl<E: Errand> Drivers<E> {
    pub(crate) fn new(device: &'static str, lanes: usize) -> Self {
        let driver = |_| Driver { errands: Mutex::new(None) };
        Self { device, lanes: (0..lanes).map(driver).collect() }
    }

    /// Gives the errand to the thread of its lane, or refuses it.
    pub(crate) fn send(&self, lane: usize, errand: E) {
        let Some(driver) = self.lanes.get(lane) else {
            return errand.refuse("the lane belongs to another device");
        };
        let mut errands = driver.errands.lock().unwrap_or_else(PoisonError::into_inner);
        if errands.is_none() {
            let (sender, receiver) = sync_channel(1);
            let name = format!("{} lane {lane}", self.device);
            match thread::Builder::new().name(name).spawn(move || drive(&receiver)) {
                Ok(_runs_until_the_sender_is_dropped) => *errands = Some(sender),
                Err(error) => {
                    drop(errands);
                    return errand.refuse(&format!("no driver thread: {error}"));
                }
            }
        }
        let sent = errands.as_ref().map(|errands| errands.try_send(errand));
        drop(errands);
        if let Some(Err(TrySendError::Full(errand) | TrySendError::Disconnected(errand))) = sent {
            errand.refuse("the lane belongs to another device");
        }
    }
}

fn drive<E: Errand>(errands: &Receiver<E>) {
    for errand in errands {
        // Panics of steps are caught closer to them. This is for what else is foreign: wakers, and drops of buffers.
        let _ = catch_unwind(AssertUnwindSafe(|| errand.run()));
    }
}
