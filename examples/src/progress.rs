//! Progress on stderr: a bar on a terminal, a line now and then elsewhere, or a table of what is going on.

use std::io::{IsTerminal as _, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use asynchrotron::{Monitor, Progress, Ticker};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Lines come after 1, 2, 4 seconds, then every so often: soon enough to see that a job lives, seldom enough for logs.
const LINE_INTERVAL_MAX: Duration = Duration::from_secs(5);
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// Shows progress while it lives.
pub(crate) struct ProgressDisplay {
    bar: Option<ProgressBar>,
    pub(crate) ticker: Ticker,
}

impl ProgressDisplay {
    pub(crate) fn new() -> Self {
        if stderr().is_terminal() { Self::bar() } else { Self::lines() }
    }

    /// Prints what is going on instead, on a terminal as well.
    pub(crate) fn status(monitor: Monitor) -> Self {
        let begun = Instant::now();
        let ticker = Ticker::new(STATUS_INTERVAL, move |_| {
            // The first tick comes when nothing is going on yet, the last one at the end, also of a job so short that it needs
            // no table.
            if begun.elapsed() >= STATUS_INTERVAL
                && let Some(snapshot) = monitor.snapshot()
            {
                eprint!("asynchrotron: {snapshot}");
            }
        });
        ProgressDisplay { bar: None, ticker }
    }

    /// Prints a line on stderr, above the bar if there is one.
    pub(crate) fn announcer(&self) -> impl Fn(&str) + Send + 'static {
        let bar = self.bar.clone();
        move |text| match &bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn bar() -> Self {
        let bar =
            ProgressBar::no_length().with_style(style("{spinner} {pos} events, {rate}, {elapsed}{msg}"));
        let shown = bar.clone();
        let ticker = Ticker::new(BAR_INTERVAL, move |progress| {
            if let Some(total) = progress.total.filter(|total| shown.length() != Some(*total)) {
                shown.set_style(style("{wide_bar} {pos}/{len} events, {rate}, {eta} left{msg}"));
                shown.set_length(total);
            }
            if progress.failed > 0 {
                shown.set_message(format!(", {} failed", progress.failed));
            }
            shown.set_position(progress.events + progress.failed);
        });
        ProgressDisplay { bar: Some(bar), ticker }
    }

    fn lines() -> Self {
        // When the next line is due, and how long it was after the one before.
        let due = Mutex::new((LINE_INTERVAL, LINE_INTERVAL));
        let ticker = Ticker::new(LINE_INTERVAL, move |progress| {
            let Ok(mut due) = due.lock() else { return };
            let (at, step) = *due;
            // The last tick comes right after the last event: the report says the rest.
            let over = progress.total.is_some_and(|total| progress.events + progress.failed >= total);
            if progress.elapsed < at || over {
                return;
            }
            let step = (2 * step).min(LINE_INTERVAL_MAX);
            *due = (progress.elapsed + step, step);
            eprintln!("asynchrotron: {}", line(progress));
        });
        ProgressDisplay { bar: None, ticker }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to end a job.
        let _ = write!(text, "{:.0} events/s", state.per_sec());
    })
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(progress: &Progress) -> String {
    let done = progress.events + progress.failed;
    let rate = done as f64 / progress.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let of = progress.total.map_or(String::new(), |total| format!(" of {total}"));
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    let left = match progress.total {
        Some(total) if rate > 0.0 => format!(", {:.0} s left", total.saturating_sub(done) as f64 / rate),
        _ => String::new(),
    };
    format!("{done}{of} events, {rate:.1} events/s{left}{failed}")
}
