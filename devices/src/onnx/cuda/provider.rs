//! The provider's libraries, and what to do where they are not.

use std::path::Path;

use super::super::ModelSource;
use super::super::library::library;
use crate::inference::ModelError;

/// The library looks for them beside itself.
const FILES: [&str; 2] = ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"];

/// Whether the provider's files are here.
pub(super) fn check(source: &ModelSource) -> Result<(), ModelError> {
    let model = || source.name().to_owned();
    let library =
        library().map_err(|missing| ModelError::NoLibrary { model: model(), why: missing.to_string() })?;
    match missing(&library.path) {
        None => Ok(()),
        Some(why) => Err(ModelError::NoProvider { model: model(), why }),
    }
}

/// What is missing beside this library.
fn missing(library: &Path) -> Option<String> {
    let folder = library.parent().unwrap_or(Path::new(""));
    let missing: Vec<&str> = FILES.into_iter().filter(|file| !folder.join(file).is_file()).collect();
    if missing.is_empty() {
        return None;
    }
    let are = if missing.len() == 1 { "is" } else { "are" };
    Some(format!(
        "{} {are} not beside {}; pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1' has all of it (for CUDA 13), with ORT_DYLIB_PATH set to \
         its onnxruntime/capi/libonnxruntime.so.1.31.1",
        missing.join(" and "),
        library.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_to_do() {
        let folder = std::env::temp_dir().join(format!("asynchrotron-provider-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let library = folder.join("libonnxruntime.so.1.31.1");
        let why = missing(&library).unwrap();
        assert!(why.starts_with(&format!(
            "{} and {} are not beside {}; ",
            FILES[0],
            FILES[1],
            library.display()
        )));
        assert!(why.contains("onnxruntime-gpu") && why.contains("ORT_DYLIB_PATH") && !why.contains('\n'));
        std::fs::write(folder.join(FILES[0]), "").unwrap();
        assert!(missing(&library).unwrap().starts_with(&format!("{} is not beside ", FILES[1])));
        std::fs::write(folder.join(FILES[1]), "").unwrap();
        assert_eq!(missing(&library), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
