//! On what a benchmark ran, and what all benchmarks compute.

use asynchrotron::prelude::*;

/// The machine in one line: processor and number of cores.
pub(super) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{model}, {} cores", Config::default().resolved_threads())
}

/// The median; sorts the values.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values {
        [] => f64::NAN,
        values if values.len() % 2 == 1 => values[values.len() / 2],
        values => (values[values.len() / 2 - 1] + values[values.len() / 2]) / 2.0,
    }
}

/// Memory of the process that is in RAM.
///
/// # Errors
/// Where the system does not tell (only Linux does, in this way).
pub(super) fn resident_bytes() -> Result<usize> {
    let statm =
        std::fs::read_to_string("/proc/self/statm").context("resident memory is known on Linux only")?;
    let pages: usize = statm.split_ascii_whitespace().nth(1).context("/proc/self/statm is short")?.parse()?;
    Ok(pages * rustix::param::page_size())
}

/// The most memory of the process that was in RAM at a time.
///
/// # Errors
/// Where the system does not tell (only Linux does, in this way).
pub(super) fn resident_peak_bytes() -> Result<usize> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("resident memory is known on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<usize>()? * 1024)
}
