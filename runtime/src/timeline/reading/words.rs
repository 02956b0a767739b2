//! An [`Analysis`] as a page of text.

use std::fmt::{self, Formatter};

use super::analysis::Analysis;
use super::critical_path::CriticalPath;
use super::percentiles::Time;
use super::recording::{Job, StateKind};

/// Segments of a critical path that are printed; the largest.
const SEGMENTS: usize = 10;
/// Less than that is not printed.
const SMALL: f64 = 0.01;
const WIDTH: usize = 110;

impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_algorithms(f)?;
        self.write_lanes(f)?;
        self.write_workers(f)?;
        self.write_paths(f)?;
        self.write_advice(f)
    }
}

impl Analysis {
    fn write_head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Job { chain, threads, slots, level, every, clock, window_s, .. } = &self.job;
        writeln!(
            f,
            "{}: {chain}, {threads} threads, {slots} slots, level {level}, {clock} time",
            self.source
        )?;
        self.write_warnings(f)?;
        if *every > 1 {
            writeln!(f, "  one of {every} events was recorded: workers did more than is said here")?;
        }
        if let Some((start, length)) = window_s {
            writeln!(f, "  only a window of time was recorded: {length} s from {start} s on")?;
        }
        let events = &self.events;
        write!(
            f,
            "  {} events in {}, {:.1} events/s",
            events.completed,
            Time(self.span_ns),
            events.per_second
        )?;
        if events.failed + events.unfinished > 0 {
            write!(f, "; {} failed, {} unfinished", events.failed, events.unfinished)?;
        }
        let latency = &events.latency;
        let [p50, p90, p99, max] = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns].map(Time);
        writeln!(f, "\n  an event took {p50} (median), {p90} (90 %), {p99} (99 %), {max} at most")?;
        if events.slots_in_use > 0.0 {
            writeln!(f, "  slots in use: {:.1} %", 100.0 * events.slots_in_use)?;
        }
        Ok(())
    }

    fn write_warnings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let completeness = &self.completeness;
        if completeness.lost > 0 {
            writeln!(f, "  WARNING: {} records were lost: the figures are incomplete", completeness.lost)?;
        }
        if let Some(why) = &completeness.cut_short {
            writeln!(f, "  WARNING: the file is cut short: {why}; what was before is here")?;
        } else if !completeness.ended {
            writeln!(f, "  WARNING: there is no record `trace ends`: what happened last is not here")?;
        }
        Ok(())
    }

    fn write_algorithms(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.algorithms.is_empty() {
            return Ok(());
        }
        // Most jobs have only some of the states.
        let occurs =
            |kind: &StateKind| self.algorithms.iter().any(|algorithm| algorithm.total_ns(*kind) != 0);
        let kinds: Vec<StateKind> = StateKind::ALL.into_iter().filter(occurs).collect();
        let width = column(self.algorithms.iter().map(|algorithm| &*algorithm.name), "algorithm");
        write!(
            f,
            "\nAlgorithms: how long they live, and in which states\n  {:<width$} {:>8}",
            "algorithm", "calls"
        )?;
        for title in ["median", "90 %", "99 %", "max"] {
            write!(f, " {title:>8}")?;
        }
        kinds.iter().try_for_each(|kind| write!(f, " {:>w$}", kind.name(), w = kind.name().len().max(8)))?;
        writeln!(f)?;
        for algorithm in &self.algorithms {
            let life = &algorithm.life;
            write!(f, "  {:<width$} {:>8}", algorithm.name, algorithm.calls)?;
            for time in [life.p50_ns, life.p90_ns, life.p99_ns, life.max_ns] {
                write!(f, " {:>8}", Time(time))?;
            }
            for kind in &kinds {
                let share =
                    algorithm.states.iter().find(|figures| figures.state == *kind).map_or(0.0, |s| s.share);
                write!(f, " {:>w$.1} %", 100.0 * share, w = kind.name().len().max(8) - 2)?;
            }
            match algorithm.failed {
                0 => writeln!(f)?,
                failed => writeln!(f, "  {failed} failed")?,
            }
        }
        Ok(())
    }

    fn write_lanes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.lanes.is_empty() {
            return Ok(());
        }
        let width = column(self.lanes.iter().map(|lane| &*lane.name), "lane");
        writeln!(
            f,
            "\nDevices: how much they have to do, and why they have gaps\n  {:<width$} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>11} \
             {:>11} {:>14}",
            "lane",
            "occupied",
            "batches",
            "requests",
            "rows",
            "each",
            "gaps",
            "no requests",
            "not enough",
            "host not ready"
        )?;
        for lane in &self.lanes {
            let gaps = &lane.gaps;
            let [none, few, host] =
                [gaps.no_requests_ns, gaps.not_enough_requests_ns, gaps.host_not_ready_ns].map(Time);
            writeln!(
                f,
                "  {:<width$} {:>6.1} % {:>8} {:>8.1} {:>8.1} {:>8} {:>8} {none:>11} {few:>11} {host:>14}",
                lane.name,
                100.0 * lane.occupancy,
                lane.batches,
                lane.mean_requests,
                lane.mean_rows,
                Time::from(lane.mean_ns),
                Time(gaps.total_ns),
            )?;
        }
        self.write_reasons(f)
    }

    /// Why batches were closed, of all lanes.
    fn write_reasons(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut all = std::collections::BTreeMap::<&str, std::collections::BTreeMap<&str, u64>>::new();
        for (batcher, reasons) in self.lanes.iter().flat_map(|lane| &lane.closed) {
            for (reason, count) in reasons {
                *all.entry(batcher).or_default().entry(reason).or_default() += count;
            }
        }
        for (batcher, reasons) in all {
            let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            writeln!(f, "  batches of {batcher} closed: {}", reasons.join(", "))?;
        }
        Ok(())
    }

    fn write_workers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.workers.is_empty() {
            return Ok(());
        }
        let width = column(self.workers.iter().map(|worker| &*worker.name), "worker");
        writeln!(
            f,
            "\nWorkers: polls of less than 2 µs are tiny\n  {:<width$} {:>8} {:>8} {:>8}",
            "worker", "busy", "polls", "tiny"
        )?;
        for worker in &self.workers {
            writeln!(
                f,
                "  {:<width$} {:>6.1} % {:>8} {:>8} ({:.1} %)",
                worker.name,
                100.0 * worker.busy,
                worker.polls,
                worker.tiny_polls,
                100.0 * worker.tiny
            )?;
        }
        Ok(())
    }

    fn write_paths(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(median) = &self.median else { return Ok(()) };
        writeln!(f, "\nCritical path: what the completed events waited for, all together")?;
        for part in self.event_time.iter().filter(|part| part.share >= SMALL) {
            let each = Time::from(part.total_ns as f64 / self.events.completed.max(1) as f64);
            writeln!(f, "  {:>5.1} % {each:>8}  {}", 100.0 * part.share, part.step)?;
        }
        writeln!(f, "\n  the median event: {median}")?;
        for path in &self.slowest {
            writeln!(f, "  slowest: {path}")?;
        }
        Ok(())
    }

    fn write_advice(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.advice.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhat would shorten the job most")?;
        for (number, advice) in self.advice.iter().enumerate() {
            let head = format!("  {}. ", number + 1);
            writeln!(f, "{}", wrapped(&head, advice.text.split(' '), " "))?;
        }
        Ok(())
    }
}

impl fmt::Display for CriticalPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut shares: Vec<f64> = self.segments.iter().map(|segment| segment.share).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        let least = shares.get(SEGMENTS - 1).copied().unwrap_or(0.0).max(SMALL);
        let mut words: Vec<String> = Vec::new();
        let mut of_algorithm = None;
        for segment in &self.segments {
            if segment.share < least {
                if words.last().is_none_or(|last| last != "…") {
                    words.push("…".into());
                }
                continue;
            }
            // The algorithm is named where it changes.
            let step = match &segment.step.algorithm {
                Some(algorithm) if of_algorithm == Some(algorithm) => segment.step.what.to_owned(),
                _ => segment.step.to_string(),
            };
            of_algorithm = segment.step.algorithm.as_ref();
            words.push(format!("{step} {} ({:.1} %)", Time(segment.duration_ns), 100.0 * segment.share));
        }
        let head = format!("event {}, {}", self.event, Time(self.life_ns));
        let text = wrapped("    ", words.iter().map(String::as_str), " → ");
        write!(f, "{head}\n{text}")
    }
}

/// The width of a column of names.
fn column<'a>(names: impl Iterator<Item = &'a str>, title: &str) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).max(title.len())
}

/// Words in lines, each as far to the right as the head reaches.
fn wrapped<'a>(head: &str, words: impl Iterator<Item = &'a str>, between: &str) -> String {
    let mut text = head.to_owned();
    let indent = head.chars().count();
    let mut at = indent;
    for (index, word) in words.enumerate() {
        let length = word.chars().count() + between.chars().count();
        if index > 0 {
            text += between;
            if at + length > WIDTH {
                text.truncate(text.trim_end().len());
                text += "\n";
                text.extend(std::iter::repeat_n(' ', indent));
                at = indent;
            }
        }
        text += word;
        at += length;
    }
    text
}
