//! The one module that names `std::sync`, `loom` or `shuttle`. The rest of the crate is the same code under all three.

use std::sync::PoisonError;
use std::time::Duration;

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
}

#[cfg(shuttle)]
mod imp {
    pub(crate) use super::StdCell as UnsafeCell;
    pub(crate) use shuttle::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
    pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
}

#[cfg(not(any(loom, shuttle)))]
mod imp {
    pub(crate) use super::StdCell as UnsafeCell;
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
}

pub(crate) use imp::{Arc, AtomicU8, AtomicU64, AtomicUsize, MutexGuard, UnsafeCell};
pub(crate) use std::sync::atomic::Ordering;

/// A mutex whose `lock` cannot fail. Critical sections of this crate leave their data whole at every point where
/// foreign code (`Waker::clone`) could panic, so a poisoned lock has nothing to tell.
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for one waiter. Under a checker no time passes: a wait then ends only when it is notified.
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(imp::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    /// May end early, as all waits on condition variables.
    pub(crate) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match at_most {
            #[cfg(not(any(loom, shuttle)))]
            Some(at_most) => self.0.wait_timeout(guard, at_most).unwrap_or_else(PoisonError::into_inner).0,
            _ => self.0.wait(guard).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// `std`'s cell in the shape of loom's: the pointer is lent to a closure, so that loom sees where an access ends.
#[cfg(not(loom))]
pub(crate) struct StdCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> StdCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
