//! What the first event costs, each time in a process of its own: with kernels compiled at first use, from the cache, and ahead of time.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use asynchrotron::prelude::*;
use serde_json::{Value, json};

use super::super::machine::median;
use super::{Gpu, round};

const REPEATS: usize = 2;

pub(super) fn run(_gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
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

/// Runs this program.
fn job(arguments: &[&str], cache: Option<&Path>, ahead: Option<&Path>) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    if let Some(cache) = cache {
        command.env("XDG_CACHE_HOME", cache);
    }
    if let Some(ahead) = ahead {
        command.env("ASYNCHROTRON_KERNELS", ahead);
    }
    let output = command.output()?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{arguments:?}: {text}{errors}");
    Ok(())
}
