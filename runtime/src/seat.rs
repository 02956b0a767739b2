//! [`Seat`]: what one slot keeps from event to event.

use std::sync::Arc;
use std::task::{Wake, Waker};

use asynchrotron_sync::ReadySet;

use crate::batch::Presence;
use crate::meter::Meter;

/// What one slot keeps from event to event: wake-ups, wakers, meters.
pub(crate) struct Seat {
    pub(crate) signals: Arc<Signals>,
    pub(crate) wakers: Box<[Waker]>,
    pub(crate) presence: Presence,
}

/// The part of a seat that wakers own. Aligned, like all that workers write all the time: what one slot's worker writes
/// shall not lie in the cache lines that another's reads.
#[repr(align(128))]
pub(crate) struct Signals {
    pub(crate) ready: ReadySet,
    pub(crate) meters: Box<[Meter]>,
}

struct TaskWaker {
    signals: Arc<Signals>,
    node: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signals.meters[self.node].wake();
        self.signals.ready.mark(self.node);
    }
}

impl Seat {
    pub(crate) fn new(nodes: usize, presence: Presence) -> Arc<Self> {
        let signals = Arc::new(Signals {
            // One more than the nodes: the mark of the slot itself.
            ready: ReadySet::new(nodes + 1),
            meters: (0..nodes).map(|_| Meter::default()).collect(),
        });
        let waker = |node| Waker::from(Arc::new(TaskWaker { signals: signals.clone(), node }));
        Arc::new(Seat { wakers: (0..nodes).map(waker).collect(), signals, presence })
    }
}
