//! [`Compiler`]: makes device code of a source; NVRTC, found at run time.

use std::ffi::CString;

use cudarc::nvrtc::{result, sys};

use super::{KernelError, KernelSource};

/// Makes device code of a source. A trait, so that what is done with it can be tested without one.
pub(super) trait Compiler {
    /// The compiler's version; `None` if there is none here.
    fn version(&self) -> Option<(i32, i32)>;

    /// The code of `source` for `arch`.
    fn compile(&self, source: &KernelSource, arch: &str) -> Result<Compiled, KernelError>;
}

/// What a compiler made.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Machine code: a cubin.
    pub(super) code: Vec<u8>,
    /// What the compiler has to say about it; empty if nothing.
    pub(super) log: String,
}

/// NVIDIA's compiler, as a library.
pub(super) struct Nvrtc;

impl Compiler for Nvrtc {
    fn version(&self) -> Option<(i32, i32)> {
        // SAFETY: only looks for the library; without it, any other call of cudarc would panic.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: writes to numbers that live as long as the call.
        unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().ok()?;
        Some((major, minor))
    }

    fn compile(&self, source: &KernelSource, arch: &str) -> Result<Compiled, KernelError> {
        let failed = |log: String| KernelError::Compile { name: source.name.into(), arch: arch.into(), log };
        let text = CString::new(source.source).map_err(|_| failed("the source has a NUL".into()))?;
        let name = CString::new(source.name).map_err(|_| failed("the source's name has a NUL".into()))?;
        let mut options = vec![format!("--gpu-architecture={arch}")];
        options.extend(source.options.iter().map(|option| (*option).to_owned()));
        if options.iter().any(|option| option.contains('\0')) {
            return Err(failed("an option has a NUL".into()));
        }
        let program =
            result::create_program(&text, Some(&name)).map_err(|error| failed(error.to_string()))?;
        // SAFETY: the program was just made, and is destroyed once, below.
        let compiled = unsafe {
            let outcome = result::compile_program(program, &options);
            let log = log(program);
            match outcome {
                Ok(()) => machine_code(program)
                    .map(|code| Compiled { code, log })
                    .map_err(|error| failed(error.to_string())),
                Err(error) => Err(failed(if log.is_empty() { error.to_string() } else { log })),
            }
        };
        // SAFETY: as above.
        let _ = unsafe { result::destroy_program(program) };
        compiled
    }
}

/// # Safety
/// The program must not have been destroyed.
unsafe fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: the caller's.
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let log: Vec<u8> = log.iter().map(|&byte| byte as u8).filter(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&log).trim().to_owned()
}

/// # Safety
/// The program must have been compiled for an architecture that exists (`sm_…`).
unsafe fn machine_code(program: sys::nvrtcProgram) -> Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: the caller's.
    unsafe { sys::nvrtcGetCUBINSize(program, &mut size) }.result()?;
    let mut code = vec![0_u8; size];
    // SAFETY: the caller's; there is room for `size` bytes.
    unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says so where there is no compiler.
    fn is_here() -> bool {
        let here = Nvrtc.version().is_some();
        if !here {
            println!("skipped: the library libnvrtc.so is not installed");
        }
        here
    }

    fn compile(
        source: &'static str,
        options: &'static [&'static str],
        arch: &str,
    ) -> Result<Compiled, String> {
        let source = KernelSource { name: "broken.cu", source, options };
        Nvrtc.compile(&source, arch).map_err(|error| error.to_string())
    }

    #[test]
    fn a_source_that_does_not_compile_is_told_with_its_lines() {
        if is_here() {
            let source = "extern \"C\" __global__ void broken(float* x) {\n    x[0] = y;\n}\n";
            let error = compile(source, &[], "sm_90").unwrap_err();
            assert!(error.starts_with("the kernels of broken.cu do not compile for sm_90:\n"), "{error}");
            assert!(error.contains("broken.cu(2): error: identifier \"y\" is undefined"), "{error}");
        }
    }

    #[test]
    fn warnings_come_with_the_code() {
        if is_here() {
            let source =
                "extern \"C\" __global__ void warned(float* x) {\n    int unused;\n    x[0] = 1;\n}\n";
            let Compiled { code, log } = compile(source, &[], "sm_90").unwrap();
            assert!(code.starts_with(b"\x7fELF"), "a cubin");
            assert!(log.contains("broken.cu(2): warning"), "{log}");
            let quiet = "extern \"C\" __global__ void quiet(float* x) { x[0] = 1; }\n";
            assert_eq!(compile(quiet, &["--fmad=false"], "sm_80").unwrap().log, "");
        }
    }

    #[test]
    fn an_architecture_or_an_option_that_does_not_exist_is_named() {
        if is_here() {
            let source = "extern \"C\" __global__ void nothing() {}\n";
            let error = compile(source, &[], "sm_1").unwrap_err();
            assert!(error.contains("gpu-architecture"), "{error}");
            let error = compile(source, &["--no-such-option"], "sm_90").unwrap_err();
            assert!(error.contains("no-such-option"), "{error}");
        }
    }
}
