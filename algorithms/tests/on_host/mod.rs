//! Kernel files of `algorithms/kernels`, compiled for the CPU and launched as a CUDA driver would.

use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

#[repr(C)]
struct Dim3(u32, u32, u32);

type RunKernel = unsafe extern "C" fn(*const c_char, Dim3, Dim3, usize, *mut *mut c_void) -> c_int;
type ShuffleThreads = unsafe extern "C" fn(u64);

/// One kernel file.
pub(crate) struct Kernels {
    library: Library,
}

impl Kernels {
    /// Compiles the text of a kernel file, as `on_host/shim.h` says. `None`, and a line that says so, if there is no C++
    /// compiler.
    pub(crate) fn build(text: &str) -> Option<Self> {
        static BUILDS: AtomicU32 = AtomicU32::new(0);
        // Tests run at the same time, in threads and processes.
        let scratch = format!("kernels.{}.{}", std::process::id(), BUILDS.fetch_add(1, Ordering::Relaxed));
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(scratch);
        std::fs::create_dir_all(&scratch).unwrap();
        let library = scratch.join("kernels.so");
        let built = match compile("", &scratch, &library) {
            Ok(()) => Some(compile(text, &scratch, &library).map(|()| {
                // SAFETY: the library is the one just made from our own text. Loading it makes its table of kernels.
                unsafe { Library::new(&library) }.unwrap()
            })),
            // Past the test runner, which shows what a test prints only if it fails.
            Err(why) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED kernels on the CPU: no C++ compiler for them (is CC right?): {why}"
                );
                None
            }
        };
        // What is mapped needs no file any more.
        let _ = std::fs::remove_dir_all(&scratch);
        built.map(|library| Self { library: library.unwrap_or_else(|why| panic!("{why}")) })
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

fn compile(text: &str, scratch: &Path, library: &Path) -> Result<(), String> {
    let source = scratch.join("kernels.cu");
    std::fs::write(&source, text).unwrap();
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/on_host/shim.h");
    // CC may come with options, or behind a cache.
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = cc.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("cc"));
    command.args(words).args("-x c++ -std=c++17 -O1 -ffp-contract=off -fno-exceptions -fno-rtti".split(' '));
    command.args("-fvisibility=hidden -fPIC -shared -DON_HOST -include".split(' ')).arg(shim);
    command.arg(source).arg("-o").arg(library).arg("-lm");
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
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
