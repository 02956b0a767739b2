//! [`Moves`]: small copies that a kernel makes, and its signal at the end. See `kernels/move.cu` for why.

use super::KernelSource;
use super::driver::Launch;

/// The kernel's name.
pub(super) const KERNEL: &str = "asynchrotron_move";

/// The device's own kernel.
pub static MOVE: KernelSource =
    KernelSource { name: "move.cu", source: include_str!("../../kernels/move.cu"), options: &[] };

/// Larger copies are the copy engines': those reach the full speed of the bus, and a kernel would hold multiprocessors meanwhile.
pub(super) const MOVE_MAX: usize = 256 << 10;

/// Parts that one launch moves.
const PARTS_MAX: usize = 4;
/// Threads of a block.
const BLOCK: u32 = 256;
/// Enough to keep the bus busy.
const BLOCKS_MAX: usize = 64;
/// What a thread copies at once.
const WORD: usize = 16;
/// What one block copies in about the time that another launch takes.
const SINGLE_BLOCK_MAX: u64 = 16 << 10;

/// Bytes to copy, or, where `from` is 0, to fill with zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) to: u64,
    pub(super) from: u64,
    pub(super) bytes: u64,
}

impl Part {
    /// Whether it matters which of them is first.
    fn touches(&self, other: &Self) -> bool {
        let overlap = |a: u64, b: u64| a < b + other.bytes && b < a + self.bytes;
        overlap(self.to, other.to)
            || (other.from != 0 && overlap(self.to, other.from))
            || (self.from != 0 && overlap(self.from, other.to))
    }
}

/// Parts that one launch can move, in any order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moves {
    parts: [Part; PARTS_MAX],
    len: usize,
}

impl Moves {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more, unless there are too many, or it must come after one of the others.
    pub(super) fn push(&mut self, part: Part) -> bool {
        if self.len == PARTS_MAX || self.parts[..self.len].iter().any(|other| other.touches(&part)) {
            return false;
        }
        self.parts[self.len] = part;
        self.len += 1;
        true
    }

    /// Whether one block is enough, which can signal.
    pub(super) fn can_signal(&self) -> bool {
        self.parts.iter().map(|part| part.bytes).sum::<u64>() <= SINGLE_BLOCK_MAX
    }

    pub(super) fn launch(&self) -> Launch {
        if self.can_signal() {
            return Launch::blocks(1, BLOCK);
        }
        let largest = self.parts.iter().map(|part| part.bytes as usize).max().unwrap_or(0);
        Launch::for_each(largest.div_ceil(WORD).min(BLOCKS_MAX * BLOCK as usize), BLOCK)
    }

    /// The kernel's arguments; `signal` is the address of a word, or 0.
    pub(super) fn arguments(&self, signal: u64) -> impl Iterator<Item = u64> {
        self.parts.into_iter().flat_map(|Part { to, from, bytes }| [to, from, bytes]).chain([signal])
    }

    /// The parts and the signal of such arguments.
    pub(super) fn read(arguments: &[u64]) -> (Vec<Part>, u64) {
        let (parts, rest) = arguments.as_chunks::<3>();
        let parts = parts.iter().map(|&[to, from, bytes]| Part { to, from, bytes });
        (parts.filter(|part| part.bytes > 0).collect(), rest[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(to: u64, from: u64, bytes: u64) -> Part {
        Part { to, from, bytes }
    }

    #[test]
    fn parts_of_one_launch_do_not_depend_on_each_other() {
        let mut moves = Moves::default();
        assert!(moves.push(part(1000, 5000, 100)));
        assert!(!moves.push(part(1099, 0, 1)), "written twice");
        assert!(!moves.push(part(7000, 1050, 10)), "read after it was written");
        assert!(!moves.push(part(4990, 0, 11)), "written after it was read");
        assert!(moves.push(part(1100, 5000, 100)), "read twice");
        assert!(moves.push(part(1200, 0, 100)) && moves.push(part(1300, 0, 100)));
        assert!(!moves.push(part(1400, 0, 100)), "no place");
    }

    #[test]
    fn arguments_are_read_as_they_were_written() {
        let mut moves = Moves::default();
        assert_eq!((moves.launch(), moves.can_signal()), (Launch::blocks(1, 256), true));
        let parts = [part(1000, 5000, 16 << 10), part(1 << 40, 0, 7)];
        parts.iter().for_each(|&part| assert!(moves.push(part)));
        let arguments: Vec<u64> = moves.arguments(77).collect();
        assert_eq!(Moves::read(&arguments), (parts.to_vec(), 77));
        assert_eq!((moves.launch(), moves.can_signal()), (Launch::blocks(4, 256), false));
    }
}
