//! [`Book`]: under `fixed=N`, which requests belong together, and whether all of them are there.

use std::collections::{BTreeMap, HashMap};

/// Events of one group, requests of one number: the first requests of the events kN … kN+N−1 form a batch, their second
/// requests another, and so on.
pub(crate) type Key = (u64, u64);

/// Who may still come to a batcher, by group. Events are announced in the order of the source, before any of them comes.
#[derive(Debug)]
pub(crate) struct Book {
    size: u64,
    /// How many events may still make the request of this key, as their next.
    pending: BTreeMap<Key, usize>,
    /// The number of the next request of each event that may come.
    next: HashMap<u64, u64>,
    /// The group of the last event that was announced.
    reached: Option<u64>,
    drains: bool,
}

impl Book {
    pub(crate) fn new(size: usize) -> Self {
        Book {
            size: size as u64,
            pending: BTreeMap::new(),
            next: HashMap::new(),
            reached: None,
            drains: false,
        }
    }

    fn add(&mut self, key: Key) {
        *self.pending.entry(key).or_default() += 1;
    }

    fn remove(&mut self, key: Key) {
        if let Some(count) = self.pending.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(&key);
            }
        }
    }

    /// The event has been read, or begins once more.
    pub(crate) fn announce(&mut self, event: u64) {
        let group = event / self.size;
        if let Some(next) = self.next.insert(event, 0) {
            self.remove((group, next));
        }
        self.add((group, 0));
        self.reached = self.reached.max(Some(group));
    }

    /// The event makes a request; where it belongs.
    pub(crate) fn come(&mut self, event: u64) -> Key {
        let group = event / self.size;
        let next = self.next.entry(event).or_insert(0);
        let key = (group, *next);
        *next += 1;
        self.remove(key);
        self.add((group, key.1 + 1));
        key
    }

    /// The event will make no more requests.
    pub(crate) fn pass(&mut self, event: u64) {
        if let Some(next) = self.next.remove(&event) {
            self.remove((event / self.size, next));
        }
    }

    pub(crate) fn drain(&mut self) {
        self.drains = true;
    }

    pub(crate) fn restart(&mut self) {
        self.drains = false;
        self.reached = None;
    }

    /// Whether all events of the group have been read.
    pub(crate) fn is_read(&self, key: Key) -> bool {
        self.drains || self.reached.is_some_and(|reached| reached > key.0)
    }

    /// Whether nobody can join the requests of this key.
    pub(crate) fn is_complete(&self, key: Key) -> bool {
        self.is_read(key) && self.pending.range((key.0, 0)..=key).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_complete_when_its_events_have_come_or_passed_and_the_next_group_has_begun() {
        let mut book = Book::new(3);
        (0..3).for_each(|event| book.announce(event));
        assert_eq!([0, 2].map(|event| book.come(event)), [(0, 0); 2]);
        assert!(!book.is_complete((0, 0)));
        book.pass(1);
        assert!(!book.is_complete((0, 0)), "the source may still deliver one");
        book.announce(3);
        assert!(book.is_complete((0, 0)) && !book.is_complete((1, 0)));
    }

    #[test]
    fn second_requests_wait_for_those_who_have_not_made_their_first() {
        let mut book = Book::new(2);
        (0..2).for_each(|event| book.announce(event));
        book.drain();
        assert_eq!((book.come(0), book.come(0)), ((0, 0), (0, 1)));
        assert!(!book.is_complete((0, 1)));
        assert_eq!(book.come(1), (0, 0));
        assert!(book.is_complete((0, 0)) && !book.is_complete((0, 1)));
        book.pass(1);
        assert!(book.is_complete((0, 1)));
        book.pass(0);
        assert!(book.pending.is_empty() && book.next.is_empty());
    }

    #[test]
    fn an_event_that_is_tried_again_begins_with_its_first_request() {
        let mut book = Book::new(2);
        book.announce(0);
        assert_eq!(book.come(0), (0, 0));
        book.announce(0);
        assert_eq!(book.come(0), (0, 0));
        book.pass(0);
        assert!(book.pending.is_empty());
    }
}
