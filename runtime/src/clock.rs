//! The clock of the meters: the cycle counter, about half the price of the operating system's clock. On the threads of a job
//! with a [simulated clock](crate::time::Clock::simulated), that clock, with ticks of a nanosecond.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static CLOCK: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// Whether any thread has ever simulated: else nobody has to look whether this one does.
static SIMULATED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The nanoseconds that this thread reads.
    static HERE: RefCell<Option<Arc<AtomicU64>>> = const { RefCell::new(None) };
}

/// A point in time, in ticks of the counter.
pub(crate) type Ticks = u64;

/// Calibrates the counter: milliseconds, once per process, before anything is measured.
pub(crate) fn calibrate() {
    LazyLock::force(&CLOCK);
}

/// From now on this thread reads simulated time, or, with `None`, real time again.
pub(crate) fn simulate(nanoseconds: Option<Arc<AtomicU64>>) {
    if nanoseconds.is_some() {
        SIMULATED.store(true, Ordering::Relaxed);
    }
    HERE.replace(nanoseconds);
}

fn simulated() -> Option<Ticks> {
    #[cold]
    fn here() -> Option<Ticks> {
        // From 1, because to who keeps a time 0 is none.
        HERE.with_borrow(|here| here.as_ref().map(|now| now.load(Ordering::Relaxed).saturating_add(1)))
    }
    if SIMULATED.load(Ordering::Relaxed) { here() } else { None }
}

pub(crate) fn now() -> Ticks {
    simulated().unwrap_or_else(counter)
}

/// The cycle counter, also where time is simulated.
pub(crate) fn counter() -> Ticks {
    CLOCK.raw()
}

/// Length of a number of ticks. Ticks of several intervals may be summed first.
pub(crate) fn duration(ticks: Ticks) -> Duration {
    Duration::from_nanos(nanoseconds(ticks))
}

/// Length of a number of ticks, in nanoseconds.
pub(crate) fn nanoseconds(ticks: Ticks) -> u64 {
    if simulated().is_some() { ticks } else { counted_nanoseconds(ticks) }
}

/// Length of a number of ticks of the cycle counter, in nanoseconds.
pub(crate) fn counted_nanoseconds(ticks: Ticks) -> u64 {
    CLOCK.delta_as_nanos(0, ticks)
}

/// Number of ticks in a length of time.
pub(crate) fn ticks(duration: Duration) -> Ticks {
    if simulated().is_some() { limited(duration) as Ticks } else { counted_ticks(duration) }
}

/// Longer than centuries is as good as for ever, and keeps products in their type.
fn limited(duration: Duration) -> u128 {
    duration.as_nanos().min(u128::from(u64::MAX))
}

/// Number of ticks of the cycle counter in a length of time.
pub(crate) fn counted_ticks(duration: Duration) -> Ticks {
    const PROBE: Ticks = 1 << 40;
    let nanoseconds = limited(duration);
    let probe = CLOCK.delta_as_nanos(0, PROBE);
    u64::try_from(nanoseconds * u128::from(PROBE) / u128::from(probe)).unwrap_or(Ticks::MAX)
}
