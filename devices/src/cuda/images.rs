//! [`Images`]: device code on disk: made at first use and kept, or made ahead of time.
//!
//! ```text
//!            in ASYNCHROTRON_KERNELS      in the cache           compiled
//!   wanted ──(1)────────────────────┬─────(2)──────────────┬─────(3)─────▶ kept in the cache
//!                                   └──────────────────────┴─▶ loaded; if the driver refuses it, once more from (3)
//! ```
//!
//! 1. the folder that `asynchrotron kernels build` has filled, with whatever compiler;
//! 2. `asynchrotron/kernels` in the user's cache folder.
//!
//! A file holds the code of one source for one architecture, and its name, `NAME.ARCH.HASH.cubin`, says all that it depends on: the
//! hash is that of source and options, in the cache with the compiler's version. Behind the code is its SHA-256: the driver
//! reads code without being told where it ends, so it must not be given what is left of a file. (Tools that read cubins
//! do not mind.)

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sha2::{Digest, Sha256};

use super::compiler::{Compiled, Compiler, Nvrtc};
use super::{KernelError, KernelSource};

/// Bytes of a SHA-256.
const SUM: usize = 32;

/// Device code, and where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Machine code: a cubin.
    pub code: Vec<u8>,
    /// The file that it was read from; `None`: it was compiled just now.
    pub file: Option<PathBuf>,
}

/// Where device code lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    ahead: Option<PathBuf>,
    cache: Option<PathBuf>,
}

/// What [`build_kernels`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// What the compiler has to say about the source, with lines; empty if nothing.
    pub log: String,
}

/// Why [`build_kernels`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The code cannot be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The file cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The version of the compiler that is here, as `13.0`; `None` if there is none.
pub fn compiler_version() -> Option<String> {
    Nvrtc.version().map(|(major, minor)| format!("{major}.{minor}"))
}

/// Compiles `source` for `arch` into `folder`, for use ahead of time.
///
/// # Errors
///
/// [`BuildError`]: with the compiler's log, if that is what it was.
pub fn build_kernels(source: &KernelSource, arch: &str, folder: &Path) -> Result<Built, BuildError> {
    if Nvrtc.version().is_none() {
        return Err(no_compiler(source, arch, "").into());
    }
    let Compiled { code, log } = Nvrtc.compile(source, arch)?;
    let path = folder.join(file_name(source, arch, None));
    match write(&path, &code) {
        Ok(()) => Ok(Built { path, bytes: code.len(), log }),
        Err(source) => Err(BuildError::Write { path, source }),
    }
}

impl Images {
    /// As the environment says: `ASYNCHROTRON_KERNELS`, `XDG_CACHE_HOME` or `HOME`.
    pub fn of_environment() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let cache = base.map(|base| base.join("asynchrotron").join("kernels"));
        Self { ahead: folder("ASYNCHROTRON_KERNELS"), cache }
    }

    /// The folder with code that was made ahead of time.
    pub fn ahead(&self) -> Option<&Path> {
        self.ahead.as_deref()
    }

    /// The folder where code is kept that was compiled at first use.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The code of `source` for `arch`: from a file, or compiled and kept in one.
    pub(super) fn get(
        &self,
        source: &KernelSource,
        arch: &str,
        compiler: &impl Compiler,
    ) -> Result<Image, KernelError> {
        if let Some(image) = self.ahead().and_then(|folder| read(folder.join(file_name(source, arch, None))))
        {
            return Ok(image);
        }
        match compiler.version().and_then(|version| read(self.kept(source, arch, version)?)) {
            Some(image) => Ok(image),
            None => self.make(source, arch, compiler),
        }
    }

    /// The same, compiled anew, whatever lies on disk; what is in the cache is replaced.
    pub(super) fn make(
        &self,
        source: &KernelSource,
        arch: &str,
        compiler: &impl Compiler,
    ) -> Result<Image, KernelError> {
        let Some(version) = compiler.version() else {
            let ahead =
                ", and ASYNCHROTRON_KERNELS names no folder where `asynchrotron kernels build` has put them";
            return Err(no_compiler(source, arch, ahead));
        };
        let Compiled { code, .. } = compiler.compile(source, arch)?;
        if let Some(path) = self.kept(source, arch, version) {
            // A cache that cannot be written only costs the next start some time.
            let _ = write(&path, &code);
        }
        Ok(Image { code, file: None })
    }

    fn kept(&self, source: &KernelSource, arch: &str, version: (i32, i32)) -> Option<PathBuf> {
        Some(self.cache()?.join(file_name(source, arch, Some(version))))
    }
}

fn no_compiler(source: &KernelSource, arch: &str, more: &str) -> KernelError {
    let why = format!(
        "the compiler's library libnvrtc.so is not installed (it comes with the CUDA toolkit, and with the Python package \
         nvidia-cuda-nvrtc){more}"
    );
    KernelError::NoCompiler { name: source.name.into(), arch: arch.into(), why }
}

fn file_name(source: &KernelSource, arch: &str, version: Option<(i32, i32)>) -> String {
    let mut hash = Sha256::new();
    let version = version.map_or_else(String::new, |(major, minor)| format!("{major}.{minor}"));
    for part in [version.as_str(), source.source].iter().chain(source.options) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{arch}.{hash}.cubin", source.name.trim_end_matches(".cu"))
}

/// `None`: it is not there, or not whole.
fn read(path: PathBuf) -> Option<Image> {
    let mut code = fs::read(&path).ok()?;
    let sum = code.split_off(code.len().checked_sub(SUM)?);
    (Sha256::digest(&code).as_slice() == sum).then_some(Image { code, file: Some(path) })
}

/// Whole or not at all: others may read it, and write it, at any time.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let number = WRITES.fetch_add(1, Relaxed);
    let partial = path.with_extension(format!("{}-{number}.partial", std::process::id()));
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(code)?;
        file.write_all(&Sha256::digest(code))
    });
    let moved = written.and_then(|()| fs::rename(&partial, path));
    if moved.is_err() {
        let _ = fs::remove_file(&partial);
    }
    moved
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;

    use super::*;

    const SOURCE: KernelSource = KernelSource { name: "some.cu", source: "code", options: &["-a", "-b"] };

    /// Counts what it makes; the code says with which options.
    struct Fake {
        version: Option<(i32, i32)>,
        made: Cell<usize>,
    }

    impl Fake {
        fn new(version: (i32, i32)) -> Self {
            Self { version: Some(version), made: Cell::new(0) }
        }
    }

    impl Compiler for Fake {
        fn version(&self) -> Option<(i32, i32)> {
            self.version
        }

        fn compile(&self, source: &KernelSource, arch: &str) -> Result<Compiled, KernelError> {
            self.made.set(self.made.get() + 1);
            if source.source == "broken" {
                let (name, arch) = (source.name.into(), arch.into());
                return Err(KernelError::Compile { name, arch, log: "some.cu(1): error".into() });
            }
            let code = format!("{} {arch} {:?}", source.source, self.version).into_bytes();
            Ok(Compiled { code, log: String::new() })
        }
    }

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static FOLDERS: AtomicUsize = AtomicUsize::new(0);
            let name =
                format!("asynchrotron-images-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> Vec<PathBuf> {
            fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn cached(folder: &Folder) -> Images {
        Images { ahead: None, cache: Some(folder.0.clone()) }
    }

    #[test]
    fn what_was_compiled_once_is_read_afterwards() {
        let (folder, compiler) = (Folder::new(), Fake::new((13, 0)));
        let images = cached(&folder);
        let first = images.get(&SOURCE, "sm_90", &compiler).unwrap();
        assert_eq!(first.file, None);
        let second = images.get(&SOURCE, "sm_90", &compiler).unwrap();
        assert_eq!((second.code, second.file), (first.code, Some(folder.files()[0].clone())));
        assert_eq!(compiler.made.get(), 1);
    }

    #[test]
    fn source_options_architecture_and_compiler_each_have_a_file_of_their_own() {
        let folder = Folder::new();
        let images = cached(&folder);
        let sources = [
            SOURCE,
            KernelSource { source: "other", ..SOURCE },
            KernelSource { options: &["-a-b"], ..SOURCE },
            KernelSource { options: &["-a"], ..SOURCE },
            KernelSource { name: "another.cu", ..SOURCE },
        ];
        for source in &sources {
            for arch in ["sm_80", "sm_90"] {
                for version in [(13, 0), (13, 1), (12, 9)] {
                    assert_eq!(images.get(source, arch, &Fake::new(version)).unwrap().file, None);
                }
            }
        }
        assert_eq!(folder.files().len(), sources.len() * 2 * 3);
    }

    #[test]
    fn what_is_left_of_a_file_is_compiled_again() {
        let folder = Folder::new();
        let images = cached(&folder);
        let compiler = Fake::new((13, 0));
        let code = images.get(&SOURCE, "sm_90", &compiler).unwrap().code;
        let file = folder.files()[0].clone();
        let whole = fs::read(&file).unwrap();
        let damages: [fn(&mut Vec<u8>); 5] = [
            Vec::clear,
            |bytes| bytes.truncate(SUM),
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes[3] ^= 1,
            |bytes| bytes.push(0),
        ];
        for (made, damage) in (2..).zip(damages) {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            fs::write(&file, bytes).unwrap();
            assert_eq!(
                images.get(&SOURCE, "sm_90", &compiler).unwrap(),
                Image { code: code.clone(), file: None }
            );
            assert_eq!(compiler.made.get(), made);
            assert_eq!(images.get(&SOURCE, "sm_90", &compiler).unwrap().file.as_ref(), Some(&file));
        }
    }

    #[test]
    fn made_anew_takes_the_place_of_what_is_kept() {
        let folder = Folder::new();
        let images = cached(&folder);
        let compiler = Fake::new((13, 0));
        images.get(&SOURCE, "sm_90", &compiler).unwrap();
        fs::write(&folder.files()[0], "nonsense").unwrap();
        images.make(&SOURCE, "sm_90", &compiler).unwrap();
        assert!(read(folder.files()[0].clone()).is_some());
        assert_eq!(folder.files().len(), 1, "no partial files");
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_time_only() {
        let (folder, compiler) = (Folder::new(), Fake::new((13, 0)));
        // A file, where the cache's folder would be: not even root can write there.
        fs::write(folder.0.join("file"), "").unwrap();
        let blocked = Images { ahead: None, cache: Some(folder.0.join("file").join("kernels")) };
        for images in [blocked, Images { ahead: None, cache: None }] {
            compiler.made.set(0);
            for made in 1..3 {
                assert_eq!(images.get(&SOURCE, "sm_90", &compiler).unwrap().file, None);
                assert_eq!(compiler.made.get(), made);
            }
        }
    }

    #[test]
    fn what_was_made_ahead_of_time_needs_no_compiler_and_is_never_written() {
        let (ahead, cache) = (Folder::new(), Folder::new());
        let images = Images { ahead: Some(ahead.0.clone()), cache: Some(cache.0.clone()) };
        let (compiler, none) = (Fake::new((13, 0)), Fake { version: None, made: Cell::new(0) });
        let error = images.get(&SOURCE, "sm_90", &none).unwrap_err().to_string();
        assert!(error.contains("libnvrtc.so") && error.contains("ASYNCHROTRON_KERNELS"), "{error}");
        assert_eq!(error.lines().count(), 1);

        let file = ahead.0.join(file_name(&SOURCE, "sm_90", None));
        write(&file, b"ahead").unwrap();
        for compiler in [&none, &compiler] {
            let image = images.get(&SOURCE, "sm_90", compiler).unwrap();
            assert_eq!(image, Image { code: b"ahead".to_vec(), file: Some(file.clone()) });
        }
        // Another architecture is not there; a damaged file is as none, and stays.
        fs::write(&file, "nonsense").unwrap();
        for arch in ["sm_80", "sm_90"] {
            assert!(images.get(&SOURCE, arch, &none).is_err());
            assert_eq!(images.get(&SOURCE, arch, &compiler).unwrap().file, None);
        }
        assert_eq!((fs::read(&file).unwrap(), ahead.files().len()), (b"nonsense".to_vec(), 1));
        assert_eq!((compiler.made.get(), cache.files().len()), (2, 2));
    }

    #[test]
    fn what_does_not_compile_is_not_kept() {
        let (folder, compiler) = (Folder::new(), Fake::new((13, 0)));
        let broken = KernelSource { source: "broken", ..SOURCE };
        let error = cached(&folder).get(&broken, "sm_90", &compiler).unwrap_err();
        assert_eq!(error.to_string(), "the kernels of some.cu do not compile for sm_90:\nsome.cu(1): error");
        assert!(folder.files().is_empty());
    }

    #[test]
    fn readers_and_writers_at_the_same_time_see_whole_files() {
        let folder = Folder::new();
        let path = folder.0.join("shared.cubin");
        let begin = Barrier::new(4);
        std::thread::scope(|scope| {
            for byte in 0..3_u8 {
                let (path, begin) = (&path, &begin);
                scope.spawn(move || {
                    begin.wait();
                    for round in 0..50 {
                        write(path, &vec![byte; 1000 * (1 + round % 7)]).unwrap();
                    }
                });
            }
            begin.wait();
            for _ in 0..200 {
                assert!(!path.exists() || read(path.clone()).is_some());
            }
        });
        assert_eq!(folder.files().len(), 1, "no partial files");
    }
}
