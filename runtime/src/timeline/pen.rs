//! [`Pen`]: writes items, from whichever thread, into the file.

use std::io;

use super::assembler::Sheet;
use super::item::{Encoder, Item};
use super::output::Output;

/// As much is written at once.
const BLOCK: usize = 1 << 18;

pub(super) struct Pen {
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    output: Output,
    /// Of the records, those that are in the buffer yet.
    buffered: u64,
    pub(super) records: u64,
    /// Since the disk was full, or worse.
    pub(super) unwritten: u64,
}

impl Pen {
    pub(super) fn new(encoder: Box<dyn Encoder>, output: Output) -> Self {
        let buffer = Vec::with_capacity(BLOCK + 4096);
        Pen { encoder, buffer, output, buffered: 0, records: 0, unwritten: 0 }
    }

    fn write_block(&mut self) {
        let written = self.output.write(&self.buffer) && self.output.flush();
        let buffered = std::mem::take(&mut self.buffered);
        if !written {
            // How much of the block came through is not known.
            self.records -= buffered;
            self.unwritten += buffered.max(u64::from(self.unwritten == 0));
        }
        self.buffer.clear();
    }

    /// What was put so far is in the file, if it can be.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.write_block();
        }
    }

    /// Ends the file. Gives its size before it was packed, or the first error there was in writing it.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.encoder.finish(&mut self.buffer);
        self.write_block();
        self.output.finish()
    }
}

impl Sheet for Pen {
    fn put(&mut self, item: &Item<'_>) {
        if self.unwritten > 0 {
            return self.unwritten += 1;
        }
        self.encoder.put(item, &mut self.buffer);
        self.records += 1;
        self.buffered += 1;
        if self.buffer.len() >= BLOCK {
            self.write_block();
        }
    }

    fn time(&self, at: u64) -> u64 {
        at
    }
}
