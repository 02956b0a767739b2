//! [`Core`]: looking for ends, and the device's own thread, which also enqueues where there is much to enqueue.
//!
//! ```text
//!   SLEEPING ──(1)──▶ LINGERING ◀──(2)──▶ STANDING BY ◀──(3)──▶ ASKING: spin, yield, timed nap
//!      ▲                  │                    │ ▲                │ ▲
//!      └──────(5)─────────┘                    ▼ │ (4)            ▼ │ (4)
//!                                           ENQUEUEING         ENQUEUEING
//!
//!   the driver thread: (1) something is armed   (2) something is outstanding, or nothing   (3) workers have asked in the last
//!   50 µs, or have not   (4) something is left to it, or nothing   (5) nothing was outstanding for a while
//! ```

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread;
use std::time::Duration;

use asynchrotron::harvest::Harvest;
use asynchrotron_sync::{Drive, Points};

use super::CudaConfig;
use super::engine::Waiting;
use super::flight::Flight;
use super::shared::Shared;

/// What is on its way through one GPU.
pub(super) struct Core {
    pub(super) points: Points<Flight>,
    pub(super) shared: Arc<Shared>,
    /// Until when the driver thread sleeps, if nobody calls; 0 if it does not.
    asleep_until_ns: AtomicU64,
    asked_by_workers: bool,
    /// When workers have last asked.
    asked_ns: AtomicU64,
    driver_above: usize,
    cores: usize,
}

/// Of this machine.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// How long the driver thread stands by, or lingers, before it looks again, and how late it may be without being called.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Shorter pauses are not slept: the system's timers and wake-ups are not that precise.
const NAP_MIN: Duration = Duration::from_micros(40);
/// Nothing is waited for longer without a look.
const NAP_MAX: Duration = Duration::from_millis(1);
/// The end of what takes longer than this, and is alone, is not spun for: a processor's time at each end is then worth more than the
/// few percent that it is found sooner.
const AT_EASE_FROM: Duration = Duration::from_micros(300);
/// To be woken by a timer takes so much of the processor that it should happen once, or twice, for each of them: so long, at most, the
/// driver thread rests after one, if that is how long it takes the next to come to its end.
const REST_MAX: Duration = Duration::from_millis(4);
/// How often it finds nothing before it sleeps until something is armed. Being woken costs whoever arms some microseconds.
const LINGER_LOOKS: u32 = 10;

/// For so long after they have last asked, workers are taken to go on.
const WORKERS_ASK_FOR: Duration = Duration::from_micros(50);
/// For so long the driver thread spins while workers ask and nothing is left to it.
const STAND_BY_FOR: Duration = Duration::from_micros(100);

impl Core {
    pub(super) fn new(config: &CudaConfig, shared: &Arc<Shared>) -> Self {
        Self {
            points: Points::new(shared.streams.len()),
            shared: shared.clone(),
            asleep_until_ns: AtomicU64::new(u64::MAX),
            asked_by_workers: config.waiting == Waiting::Ask,
            asked_ns: AtomicU64::new(0),
            driver_above: config.driver_above,
            cores: cores(),
        }
    }

    /// Asks whatever is on its way.
    fn ask(&self) -> usize {
        self.points.harvest(self.shared.now_ns()).ended
    }

    /// Asks where it is worth while: where a signal is set, or the time has come. Goes on, once something has ended, until `enough`.
    fn look(&self, enough: impl Fn() -> bool) -> usize {
        let now_ns = self.shared.now_ns();
        let mut ended = 0;
        for (lane, next_ns) in self.shared.expectations.lanes() {
            if next_ns <= now_ns || self.shared.driver.is_signalled(self.shared.signal(lane)) {
                ended += self.points.harvest_of([lane.0], now_ns).ended;
                if ended > 0 && enough() {
                    break;
                }
            }
        }
        ended
    }

    /// The same on the driver thread. To wake a worker costs some microseconds; once one is awake, it looks itself.
    fn look_for_workers(&self) -> usize {
        self.look(|| self.shared.expectations.is_any_left() || self.do_workers_ask())
    }

    /// Enqueues what was left to this thread.
    fn enqueue_left(&self) {
        self.points.harvest_of(self.shared.expectations.left(), self.shared.now_ns());
    }

    /// Whether enqueueing is the driver thread's: much is outstanding, or something, and that thread is at it. The driver's own state
    /// then stays on one core.
    pub(super) fn is_left_to_driver(&self) -> bool {
        let outstanding = self.points.outstanding();
        let is_driver_awake = || self.asleep_until_ns.load(Ordering::Relaxed) == 0;
        outstanding > self.driver_above
            || (outstanding > 1 && self.driver_above != usize::MAX && is_driver_awake())
    }

    /// Hands over to the driver thread: nobody else asks until it is too late for the next end. Waking it costs some microseconds.
    pub(super) fn call_driver(&self) {
        self.call_driver_unless(Duration::ZERO);
    }

    /// The same where workers ask: they may be busy for long.
    pub(super) fn call_driver_in_time(&self) {
        self.call_driver_unless(LOOK_EVERY);
    }

    /// So late it may be.
    fn call_driver_unless(&self, late: Duration) {
        // Who falls asleep says so first, and looks after that.
        fence(Ordering::SeqCst);
        let until_ns = self.asleep_until_ns.load(Ordering::Relaxed).saturating_sub(late.as_nanos() as u64);
        // Looked at only while it sleeps.
        if until_ns > 0 && until_ns > self.shared.expectations.soonest_ns() {
            self.points.call();
        }
    }

    /// Something is left to the driver thread.
    pub(super) fn wake_driver(&self) {
        if self.asleep_until_ns.load(Ordering::SeqCst) != 0 {
            self.points.call();
        }
    }

    fn do_workers_ask(&self) -> bool {
        let asked_ns = self.asked_ns.load(Ordering::Relaxed);
        asked_ns != 0 && self.shared.now_ns() < asked_ns + WORKERS_ASK_FOR.as_nanos() as u64
    }

    /// The driver thread sleeps: until somebody calls, and not longer than until so much after the next end.
    fn sleep(&self, at_most: Duration, past: Duration, rest: bool) {
        let now_ns = self.shared.now_ns();
        let until_ns = now_ns + at_most.as_nanos() as u64;
        // Before it looks whether something was left to it; whoever leaves something looks after that.
        self.asleep_until_ns.store(until_ns, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let next_ns = self.shared.expectations.soonest_ns().saturating_add(past.as_nanos() as u64);
        let at_most = Duration::from_nanos(until_ns.min(next_ns).saturating_sub(now_ns));
        if self.shared.expectations.is_any_left() {
            // It stays awake.
        } else if rest {
            self.points.rest(at_most);
        } else {
            self.points.park(at_most);
        }
        self.asleep_until_ns.store(0, Ordering::Relaxed);
    }

    /// The driver thread.
    pub(super) fn drive(&self) {
        // The system's default would be up to 50 µs late. Where it cannot be set, ends are found a little later.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZero::<u64>::MIN));
        while let Drive::Ask = self.points.wait_armed() {
            self.asleep_until_ns.store(0, Ordering::SeqCst);
            let mut quiet_looks = 0;
            let (mut quiet_from_ns, mut was_at_ease) = (self.shared.now_ns(), false);
            let mut rest = LOOK_EVERY;
            while quiet_looks < LINGER_LOOKS {
                if self.points.outstanding() == 0 {
                    // Whoever arms next need not wake this thread. What comes and goes as the one before is then found by one look.
                    if quiet_looks == 0 {
                        let now_ns = self.shared.now_ns();
                        let cycle = Duration::from_nanos(now_ns.saturating_sub(quiet_from_ns));
                        let next = if was_at_ease { cycle.saturating_sub(2 * NAP_MIN) } else { LOOK_EVERY };
                        (quiet_from_ns, rest) = (now_ns, next.clamp(LOOK_EVERY, REST_MAX));
                        was_at_ease = false;
                    }
                    quiet_looks += 1;
                    self.sleep(rest, Duration::ZERO, true);
                    continue;
                }
                quiet_looks = 0;
                let do_workers_ask = self.asked_by_workers && self.do_workers_ask();
                if !self.asked_by_workers {
                    self.ask();
                    self.points.park(Duration::from_millis(1));
                } else if self.shared.expectations.is_any_left() {
                    self.enqueue_left();
                    if !do_workers_ask {
                        self.look_for_workers();
                    }
                } else if do_workers_ask {
                    self.stand_by();
                } else {
                    was_at_ease = self.is_at_ease();
                    if was_at_ease {
                        self.pause_at_ease();
                    } else {
                        self.pause();
                    }
                    self.look_for_workers();
                }
            }
            self.asleep_until_ns.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// Workers ask; they call when they are about to sleep. Something may be left to this thread at any time.
    fn stand_by(&self) {
        let begin_ns = self.shared.now_ns();
        while !self.shared.expectations.is_any_left() && self.do_workers_ask() {
            if !self.is_left_to_driver() || self.shared.now_ns() > begin_ns + STAND_BY_FOR.as_nanos() as u64 {
                return self.sleep(LOOK_EVERY, LOOK_EVERY, false);
            }
            std::hint::spin_loop();
        }
    }

    /// Whether what is outstanding is alone and takes long.
    fn is_at_ease(&self) -> bool {
        self.points.outstanding() == 1 && self.shared.expectations.soonest_takes() > AT_EASE_FROM
    }

    /// Lets time pass until asking is worth while, on the driver thread: asleep as far as the system's timers are precise enough.
    fn pause(&self) {
        let quiet = self.quiet_for();
        if quiet > NAP_MIN {
            self.sleep((quiet - NAP_MIN / 2).min(NAP_MAX), Duration::ZERO, false);
        }
        // Where there are few cores, a thread that spins takes one from the workers.
        while !self.quiet_for().is_zero() && self.points.outstanding() > 0 && self.look_for_workers() == 0 {
            if self.cores > 4 {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    /// The same, asleep also where the timers are not that precise.
    fn pause_at_ease(&self) {
        loop {
            let nap = self.quiet_for().clamp(NAP_MIN / 2, NAP_MAX);
            self.sleep(nap, NAP_MIN / 2, false);
            if !self.is_at_ease() || self.shared.expectations.is_any_left() || self.look_for_workers() > 0 {
                break;
            }
        }
    }
}

impl Harvest for Core {
    fn outstanding(&self) -> usize {
        self.points.outstanding()
    }

    fn harvest(&self) -> usize {
        self.asked_ns.store(self.shared.now_ns(), Ordering::Relaxed);
        self.look(|| false)
    }

    fn quiet_for(&self) -> Duration {
        if self.shared.expectations.is_any_left() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.shared.expectations.soonest_ns().saturating_sub(self.shared.now_ns()))
    }

    fn hand_over(&self) {
        self.asked_ns.store(0, Ordering::Relaxed);
        self.call_driver();
    }
}
