//! [`Stamped`]: a future, and when it could have gone on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use super::batcher::nanoseconds;
use crate::time::Clock;

/// Waits for a future, and gives with its output the time at which it was woken last: when the device was done, whether or
/// not a worker was free to notice. Else a batch that comes back to busy workers would seem to have cost the device their time.
pub(super) struct Stamped<F> {
    future: Pin<Box<F>>,
    clock: Clock,
    stamp: Option<(Arc<Stamp>, Waker)>,
}

struct Stamp {
    clock: Clock,
    /// 0 until woken.
    at: AtomicU64,
    waker: Waker,
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.at.store(nanoseconds(&self.clock), Relaxed);
        self.waker.wake_by_ref();
    }
}

impl<F: Future> Stamped<F> {
    pub(super) fn new(future: F, clock: &Clock) -> Self {
        Stamped { future: Box::pin(future), clock: clock.clone(), stamp: None }
    }
}

impl<F: Future> Future for Stamped<F> {
    type Output = (F::Output, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.stamp.as_ref().is_none_or(|(stamp, _)| !stamp.waker.will_wake(cx.waker())) {
            let waker = cx.waker().clone();
            let stamp = Arc::new(Stamp { clock: this.clock.clone(), at: AtomicU64::new(0), waker });
            this.stamp = Some((stamp.clone(), stamp.into()));
        }
        let Some((stamp, waker)) = &this.stamp else { unreachable!("set above") };
        let output = std::task::ready!(this.future.as_mut().poll(&mut Context::from_waker(waker)));
        let at = match stamp.at.load(Relaxed) {
            0 => nanoseconds(&this.clock),
            at => at,
        };
        Poll::Ready((output, at))
    }
}
