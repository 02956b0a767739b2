//! What the user chose.
//!
//! Parsed first, resolved after: [`arguments`] knows flags as text, [`mod@file`] knows TOML, and [`settings`] puts them over
//! the defaults that [`parameter`] tables declare: file, then `-P`, then flags. Nothing else in the workspace sees a
//! flag.

mod arguments;
mod file;
mod parameter;
mod settings;

pub(crate) use arguments::{
    Command, GenerateArguments, GraphArguments, RunArguments, TraceArguments, parse_arguments,
};
#[cfg(feature = "cuda")]
pub(crate) use arguments::{KernelsBuildArguments, KernelsCommand};
pub(crate) use parameter::{Kind, Parameter, Values};
pub(crate) use settings::Settings;
