//! The library: where it is, and what to do where it is not.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::logging::LogLevel;

/// ONNX Runtime, loaded.
pub(super) struct Library {
    pub(super) environment: Environment,
    pub(super) path: PathBuf,
    pub(super) load: Duration,
}

/// ONNX Runtime is not here; the message says what is missing and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{why}; set ORT_DYLIB_PATH to libonnxruntime of version 1.31 or later, or build again where python3 -m pip can download it"
)]
pub struct LibraryMissing {
    why: String,
}

#[cfg(target_os = "macos")]
const FILE: &str = "libonnxruntime.1.31.1.dylib";
#[cfg(target_os = "windows")]
const FILE: &str = "onnxruntime.dll";
#[cfg(not(any(target_os = "macos", target_os = "windows")))]
const FILE: &str = "libonnxruntime.so.1.31.1";

/// Loads the library, the first time; later, says the same again.
pub(super) fn library() -> Result<&'static Library, LibraryMissing> {
    // Kept for ever: the library allows one environment per process.
    static LIBRARY: OnceLock<Result<Library, LibraryMissing>> = OnceLock::new();
    LIBRARY.get_or_init(|| load().map_err(|why| LibraryMissing { why })).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Library, String> {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(FILE)));
    let built = option_env!("ASYNCHROTRON_ONNXRUNTIME").map(PathBuf::from);
    let path = find(named, [beside, built].into_iter().flatten())?;
    let begin = Instant::now();
    let builder = ort::init_from(&path).map_err(|error| load_error(&error))?;
    let environment = builder
        .with_name("asynchrotron")
        .with_telemetry(false)
        .build()
        .map_err(|error| format!("{}: {}", path.display(), one_line(&error)))?;
    // Whatever goes wrong comes back as an error: the library need not print it as well.
    environment.set_log_level(LogLevel::Fatal);
    Ok(Library { environment, path, load: begin.elapsed() })
}

/// What the user named, and nothing else; or the first that is there.
fn find(named: Option<PathBuf>, places: impl Iterator<Item = PathBuf>) -> Result<PathBuf, String> {
    let is_file = |path: &Path| path.is_file();
    if let Some(path) = named {
        return if is_file(&path) {
            Ok(path)
        } else {
            Err(format!("ORT_DYLIB_PATH names {}, which is no file", path.display()))
        };
    }
    let mut looked = Vec::new();
    for path in places {
        if is_file(&path) {
            return Ok(path);
        }
        looked.push(path.display().to_string());
    }
    Err(format!("no library at {}", looked.join(" or ")))
}

/// The version, as the file's name says it: the library's own answer cannot be asked for.
pub(super) fn version(library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let mut numbers =
        name.split(|c: char| !(c.is_ascii_digit() || c == '.')).map(|part| part.trim_matches('.'));
    numbers.rfind(|part| part.contains('.')).unwrap_or("1.31 or later").to_owned()
}

/// Why the system does not load it.
fn load_error(error: &ort::LoadDynamicError) -> String {
    let ort::LoadDynamicError::Dlopen { error, path } = error else { return one_line(error) };
    let why = std::error::Error::source(error).map_or_else(|| one_line(error), |source| one_line(&source));
    format!("{} cannot be loaded: {why}", path.display())
}

/// An error without line breaks.
pub(super) fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name() {
        let version = |name: &str| version(&Path::new("/lib/1.2.3").join(name));
        assert_eq!(version("libonnxruntime.so.1.31.1"), "1.31.1");
        assert_eq!(version("libonnxruntime.1.31.1.dylib"), "1.31.1");
        assert_eq!(version("libonnxruntime.so"), "1.31 or later");
    }

    #[test]
    fn what_the_user_named_is_taken_or_complained_about_and_nothing_else_is_looked_for() {
        let here = PathBuf::from(file!()).canonicalize().or_else(|_| std::env::current_exe()).unwrap();
        let nowhere = PathBuf::from("/nowhere/libonnxruntime.so");
        assert_eq!(find(Some(here.clone()), std::iter::empty()), Ok(here.clone()));
        let error = find(Some(nowhere.clone()), [here.clone()].into_iter()).unwrap_err();
        assert_eq!(error, "ORT_DYLIB_PATH names /nowhere/libonnxruntime.so, which is no file");
        assert_eq!(find(None, [nowhere.clone(), here.clone()].into_iter()), Ok(here));
        let error = find(None, [nowhere].into_iter()).unwrap_err();
        assert_eq!(error, "no library at /nowhere/libonnxruntime.so");
    }
}
