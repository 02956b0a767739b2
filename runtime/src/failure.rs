//! [`Failure`]: why an algorithm has no product, remembered like a value.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::event::EventId;

/// The way in which an algorithm, or the source, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// The event's deadline passed while it was suspended, or before it could start.
    TimedOut,
    /// The source could not read the event.
    Unreadable,
}

impl FailureKind {
    /// The kind as one lower-case word, as the quarantine file and the report write it.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Failed => "failed",
            FailureKind::Panicked => "panicked",
            FailureKind::TimedOut => "timed out",
            FailureKind::Unreadable => "unreadable",
        }
    }
}

/// Why an algorithm has no product in an event: its own error, or that of the first of its inputs to fail.
///
/// A failure is made once and shared by everyone who wants the product. It prints its cause and the chain of demand:
/// ``algorithm `calibrate` failed: negative amplitude (wanted by `clusterize`, `write`)``.
#[derive(Clone)]
pub struct Failure {
    root: Arc<Root>,
    last: Option<Arc<Link>>,
}

/// The algorithm that failed by itself.
struct Root {
    kind: FailureKind,
    algorithm: Arc<str>,
    cause: anyhow::Error,
}

/// An algorithm that could not run because an input failed.
struct Link {
    algorithm: Arc<str>,
    /// The one whose product it wanted; `None` for the guilty one.
    input: Option<Arc<Link>>,
}

impl Drop for Link {
    /// A chain of demand can be as long as the chain: it is taken apart in a loop, not on the stack.
    fn drop(&mut self) {
        let mut input = self.input.take();
        while let Some(link) = input {
            input = Arc::into_inner(link).and_then(|mut link| link.input.take());
        }
    }
}

impl Failure {
    pub(crate) fn root(kind: FailureKind, algorithm: Arc<str>, cause: anyhow::Error) -> Self {
        Failure { root: Arc::new(Root { kind, algorithm, cause }), last: None }
    }

    /// What `algorithm` fails with because it returned `error`; an input's failure that it passed on keeps its cause.
    pub(crate) fn of(algorithm: Arc<str>, error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(input) => input.passed_on_by(algorithm),
            Err(cause) => Failure::root(FailureKind::Failed, algorithm, cause),
        }
    }

    pub(crate) fn passed_on_by(self, algorithm: Arc<str>) -> Self {
        Failure { root: self.root, last: Some(Arc::new(Link { algorithm, input: self.last })) }
    }

    /// How the guilty algorithm failed.
    pub fn kind(&self) -> FailureKind {
        self.root.kind
    }

    /// The name of the algorithm (or source) where the failure began.
    pub fn algorithm(&self) -> &str {
        &self.root.algorithm
    }

    /// The error that the guilty algorithm returned, or a description of its panic or time-out.
    pub fn cause(&self) -> &anyhow::Error {
        &self.root.cause
    }

    /// Who wanted the product, and who wanted theirs: nearest to the guilty algorithm first.
    pub fn demanded_by(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = &self.last;
        while let Some(link) = next {
            names.push(&*link.algorithm);
            next = &link.input;
        }
        names.reverse();
        names
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Root { kind, algorithm, cause } = &*self.root;
        match kind {
            FailureKind::Unreadable => write!(f, "the event could not be read: {cause:#}")?,
            kind => write!(f, "algorithm `{algorithm}` {}: {cause:#}", kind.as_str())?,
        }
        for (i, name) in self.demanded_by().iter().enumerate() {
            write!(f, "{}`{name}`", if i == 0 { " (wanted by " } else { ", " })?;
        }
        if self.last.is_some() { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}

/// Has no `source`: what it prints is the whole story, and a report would tell it twice. See [`Failure::cause`].
impl std::error::Error for Failure {}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

/// Awaits what a source or sink does; a panic in it becomes an error.
pub(crate) async fn panics_as_errors<T>(
    future: impl Future<Output = Result<T, anyhow::Error>>,
) -> Result<T, anyhow::Error> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // Unwind safety: after a panic neither the future nor, since that ends the job, its source or sink is used again,
        // but for a sink's `finish`.
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|panic| {
            Poll::Ready(Err(anyhow::anyhow!("it panicked: {}", panic_message(&*panic))))
        })
    })
    .await
}

/// An event that was given up, and why.
#[derive(Debug, Clone)]
pub struct EventFailure {
    /// The event.
    pub event: EventId,
    /// What went wrong in it.
    pub failure: Failure,
}

impl fmt::Display for EventFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}", self.event, self.failure)
    }
}

/// Has no `source`, as [`Failure`].
impl std::error::Error for EventFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_guilty_algorithm_the_cause_and_who_wanted_it() {
        let guilty = Failure::of("calibrate".into(), anyhow::anyhow!("negative amplitude"));
        assert_eq!(guilty.to_string(), "algorithm `calibrate` failed: negative amplitude");
        let passed = Failure::of("write".into(), Failure::of("clusterize".into(), guilty.into()).into());
        assert_eq!(
            passed.to_string(),
            "algorithm `calibrate` failed: negative amplitude (wanted by `clusterize`, `write`)"
        );
        assert_eq!((passed.kind(), passed.algorithm()), (FailureKind::Failed, "calibrate"));
    }

    #[test]
    fn an_input_failure_with_context_added_is_still_recognised() {
        use anyhow::Context as _;
        let guilty = Failure::of("calibrate".into(), anyhow::anyhow!("negative amplitude"));
        let wrapped = Err::<(), _>(guilty).context("while looking for seeds").unwrap_err();
        assert_eq!(Failure::of("clusterize".into(), wrapped).algorithm(), "calibrate");
    }
}
