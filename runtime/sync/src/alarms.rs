//! Wakers with a time: the deadline queue. It reads no clock; times are nanoseconds that the caller gives.
//!
//! ```text
//!   of an alarm:     SET ──(1)──▶ RUNG         of the watch:   AWAKE ──(4)──▶ ASLEEP until T ──(5)──▶ CALLED ──┐
//!                     └───(2)──▶ CANCELLED                       ▲               └─(6)─┐                      │
//!                                                                └─────────────────────┴──────────────────────┘
//!
//!   (1) ring_due: its time has come; wakes           (4) wait: nothing is due by then; T = earliest alarm + slack
//!   (2) Alarm::drop, unless detached                           (5) set, set_slack, close: it is needed before T
//!   (3) Alarm::rewake: another waker (stays SET)     (6) T has come
//! ```
//!
//! Anybody may ring: workers do it in passing, where it costs one load as long as nothing is due, and the *watch* (one
//! thread that calls [`Alarms::wait`] in a loop) does it for those that nobody passes. The slack is how late the watch
//! may be while others are expected to ring: nearly all alarms are then rung without waking a thread for it.
//!
//! All arrows are taken under one mutex, and the watch is told of anything that it is needed for earlier than it knows:
//! **while it sleeps until T, no alarm is earlier than T − slack.** `earliest` is a copy for those in passing, who may read it
//! late: they then ring at their next chance, or the watch does.

use std::fmt;
use std::mem;
use std::task::Waker;
use std::time::Duration;

use crate::broken::{self, Fault};
use crate::facade::{Arc, AtomicU64, Condvar, Mutex, Ordering};
use crate::timetable::Timetable;

/// No alarm, no time: later than everything.
const NEVER: u64 = u64::MAX;

/// The watch is awake, and will look at everything before it sleeps: nothing is earlier.
const AWAKE: u64 = 0;

/// Alarms rung at a time, between which the mutex is free.
const RUNG_AT_ONCE: usize = 16;

struct State {
    /// By time, then in the order in which they were set.
    set: Timetable<Waker>,
    next_number: u64,
    /// Until when the watch sleeps.
    watch_until: u64,
    slack: u64,
    closed: bool,
}

impl State {
    fn earliest(&self) -> u64 {
        self.set.first().unwrap_or(NEVER)
    }

    fn wanted(&self) -> u64 {
        self.earliest().saturating_add(self.slack)
    }

    /// (5), if the watch sleeps longer than it may. Says whether it must be woken.
    #[must_use]
    fn call(&mut self) -> bool {
        let call = self.closed || self.wanted() < self.watch_until;
        // Called once is enough.
        call && mem::replace(&mut self.watch_until, AWAKE) != AWAKE
    }
}

struct Shared {
    state: Mutex<State>,
    /// Written under the mutex.
    earliest: AtomicU64,
    called: Condvar,
}

impl Shared {
    fn publish(&self, state: &State) {
        self.earliest.store(state.earliest(), Ordering::Relaxed);
    }
}

/// Wakers with a time. Clones are handles of the same alarms.
///
/// # Examples
///
/// ```
/// use asynchrotron_sync::Alarms;
/// use std::task::Waker;
///
/// let alarms = Alarms::new();
/// let alarm = alarms.set(100, Waker::noop().clone());
/// assert_eq!(alarms.ring_due(99), 0);
/// assert_eq!(alarms.ring_due(100), 1);
/// assert!(alarm.has_rung());
/// ```
#[derive(Clone)]
pub struct Alarms {
    shared: Arc<Shared>,
}

/// What ended the sleep of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Watch {
    /// Something may be due: read the clock, [ring](Alarms::ring_due), and wait again.
    Look,
    /// The alarms were closed: the watch ends.
    Closed,
}

impl Alarms {
    /// No alarms.
    pub fn new() -> Self {
        let state =
            State { set: Timetable::new(), next_number: 0, watch_until: AWAKE, slack: 0, closed: false };
        let (state, earliest) = (Mutex::new(state), AtomicU64::new(NEVER));
        Alarms { shared: Arc::new(Shared { state, earliest, called: Condvar::new() }) }
    }

    /// Wakes `waker` once, when somebody rings at `at` or later. Dropping the alarm cancels it.
    pub fn set(&self, at: u64, waker: Waker) -> Alarm {
        let at = at.min(NEVER - 1);
        let mut state = self.shared.state.lock();
        let key = (at, state.next_number);
        state.next_number += 1;
        state.set.insert(key, waker);
        self.shared.publish(&state);
        let call = state.call();
        drop(state);
        if call && !broken::is(Fault::AlarmSkipsCall) {
            self.shared.called.notify_one();
        }
        Alarm { shared: Some(self.shared.clone()), key }
    }

    /// An alarm that rang before it was set.
    pub fn rung(&self, at: u64) -> Alarm {
        Alarm { shared: Some(self.shared.clone()), key: (at, u64::MAX) }
    }

    /// Whether something is due, as far as a single load tells: `false` may be out of date.
    #[inline]
    pub fn is_due(&self, now: u64) -> bool {
        self.shared.earliest.load(Ordering::Relaxed) <= now
    }

    /// Whether no alarm is set, as far as a single load tells.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.shared.earliest.load(Ordering::Relaxed) == NEVER
    }

    /// Wakes everything that is due, in the order of time, and says how much that was. (1)
    ///
    /// One load if nothing is due. Wakers are woken with nothing locked; what they set for now or earlier is rung as well.
    #[inline]
    pub fn ring_due(&self, now: u64) -> usize {
        if self.is_due(now) { self.ring(now) } else { 0 }
    }

    #[cold]
    fn ring(&self, now: u64) -> usize {
        let mut rung = 0;
        loop {
            let mut due = [const { None }; RUNG_AT_ONCE];
            let mut state = self.shared.state.lock();
            for place in &mut due {
                *place = state.set.pop(now);
                if place.is_none() {
                    break;
                }
            }
            if broken::is(Fault::AlarmRingForgetsRest) {
                self.shared.earliest.store(NEVER, Ordering::Relaxed);
                state.watch_until = NEVER;
            } else {
                self.shared.publish(&state);
            }
            drop(state);
            let before = rung;
            for waker in due.into_iter().flatten() {
                waker.wake();
                rung += 1;
            }
            if rung - before < RUNG_AT_ONCE {
                return rung;
            }
        }
    }

    /// The time of the earliest alarm.
    pub fn earliest(&self) -> Option<u64> {
        Some(self.shared.state.lock().earliest()).filter(|&at| at != NEVER)
    }

    /// How many alarms are set.
    pub fn len(&self) -> usize {
        self.shared.state.lock().set.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How late the watch may ring, because somebody else is expected to. 0, the default: not at all. (5)
    pub fn set_slack(&self, slack: u64) {
        let mut state = self.shared.state.lock();
        state.slack = slack;
        let call = state.call();
        drop(state);
        if call && !broken::is(Fault::AlarmSlackSkipsCall) {
            self.shared.called.notify_one();
        }
    }

    /// Ends the watch, now or when it comes. (5) Alarms stay, and can be rung.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        let call = state.call();
        drop(state);
        if call && !broken::is(Fault::AlarmCloseSkipsCall) {
            self.shared.called.notify_one();
        }
    }

    /// The watch's sleep: blocks until something may be due, `now` being the present. For one thread at a time, which
    /// reads the clock, [rings](Self::ring_due), and waits, in a loop.
    pub fn wait(&self, now: u64) -> Watch {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Watch::Closed;
        }
        let until = state.wanted();
        if until <= now {
            return Watch::Look;
        }
        state.watch_until = until; // (4)
        let at_most = (until != NEVER).then(|| Duration::from_nanos(until - now));
        state = self.shared.called.wait(state, at_most);
        state.watch_until = AWAKE; // (6), or called
        if state.closed { Watch::Closed } else { Watch::Look }
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Alarms")
            .field("set", &state.set.len())
            .field("earliest", &state.earliest())
            .finish_non_exhaustive()
    }
}

/// A waker that is woken once, when its time has come. Dropping it cancels that, unless it is being woken right now.
#[must_use = "dropping an alarm cancels it"]
pub struct Alarm {
    /// `None` once detached.
    shared: Option<Arc<Shared>>,
    key: (u64, u64),
}

impl Alarm {
    /// The time at which it rings.
    pub fn at(&self) -> u64 {
        self.key.0
    }

    /// Whether it has rung. Its waker may be about to be woken.
    pub fn has_rung(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.state.lock().set.get_mut(self.key).is_none())
    }

    /// Rings without being kept. It cannot be cancelled any more.
    pub fn detach(mut self) {
        self.shared = None;
    }

    /// Wakes another waker instead. (3) Says `false`, and does nothing, if it has rung.
    #[must_use = "an alarm that has rung wakes nobody again"]
    pub fn rewake(&self, waker: &Waker) -> bool {
        let Some(shared) = &self.shared else { return false };
        let mut state = shared.state.lock();
        let Some(known) = state.set.get_mut(self.key) else { return false };
        if known.will_wake(waker) {
            return true;
        }
        let previous = mem::replace(known, waker.clone());
        drop(state);
        drop(previous); // foreign code, hence after unlocking
        true
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.state.lock();
        let cancelled = state.set.remove(self.key); // (2)
        if cancelled.is_some() {
            shared.publish(&state);
        }
        drop(state);
        drop(cancelled); // foreign code, hence after unlocking
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("at", &self.key.0).finish_non_exhaustive()
    }
}
