//! SIGUSR1: what every event in flight waits for.

use asynchrotron::{Monitor, Result};

/// On every SIGUSR1, announces which algorithm of which event in flight waits for what. On a thread of its own, so that it also
/// answers while all workers are stuck.
#[cfg(unix)]
pub(crate) fn dump_on_signal(monitor: Monitor, announce: impl Fn(&str) + Send + 'static) -> Result<()> {
    use asynchrotron::anyhow::Context as _;
    use signal_hook::consts::SIGUSR1;
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGUSR1]).context("cannot handle SIGUSR1")?;
    let thread = std::thread::Builder::new().name("dump".into());
    let dump = move || {
        for _ in signals.forever() {
            match monitor.snapshot() {
                Some(snapshot) => announce(format!("asynchrotron: {}", snapshot.dump()).trim_end()),
                None => announce("asynchrotron: no event is in flight: the job has not begun, or is over"),
            }
        }
    };
    thread.spawn(dump).context("cannot start the thread that handles SIGUSR1")?;
    Ok(())
}

/// There is no such signal here.
#[cfg(not(unix))]
pub(crate) fn dump_on_signal(_: Monitor, _: impl Fn(&str) + Send + 'static) -> Result<()> {
    Ok(())
}
