//! Timelines read back: figures, critical paths, advice, differences, and checks, on files written by hand and by chance.

mod advice;
mod checks;
mod figures;
mod files;
mod jobs;
mod random;
mod sample;
