//! [`Replays`]: what a lane was asked for before, as graphs that are launched as one.
//!
//! A launch costs some microseconds of the driver's, however many kernels it is of; to change the arguments of one costs less than one.
//!
//! ```text
//!   a sequence of kernels:   NEW ──(1) first time──▶ KNOWN ──(2) again: made──▶ GRAPH ⟲ (3) what differs is changed, replayed
//!                             ▲                        │(4)       │(5)             │
//!                             └────── too many others ─┴──────────┼────────────────┘
//!                                                                 ▼
//!                                                              NO GRAPH: enqueued one by one
//! ```

use super::Fault;
use super::driver::{Call, Driver, Graph, Stream};
use super::recording::{Interrupted, Recording};

/// Sequences that a lane remembers. A lane of a chain's device sees one for each of its steps, and sizes that take other kernels.
const KEPT_MAX: usize = 8;

/// The sequences of kernels that a lane was asked for.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// The latest first.
    kept: Vec<Kept>,
    /// Memory for the next recording.
    spare: Recording,
}

#[derive(Debug)]
struct Kept {
    /// As it was enqueued last.
    recording: Recording,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Known,
    Graph(Graph),
    NoGraph,
}

impl Replays {
    /// Memory for a recording.
    pub(super) fn spare(&mut self) -> Recording {
        std::mem::take(&mut self.spare)
    }

    /// Enqueues a recording that has come to its end.
    pub(super) fn enqueue(
        &mut self,
        driver: &dyn Driver,
        stream: Stream,
        mut recording: Recording,
    ) -> Result<(), Interrupted> {
        let waits = recording.enqueue_waits(driver, stream)?;
        // A lane whose stream still waits is not free, whatever else was enqueued.
        self.enqueue_rest(driver, stream, recording)
            .map_err(|Interrupted { fault, under_way }| Interrupted { fault, under_way: under_way || waits })
    }

    fn enqueue_rest(
        &mut self,
        driver: &dyn Driver,
        stream: Stream,
        mut recording: Recording,
    ) -> Result<(), Interrupted> {
        let Some(place) = self.kept.iter().position(|kept| kept.recording.is_like(&recording)) else {
            let enqueued = recording.enqueue(driver, stream);
            if enqueued.is_ok() && recording.calls().is_some() {
                if self.kept.len() == KEPT_MAX {
                    self.forget(driver, KEPT_MAX - 1);
                }
                self.kept.insert(0, Kept { recording, state: State::Known }); // (1)
            } else {
                self.spare = recording;
            }
            return enqueued;
        };
        self.kept[..=place].rotate_right(1);
        let kept = &mut self.kept[0];
        let enqueued = kept.enqueue(driver, stream, &mut recording);
        self.spare = std::mem::replace(&mut kept.recording, recording);
        if enqueued.is_err() && matches!(kept.state, State::Graph(_)) {
            // Who knows what it is now.
            self.forget(driver, 0);
        }
        enqueued
    }

    /// (4)
    fn forget(&mut self, driver: &dyn Driver, place: usize) {
        let kept = self.kept.remove(place);
        if let State::Graph(graph) = kept.state {
            driver.destroy_graph(graph);
        }
        self.spare = kept.recording;
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self, driver: &dyn Driver) {
        while !self.kept.is_empty() {
            self.forget(driver, 0);
        }
    }
}

impl Kept {
    fn enqueue(
        &mut self,
        driver: &dyn Driver,
        stream: Stream,
        recording: &mut Recording,
    ) -> Result<(), Interrupted> {
        if let State::Known = self.state {
            self.state = match recording.calls().map(|calls| driver.graph(&calls.collect::<Vec<_>>())) {
                Some(Ok(graph)) => State::Graph(graph), // (2)
                Some(Err(fault)) if fault.is_fatal() => return Err(Interrupted { fault, under_way: false }),
                _ => State::NoGraph, // (5)
            };
            if let State::Graph(graph) = self.state {
                return driver.replay(graph, stream).map_err(nothing_yet);
            }
        }
        match self.state {
            State::Graph(graph) => {
                let (was, is) = (self.recording.calls(), recording.calls());
                let pairs = was.into_iter().flatten().zip(is.into_iter().flatten()).enumerate();
                for (index, (_, call)) in pairs.filter(|(_, (was, is))| was != is) {
                    driver.change(graph, index, call).map_err(nothing_yet)?; // (3)
                }
                driver.replay(graph, stream).map_err(nothing_yet)
            }
            State::Known | State::NoGraph => recording.enqueue(driver, stream),
        }
    }
}

fn nothing_yet(fault: Fault) -> Interrupted {
    Interrupted { fault, under_way: false }
}

impl Recording {
    /// Whether it is of the same kernels.
    fn is_like(&self, other: &Self) -> bool {
        let kernel = |call: Call<'_>| (call.function, call.arguments.len());
        match (self.calls(), other.calls()) {
            (Some(ours), Some(theirs)) => ours.map(kernel).eq(theirs.map(kernel)),
            _ => false,
        }
    }
}
