//! Where ONNX Runtime comes from, in this order:
//!
//! 1. the library that `ORT_DYLIB_PATH` names;
//! 2. a copy in `target/onnxruntime-1.31.1`, if its hash is the one below;
//! 3. a download with `python3 -m pip`, whose wheel carries the plain C library: pinned by the wheel's hash, and checked by the
//!    library's own. Nothing of Python is kept.
//!
//! The library's path goes to the crate as `ASYNCHROTRON_ONNXRUNTIME`. A failure is a warning: the build goes on without.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const VERSION: &str = "1.31.1";
const LICENCES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// What is downloaded for one platform.
struct Pinned {
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    wheel_sha256: &'static str,
    library: &'static str,
    library_sha256: &'static str,
}

const PINNED: [Pinned; 3] = [
    Pinned {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        wheel_sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        library: "libonnxruntime.so.1.31.1",
        library_sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    },
    Pinned {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        wheel_sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        library: "libonnxruntime.so.1.31.1",
        library_sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    },
    Pinned {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_14_0_arm64",
        wheel_sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
        library: "libonnxruntime.1.31.1.dylib",
        library_sha256: "d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36",
    },
];

/// Tells the crate where the library is, or the user why it is not there.
pub(crate) fn provide() {
    println!("cargo:rerun-if-changed=build/onnxruntime.rs");
    println!("cargo:rerun-if-env-changed=ORT_DYLIB_PATH");
    match find() {
        Ok(library) => println!("cargo:rustc-env=ASYNCHROTRON_ONNXRUNTIME={}", library.display()),
        Err(why) => println!(
            "cargo:warning=no ONNX Runtime, so device `onnx` will not be here: {why}. Set ORT_DYLIB_PATH to a \
             library of version 1.31 or later, or build without the feature `onnx`."
        ),
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(named);
        return match path.canonicalize() {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(format!("ORT_DYLIB_PATH names {}, which is no file", path.display())),
        };
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (os, arch) = (variable("CARGO_CFG_TARGET_OS"), variable("CARGO_CFG_TARGET_ARCH"));
    let pinned = PINNED.iter().find(|pinned| pinned.os == os && pinned.arch == arch);
    let pinned = pinned.ok_or_else(|| format!("none is pinned for {os} on {arch}"))?;

    let folder = target_folder()?.join(format!("onnxruntime-{VERSION}"));
    let library = folder.join(pinned.library);
    println!("cargo:rerun-if-changed={}", library.display());
    if is_verified(&library, pinned) {
        return Ok(library);
    }
    if variable("CARGO_NET_OFFLINE") == "true" {
        return Err("cargo is offline".into());
    }
    // Beside the place where it will be, so that it can be renamed; of this process alone.
    let draft = folder.with_extension(format!("{}.draft", std::process::id()));
    let result = download(pinned, &draft).and_then(|()| publish(pinned, &draft, &folder));
    let _ = fs::remove_dir_all(&draft);
    result.map(|()| library)
}

/// The folder of all that cargo builds: the one it has tagged as a cache.
fn target_folder() -> Result<PathBuf, String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let tagged = out.ancestors().skip(1).find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(tagged.unwrap_or(&out).to_path_buf())
}

fn is_verified(library: &Path, pinned: &Pinned) -> bool {
    let Ok(bytes) = fs::read(library) else { return false };
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hash == pinned.library_sha256
}

fn download(pinned: &Pinned, draft: &Path) -> Result<(), String> {
    fs::create_dir_all(draft).map_err(|error| format!("{}: {error}", draft.display()))?;
    let requirements = draft.join("requirements.txt");
    let line = format!("onnxruntime=={VERSION} --hash=sha256:{}\n", pinned.wheel_sha256);
    fs::write(&requirements, line).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let pip = "-m pip download --require-hashes --no-deps --only-binary=:all: --no-input --disable-pip-version-check \
               --quiet --retries 1 --python-version 3.12 --implementation cp --abi cp312 --platform";
    let mut arguments: Vec<&OsStr> = pip.split_ascii_whitespace().map(OsStr::new).collect();
    arguments.extend([OsStr::new(pinned.platform), "-r".as_ref(), requirements.as_ref()]);
    arguments.extend([OsStr::new("-d"), draft.as_ref()]);
    python(&arguments, "the download failed")?;
    // A wheel is a zip file.
    let unpack = "import glob, os, sys, zipfile\n\
                  folder, names = sys.argv[1], sys.argv[2:]\n\
                  wheel = zipfile.ZipFile(glob.glob(os.path.join(folder, '*.whl'))[0])\n\
                  for name in wheel.namelist():\n\
                  \x20   if os.path.basename(name) in names:\n\
                  \x20       open(os.path.join(folder, os.path.basename(name)), 'wb').write(wheel.read(name))\n";
    let mut arguments = vec![OsStr::new("-c"), unpack.as_ref(), draft.as_ref(), pinned.library.as_ref()];
    arguments.extend(LICENCES.map(OsStr::new));
    python(&arguments, "the wheel could not be unpacked")
}

fn python(arguments: &[&OsStr], what: &str) -> Result<(), String> {
    let output = Command::new("python3")
        .args(arguments)
        .output()
        .map_err(|error| format!("python3 could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no message");
    Err(format!("{what}: {last}"))
}

/// Moves what was downloaded to its place, the library last: whoever sees it sees all of it.
fn publish(pinned: &Pinned, draft: &Path, folder: &Path) -> Result<(), String> {
    if !is_verified(&draft.join(pinned.library), pinned) {
        return Err(format!("the downloaded {} is not the one that was expected", pinned.library));
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    LICENCES.into_iter().chain([pinned.library]).try_for_each(|name| {
        fs::rename(draft.join(name), folder.join(name)).map_err(|error| format!("{name}: {error}"))
    })
}
