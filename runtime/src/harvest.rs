//! [`Harvest`]: work elsewhere whose end is found by asking, and the workers that ask in passing.
//!
//! A device that does not call back (a GPU, whose queues are asked whether they have got somewhere) registers here. Workers then ask
//! it between two polls, where it costs next to nothing and whoever is woken runs on the spot, and before they park, where they have
//! nothing better to do. A device must not rely on it: workers may be busy, asleep, or those of another executor.
//!
//! ```
//! use std::sync::Arc;
//! use asynchrotron::harvest::{self, Harvest};
//!
//! struct Queue;
//! impl Harvest for Queue {
//!     fn harvest(&self) -> usize { 0 }        // nothing has ended
//! }
//!
//! let registered = harvest::register(Arc::new(Queue));
//! harvest::in_passing();                      // as workers do
//! drop(registered);
//! ```

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// Work elsewhere whose end is found by asking.
pub trait Harvest: Send + Sync {
    /// Looks for what has ended, wakes who waits for it, and says how much that was. Called by many threads at once, after each poll
    /// of an event that suspends: where nothing is outstanding it must cost no more than a load.
    fn harvest(&self) -> usize;

    /// The same for a worker that has nothing to do and is about to park. It may look a little longer.
    fn harvest_idle(&self) -> usize {
        self.harvest()
    }
}

static FIELDS: Mutex<Vec<(u64, Arc<dyn Harvest>)>> = Mutex::new(Vec::new());
/// Changes whenever `FIELDS` does. 0: there never were any.
static EDITION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// A copy of `FIELDS`, and its edition: workers share nothing that is written.
    static KNOWN: RefCell<(u64, Vec<Arc<dyn Harvest>>)> = const { RefCell::new((0, Vec::new())) };
}

/// Workers ask `harvest` until the guard is dropped.
pub fn register(harvest: Arc<dyn Harvest>) -> Registered {
    let mut fields = lock(&FIELDS);
    let number = EDITION.load(Ordering::Relaxed) + 1;
    fields.push((number, harvest));
    EDITION.store(number, Ordering::Release);
    Registered { number }
}

/// Makes workers ask until it is dropped.
#[must_use = "nobody asks once this is dropped"]
#[derive(Debug)]
pub struct Registered {
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut fields = lock(&FIELDS);
        let gone = fields.iter().position(|(number, _)| *number == self.number);
        let gone = gone.map(|place| fields.swap_remove(place));
        EDITION.fetch_add(1, Ordering::Release);
        drop(fields);
        drop(gone); // foreign code, hence after unlocking
    }
}

/// Asks all that are registered; says how much has ended. For executors other than the scheduler's: call it between polls.
#[inline]
pub fn in_passing() -> usize {
    each(|field| field.harvest())
}

/// The same for a thread that is about to park, as in `on_thread_park` of tokio's builder. Says whether anything has ended.
pub fn when_idle() -> bool {
    each(|field| field.harvest_idle()) > 0
}

/// Whether this thread is one that asks. Where it is not, whoever submits must see to it that another does.
pub fn asks_here() -> bool {
    KNOWN.try_with(|known| known.try_borrow().is_ok_and(|known| known.0 != 0)).unwrap_or(false)
}

#[inline]
fn each(ask: impl Fn(&dyn Harvest) -> usize) -> usize {
    match EDITION.load(Ordering::Acquire) {
        0 => 0,
        edition => each_of(edition, ask),
    }
}

fn each_of(edition: u64, ask: impl Fn(&dyn Harvest) -> usize) -> usize {
    // A waker that polls on the spot, or a thread that ends, can get here again.
    KNOWN
        .try_with(|known| {
            let Ok(mut known) = known.try_borrow_mut() else { return 0 };
            if known.0 != edition {
                let fields = lock(&FIELDS);
                let fresh = fields.iter().map(|(_, field)| field.clone()).collect();
                let stale = std::mem::replace(&mut *known, (EDITION.load(Ordering::Relaxed), fresh));
                drop(fields);
                drop(stale);
            }
            known.1.iter().map(|field| ask(&**field)).sum()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Harvest for Counted {
        fn harvest(&self) -> usize {
            self.0.fetch_add(1, Ordering::Relaxed);
            1
        }
    }

    // One test: the registry is the process's.
    #[test]
    fn asks_who_is_registered_and_nobody_else() {
        assert!(!asks_here());
        let [first, second] = [(); 2].map(|()| Arc::new(Counted::default()));
        let first_registered = register(first.clone());
        assert!(in_passing() >= 1);
        let second_registered = register(second.clone());
        assert!(asks_here());
        when_idle();
        drop(first_registered);
        in_passing();
        drop(second_registered);
        in_passing();
        assert_eq!([&first, &second].map(|field| field.0.load(Ordering::Relaxed)), [2, 2]);
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
