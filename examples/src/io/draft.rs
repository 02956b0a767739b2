//! [`Draft`]: an output file under another name until it is whole.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use asynchrotron::Result;
use asynchrotron::anyhow::Context as _;

/// An output file that is being written beside its place as `NAME.partial`, and takes its name when it is whole.
///
/// A crash leaves no half file under the final name. A job that fails leaves what it has done under the other name; one
/// that never began leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    /// `None` where there is nothing to rename: a pipe, `/dev/stdout`.
    partial: Option<PathBuf>,
    sealed: Arc<AtomicBool>,
}

/// What a sink breaks once its file is complete and closed.
#[derive(Debug)]
pub(crate) struct Seal(Arc<AtomicBool>);

impl Seal {
    pub(crate) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Draft {
    /// Where a file is while it is being written.
    pub(crate) fn beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    /// Creates the file under its other name.
    pub(crate) fn create(path: &Path) -> Result<(Draft, File, Seal)> {
        let device = path.parent() == Some(Path::new("/dev"))
            || path.starts_with("/dev/fd")
            || path.starts_with("/proc");
        let special = device || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        // The target of a link is replaced, not the link.
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let target = if is_link && !special { std::fs::canonicalize(path).ok() } else { None };
        let path = target.as_deref().unwrap_or(path);
        let partial = (!special).then(|| Draft::beside(path));
        let file = match &partial {
            Some(partial) => File::create(partial),
            None => File::options().append(true).open(path),
        };
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let sealed = Arc::<AtomicBool>::default();
        let seal = Seal(sealed.clone());
        Ok((Draft { path: path.into(), partial, sealed }, file, seal))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name.
    pub(crate) fn publish(mut self) -> Result<()> {
        match self.partial.take() {
            // To the disk before it gets its name: a power cut leaves no half file either.
            Some(partial) => File::open(&partial)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&partial, &self.path))
                .with_context(|| format!("cannot rename {} to {}", partial.display(), self.path.display())),
            None => Ok(()),
        }
    }

    /// Leaves what a job did before it failed under the other name, which is returned; removes what is not even readable.
    pub(crate) fn keep(mut self) -> Option<String> {
        if self.sealed.load(Ordering::Acquire) {
            self.partial.take().map(|path| path.display().to_string())
        } else {
            None
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(partial) = self.partial.take() {
            // Nothing to be done about a file that cannot be removed, and nothing is lost.
            let _ = std::fs::remove_file(partial);
        }
    }
}
