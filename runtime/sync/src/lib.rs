//! The hand-written waiting protocols of Asynchrotron.
