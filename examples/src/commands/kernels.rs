//! `asynchrotron kernels`: device code, ahead of time.

use std::fmt::Write as _;
use std::time::Instant;

use asynchrotron::Result;
use asynchrotron::anyhow::bail;
use asynchrotron_algorithms::kernels::ALL;
use asynchrotron_devices::cuda::{
    BuildError, Images, KernelError, KernelSource, MOVE, build_kernels, compiler_version,
};

use super::print;
use crate::options::{KernelsBuildArguments, KernelsCommand};

pub(crate) fn kernels(command: &KernelsCommand) -> Result<()> {
    match command {
        KernelsCommand::Build(arguments) => build(arguments),
        KernelsCommand::List => list(),
    }
}

/// Compiles everything, even if something fails; what the compiler says goes to stderr, with its lines.
fn build(arguments: &KernelsBuildArguments) -> Result<()> {
    let mut broken = 0;
    let jobs = arguments.archs.iter().flat_map(|arch| sources().map(move |source| (arch, source)));
    for (arch, source) in jobs {
        let begin = Instant::now();
        match build_kernels(source, arch, &arguments.out) {
            Ok(built) => {
                if !built.log.is_empty() {
                    eprintln!("{}", built.log);
                }
                let (path, bytes, ms) = (built.path.display(), built.bytes, begin.elapsed().as_millis());
                print(&format!("{path}  {bytes} bytes  {ms} ms\n"))?;
            }
            Err(BuildError::Kernel(KernelError::Compile { log, .. })) => {
                broken += 1;
                eprintln!("{log}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    match broken {
        0 => Ok(()),
        1 => bail!("the kernels do not compile; the compiler has said why"),
        several => bail!("{several} sets of kernels do not compile; the compiler has said why"),
    }
}

/// The algorithms', and the device's own.
fn sources() -> impl Iterator<Item = &'static KernelSource> {
    ALL.iter().copied().chain([&MOVE])
}

fn list() -> Result<()> {
    let mut text = String::from("Kernels (asynchrotron kernels build --arch ARCH --out DIR)\n");
    for source in sources() {
        let _ = writeln!(text, "  {:<16} {}", source.name, source.options.join(" "));
    }
    let compiler = compiler_version().map_or_else(
        || "not here: the library libnvrtc.so is not installed".to_owned(),
        |version| format!("NVRTC {version}"),
    );
    let images = Images::of_environment();
    let ahead = images
        .ahead()
        .map_or_else(|| "ASYNCHROTRON_KERNELS is not set".to_owned(), |folder| folder.display().to_string());
    let cache = images.cache().map_or_else(
        || "none: neither XDG_CACHE_HOME nor HOME is set".to_owned(),
        |folder| folder.display().to_string(),
    );
    let _ = write!(
        text,
        "\nCompiler           {compiler}\nMade ahead of time {ahead}\nCache              {cache}\n"
    );
    print(&text)
}
