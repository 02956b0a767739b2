//! A point made of closures, and a book of ends.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use asynchrotron_sync::Point;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Ordinary,
    Fatal,
}

pub type Outcome = Result<(), Failure>;

pub struct Mark {
    ask: Box<dyn FnMut() -> Poll<Outcome> + Send>,
    end: Box<dyn FnOnce(Outcome) + Send>,
    overdue: Box<dyn FnMut() + Send>,
    due_ns: Option<u64>,
}

impl Mark {
    pub fn new(
        ask: impl FnMut() -> Poll<Outcome> + Send + 'static,
        end: impl FnOnce(Outcome) + Send + 'static,
    ) -> Self {
        let overdue = || panic!("it is never due");
        Self { ask: Box::new(ask), end: Box::new(end), overdue: Box::new(overdue), due_ns: None }
    }

    pub fn due(mut self, due_ns: u64, overdue: impl FnMut() + Send + 'static) -> Self {
        self.due_ns = Some(due_ns);
        self.overdue = Box::new(overdue);
        self
    }
}

impl Point for Mark {
    type Error = Failure;

    fn ask(&mut self) -> Poll<Outcome> {
        (self.ask)()
    }

    fn end(self, result: Outcome) {
        (self.end)(result);
    }

    fn overdue(&mut self) {
        (self.overdue)();
    }

    fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    fn is_fatal(error: &Failure) -> bool {
        *error == Failure::Fatal
    }
}

/// Who ended how, in order.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Vec<(usize, Outcome)>>>);

impl Book {
    /// A point that answers so whenever it is asked.
    pub fn mark(&self, number: usize, answer: Poll<Outcome>) -> Mark {
        self.asking(number, move || answer)
    }

    pub fn asking(&self, number: usize, ask: impl FnMut() -> Poll<Outcome> + Send + 'static) -> Mark {
        Mark::new(ask, self.entry(number))
    }

    pub fn entry(&self, number: usize) -> impl FnOnce(Outcome) + Send + 'static {
        let book = self.0.clone();
        move |outcome| book.lock().unwrap().push((number, outcome))
    }

    pub fn ends(&self) -> Vec<(usize, Outcome)> {
        self.0.lock().unwrap().clone()
    }

    /// In the order of their numbers.
    pub fn sorted(&self) -> Vec<(usize, Outcome)> {
        let mut ends = self.ends();
        ends.sort_by_key(|(number, _)| *number);
        ends
    }
}
