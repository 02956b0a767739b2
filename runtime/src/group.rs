//! [`Group`]: the products of one event and the algorithms that make them, as one group of tasks.
//!
//! All algorithms of an event are polled by the task of its slot, so that a suspension costs neither a spawn nor a
//! thread hop. An algorithm is polled in place by whoever demands it first; only if it suspends is its future kept, and
//! polled again when its own waker marks it:
//!
//! ```text
//!            demand (1)                    in place (2)             ready at once (3)
//!   Idle ───────────────▶ claimed ─────────────────────▶ polled ─────────────────────▶ product in its cell
//!                            │ not on the slot's task (4)   │ suspends (5)                     ▲
//!                            ▼                              ▼                                  │
//!                        Requested ──────────────────▶ Suspended ── woken, polled again (6) ───┘
//!                              polled by the slot (6)       │ the event ends first (7): dropped where it stands
//! ```
//!
//! 1–4 [`Group::demand`], 5–6 [`Group::poll_task`], 7 [`Group::cancel`]. If there are fewer slots than workers, a demand
//! spawns the algorithm on the executor instead, so that one event can use several cores ([`Launch::Spawn`]).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use asynchrotron_sync::{Claim, ProductCell};
use tokio::task::JoinSet;

use crate::batch::Presence;
use crate::clock::{self, Ticks};
use crate::event::{EventContext, EventId};
use crate::failure::{Failure, FailureKind, panic_message};
use crate::handle::Product;
use crate::lock::lock;
use crate::meter::{Meter, Stage};
use crate::observer::Observer;
use crate::plan::{Interrupted, Launch, NodeFuture, Plan};
use crate::seat::{Seat, Signals};
use crate::time::Clock;
use crate::timeline::Recorder;

/// How deep demands may nest on one stack before they go round through the slot's task.
const NESTED_DEMANDS_MAX: u32 = 32;

/// How many suspended algorithms are polled before other events get the worker.
const POLLS_MAX: u32 = 256;

pub(crate) type Outcome = Result<Product, Failure>;

thread_local! {
    /// The group that this thread polls now (its address), and how deep its demands are nested.
    static POLLING: Cell<(usize, u32)> = const { Cell::new((0, 0)) };
}

enum Task {
    Idle,
    Requested,
    Suspended(NodeFuture),
}

/// One event in flight.
#[repr(align(128))]
pub(crate) struct Group {
    plan: Arc<Plan>,
    seat: Arc<Seat>,
    id: EventId,
    /// In ticks of the clock; 0 is none.
    deadline: Ticks,
    /// Whether a timeline shows this event.
    recorded: bool,
    pub(crate) cells: Box<[ProductCell<Outcome>]>,
    tasks: Box<[Mutex<Task>]>,
    /// How many tasks are requested or suspended now: an event that ends with none has nothing to clear.
    kept: AtomicUsize,
    /// Set when the event ended while somebody still held a context of it.
    ended: AtomicBool,
    spawned: Mutex<JoinSet<()>>,
}

impl Group {
    pub(crate) fn new(plan: Arc<Plan>, seat: Arc<Seat>) -> Arc<Self> {
        let nodes = plan.nodes.len();
        let cells: Box<[_]> = (0..nodes).map(|_| ProductCell::new()).collect();
        for (cell, node) in cells.iter().zip(&plan.nodes) {
            if let Some(constant) = &node.constant {
                fill(cell, Ok(constant.clone()));
            }
        }
        Arc::new(Group {
            tasks: (0..nodes).map(|_| Mutex::new(Task::Idle)).collect(),
            id: EventId(0),
            deadline: 0,
            recorded: false,
            cells,
            kept: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            spawned: Mutex::default(),
            plan,
            seat,
        })
    }

    /// Puts an event into a group that was made or [ended](Group::cancel) and is nobody else's.
    pub(crate) fn begin(
        group: &mut Arc<Self>,
        id: EventId,
        source: Product,
        deadline: Ticks,
        recorded: bool,
    ) {
        let this = Arc::get_mut(group).expect("the only owner since it was made, or the last event ended");
        this.id = id;
        this.deadline = deadline;
        this.recorded = recorded;
        this.seat.presence.begin(id, &this.plan.users);
        let preset = this.cells[this.plan.source].preset(Ok(source));
        debug_assert!(preset.is_ok(), "empty since it was made, or reset");
    }

    /// Frees the products of the event, and makes the group as good as new.
    fn reset(&mut self) {
        for (cell, node) in self.cells.iter_mut().zip(&self.plan.nodes) {
            // A product that panics while it is dropped costs nobody else anything.
            if node.constant.is_none() && catch_unwind(AssertUnwindSafe(|| cell.reset())).is_err() {
                cell.reset();
            }
        }
        *self.ended.get_mut() = false;
        if std::mem::take(self.kept.get_mut()) > 0 {
            // Another thread asked for something while the event ended.
            for task in &mut self.tasks {
                *task.get_mut().unwrap_or_else(PoisonError::into_inner) = Task::Idle;
            }
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn id(&self) -> EventId {
        self.id
    }

    /// Where what this event does is recorded, if it is.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.plan.recorder.as_ref().filter(|_| self.recorded)
    }

    /// Watches an algorithm, if anybody wants to know.
    pub(crate) fn observer(&self, node: u32) -> Option<Box<Observer<'_>>> {
        Observer::new(self, node)
    }

    pub(crate) fn signals(&self) -> &Arc<Signals> {
        &self.seat.signals
    }

    /// In ticks of the meters' clock; 0 is none.
    pub(crate) fn deadline(&self) -> Ticks {
        self.deadline
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.seat.presence
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.plan.clock
    }

    pub(crate) fn meter(&self, node: usize) -> &Meter {
        &self.seat.signals.meters[node]
    }

    fn is_polled_here(self: &Arc<Self>) -> bool {
        let (group, depth) = POLLING.get();
        group == Arc::as_ptr(self).addr() && depth < NESTED_DEMANDS_MAX
    }

    /// Starts the producer of a product if nobody has yet.
    pub(crate) fn demand(self: &Arc<Self>, node: usize) {
        if !matches!(self.cells[node].claim(), Claim::Mine) {
            return;
        }
        match self.plan.launch {
            Launch::Spawn => self.spawn(node),
            Launch::InPlace if self.is_polled_here() => self.start(node),
            Launch::InPlace => {
                self.keep(node, Task::Requested);
                self.seat.signals.ready.mark(node);
            }
        }
    }

    /// Makes the future of an algorithm, if it may still start.
    fn open(self: &Arc<Self>, node: usize) -> Option<NodeFuture> {
        self.meter(node).begin();
        let plan = &self.plan.nodes[node];
        if self.deadline != 0 && clock::now() >= self.deadline {
            let cause = anyhow::anyhow!("the event's deadline passed before it could start");
            self.close(node, Err(Failure::root(FailureKind::TimedOut, plan.name.clone(), cause)));
            return None;
        }
        if self.ended.load(Ordering::Acquire) {
            self.close(node, Err(self.too_late(node)));
            return None;
        }
        let start = plan.start.expect("the products of sources and conditions are there from the beginning");
        Some(start(EventContext { group: self.clone(), node: node as u32 }))
    }

    fn start(self: &Arc<Self>, node: usize) {
        let Some(running) = self.open(node) else { return };
        let cx = &mut Context::from_waker(&self.seat.wakers[node]);
        if let Some(suspended) = self.poll_running(node, running, cx) {
            self.keep(node, Task::Suspended(suspended));
        }
    }

    fn keep(&self, node: usize, task: Task) {
        *lock(&self.tasks[node]) = task;
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a task out; it is kept no more.
    fn take(&self, node: usize) -> Task {
        let task = std::mem::replace(&mut *lock(&self.tasks[node]), Task::Idle);
        if !matches!(task, Task::Idle) {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
        task
    }

    fn spawn(self: &Arc<Self>, node: usize) {
        let Some(running) = self.open(node) else { return };
        self.meter(node).queue();
        let group = self.clone();
        let mut running = Some(running);
        let task = std::future::poll_fn(move |cx| {
            let Some(polled) = running.take() else { return Poll::Ready(()) };
            running = group.poll_running(node, polled, cx);
            if running.is_some() { Poll::Pending } else { Poll::Ready(()) }
        });
        // By its handle: the demand may come from a thread that is none of the executor's.
        let executor =
            self.plan.executor.as_ref().expect("the scheduler names its executor before it runs events");
        lock(&self.spawned).spawn_on(task, executor);
    }

    /// Polls an algorithm once; gives it back if it is suspended, and closes its product if it ended.
    fn poll_running(
        self: &Arc<Self>,
        node: usize,
        mut running: NodeFuture,
        cx: &mut Context<'_>,
    ) -> Option<NodeFuture> {
        let meter = self.meter(node);
        let (group, depth) = POLLING.get();
        POLLING.set((group, depth + 1));
        let polled = meter.poll(
            || catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))),
            |polled| matches!(polled, Ok(Poll::Pending)),
        );
        POLLING.set((group, depth));
        let name = &self.plan.nodes[node].name;
        let outcome = match polled {
            Ok(Poll::Pending) => return Some(running),
            Ok(Poll::Ready(Ok(product))) => Ok(product),
            Ok(Poll::Ready(Err(Interrupted::Input(input)))) => Err(input.passed_on_by(name.clone())),
            Ok(Poll::Ready(Err(Interrupted::Algorithm(error)))) => Err(Failure::of(name.clone(), error)),
            Err(panic) => Err(panicked(name, &*panic)),
        };
        drop_quietly(running);
        self.close(node, outcome);
        None
    }

    fn close(self: &Arc<Self>, node: usize, outcome: Outcome) {
        self.meter(node).end(outcome.is_err());
        let uses = &self.plan.nodes[node].uses;
        if !uses.is_empty() {
            self.presence().used(self.id, node as u32, uses);
        }
        fill(&self.cells[node], outcome);
        if self.plan.launch == Launch::Spawn {
            // The slot's task may be asleep: it looks whether the event is complete.
            self.seat.signals.ready.mark(self.plan.nodes.len());
        }
    }

    /// Polls a marked algorithm, on the slot's task.
    fn poll_task(self: &Arc<Self>, node: usize) {
        if node == self.tasks.len() {
            return; // the mark of the slot itself
        }
        match self.take(node) {
            // A late wake-up of an algorithm that has ended, perhaps in an earlier event.
            Task::Idle => {}
            Task::Requested => self.start(node),
            Task::Suspended(running) => {
                let cx = &mut Context::from_waker(&self.seat.wakers[node]);
                if let Some(suspended) = self.poll_running(node, running, cx) {
                    self.keep(node, Task::Suspended(suspended));
                }
            }
        }
    }

    /// One poll of the whole event: demands the roots the first time, polls every algorithm that was woken, and is
    /// ready when all roots are there or one has failed.
    pub(crate) fn poll(self: &Arc<Self>, first: bool, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        let outer = POLLING.replace((Arc::as_ptr(self).addr(), 0));
        let _restore = Restore(outer);
        let ready = &self.seat.signals.ready;
        ready.start();
        if first {
            for &root in &self.plan.roots {
                self.demand(root);
            }
        }
        let mut polls = 0;
        loop {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            if polls == POLLS_MAX {
                // An algorithm that wakes itself must not keep the worker: others, and the deadline, come first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            polls += 1;
            match ready.take() {
                Some(node) => self.poll_task(node),
                None => match ready.finish(cx.waker()) {
                    asynchrotron_sync::Finish::Idle => return Poll::Pending,
                    asynchrotron_sync::Finish::More => {}
                },
            }
        }
    }

    fn outcome(&self) -> Option<Result<(), Failure>> {
        let mut complete = true;
        for &root in &self.plan.roots {
            match self.cells[root].with(|outcome| outcome.as_ref().err().cloned()) {
                Some(Some(failure)) => return Some(Err(failure)),
                Some(None) => {}
                None => complete = false,
            }
        }
        complete.then_some(Ok(()))
    }

    /// The product of a root, once [`Group::poll`] has said that it is there.
    pub(crate) fn product(&self, root: usize) -> Product {
        self.cells[root]
            .try_get()
            .and_then(Result::ok)
            .expect("demanded and delivered: the event is complete")
    }

    /// The failure of an event whose deadline has passed: names what it is suspended in, and counts it as failed.
    pub(crate) fn timed_out(&self) -> Failure {
        let at = |stage: Stage| {
            let nodes = 0..self.cells.len();
            nodes.filter(move |&node| self.meter(node).stage() == stage && !self.cells[node].is_ready())
        };
        let suspended: Vec<usize> = at(Stage::Working).collect();
        // The first in the chain lies deepest in the demand: the others wait for it, or are suspended on their own. If none
        // of them works, one waits for a worker.
        let node =
            suspended.first().copied().or_else(|| at(Stage::Inputs).next()).unwrap_or(self.plan.source);
        let since = clock::duration(self.meter(node).suspended_for());
        self.meter(node).fail();
        let others: Vec<&str> = suspended.iter().skip(1).map(|&node| &*self.plan.nodes[node].name).collect();
        let also =
            if others.is_empty() { String::new() } else { format!(" (as was `{}`)", others.join("`, `")) };
        Failure::root(
            FailureKind::TimedOut,
            self.plan.nodes[node].name.clone(),
            anyhow::anyhow!("still suspended after {since:.1?} when the event's deadline passed{also}"),
        )
    }

    /// Ends the event: what is still suspended is dropped where it stands, the products are freed, and later demands
    /// fail. The group is then ready for the next event; if a context of this one is still held somewhere, that keeps
    /// the old group, and `group` becomes a new one.
    ///
    /// Spawned algorithms end at their next suspension; this waits for them.
    pub(crate) async fn cancel(group: &mut Arc<Self>) {
        let spawns = group.plan.launch == Launch::Spawn;
        if spawns {
            group.end_spawned().await;
        }
        if spawns || group.kept.load(Ordering::Relaxed) > 0 {
            group.clear();
        }
        if Arc::strong_count(group) > 1 {
            group.close_for_good();
        }
        match Arc::get_mut(group) {
            Some(group) => group.reset(),
            None => *group = Group::new(group.plan.clone(), group.seat.clone()),
        }
    }

    /// Ends the algorithms that are tasks of their own, and those that they start meanwhile.
    async fn end_spawned(&self) {
        self.ended.store(true, Ordering::Release);
        loop {
            let mut spawned = std::mem::take(&mut *lock(&self.spawned));
            if spawned.is_empty() {
                return;
            }
            spawned.abort_all();
            while spawned.join_next().await.is_some() {}
        }
    }

    /// Somebody holds a context of this event beyond its end: whatever they wait for, or ask for later, fails.
    fn close_for_good(&self) {
        self.ended.store(true, Ordering::Release);
        for node in 0..self.cells.len() {
            if !self.cells[node].is_ready() {
                fill(&self.cells[node], Err(self.too_late(node)));
            }
        }
        self.clear();
    }

    fn too_late(&self, node: usize) -> Failure {
        let cause = anyhow::anyhow!("the event has ended: nothing more can be demanded in it");
        Failure::root(FailureKind::Failed, self.plan.nodes[node].name.clone(), cause)
    }

    /// Drops every suspended algorithm, without waiting for spawned ones.
    pub(crate) fn clear(&self) {
        for node in 0..self.tasks.len() {
            if let Task::Suspended(running) = self.take(node) {
                drop_quietly(running);
            }
            if self.meter(node).stage() != Stage::Idle {
                self.meter(node).abandon();
            }
        }
    }
}

fn fill(cell: &ProductCell<Outcome>, outcome: Outcome) {
    let _ = cell.claim();
    // A product that comes after the event was closed for good finds its place taken.
    let _ = cell.complete(outcome);
}

/// Drops a future; one that panics while it is dropped costs nobody else anything.
fn drop_quietly(future: NodeFuture) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop::<Pin<Box<_>>>(future)));
}

fn panicked(name: &Arc<str>, panic: &(dyn std::any::Any + Send)) -> Failure {
    Failure::root(FailureKind::Panicked, name.clone(), anyhow::Error::msg(panic_message(panic)))
}

struct Restore((usize, u32));

impl Drop for Restore {
    fn drop(&mut self) {
        POLLING.set(self.0);
    }
}
