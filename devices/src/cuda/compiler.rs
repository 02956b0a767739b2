//! Device code: compiled by NVRTC at first use, kept on disk, or made ahead of time.
//!
//! A file holds the code of one source for one architecture, and its name says all that it depends on:
//! `NAME.ARCH.HASH.cubin`, where the hash is that of source, options and the compiler's version. It is looked for in
//!
//! 1. the folder `ASYNCHROTRON_KERNELS`, which `asynchrotron kernels build` fills (and where any compiler's version is taken);
//! 2. `asynchrotron/kernels` in the user's cache folder.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::{KernelError, KernelSource};

/// The device code of `source` for `arch`: from a file, or compiled and kept in one.
pub(super) fn cached(source: &KernelSource, arch: &str) -> Result<Vec<u8>, KernelError> {
    let folder = std::env::var_os("ASYNCHROTRON_KERNELS").map(PathBuf::from);
    if let Some(image) = folder.and_then(|folder| fs::read(folder.join(file_name(source, arch, None))).ok()) {
        return Ok(image);
    }
    let version = version().ok_or_else(|| KernelError::NoCompiler {
        name: source.name.into(),
        arch: arch.into(),
        why: "the library libnvrtc.so is not installed (it comes with the CUDA toolkit), and ASYNCHROTRON_KERNELS names no \
              folder that `asynchrotron kernels build` has filled"
            .into(),
    })?;
    let kept = cache().map(|folder| folder.join(file_name(source, arch, Some(version))));
    if let Some(image) = kept.as_ref().and_then(|path| fs::read(path).ok()) {
        return Ok(image);
    }
    let image = compile(source, arch)?;
    if let Some(path) = kept {
        // A cache that cannot be written only costs the next start some time.
        let _ = write(&path, &image);
    }
    Ok(image)
}

/// Compiles `source` for `arch` into `folder`, for use ahead of time; says which file that is.
///
/// # Errors
///
/// [`KernelError`] with the compiler's log; `io::Error` from writing.
pub fn build(source: &KernelSource, arch: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    if version().is_none() {
        let why = "the library libnvrtc.so is not installed (it comes with the CUDA toolkit)".into();
        return Err(KernelError::NoCompiler { name: source.name.into(), arch: arch.into(), why }.into());
    }
    let path = folder.join(file_name(source, arch, None));
    write(&path, &compile(source, arch)?)?;
    Ok(path)
}

/// The compiler's version; `None` if there is none.
fn version() -> Option<(i32, i32)> {
    // SAFETY: only looks for the library; without it, any other call of cudarc would panic.
    if !unsafe { sys::is_culib_present() } {
        return None;
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes to numbers that live as long as the call.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().ok()?;
    Some((major, minor))
}

/// Compiles `source` to machine code for `arch`.
fn compile(source: &KernelSource, arch: &str) -> Result<Vec<u8>, KernelError> {
    let failed = |log: String| KernelError::Compile { name: source.name.into(), arch: arch.into(), log };
    let text = CString::new(source.source).map_err(|_| failed("the source has a NUL".into()))?;
    let name = CString::new(source.name).map_err(|_| failed("the source's name has a NUL".into()))?;
    let program = result::create_program(&text, Some(&name)).map_err(|error| failed(error.to_string()))?;
    let mut options = vec![format!("--gpu-architecture={arch}")];
    options.extend(source.options.iter().map(|option| (*option).to_owned()));
    // SAFETY: the program was just made, and is destroyed once, below.
    let image = unsafe {
        match result::compile_program(program, &options) {
            Ok(()) => machine_code(program).map_err(|error| failed(error.to_string())),
            Err(error) => {
                let log = result::get_program_log(program).unwrap_or_default();
                let log: Vec<u8> = log.iter().map(|&byte| byte as u8).filter(|&byte| byte != 0).collect();
                Err(failed(format!("{}{error}", String::from_utf8_lossy(&log))))
            }
        }
    };
    // SAFETY: as above.
    let _ = unsafe { result::destroy_program(program) };
    image
}

/// # Safety
/// The program must have been compiled for an architecture that exists (`sm_…`).
unsafe fn machine_code(program: sys::nvrtcProgram) -> Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: the caller's.
    unsafe { sys::nvrtcGetCUBINSize(program, &mut size) }.result()?;
    let mut image = vec![0_u8; size];
    // SAFETY: the caller's; there is room for `size` bytes.
    unsafe { sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()) }.result()?;
    Ok(image)
}

fn file_name(source: &KernelSource, arch: &str, version: Option<(i32, i32)>) -> String {
    let mut hash = Sha256::new();
    hash.update(source.source);
    for option in source.options {
        hash.update([0]);
        hash.update(option);
    }
    if let Some((major, minor)) = version {
        hash.update(format!("\0{major}.{minor}"));
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{arch}.{hash}.cubin", source.name.trim_end_matches(".cu"))
}

fn cache() -> Option<PathBuf> {
    let of_home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(of_home)?;
    Some(base.join("asynchrotron").join("kernels"))
}

/// Whole or not at all: other processes may read it at any time.
fn write(path: &Path, image: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::File::create(&partial)?.write_all(image)?;
    fs::rename(&partial, path)
}
