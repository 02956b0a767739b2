//! [`Nvtx`]: names for what is on a GPU, for NVIDIA's profilers.
//!
//! A range lasts from the enqueueing of a submission to its end, and may end on another thread than it began on: hence ranges that
//! start and end, not ones that are pushed and popped. The library comes with the CUDA toolkit, or the Python package
//! `nvidia-nvtx`; without a profiler its calls do nothing.

use std::ffi::{CString, c_char};
use std::fmt;
use std::sync::OnceLock;

use libloading::Library;

/// Where the library is looked for: as of CUDA 12.9, and before. (cudarc knows the older name only.)
const NAMES: [&str; 4] =
    ["libnvtx3interop.so.1", "libnvtx3interop.so", "libnvToolsExt.so.1", "libnvToolsExt.so"];

/// The two calls.
#[derive(Clone, Copy)]
pub(super) struct Nvtx {
    start: unsafe extern "C" fn(*const c_char) -> u64,
    end: unsafe extern "C" fn(u64),
}

/// Begun; ends when it is dropped, on any thread.
#[derive(Debug)]
pub(super) struct Range {
    nvtx: Nvtx,
    id: u64,
}

impl Nvtx {
    /// The library, if it is here.
    pub(super) fn load() -> Option<Self> {
        static NVTX: OnceLock<Option<Nvtx>> = OnceLock::new();
        *NVTX.get_or_init(|| {
            // SAFETY: NVIDIA's library, whose loading does nothing else.
            let library = NAMES.iter().find_map(|name| unsafe { Library::new(*name) }.ok())?;
            // SAFETY: the types are those of its header, `nvToolsExt.h`.
            let (start, end) =
                unsafe { (*library.get(b"nvtxRangeStartA\0").ok()?, *library.get(b"nvtxRangeEnd\0").ok()?) };
            // Never unloaded, so that the two stay callable.
            std::mem::forget(library);
            Some(Self { start, end })
        })
    }

    /// Begins a range.
    pub(super) fn start(self, step: &str, rows: usize, lane: usize) -> Range {
        let text = format!("{step}: {rows} rows, lane {lane}").replace('\0', "");
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the text ends with a NUL and lives as long as the call, which copies it.
        Range { nvtx: self, id: unsafe { (self.start)(text.as_ptr()) } }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: this range was started, and is ended once.
        unsafe { (self.nvtx.end)(self.id) };
    }
}

impl fmt::Debug for Nvtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nvtx")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::Mutex;

    use super::*;

    static CALLS: Mutex<Vec<String>> = Mutex::new(Vec::new());

    unsafe extern "C" fn start(text: *const c_char) -> u64 {
        // SAFETY: as `Nvtx::start` promises.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        CALLS.lock().unwrap().push(format!("start {text}"));
        7
    }

    unsafe extern "C" fn end(id: u64) {
        CALLS.lock().unwrap().push(format!("end {id}"));
    }

    #[test]
    fn a_range_is_named_and_ends_on_any_thread() {
        let range = Nvtx { start, end }.start("clus\0ter", 12, 3);
        std::thread::spawn(move || drop(range)).join().unwrap();
        assert_eq!(*CALLS.lock().unwrap(), ["start cluster: 12 rows, lane 3", "end 7"]);
    }

    #[test]
    fn the_library_is_called_if_it_is_here() {
        match Nvtx::load() {
            Some(nvtx) => drop(nvtx.start("test", 1, 0)),
            None => println!("skipped: none of {NAMES:?} is installed"),
        }
    }
}
