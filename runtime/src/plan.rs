//! [`Plan`]: a chain as it is run: frozen, with what its sinks demand.

use std::any::{Any, TypeId};
use std::pin::Pin;
use std::sync::Arc;

use crate::batch::Crowd;
use crate::clock::Ticks;
use crate::event::{EventContext, EventId};
use crate::failure::Failure;
use crate::handle::Product;
use crate::sink::Outlet;
use crate::time::Clock;
use crate::timeline::Recorder;

/// Why an algorithm ended without a product.
pub(crate) enum Interrupted {
    Input(Failure),
    Algorithm(anyhow::Error),
}

pub(crate) type NodeFuture = Pin<Box<dyn Future<Output = Result<Product, Interrupted>> + Send>>;

/// Makes the future of an algorithm in one event.
pub(crate) type Start = fn(EventContext) -> NodeFuture;

/// A product of the chain, and the algorithm that makes it.
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) product: &'static str,
    pub(crate) product_type: TypeId,
    /// None for the source and for conditions, whose products are there from the beginning.
    pub(crate) start: Option<Start>,
    /// The input handles and the function of an algorithm, of the type that `start` knows.
    pub(crate) definition: Box<dyn Any + Send + Sync>,
    pub(crate) constant: Option<Product>,
    /// The batchers that it may submit to, by their place in the plan.
    pub(crate) uses: Vec<usize>,
}

/// Where a demanded algorithm is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launch {
    /// By the task of its event's slot: no spawn, no thread hop.
    InPlace,
    /// As a task of its own, so that one event can use several workers.
    Spawn,
}

pub(crate) struct Plan {
    pub(crate) chain: u32,
    pub(crate) name: Arc<str>,
    pub(crate) nodes: Box<[Node]>,
    pub(crate) source: usize,
    /// What every event must have: the products of the sinks, each once.
    pub(crate) roots: Box<[usize]>,
    pub(crate) outlets: Box<[Outlet]>,
    pub(crate) crowds: Arc<[Arc<dyn Crowd>]>,
    /// How many algorithms use each batcher.
    pub(crate) users: Box<[usize]>,
    pub(crate) clock: Clock,
    pub(crate) launch: Launch,
    /// Where algorithms are spawned. `None` before the run.
    pub(crate) executor: Option<tokio::runtime::Handle>,
    /// In ticks of the clock, so that no event has to convert it.
    pub(crate) deadline: Option<Ticks>,
    /// Whether every poll is a span.
    pub(crate) traced: bool,
    pub(crate) recorder: Option<Recorder>,
}

impl Plan {
    /// The span of an algorithm in an event; entered whenever the algorithm itself is polled, not while it waits for its
    /// inputs.
    pub(crate) fn span(&self, node: usize, event: EventId) -> Option<tracing::Span> {
        self.traced.then(|| {
            let name = &*self.nodes[node].name;
            tracing::info_span!(target: "asynchrotron", "algorithm", algorithm = name, event = event.0)
        })
    }

    /// Where an event that begins now is recorded; `None` if it is not.
    pub(crate) fn recorder_of(&self, event: EventId) -> Option<&Recorder> {
        self.recorder.as_ref().filter(|recorder| recorder.wants(event, self.clock.now_ns()))
    }

    /// The algorithms that run in every event, or on the condition of an algorithm that does.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.start.is_some())
    }
}
