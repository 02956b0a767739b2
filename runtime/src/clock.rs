//! The clock of the meters: the cycle counter, about half the price of the operating system's clock.

use std::sync::LazyLock;
use std::time::Duration;

static CLOCK: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// A point in time, in ticks of the counter.
pub(crate) type Ticks = u64;

/// Calibrates the counter: milliseconds, once per process, before anything is measured.
pub(crate) fn calibrate() {
    LazyLock::force(&CLOCK);
}

pub(crate) fn now() -> Ticks {
    CLOCK.raw()
}

/// Length of a number of ticks. Ticks of several intervals may be summed first.
pub(crate) fn duration(ticks: Ticks) -> Duration {
    Duration::from_nanos(nanoseconds(ticks))
}

/// Length of a number of ticks, in nanoseconds.
pub(crate) fn nanoseconds(ticks: Ticks) -> u64 {
    CLOCK.delta_as_nanos(0, ticks)
}

/// Number of ticks in a length of time.
pub(crate) fn ticks(duration: Duration) -> Ticks {
    const PROBE: Ticks = 1 << 40;
    let probe = CLOCK.delta_as_nanos(0, PROBE);
    // Longer than centuries is as good as for ever, and keeps the product in its type.
    let nanoseconds = duration.as_nanos().min(u128::from(u64::MAX));
    u64::try_from(nanoseconds * u128::from(PROBE) / u128::from(probe)).unwrap_or(Ticks::MAX)
}
