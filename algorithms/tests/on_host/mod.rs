//! Kernel files of `algorithms/kernels`, compiled for the CPU and launched as a CUDA driver would.

use libloading::Library;
use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[repr(C)]
struct Dim3(u32, u32, u32);

type RunKernel = unsafe extern "C" fn(*const c_char, Dim3, Dim3, usize, *mut *mut c_void) -> c_int;
type ShuffleThreads = unsafe extern "C" fn(u64);

/// One kernel file.
pub(crate) struct Kernels {
    library: Library,
}

impl Kernels {
    /// Compiles `algorithms/kernels/{name}.cu`. `None`, and a line that says so, if there is no C++ compiler.
    pub(crate) fn build(name: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        // Tests may run at the same time, in threads or processes.
        let scratch =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
        std::fs::create_dir_all(&scratch).unwrap();
        let empty = scratch.join("empty.cu");
        std::fs::write(&empty, "").unwrap();
        let compile = |source: &Path, library: &Path| {
            let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc")));
            command.args([
                "-x",
                "c++",
                "-std=c++17",
                "-O1",
                "-ffp-contract=off",
                "-fno-exceptions",
                "-fno-rtti",
            ]);
            command.args(["-fvisibility=hidden", "-fPIC", "-shared", "-DON_HOST"]);
            command.arg("-include").arg(folder.join("on_host/shim.h")).arg(source).arg("-o").arg(library);
            command.arg("-lm").output()
        };
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let probe = compile(&empty, &scratch.join("empty.so"));
        if let Some(why) = match &probe {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(said(output)),
            Err(error) => Some(error.to_string()),
        } {
            // Past the test runner, which shows what a test prints only if it fails.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED kernels on the CPU: no C++ compiler for them (set CC): {why}"
            );
            return None;
        }
        let file = scratch.join(format!("{name}.so"));
        let output = compile(&folder.join(format!("{name}.cu")), &file).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        // SAFETY: the library is the one just made from our own file. Loading it runs constructors of its table of kernels
        // only.
        let library = unsafe { Library::new(&file) }.unwrap();
        // It is mapped: no one needs the file any more.
        let _ = std::fs::remove_dir_all(&scratch);
        Some(Self { library })
    }

    /// What `cuLaunchKernel` does, and waits for it. 0: done; else see `on_host/shim.h`.
    ///
    /// # Safety
    /// `arguments` must point to values of the types of the kernel's parameters, and the kernel must stay within the memory
    /// that they point to.
    pub(crate) unsafe fn launch(
        &self,
        name: &str,
        [blocks, threads]: [usize; 2],
        shared_bytes: usize,
        arguments: &mut [*mut c_void],
    ) -> i32 {
        let name = CString::new(name).unwrap();
        let size = |n: usize| Dim3(n.try_into().unwrap(), 1, 1);
        // SAFETY: the type is that of the function in on_host/shim.h.
        let run = unsafe { self.library.get::<RunKernel>(b"run_kernel") }.unwrap();
        // SAFETY: the caller's promise.
        unsafe { run(name.as_ptr(), size(blocks), size(threads), shared_bytes, arguments.as_mut_ptr()) }
    }

    /// In which order threads run in later launches from here: 0 in their own order, else in some other.
    pub(crate) fn shuffle_threads(&self, seed: u64) {
        // SAFETY: the type is that of the function in on_host/shim.h.
        let shuffle = unsafe { self.library.get::<ShuffleThreads>(b"shuffle_threads") }.unwrap();
        // SAFETY: sets a number.
        unsafe { shuffle(seed) }
    }
}

/// What must not be written lies on both sides of the memory of a [`Buffer`].
const GUARD: usize = 256;
const RUBBISH: u8 = 0xa5;

/// Memory of a device that is not there: aligned to 16 bytes, full of rubbish, and watched at both ends.
pub(crate) struct Buffer {
    words: Vec<u128>,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { words: vec![u128::from_ne_bytes([RUBBISH; 16]); bytes.div_ceil(16) + 2 * GUARD / 16], bytes }
    }

    pub(crate) fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::new(bytes);
        buffer.whole()[GUARD..GUARD + bytes].fill(0);
        buffer
    }

    pub(crate) fn of<T: Copy>(values: &[T]) -> Self {
        let mut buffer = Self::new(size_of_val(values));
        // SAFETY: plain numbers, as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        buffer.whole()[GUARD..GUARD + bytes.len()].copy_from_slice(bytes);
        buffer
    }

    /// The address, as a kernel's argument.
    pub(crate) fn at(&mut self) -> *mut u8 {
        self.whole()[GUARD..].as_mut_ptr()
    }

    /// What is in there, if nothing was written beside it.
    pub(crate) fn values<T: Copy>(&mut self) -> Vec<T> {
        let bytes = self.bytes;
        let (before, rest) = self.whole().split_at(GUARD);
        let (inside, after) = rest.split_at(bytes);
        assert!(
            [before, after].iter().all(|guard| guard.iter().all(|&byte| byte == RUBBISH)),
            "written beside"
        );
        assert_eq!(bytes % size_of::<T>(), 0);
        let first = inside.as_ptr().cast::<T>();
        // SAFETY: as many whole T as there are bytes for, aligned to 16; T is a plain number, of which all bits are good.
        (0..bytes / size_of::<T>()).map(|i| unsafe { first.add(i).read() }).collect()
    }

    fn whole(&mut self) -> &mut [u8] {
        // SAFETY: the vector's own bytes.
        unsafe {
            std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), size_of_val(&self.words[..]))
        }
    }
}
