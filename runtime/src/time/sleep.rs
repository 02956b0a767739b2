//! [`Sleep`]: the wait for a time.

use std::pin::Pin;
use std::task::{Context, Poll};

use asynchrotron_sync::Alarm;

use super::Clock;

/// Comes at its time; made by [`Clock::sleep`] and [`Clock::sleep_until`].
///
/// # Cancel safety
///
/// May be dropped at any time.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Sleep {
    clock: Clock,
    at: u64,
    alarm: Option<Alarm>,
}

impl Sleep {
    pub(super) fn new(clock: Clock, at: u64) -> Self {
        Sleep { clock, at, alarm: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waits = match &self.alarm {
            Some(alarm) => alarm.rewake(cx.waker()),
            None => {
                let waits = self.clock.now_ns() < self.at;
                if waits {
                    // If the time comes right now, this wakes, and the next poll finds that it has rung.
                    self.alarm = Some(self.clock.alarm_ns(self.at, cx.waker().clone()));
                }
                waits
            }
        };
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}
