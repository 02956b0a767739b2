//! [`Harvest`]: work elsewhere whose end is found by asking, and the workers that ask.
//!
//! A device that does not call back (a GPU, whose queues are asked whether they have got somewhere) registers here. While a job runs,
//! one of its tasks, the harvester, asks it: between the polls of other tasks, where whoever is woken runs next on the same worker,
//! without a wake-up of a sleeping thread.
//!
//! ```text
//!              (1) armed                       nothing ended for a while, or none is expected soon: (2) handed over
//!   DORMANT ──────────────▶ ASKING ⟲ yields ──────────────────────────────────────────────────────▶ DORMANT
//!                                   └──────── nothing outstanding ────────────────────────────────▶
//! ```
//!
//! A device must not rely on it: work may be submitted where no job runs, and workers may be busy. It has a thread of its own to
//! which the harvester hands over.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock;
use crate::lock::lock;

/// Work elsewhere whose end is found by asking.
pub trait Harvest: Send + Sync {
    /// How much has not ended. At most a load.
    fn outstanding(&self) -> usize;

    /// Looks for what has ended, wakes who waits for it, and says how much that was. Called again and again.
    fn harvest(&self) -> usize;

    /// How long it is not worth asking.
    fn quiet_for(&self) -> Duration;

    /// Nobody asks any more until something is [`armed`].
    fn hand_over(&self);
}

/// How long the harvester asks in vain, and how soon an end must be expected for it to wait. The way through another thread takes
/// about as long.
const PATIENCE: Duration = Duration::from_micros(50);

static FIELDS: Mutex<Vec<(u64, Arc<dyn Harvest>)>> = Mutex::new(Vec::new());
/// Changes whenever `FIELDS` does.
static EDITION: AtomicU64 = AtomicU64::new(0);
/// Of all jobs: a copy that is read without a lock.
static WORKERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// On a worker: what wakes its job's harvester.
    static HARVESTER: RefCell<Option<Arc<Notify>>> = const { RefCell::new(None) };
}

/// Harvesters ask `harvest` until the guard is dropped.
pub fn register(harvest: Arc<dyn Harvest>) -> Registered {
    let mut fields = lock(&FIELDS);
    let number = EDITION.load(Ordering::Relaxed) + 1;
    fields.push((number, harvest));
    EDITION.store(number, Ordering::Release);
    Registered { number }
}

/// Makes harvesters ask until it is dropped.
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

/// Something was submitted on this thread. Says whether a harvester will ask for it.
pub fn armed() -> bool {
    let notify = |harvester: &RefCell<Option<Arc<Notify>>>| match &*harvester.borrow() {
        Some(harvester) => {
            harvester.notify_one();
            true
        }
        None => false,
    };
    HARVESTER.try_with(notify).unwrap_or(false)
}

/// The workers of all jobs that run now.
pub fn workers() -> usize {
    WORKERS.load(Ordering::Relaxed)
}

/// There are so many workers now.
pub(crate) fn employs(workers: usize) {
    WORKERS.store(workers, Ordering::Relaxed);
}

/// This thread is a worker of the job that this harvester belongs to.
pub(crate) fn enter_thread(harvester: &Arc<Notify>) {
    HARVESTER.with(|known| *known.borrow_mut() = Some(harvester.clone()));
}

/// The harvester: a task of the job, for as long as that runs.
pub(crate) async fn run(armed: Arc<Notify>) {
    let mut known = (0, Vec::new());
    let patience = clock::counted_ticks(PATIENCE);
    loop {
        armed.notified().await;
        let mut found = clock::counter();
        loop {
            refresh(&mut known);
            let (mut outstanding, mut ended, mut quiet) = (0, 0, Duration::MAX);
            for field in known.1.iter().filter(|field| field.outstanding() > 0) {
                ended += field.harvest();
                outstanding += field.outstanding();
                quiet = quiet.min(field.quiet_for());
            }
            if ended > 0 {
                found = clock::counter();
            }
            if outstanding == 0 {
                break;
            }
            if quiet > PATIENCE || clock::counter().saturating_sub(found) > patience {
                known.1.iter().filter(|field| field.outstanding() > 0).for_each(|field| field.hand_over());
                break;
            }
            tokio::task::yield_now().await;
        }
        // What has gone is let go even if nothing is ever armed again.
        refresh(&mut known);
    }
}

fn refresh(known: &mut (u64, Vec<Arc<dyn Harvest>>)) {
    if known.0 != EDITION.load(Ordering::Acquire) {
        let fields = lock(&FIELDS);
        let fresh = fields.iter().map(|(_, field)| field.clone()).collect();
        let stale = std::mem::replace(known, (EDITION.load(Ordering::Relaxed), fresh));
        drop(fields);
        drop(stale); // foreign code, hence after unlocking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends one thing each time it is asked.
    #[derive(Default)]
    struct Counted {
        outstanding: AtomicUsize,
        handed_over: AtomicUsize,
        stuck: bool,
    }

    impl Harvest for Counted {
        fn outstanding(&self) -> usize {
            self.outstanding.load(Ordering::Relaxed)
        }

        fn harvest(&self) -> usize {
            if self.stuck {
                return 0;
            }
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            1
        }

        fn quiet_for(&self) -> Duration {
            Duration::ZERO
        }

        fn hand_over(&self) {
            self.handed_over.fetch_add(1, Ordering::Relaxed);
        }
    }

    // One test: the registry is the process's.
    #[test]
    fn asks_until_nothing_is_outstanding_or_hands_over() {
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        executor.block_on(async {
            assert!(!armed());
            let notify = Arc::new(Notify::new());
            enter_thread(&notify);
            let harvester = tokio::spawn(run(notify));
            let until = async |done: &dyn Fn() -> bool| {
                while !done() {
                    tokio::task::yield_now().await;
                }
            };

            let field = Arc::new(Counted { outstanding: AtomicUsize::new(3), ..Counted::default() });
            let registered = register(field.clone());
            assert!(armed());
            until(&|| field.outstanding() == 0).await;

            let stuck = Counted { outstanding: AtomicUsize::new(1), stuck: true, ..Counted::default() };
            let stuck = Arc::new(stuck);
            let also_registered = register(stuck.clone());
            armed();
            until(&|| stuck.handed_over.load(Ordering::Relaxed) == 1).await;
            armed();
            until(&|| stuck.handed_over.load(Ordering::Relaxed) == 2).await;
            assert_eq!(field.handed_over.load(Ordering::Relaxed), 0);

            drop((registered, also_registered));
            armed();
            until(&|| Arc::strong_count(&field) == 1 && Arc::strong_count(&stuck) == 1).await;
            harvester.abort();
        });
    }
}
