//! Asynchrotron: a coroutine-style async scheduler for event reconstruction.
#![forbid(unsafe_code)]
