//! Shows that a model can fail.

use std::process::Command;

use asynchrotron_sync::broken::{self, Fault};

/// Expects `run` to fail with `fault` switched on, with a message that contains one of `says`.
///
/// `test` is the name of the calling test: it runs again in a process of its own, because a checker that reports a deadlock
/// unwinds the stuck threads, whose destructors may then abort the process.
pub fn refute_by(test: &str, fault: Fault, says: &[&str], run: impl FnOnce()) {
    const CASE: &str = "ASYNCHROTRON_SYNC_REFUTE";
    let case = format!("{fault:?} {says:?}");
    if let Ok(wanted) = std::env::var(CASE) {
        if wanted == case {
            broken::with(fault, run);
        }
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, &case)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    let found = says.iter().find(|says| err.contains(*says));
    assert!(!child.status.success() && found.is_some(), "{case} was not found:\n{out}{err}");
    println!("refuted {fault:?}: {}", found.unwrap());
}
