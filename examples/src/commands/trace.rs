//! `asynchrotron trace`: what a timeline says.

use std::path::{Path, PathBuf};

use asynchrotron::timeline::reading::{Analysis, Difference, Recording, check};
use asynchrotron::{Result, anyhow};

use super::print;
use crate::options::TraceArguments;

pub(crate) fn trace(arguments: &TraceArguments) -> Result<()> {
    let TraceArguments { file, diff, check, json } = arguments;
    match (file, diff.as_slice()) {
        (Some(file), []) if *check => check_file(file),
        (Some(file), []) => say(&analyse(file)?, *json),
        (None, [before, after]) => say(&Difference::between(&analyse(before)?, &analyse(after)?), *json),
        _ => unreachable!("the command line has a file or --diff"),
    }
}

fn analyse(file: &PathBuf) -> Result<Analysis> {
    Ok(Analysis::of(&Recording::open(file)?))
}

fn say(what: &(impl serde::Serialize + std::fmt::Display), json: bool) -> Result<()> {
    if json { print(&format!("{}\n", serde_json::to_string(what)?)) } else { print(&what.to_string()) }
}

fn check_file(file: &Path) -> Result<()> {
    let recording = Recording::open(file)?;
    let problems = check(&recording);
    let name = file.display();
    if problems.is_empty() {
        return print(&format!("{name}: {} records, no problems\n", recording.records));
    }
    print(&format!("{}\n", problems.join("\n")))?;
    match problems.len() {
        1 => anyhow::bail!("{name}: 1 problem"),
        many => anyhow::bail!("{name}: {many} problems"),
    }
}
