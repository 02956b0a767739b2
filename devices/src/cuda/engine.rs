//! [`Engine`]: how the ends of submissions are learnt.
//!
//! By default, behind everything that a submission enqueues, a kernel sets a word in pinned memory, its signal. Signals are *looked at*
//! by a task of the job between the polls of others ([`harvest`]), and by the device's own thread while workers are busy or asleep.
//! Neither asks the driver, except now and then whether the GPU is well; only what libraries enqueue ends with an event, which is
//! asked for. The other strategies are there to be compared with (`asynchrotron bench cuda`).

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use asynchrotron::harvest::{self, Registered};
use asynchrotron_sync::{LanePool, Point};

use super::driver_thread::Core;
use super::flight::{Course, Flight, Schedule};
use super::pool::Pool;
use super::shared::Shared;
use super::{CudaConfig, Fault};
use crate::drivers::{Drivers, Errand};
use crate::{Job, LaneId};

/// How the ends of submissions are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Workers and a thread of the device's look at the signals that kernels set, and ask for the events of what libraries enqueue.
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
    memory: Arc<Pool>,
}

impl Retirement {
    pub(super) fn new(lanes: LanePool<LaneId>, memory: Arc<Pool>) -> Self {
        Self { why: OnceLock::new(), lanes, memory }
    }

    /// Nobody gets a lane any more, or what lies on the GPU.
    pub(super) fn retire(&self, why: &Fault) {
        if self.why.set(why.clone()).is_ok() {
            self.memory.lose();
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

thread_local! {
    /// Whether this is a thread of the driver's that must not call the driver.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether a flight may only look at its flag.
pub(super) fn is_called_back() -> bool {
    IN_CALLBACK.get()
}

impl Engine {
    pub(super) fn new(config: &CudaConfig, shared: &Arc<Shared>, name: &str) -> std::io::Result<Self> {
        let (waiting, lanes) = (config.waiting, shared.streams.len());
        let asked_by_workers = waiting == Waiting::Ask;
        let core = Arc::new(Core::new(config, shared));
        if matches!(waiting, Waiting::Ask | Waiting::CallBack) {
            let core = core.clone();
            thread::Builder::new().name(format!("{name} completions")).spawn(move || core.drive())?;
        }
        let registered = asked_by_workers.then(|| harvest::register(core.clone()));
        Ok(Self { waiting, core, threads: Drivers::new("cuda waiting", lanes), _registered: registered })
    }

    /// When a submission that is enqueued now is to be asked for.
    pub(super) fn schedule(&self, job: &Job, hang_after: Duration) -> Schedule {
        Schedule::new(&self.core.shared, job, hang_after)
    }

    /// Whether signals are looked at.
    pub(super) fn signals(&self) -> bool {
        self.waiting == Waiting::Ask
    }

    /// Sees a flight to its end.
    pub(super) fn watch(&self, mut flight: Flight) {
        let lane = flight.lane.0;
        if !flight.is_recorded() {
            flight.hand_on();
        }
        match self.waiting {
            Waiting::Ask => {
                if flight.is_recorded() && self.core.is_left_to_driver() {
                    flight.leave();
                    self.core.points.arm(lane, flight);
                    harvest::armed();
                    return self.core.wake_driver();
                }
                if let Err(fault) = flight.enqueue() {
                    if fault.is_fatal() {
                        self.condemn(&fault);
                    }
                    return flight.end(Err(fault));
                }
                self.core.points.arm(lane, flight);
                if harvest::armed() {
                    self.core.call_driver_in_time();
                } else {
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
                    core.points.harvest(core.shared.now_ns());
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

/// A flight whose end one thread waits for, asleep in the driver.
struct Landing(Flight);

impl Errand for Landing {
    fn run(self) {
        let Self(flight) = self;
        let end = match flight.course {
            Course::Event(event) => flight.shared.driver.synchronize(event),
            _ => unreachable!("a thread waits for events"),
        };
        flight.end(end);
    }

    fn refuse(self, _why: &str) {
        // No thread could be started: better late than never.
        self.run();
    }
}
