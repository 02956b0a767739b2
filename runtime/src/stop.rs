//! [`Stop`]: asking a job to end early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Asks a running job to drain: no new event is read, those in flight finish, sinks are closed, the report is made.
///
/// Clones belong together. Asking twice is the same as once.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: AtomicBool,
    asking: Notify,
}

impl Stop {
    /// A stop that nobody has asked for yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Asks the job to drain. Returns at once; may be called from any thread, before or during the run.
    pub fn drain(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.asking.notify_waiters();
    }

    /// Whether the job was asked to drain.
    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Waits until the job is asked to drain.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn asked(&self) {
        let asking = self.0.asking.notified();
        tokio::pin!(asking);
        // Registered before the flag is read: `drain` cannot fall between.
        asking.as_mut().enable();
        if !self.is_asked() {
            asking.await;
        }
    }
}
