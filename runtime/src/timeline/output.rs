//! [`Output`]: the file, which may be compressed, and may fail.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The file of a timeline. After the first error nothing is written any more: what was, stands.
pub(super) struct Output {
    file: File,
    /// Where it is compressed: the member of the archive that is being made. Perfetto refuses an archive that ends within a
    /// member, so each is written as a whole, and a process that is killed leaves a file that opens.
    member: Option<GzEncoder<Vec<u8>>>,
    /// Whether there is anything in it.
    is_begun: bool,
    bytes: u64,
    trouble: Option<io::Error>,
}

impl Output {
    pub(super) fn create(path: &Path, is_packed: bool) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Output { file, member: is_packed.then(new_member), is_begun: false, bytes: 0, trouble: None })
    }

    /// Says whether it was written, as far as one knows yet.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        self.bytes += bytes.len() as u64;
        self.is_begun |= !bytes.is_empty();
        let written = match &mut self.member {
            Some(member) => member.write_all(bytes),
            None => self.file.write_all(bytes),
        };
        self.note(written)
    }

    /// What was written can be read, whatever happens to the process.
    pub(super) fn flush(&mut self) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        let Some(member) = self.member.as_mut().filter(|_| std::mem::take(&mut self.is_begun)) else {
            return true;
        };
        let member = std::mem::replace(member, new_member());
        let written = member.finish().and_then(|member| self.file.write_all(&member));
        self.note(written)
    }

    /// Gives how much was written, before it was packed, or the first error.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.flush();
        self.trouble.take().map_or(Ok(self.bytes), Err)
    }

    fn note(&mut self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.trouble.get_or_insert(error);
                false
            }
        }
    }
}

fn new_member() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}
