//! The `asynchrotron` command: chains on files, from the shell.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | what the user chose: flags, `-P`, a configuration file; parsed first, resolved after |
//! | [`commands`] | one file per subcommand |
//! | [`chains`] | the chains that can be named on the command line, each a function that builds one |
//! | [`io`] | sources and sinks: CSV, Parquet |
//! | [`mod@bench`] | the benchmarks that can be named on the command line |
//!
//! Exit codes: 0 the job is done (skipped events are counted in the report), 1 it failed, 2 the command line or the
//! configuration makes no sense, 130 it was interrupted.
#![forbid(unsafe_code)]

mod bench;
mod chains;
mod commands;
mod device;
mod dump;
mod error;
mod interrupt;
mod io;
mod job;
mod models;
mod options;
mod progress;

use std::process::ExitCode;

/// Events that wait for a batch are taken up by another worker than began them, so most of their memory is freed by another thread
/// than allocated it. The C library takes a lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match options::parse_arguments() {
        Ok(command) => command,
        Err(code) => return code,
    };
    match commands::execute(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("asynchrotron: {}", error::one_line(&error));
            ExitCode::from(error::exit_code(&error))
        }
    }
}
