//! [`Valve`]: keeps the queue of `tracing-chrome`, which has no bound, within one.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::spans::is_algorithm;

/// What has gone into the queue and has not come out of it.
#[derive(Default)]
pub(super) struct Level {
    pub(super) entered: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Level {
    /// So many may be in the queue: some tens of megabytes.
    const MOST: u64 = 1 << 17;

    /// How many are in the queue.
    pub(super) fn waiting(&self) -> u64 {
        self.entered.load(Relaxed).saturating_sub(self.left.load(Relaxed))
    }

    fn enter(&self) -> bool {
        let is_free = self.waiting() < Self::MOST;
        if is_free {
            self.entered.fetch_add(1, Relaxed);
        } else {
            self.lost.fetch_add(1, Relaxed);
        }
        is_free
    }
}

thread_local! {
    /// Whether this thread polls an event that is not recorded.
    static MUTED: Cell<bool> = const { Cell::new(false) };
    /// For each span that is entered on this thread, whether it was let through: its end goes the same way.
    static ENTERED: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, nothing that this thread does is in the timeline.
pub(crate) struct Muted(bool);

impl Muted {
    pub(crate) fn new() -> Self {
        Muted(MUTED.replace(true))
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        MUTED.set(self.0);
    }
}

/// Lets a layer see only as much as it can take.
pub(super) struct Valve<L> {
    layer: L,
    level: Arc<Level>,
}

impl<L> Valve<L> {
    pub(super) fn new(layer: L, level: Arc<Level>) -> Self {
        Valve { layer, level }
    }

    fn lets_through(&self) -> bool {
        !MUTED.get() && self.level.enter()
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Valve<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        // It would keep the arguments.
        if !MUTED.get() && !is_algorithm(attributes) {
            self.layer.on_new_span(attributes, id, ctx);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        self.layer.on_record(id, values, ctx);
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        let through = self.lets_through();
        let known = ENTERED.try_with(|entered| entered.borrow_mut().push(through));
        if known.is_ok() && through {
            self.layer.on_enter(id, ctx);
        }
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        let through = ENTERED.try_with(|entered| entered.borrow_mut().pop()).ok().flatten();
        if through == Some(true) {
            // An end always has room: it closes what is there.
            self.level.entered.fetch_add(1, Relaxed);
            self.layer.on_exit(id, ctx);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if self.lets_through() {
            self.layer.on_event(event, ctx);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.layer.on_close(id, ctx);
    }
}
