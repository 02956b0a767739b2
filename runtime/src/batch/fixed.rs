//! [`Book`]: under `fixed=N`, which requests belong together, and whether all of them are there.

use std::collections::{BTreeMap, HashMap};

/// A group of events, and which of their requests: the same one of the same algorithm. The first requests of an algorithm in
/// the events kN … kN+N−1 form a batch, its second requests another, and so on.
pub(crate) type Key = (u64, u64);

/// Marks the requests that others can join. The others go alone; each has a number of its own.
const SHARED: u64 = 1 << 63;

/// Of one algorithm in one event.
#[derive(Debug, Default)]
struct Asked {
    /// Requests that it has numbered.
    numbered: u32,
    /// Requests that are in the queue, or have been: the next one is what others wait for.
    queued: u32,
}

/// Who may still come to a batcher, by group. Events are announced in the order of the source, before any of them comes.
///
/// A request is [numbered](Self::number), then put into the queue, then [noted](Self::note): what is complete here is in the
/// queue.
#[derive(Debug)]
pub(crate) struct Book {
    size: u64,
    /// The algorithms that may ask.
    users: Vec<u32>,
    /// How many events may still make the request of this key, as their next.
    pending: BTreeMap<Key, usize>,
    /// The algorithms in events that may come.
    coming: HashMap<(u64, u32), Asked>,
    /// Requests that went alone.
    alone: u64,
    /// All events of the groups before this one have been read.
    reached: u64,
    drains: bool,
}

fn key(group: u64, user: u32, request: u32) -> Key {
    (group, SHARED | u64::from(user & (u32::MAX >> 1)) << 32 | u64::from(request))
}

impl Book {
    pub(crate) fn new(size: usize) -> Self {
        Book {
            size: size as u64,
            users: Vec::new(),
            pending: BTreeMap::new(),
            coming: HashMap::new(),
            alone: 0,
            reached: 0,
            drains: false,
        }
    }

    /// A job begins, in which these algorithms may ask.
    pub(crate) fn open(&mut self, users: Vec<u32>) {
        *self = Book { users, ..Book::new(self.size as usize) };
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

    /// The event has been read.
    pub(crate) fn announce(&mut self, event: u64) {
        let group = event / self.size;
        for index in 0..self.users.len() {
            let user = self.users[index];
            self.pass(event, user); // the source has given the same number twice
            self.coming.insert((event, user), Asked::default());
            self.add(key(group, user, 0));
        }
        // With the last one of a group it is known: there may be no slot for the next.
        let is_last = event % self.size == self.size - 1;
        self.reached = self.reached.max(group.saturating_add(u64::from(is_last)));
    }

    /// An algorithm is about to put a request into the queue; where it belongs. Alone, if nobody waits for it: the event is tried
    /// again, or the algorithm has ended.
    pub(crate) fn number(&mut self, event: u64, user: u32) -> Key {
        let group = event / self.size;
        match self.coming.get_mut(&(event, user)) {
            Some(asked) => {
                asked.numbered += 1;
                key(group, user, asked.numbered - 1)
            }
            None => {
                self.alone += 1;
                (group, self.alone)
            }
        }
    }

    /// The request is in the queue.
    pub(crate) fn note(&mut self, event: u64, user: u32) {
        if let Some(asked) = self.coming.get_mut(&(event, user)) {
            let (group, queued) = (event / self.size, asked.queued);
            asked.queued += 1;
            self.remove(key(group, user, queued));
            self.add(key(group, user, queued + 1));
        }
    }

    /// The algorithm will make no more requests in this event.
    pub(crate) fn pass(&mut self, event: u64, user: u32) {
        if let Some(asked) = self.coming.remove(&(event, user)) {
            self.remove(key(event / self.size, user, asked.queued));
        }
    }

    /// No algorithm will make any more requests in this event.
    pub(crate) fn pass_all(&mut self, event: u64) {
        for index in 0..self.users.len() {
            self.pass(event, self.users[index]);
        }
    }

    pub(crate) fn drain(&mut self) {
        self.drains = true;
    }

    pub(crate) fn restart(&mut self) {
        self.drains = false;
        self.reached = 0;
    }

    /// Whether all events of the group have been read.
    pub(crate) fn is_read(&self, key: Key) -> bool {
        self.drains || self.reached > key.0
    }

    /// Whether nobody can join the requests of this key.
    pub(crate) fn is_complete(&self, key: Key) -> bool {
        let first = (key.0, key.1 & !u64::from(u32::MAX));
        key.1 & SHARED == 0 || (self.is_read(key) && self.pending.range(first..=key).next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 7;

    fn book(size: usize, users: &[u32]) -> Book {
        let mut book = Book::new(size);
        book.open(users.to_vec());
        book
    }

    impl Book {
        fn come(&mut self, event: u64, user: u32) -> Key {
            let key = self.number(event, user);
            self.note(event, user);
            key
        }
    }

    #[test]
    fn a_group_is_complete_when_its_events_have_come_or_passed_and_the_next_group_has_begun() {
        let mut book = book(3, &[USER]);
        [0, 2].into_iter().for_each(|event| book.announce(event));
        book.announce(1); // out of order: then it may be left behind, but nobody waits for ever
        assert_eq!([0, 2].map(|event| book.come(event, USER)), [key(0, USER, 0); 2]);
        assert!(!book.is_complete(key(0, USER, 0)));
        book.pass(1, USER);
        assert!(book.is_complete(key(0, USER, 0)));
        (3..5).for_each(|event| book.announce(event));
        [3, 4].into_iter().for_each(|event| _ = book.come(event, USER));
        assert!(!book.is_complete(key(1, USER, 0)), "the source may still deliver one");
        book.announce(6);
        assert!(book.is_complete(key(1, USER, 0)) && !book.is_complete(key(2, USER, 0)));
    }

    #[test]
    fn who_is_not_in_the_queue_yet_is_waited_for() {
        let mut book = book(2, &[USER]);
        (0..2).for_each(|event| book.announce(event));
        book.drain();
        book.come(0, USER);
        let key = book.number(1, USER);
        assert!(!book.is_complete(key));
        book.note(1, USER);
        assert!(book.is_complete(key));
    }

    #[test]
    fn second_requests_wait_for_those_who_have_not_made_their_first() {
        let mut book = book(2, &[USER]);
        (0..2).for_each(|event| book.announce(event));
        book.drain();
        let [first, second] = [0, 1].map(|request| key(0, USER, request));
        assert_eq!((book.come(0, USER), book.come(0, USER)), (first, second));
        assert!(!book.is_complete(second));
        assert_eq!(book.come(1, USER), first);
        assert!(book.is_complete(first) && !book.is_complete(second));
        book.pass(1, USER);
        assert!(book.is_complete(second));
        book.pass_all(0);
        assert!(book.pending.is_empty() && book.coming.is_empty());
    }

    #[test]
    fn algorithms_do_not_mix() {
        let mut book = book(2, &[USER, 9]);
        (0..2).for_each(|event| book.announce(event));
        book.drain();
        let (early, late) = (book.come(0, 9), book.come(1, USER));
        assert_ne!(early, late);
        assert!(!book.is_complete(early) && !book.is_complete(late));
        assert_eq!((book.come(1, 9), book.come(0, USER)), (early, late));
        assert!(book.is_complete(early) && book.is_complete(late));
    }

    #[test]
    fn an_event_that_is_tried_again_or_is_over_goes_alone() {
        let mut book = book(2, &[USER]);
        (0..2).for_each(|event| book.announce(event));
        book.drain();
        book.come(0, USER);
        book.pass_all(0);
        let again = [book.come(0, USER), book.come(0, USER)];
        assert!(again[0] != again[1] && again.iter().all(|&key| book.is_complete(key)));
        assert!(!book.is_complete(key(0, USER, 0)), "the other event can come");
        book.pass_all(1);
        assert!(book.pending.is_empty());
    }
}
