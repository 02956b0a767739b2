//! [`UsageError`]: what the user asked for makes no sense, as opposed to a job that failed.

use std::fmt;

use asynchrotron::Error;

/// The command line or the configuration makes no sense.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The job was asked to end early, and did. Its output is whole as far as it goes; who waits for all of it must know.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Interrupted {
    /// By the shells' convention: 128 + SIGINT.
    pub(crate) const EXIT_CODE: u8 = 130;
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted: what was done is written, the rest of the events was not read")
    }
}

impl std::error::Error for Interrupted {}

/// Makes an error of an impossible wish; the exit code will be 2.
macro_rules! usage {
    ($($text:tt)*) => { asynchrotron::Error::new($crate::error::UsageError(format!($($text)*))) };
}
pub(crate) use usage;

/// 2 where the user has to ask otherwise, 130 where the job was interrupted, 1 where it failed.
pub(crate) fn exit_code(error: &Error) -> u8 {
    if error.is::<Interrupted>() {
        return Interrupted::EXIT_CODE;
    }
    if error.chain().any(<dyn std::error::Error>::is::<UsageError>) { 2 } else { 1 }
}

/// The error with its causes. Libraries' messages may have several lines; scripts and logs want one.
pub(crate) fn one_line(error: &Error) -> String {
    let text = format!("{error:#}");
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// "unknown parameter `dcc`; the nearest is `dc`; known: dc, rhoc".
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let likeness = |known: &&&str| (1e6 * strsim::jaro_winkler(name, known)) as u64;
    match known.iter().max_by_key(likeness) {
        None => usage!("unknown {what} `{name}`; there are none"),
        Some(nearest) => {
            usage!("unknown {what} `{name}`; the nearest is `{nearest}`; known: {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = unknown("parameter", "outlierfactor", &["dc", "rhoc", "outlier-factor"]);
        assert_eq!(
            error.to_string(),
            "unknown parameter `outlierfactor`; the nearest is `outlier-factor`; known: dc, rhoc, outlier-factor"
        );
        assert_eq!(exit_code(&error.context("in a file")), 2);
    }
}
