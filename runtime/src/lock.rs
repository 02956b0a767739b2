//! [`lock`]: a mutex whose data is whole also after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whether a thread panicked while it held it or not: what the runtime keeps in its mutexes is counted,
/// pushed, or replaced as a whole, and is never half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
