//! Whole jobs, each in a process of its own: the chains on host and GPU, with batches and without; and what the first event costs
//! with kernels compiled at first use, from the cache, and ahead of time.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use asynchrotron::prelude::*;
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, round};

const REPEATS: usize = 2;
const CHAINS: [(&str, &str); 2] = [("scouting", "50000"), ("calorimeter", "10000")];
const WAYS: [(&str, &str); 3] = [("host", "off"), ("cuda", "off"), ("cuda", "adaptive")];

/// The chains.
pub(super) fn chains(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    for (chain, events) in CHAINS {
        let mut host = f64::NAN;
        for (device, batch) in WAYS {
            let mut per_s = Vec::new();
            let mut latency = String::new();
            for _ in 0..REPEATS {
                let arguments = [
                    "run", chain, "--events", events, "--seed", "7", "--device", device, "--batch", batch,
                    "--slots", "512",
                ];
                let report = job(&arguments, None, None)?;
                per_s.push(number_after(&report, "throughput ")?);
                latency = report
                    .lines()
                    .find(|line| line.contains("an event took"))
                    .unwrap_or("")
                    .trim()
                    .to_owned();
            }
            let per_s = median(&mut per_s);
            if device == "host" {
                host = per_s;
            }
            tell(json!({
                "chain": chain, "device": device, "batch": batch, "events_per_s": per_s.round(),
                "over_host": round(per_s / host), "latency": latency,
            }));
        }
    }
    Ok(())
}

/// The first event.
pub(super) fn start(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("asynchrotron-bench-{}", std::process::id()));
    let (cache, ahead) = (folder.join("cache"), folder.join("ahead"));
    let time = |cache: &Path, ahead: Option<&Path>| {
        let begin = Instant::now();
        let arguments =
            ["run", "scouting", "--events", "1", "--seed", "7", "--device", "cuda", "-P", "tagger=cuts"];
        job(&arguments, Some(cache), ahead)?;
        Ok::<_, Error>(begin.elapsed().as_secs_f64() * 1e3)
    };
    let begin = Instant::now();
    job(
        &["run", "scouting", "--events", "1", "--seed", "7", "--device", "host", "-P", "tagger=cuts"],
        None,
        None,
    )?;
    tell(
        json!({ "kernels": "none: on the host", "one_event_ms": round(begin.elapsed().as_secs_f64() * 1e3) }),
    );
    let (mut compiled, mut cached, mut built) = (Vec::new(), Vec::new(), Vec::new());
    let out = ahead.to_str().context("the temporary folder has a strange name")?;
    job(&["kernels", "build", "--arch", "sm_90", "--out", out], None, None)?;
    for repeat in 0..REPEATS {
        let cache = cache.join(repeat.to_string());
        compiled.push(time(&cache, None)?);
        cached.push(time(&cache, None)?);
        built.push(time(&cache.join("empty"), Some(&ahead))?);
    }
    for (kernels, times) in [
        ("compiled at first use", &mut compiled),
        ("from the cache", &mut cached),
        ("ahead of time", &mut built),
    ] {
        tell(json!({ "kernels": kernels, "one_event_ms": round(median(times)) }));
    }
    // What is left behind in a temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}

/// Runs this program; what it printed.
fn job(arguments: &[&str], cache: Option<&Path>, ahead: Option<&Path>) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    if let Some(cache) = cache {
        command.env("XDG_CACHE_HOME", cache);
    }
    if let Some(ahead) = ahead {
        command.env("ASYNCHROTRON_KERNELS", ahead);
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn number_after(text: &str, word: &str) -> Result<f64> {
    let rest = text.split(word).nth(1).with_context(|| format!("no `{word}` in {text}"))?;
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Ok(number.parse()?)
}
