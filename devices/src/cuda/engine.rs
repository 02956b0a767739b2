//! [`Engine`]: how the ends of submissions are learnt.
//!
//! By default the GPU is *asked*: by a task of the job between the polls of others ([`harvest`]), and by a driver thread while workers
//! are busy or asleep, or where there is a core to spare for it. The other strategies are there to be compared with (`asynchrotron bench cuda`).
//!
//! ```text
//!                   nothing outstanding                     workers ask
//!    SLEEPING ◀──(4) for a while──── LINGERING ◀──(1)──▶ STANDING BY ◀──(3)── ASKING: spin, yield, timed park
//!        └────────(2) armed──────────────────────────────────────────────────▶
//!
//!   the driver thread; (3) as soon as somebody else has asked since it last looked
//! ```

use std::cell::Cell;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use asynchrotron::harvest::{self, Harvest, Registered};
use asynchrotron_sync::{Drive, LanePool, Point, Points};

use super::Fault;
use super::expectation::Expectations;
use super::flight::{Flight, Schedule};
use crate::drivers::{Drivers, Errand};
use crate::{Job, LaneId};

/// How the ends of submissions are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Workers and a driver thread ask the oldest event of each stream.
    #[default]
    Ask,
    /// The driver calls back. It serialises streams and is silent after a fatal error, hence a watchdog asks every millisecond.
    CallBack,
    /// A thread per lane sleeps in the driver.
    Thread,
    /// Whoever submits sleeps in the driver.
    Block,
}

impl Waiting {
    /// Whether threads sleep in the driver until an event is reached.
    pub(super) fn sleeps(self) -> bool {
        matches!(self, Self::Thread | Self::Block)
    }
}

/// Why a GPU is not used any more.
#[derive(Debug)]
pub(super) struct Retirement {
    why: OnceLock<Fault>,
    lanes: LanePool<LaneId>,
}

impl Retirement {
    pub(super) fn new(lanes: LanePool<LaneId>) -> Self {
        Self { why: OnceLock::new(), lanes }
    }

    /// Nobody gets a lane any more.
    pub(super) fn retire(&self, why: &Fault) {
        if self.why.set(why.clone()).is_ok() {
            self.lanes.close();
        }
    }

    pub(super) fn why(&self) -> Option<&Fault> {
        self.why.get()
    }
}

/// How the ends of one GPU's submissions are learnt.
pub(super) struct Engine {
    waiting: Waiting,
    core: Arc<Core>,
    threads: Drivers<Landing>,
    _registered: Option<Registered>,
}

struct Core {
    points: Points<Flight>,
    origin: Instant,
    expectations: Arc<Expectations>,
    /// Until when the driver thread sleeps, if nobody calls.
    asleep_until_ns: AtomicU64,
    asked_by_workers: bool,
    cores: usize,
}

/// How long the driver thread stands by, or lingers, before it looks again.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// So much outstanding is asked for by workers wherever there are any: whoever is woken runs at once.
const FEW: usize = 4;
/// Shorter pauses are not slept: the system's timers and wake-ups are not that precise.
const NAP_MIN: Duration = Duration::from_micros(40);
/// How often it finds nothing before it sleeps until something is armed. Being woken costs whoever arms some microseconds.
const LINGER_LOOKS: u32 = 10;

thread_local! {
    /// Whether this is a thread of the driver's that must not call the driver.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether a flight may only look at its flag.
pub(super) fn asks_flags_only() -> bool {
    IN_CALLBACK.get()
}

impl Engine {
    pub(super) fn new(waiting: Waiting, lanes: usize, name: &str) -> std::io::Result<Self> {
        let asked_by_workers = waiting == Waiting::Ask;
        let core = Arc::new(Core {
            points: Points::new(lanes),
            origin: Instant::now(),
            expectations: Arc::new(Expectations::new()),
            asleep_until_ns: AtomicU64::new(0),
            asked_by_workers,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
        });
        if matches!(waiting, Waiting::Ask | Waiting::CallBack) {
            let core = core.clone();
            thread::Builder::new().name(format!("{name} completions")).spawn(move || core.drive())?;
        }
        let registered = asked_by_workers.then(|| harvest::register(core.clone()));
        Ok(Self { waiting, core, threads: Drivers::new("cuda waiting", lanes), _registered: registered })
    }

    /// When a submission that is enqueued now is to be asked for.
    pub(super) fn schedule(&self, job: &Job, hang_after: Duration) -> Schedule {
        Schedule::new(&self.core.expectations, self.core.origin, job, hang_after)
    }

    /// Sees a flight to its end.
    pub(super) fn watch(&self, mut flight: Flight) {
        let lane = flight.lane.0;
        match self.waiting {
            Waiting::Ask => {
                let ask_ns = flight.schedule.ask_ns;
                self.core.points.arm(lane, flight);
                // After it is there: whoever is asking meanwhile has either met it, or has begun before this.
                self.core.expectations.expect(ask_ns);
                if self.core.is_left_to_driver() || !harvest::armed() {
                    self.core.call_driver();
                }
            }
            Waiting::Thread => self.threads.send(lane, Landing(flight)),
            Waiting::Block => Landing(flight).run(),
            Waiting::CallBack => {
                let called_back = Arc::new(AtomicBool::new(false));
                flight.called_back = Some(called_back.clone());
                let (driver, stream) = (flight.shared.driver.clone(), flight.shared.streams[lane]);
                let core = self.core.clone();
                self.core.points.arm(lane, flight);
                let then = move || {
                    called_back.store(true, Ordering::Release);
                    IN_CALLBACK.set(true);
                    core.points.harvest(core.now_ns());
                    IN_CALLBACK.set(false);
                };
                // If it cannot be called back, the watchdog finds out.
                let _ = driver.call_back(stream, Box::new(then));
            }
        }
    }

    /// Nothing on the GPU will ever be reached: everything that is outstanding fails.
    pub(super) fn condemn(&self, fault: &Fault) {
        self.core.points.condemn(fault.clone());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The driver thread sees what is outstanding to its end, and ends.
        self.core.points.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("waiting", &self.waiting)
            .field("outstanding", &self.core.points.outstanding())
            .finish_non_exhaustive()
    }
}

impl Core {
    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn ask(&self) -> usize {
        let now_ns = self.now_ns();
        self.expectations.begin(now_ns);
        self.points.harvest(now_ns).ended
    }

    /// Whether asking is the driver thread's: much is outstanding, and there are cores that no worker has. Each answer takes
    /// microseconds, which workers then have for launches.
    fn is_left_to_driver(&self) -> bool {
        self.points.outstanding() > FEW && harvest::workers() + 1 < self.cores
    }

    /// Hands over to the driver thread: nobody else asks until it is too late for the next end. Waking it costs some microseconds.
    fn call_driver(&self) {
        if self.asleep_until_ns.load(Ordering::Relaxed) > self.expectations.soonest_ns() {
            self.points.call();
        }
    }

    /// The driver thread sleeps, or until somebody calls.
    fn sleep(&self, at_most: Duration, rest: bool) {
        let until_ns = self.now_ns() + at_most.as_nanos() as u64;
        self.asleep_until_ns.store(until_ns, Ordering::Relaxed);
        if rest {
            self.points.rest(at_most);
        } else {
            self.points.park(at_most);
        }
        self.asleep_until_ns.store(0, Ordering::Relaxed);
    }

    /// The driver thread.
    fn drive(&self) {
        // The system's default would be up to 50 µs late. Where it cannot be set, ends are found a little later.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZero::<u64>::MIN));
        while let Drive::Ask = self.points.wait_armed() {
            let mut quiet_looks = 0;
            let mut asked = self.points.harvests();
            while quiet_looks < LINGER_LOOKS {
                if self.points.outstanding() == 0 {
                    // Whoever arms next need not wake this thread.
                    quiet_looks += 1;
                    self.sleep(LOOK_EVERY, true);
                    asked = self.points.harvests();
                    continue;
                }
                quiet_looks = 0;
                if !self.asked_by_workers {
                    self.ask();
                    self.points.park(Duration::from_millis(1));
                } else if self.points.harvests() != asked {
                    // Workers do it; they call when they are about to sleep.
                    asked = self.points.harvests();
                    self.sleep(LOOK_EVERY, false);
                } else {
                    self.pause();
                    self.ask();
                    asked = self.points.harvests();
                }
            }
        }
    }

    /// Lets time pass until asking is worth while, on the driver thread: asleep as far as the system's timers are precise enough.
    fn pause(&self) {
        let quiet = self.quiet_for();
        if quiet > NAP_MIN {
            self.sleep(quiet - NAP_MIN / 2, false);
        }
        // Where there are few cores, a thread that spins takes one from the workers.
        while !self.quiet_for().is_zero() && self.points.outstanding() > 0 {
            if self.cores > 4 {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Harvest for Core {
    fn outstanding(&self) -> usize {
        self.points.outstanding()
    }

    fn harvest(&self) -> usize {
        if self.quiet_for().is_zero() && !self.is_left_to_driver() { self.ask() } else { 0 }
    }

    fn quiet_for(&self) -> Duration {
        Duration::from_nanos(self.expectations.soonest_ns().saturating_sub(self.now_ns()))
    }

    fn hand_over(&self) {
        self.call_driver();
    }
}

/// A flight whose end one thread waits for, asleep in the driver.
struct Landing(Flight);

impl Errand for Landing {
    fn run(self) {
        let Self(flight) = self;
        let end = flight.shared.driver.synchronize(flight.event);
        flight.end(end);
    }

    fn refuse(self, _why: &str) {
        // No thread could be started: better late than never.
        self.run();
    }
}
