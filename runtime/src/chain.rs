//! [`Chain`]: algorithms, composed by the data products they read and make.

use std::any::{TypeId, type_name};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::algorithm::Algorithm;
use crate::batch::{Batcher, Crowd, Offload};
use crate::event::EventContext;
use crate::handle::{Handle, Inputs, Product};
use crate::meter::Stage;
use crate::plan::{Interrupted, Launch, Node, NodeFuture, Plan};
use crate::sink::{Outlet, Sink};
use crate::time::Clock;

/// Algorithms, composed by the data products they read and make; to be run by a [`Scheduler`](crate::Scheduler).
///
/// ```
/// use std::sync::Arc;
/// use asynchrotron::prelude::*;
///
/// async fn calibrate(raw: Arc<Vec<u16>>) -> Result<Vec<f32>> {
///     Ok(raw.iter().map(|&adc| f32::from(adc) * 0.25).collect())
/// }
/// async fn sum(energies: Arc<Vec<f32>>) -> Result<f32> { Ok(energies.iter().sum()) }
///
/// let mut chain = Chain::new("calorimeter");
/// let raw = chain.source::<Vec<u16>>("raw");
/// let energies = chain.algorithm("calibrate", (raw,), calibrate);
/// let total = chain.algorithm("sum", (energies,), sum);
/// chain.sink("print", total, |event, total: Arc<f32>| { println!("{event}: {total} MeV"); Ok(()) });
///
/// let report = Scheduler::default().run(chain, source::from_iter([vec![4u16, 8], vec![100]]))?;
/// assert_eq!(report.events, 2);
/// # Ok::<(), Error>(())
/// ```
///
/// An algorithm runs in an event only if a sink, or another algorithm that runs, wants its product, and at most once.
/// Algorithms that do not need each other's products run concurrently.
///
/// A part of a chain that is used again is a function that takes a chain and handles, and returns handles; give each use
/// a name with [`within`](Chain::within).
pub struct Chain {
    id: u32,
    name: Arc<str>,
    prefix: String,
    nodes: Vec<Node>,
    source: Option<usize>,
    outlets: Vec<Outlet>,
    crowds: Vec<Arc<dyn Crowd>>,
    mistakes: Vec<String>,
}

/// One algorithm of a chain, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmInfo {
    /// Its name in the chain.
    pub name: String,
    /// The names of what it reads.
    pub inputs: Vec<String>,
    /// The Rust type of its product.
    pub product: &'static str,
    /// Whether a sink demands it, directly or through others. If not, it runs only where `ctx.get` demands it.
    pub demanded: bool,
}

static CHAINS: AtomicU32 = AtomicU32::new(0);

impl Chain {
    /// An empty chain.
    pub fn new(name: impl Into<String>) -> Self {
        Chain {
            id: CHAINS.fetch_add(1, Ordering::Relaxed),
            name: name.into().into(),
            prefix: String::new(),
            nodes: Vec::new(),
            source: None,
            outlets: Vec::new(),
            crowds: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// The chain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data product that comes from outside, once per event. A chain has exactly one source; a source that reads
    /// several things delivers a struct of them.
    pub fn source<T: Send + Sync + 'static>(&mut self, name: &str) -> Handle<T> {
        if let Some(first) = self.source.replace(self.nodes.len()) {
            let first = self.nodes[first].name.clone();
            self.mistakes.push(format!("it has two sources, `{first}` and `{name}`; a chain has one"));
        }
        self.push::<T>(name, Vec::new(), None, Box::new(()))
    }

    /// A value that is constant for the run (geometry, calibration), as an input for algorithms.
    pub fn conditions<T: Send + Sync + 'static>(&mut self, name: &str, value: Arc<T>) -> Handle<T> {
        let handle = self.push::<T>(name, Vec::new(), None, Box::new(()));
        self.nodes[handle.node as usize].constant = Some(value);
        handle
    }

    /// Adds an algorithm: an `async fn` from the products of `inputs` to a new product. See [`Algorithm`].
    ///
    /// # Panics
    /// If a handle belongs to another chain.
    pub fn algorithm<I, Form, A>(&mut self, name: &str, inputs: I, algorithm: A) -> Handle<A::Output>
    where
        I: Inputs,
        A: Algorithm<I::Args, Form>,
        Form: 'static,
    {
        fn start<I: Inputs, Form: 'static, A: Algorithm<I::Args, Form>>(ctx: EventContext) -> NodeFuture {
            Box::pin(async move {
                let node = &ctx.group.plan().nodes[ctx.node as usize];
                let (inputs, algorithm) = node
                    .definition
                    .downcast_ref::<(I, A)>()
                    .expect("`start` was made together with its definition");
                let args = inputs.fetch(&ctx).await.map_err(Interrupted::Input)?;
                ctx.group.meter(ctx.node as usize).enter(Stage::Working);
                // What it does before its first suspension is to be seen, too: hence a future around the call.
                let mut call = std::pin::pin!(async { algorithm.call(&ctx, args).await });
                let mut observer = ctx.group.observer(ctx.node);
                let product = std::future::poll_fn(|cx| match &mut observer {
                    None => call.as_mut().poll(cx),
                    Some(observer) => observer.poll(call.as_mut(), cx),
                });
                let product = product.await.map_err(Interrupted::Algorithm)?;
                Ok(Arc::new(product) as Product)
            })
        }
        let nodes = self.checked(name, inputs.nodes());
        self.push::<A::Output>(name, nodes, Some(start::<I, Form, A>), Box::new((inputs, algorithm)))
    }

    /// Adds an algorithm that is one offloaded step: it submits a request, made of the products of `inputs`, to a batcher,
    /// and its product is the reply.
    ///
    /// # Panics
    /// If a handle belongs to another chain.
    pub fn offload<I, O>(&mut self, name: &str, inputs: I, batcher: &Batcher<O>) -> Handle<O::Reply>
    where
        I: Inputs,
        I::Args: Send,
        O: Offload,
        O::Request: From<I::Args>,
        O::Reply: Sync,
    {
        let product = self.algorithm(name, inputs, batcher.clone());
        self.uses(product, batcher);
        product
    }

    /// Says that the algorithm that makes `product` may submit requests to a batcher: as many as it likes, or none. Batches
    /// are then held for its events, and for no others. An algorithm that does not say so is refused when it submits.
    ///
    /// # Panics
    /// If the handle belongs to another chain.
    pub fn uses<T: Send + Sync + 'static, O: Offload>(&mut self, product: Handle<T>, batcher: &Batcher<O>) {
        let node = self.checked("uses", product.nodes())[0];
        let crowd = &batcher.core;
        let known = self.crowds.iter().position(|other| other.identity() == crowd.identity());
        let index = known.unwrap_or_else(|| {
            self.crowds.push(crowd.clone());
            self.crowds.len() - 1
        });
        if !self.nodes[node].uses.contains(&index) {
            self.nodes[node].uses.push(index);
        }
    }

    /// Demands a product in every event and hands it to a [`Sink`], one event at a time.
    ///
    /// # Panics
    /// If the handle belongs to another chain.
    pub fn sink<T: Send + Sync + 'static>(&mut self, name: &str, product: Handle<T>, sink: impl Sink<T>) {
        let node = self.checked(name, product.nodes())[0];
        let name = self.full_name(name);
        self.outlets.push(Outlet::sequential(name, node, sink));
    }

    /// The same as [`sink`](Chain::sink), for a sink that takes events in the order of the source, whatever the job's other
    /// sinks do. An event that finishes early waits in its slot until its turn has come.
    ///
    /// # Panics
    /// If the handle belongs to another chain.
    pub fn ordered_sink<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        product: Handle<T>,
        sink: impl Sink<T>,
    ) {
        self.sink(name, product, sink);
        self.outlets.last_mut().expect("added on the line above").ordered = true;
    }

    /// Demands an algorithm in every event for what it does rather than for what it makes: a sink of which many calls
    /// run at once, in no order. It runs as soon as its inputs are there: also in an event that fails later on, and once more
    /// in each attempt that is repeated.
    ///
    /// # Panics
    /// If a handle belongs to another chain.
    pub fn for_each<I, Form, A>(&mut self, name: &str, inputs: I, algorithm: A)
    where
        I: Inputs,
        A: Algorithm<I::Args, Form, Output = ()>,
        Form: 'static,
    {
        let done = self.algorithm(name, inputs, algorithm);
        self.outlets.push(Outlet::concurrent(done.node as usize));
    }

    /// Adds part of a chain under a name of its own: algorithms named in `part` get `name/` before their names, so that
    /// the same part can be used several times.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use asynchrotron::prelude::*;
    /// fn sum_and_count(chain: &mut Chain, hits: Handle<Vec<f32>>) -> (Handle<f32>, Handle<usize>) {
    ///     let sum = chain.algorithm("sum", (hits,), async |hits: Arc<Vec<f32>>| Ok::<_, Error>(hits.iter().sum()));
    ///     let count = chain.algorithm("count", (hits,), async |hits: Arc<Vec<f32>>| Ok::<_, Error>(hits.len()));
    ///     (sum, count)
    /// }
    /// let mut chain = Chain::new("twice");
    /// let hits = chain.source::<Vec<f32>>("hits");
    /// let (sum, _) = chain.within("all", |chain| sum_and_count(chain, hits));
    /// let halves = chain.algorithm("halve", (hits,), async |hits: Arc<Vec<f32>>| {
    ///     Ok::<_, Error>(hits.iter().map(|hit| hit / 2.0).collect::<Vec<f32>>())
    /// });
    /// let (_, count) = chain.within("halves", |chain| sum_and_count(chain, halves));
    /// assert_eq!(chain.algorithms().iter().filter(|algorithm| algorithm.name == "halves/sum").count(), 1);
    /// ```
    pub fn within<R>(&mut self, name: &str, part: impl FnOnce(&mut Chain) -> R) -> R {
        let length = self.prefix.len();
        let _ = write!(self.prefix, "{name}/");
        let result = part(self);
        self.prefix.truncate(length);
        result
    }

    /// The algorithms, in the order in which they were added.
    pub fn algorithms(&self) -> Vec<AlgorithmInfo> {
        let demanded = self.demanded();
        let name = |node: &usize| self.nodes[*node].name.to_string();
        self.nodes
            .iter()
            .zip(demanded)
            .filter(|(node, _)| node.start.is_some())
            .map(|(node, demanded)| AlgorithmInfo {
                name: node.name.to_string(),
                inputs: node.inputs.iter().map(name).collect(),
                product: node.product,
                demanded,
            })
            .collect()
    }

    /// The chain as a graph in Graphviz's language: products flow along the arrows, from the source to the sinks. What no
    /// sink demands is dashed; demands made with `ctx.get` are not known before they happen, and not drawn.
    pub fn to_dot(&self) -> String {
        let mut dot =
            format!("digraph {:?} {{\n  rankdir=LR;\n  node [fontname=\"Helvetica\"];\n", &*self.name);
        let demanded = self.demanded();
        for (i, node) in self.nodes.iter().enumerate() {
            let shape = match (node.start.is_some(), node.constant.is_some()) {
                (true, _) => "box",
                (false, true) => "note",
                (false, false) => "invhouse",
            };
            let style = if demanded[i] || node.start.is_none() { "solid" } else { "dashed" };
            let _ = writeln!(dot, "  n{i} [label={:?}, shape={shape}, style={style}];", &*node.name);
            for input in &node.inputs {
                let product = short_type_name(self.nodes[*input].product);
                let _ = writeln!(dot, "  n{input} -> n{i} [label={product:?}];");
            }
        }
        for (i, outlet) in self.outlets.iter().enumerate() {
            let Some(name) = outlet.name() else { continue };
            let product = short_type_name(self.nodes[outlet.node].product);
            let _ = writeln!(dot, "  s{i} [label={name:?}, shape=house];");
            let _ = writeln!(dot, "  n{} -> s{i} [label={product:?}];", outlet.node);
        }
        dot.push_str("}\n");
        dot
    }

    fn full_name(&self, name: &str) -> Arc<str> {
        format!("{}{name}", self.prefix).into()
    }

    fn checked(&self, reader: &str, handles: Vec<(u32, u32)>) -> Vec<usize> {
        let check = |(chain, node)| {
            assert_eq!(
                chain, self.id,
                "an input of `{reader}` is a handle of another chain than `{}`",
                self.name
            );
            node as usize
        };
        handles.into_iter().map(check).collect()
    }

    fn push<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        inputs: Vec<usize>,
        start: Option<fn(EventContext) -> NodeFuture>,
        definition: Box<dyn std::any::Any + Send + Sync>,
    ) -> Handle<T> {
        let name = self.full_name(name);
        if self.nodes.iter().any(|node| node.name == name) {
            self.mistakes
                .push(format!("two of its products are named `{name}`; name parts apart with `within`"));
        }
        let handle = Handle::new(self.id, self.nodes.len());
        let (product, product_type) = (type_name::<T>(), TypeId::of::<T>());
        self.nodes.push(Node {
            name,
            inputs,
            product,
            product_type,
            start,
            definition,
            constant: None,
            uses: Vec::new(),
        });
        handle
    }

    fn demanded(&self) -> Vec<bool> {
        let mut demanded = vec![false; self.nodes.len()];
        for outlet in &self.outlets {
            demanded[outlet.node] = true;
        }
        // Inputs come before their readers: one pass from the end reaches everything.
        for node in (0..self.nodes.len()).rev() {
            if demanded[node] {
                for &input in &self.nodes[node].inputs {
                    demanded[input] = true;
                }
            }
        }
        demanded
    }

    /// Freezes the chain for a source of `T`.
    pub(crate) fn into_plan<T: 'static>(mut self) -> Result<Plan, ChainError> {
        if self.outlets.is_empty() {
            self.mistakes.push("it has no sink: nothing is demanded, so nothing would run".into());
        }
        match self.source.map(|source| &self.nodes[source]) {
            None => self.mistakes.push("it has no source".into()),
            Some(node) if node.product_type != TypeId::of::<T>() => self.mistakes.push(format!(
                "its source `{}` was declared to deliver `{}`, but the one given delivers `{}`",
                node.name,
                node.product,
                type_name::<T>()
            )),
            Some(_) => {}
        }
        if !self.mistakes.is_empty() {
            return Err(ChainError { chain: self.name.to_string(), mistakes: self.mistakes });
        }
        let mut roots: Vec<usize> = self.outlets.iter().map(|outlet| outlet.node).collect();
        roots.sort_unstable();
        roots.dedup();
        let users = (0..self.crowds.len())
            .map(|index| self.nodes.iter().filter(|node| node.uses.contains(&index)).count())
            .collect();
        Ok(Plan {
            chain: self.id,
            name: self.name,
            nodes: self.nodes.into(),
            source: self.source.unwrap_or_default(),
            roots: roots.into(),
            outlets: self.outlets.into(),
            crowds: self.crowds.into(),
            users,
            clock: Clock::default(),
            launch: Launch::InPlace,
            executor: None,
            deadline: None,
            traced: false,
            recorder: None,
        })
    }
}

/// `alloc::vec::Vec<my::Hit>` → `Vec<Hit>`.
fn short_type_name(name: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    for c in name.chars() {
        match c {
            ':' => word.clear(),
            c if c.is_alphanumeric() || c == '_' => word.push(c),
            c => {
                short.push_str(&std::mem::take(&mut word));
                short.push(c);
            }
        }
    }
    short + &word
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("name", &self.name).field("algorithms", &self.algorithms()).finish()
    }
}

/// A chain that cannot be run, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainError {
    /// The name of the chain.
    pub chain: String,
    /// One sentence each.
    pub mistakes: Vec<String>,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the chain `{}` cannot run: {}", self.chain, self.mistakes.join("; "))
    }
}

impl std::error::Error for ChainError {}
