//! What is under the queue's lock: requests in line, notes of all that are not answered, and members.

use std::collections::VecDeque;
use std::task::Waker;

use super::earliest::Earliest;
use super::{Taken, Ticket, View};
use crate::Signaller;
use crate::broken::{self, Fault};

/// Where a request is noted; reused, hence the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    index: usize,
    generation: u64,
}

struct Note {
    generation: u64,
    member: Option<usize>,
    /// Its rank in the queue; `None` once it is cut.
    queued: Option<Rank>,
}

/// Order, then arrival.
pub(super) type Rank = ((u64, u64, u64), u64);

#[derive(Default)]
pub(super) struct Member {
    pub(super) coming: bool,
    /// Requests of it that are not answered.
    waiting: usize,
    /// Requests of it in other queues. Negative while the end of a block has overtaken its start.
    pub(super) blocked: isize,
    /// Since when it is counted, or was last; `None` if nobody said.
    since: Option<u64>,
}

impl Member {
    fn is_counted(&self) -> bool {
        self.coming && self.waiting == 0 && (self.blocked <= 0 || broken::is(Fault::BatchCountsBlocked))
    }
}

pub(super) struct State<T, R, E> {
    queue: VecDeque<Taken<T, R, E>>,
    /// Wide enough for any sum, so that what is added can be taken off again.
    rows: u128,
    bytes: u128,
    pushes: Earliest<Place>,
    oldest: Option<u64>,
    /// Without those that do not matter.
    deadlines: Earliest<Place>,
    deadline: u64,
    arrivals: u64,
    approach_mean: f64,
    notes: Vec<Note>,
    free: Vec<usize>,
    members: Vec<Member>,
    coming: usize,
    /// Batches that were cut and have not ended.
    pub(super) running: usize,
    pub(super) driver: Option<Waker>,
    pub(super) closed: bool,
}

impl<T, R, E> State<T, R, E> {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            rows: 0,
            bytes: 0,
            pushes: Earliest::new(),
            oldest: None,
            deadlines: Earliest::new(),
            deadline: u64::MAX,
            arrivals: 0,
            approach_mean: 0.0,
            notes: Vec::new(),
            free: Vec::new(),
            members: Vec::new(),
            coming: 0,
            running: 0,
            driver: None,
            closed: false,
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            queued: self.queue.len(),
            rows: usize::try_from(self.rows).unwrap_or(usize::MAX),
            bytes: usize::try_from(self.bytes).unwrap_or(usize::MAX),
            oldest: self.oldest,
            deadline: self.deadline,
            coming: self.coming,
            running: self.running,
            front: None,
            closed: self.closed,
            approach: None,
            approach_mean: self.approach_mean as u64,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The group in front, and how many requests it has.
    pub(super) fn front(&self) -> Option<((u64, u64), usize)> {
        let group = |queued: &Taken<T, R, E>| (queued.rank.0.0, queued.rank.0.1);
        let front = group(self.queue.front()?);
        Some((front, self.queue.iter().take_while(|queued| group(queued) == front).count()))
    }

    /// Changes a member; says since when it was counted, if it was and that is known.
    pub(super) fn member(
        &mut self,
        index: usize,
        now: Option<u64>,
        change: impl FnOnce(&mut Member),
    ) -> Option<u64> {
        if index >= self.members.len() {
            self.members.resize_with(index + 1, Member::default);
        }
        let member = &mut self.members[index];
        let before = member.is_counted();
        change(member);
        let after = member.is_counted();
        let since = member.since.filter(|_| before);
        if after && !before {
            member.since = now;
        }
        self.coming = self.coming + usize::from(after) - usize::from(before);
        since
    }

    pub(super) fn depart_all(&mut self) {
        self.members.iter_mut().for_each(|member| member.coming = false);
        self.coming = 0;
    }

    /// Gives its place, and for how long its member had been counted, if it was and that is known.
    pub(super) fn push(
        &mut self,
        member: Option<usize>,
        request: T,
        ticket: Ticket,
        signaller: Signaller<R, E>,
    ) -> (Place, Option<u64>) {
        let rank = (ticket.order, self.arrivals);
        self.arrivals += 1;
        let place = self.note(member, rank);
        self.insert(Taken { request, ticket, member, rank, place, signaller });
        let now = Some(ticket.pushed_at);
        let since = member.and_then(|member| self.member(member, now, |member| member.waiting += 1));
        let approach = since.map(|since| ticket.pushed_at.saturating_sub(since));
        if let Some(approach) = approach {
            self.approach_mean += (approach as f64 - self.approach_mean) / 16.0;
        }
        (place, approach)
    }

    /// Takes so many from the front, into a batch that runs.
    pub(super) fn cut(&mut self, count: usize) -> Vec<Taken<T, R, E>> {
        let count = if broken::is(Fault::BatchCutsShort) { 1 } else { count };
        let requests: Vec<_> = if count == self.queue.len() {
            // Nearly always. The next batch is as large, as often as not, and shall not have to grow under the lock.
            (self.rows, self.bytes) = (0, 0);
            std::mem::replace(&mut self.queue, VecDeque::with_capacity(count)).into()
        } else {
            (0..count).map_while(|_| self.remove(0)).collect()
        };
        for taken in &requests {
            self.notes[taken.place.index].queued = None;
        }
        self.recount();
        self.running += 1;
        requests
    }

    /// Puts one that was cut back to where it stood. Gives it back, settled, if that cannot be.
    pub(super) fn put_back(&mut self, taken: Taken<T, R, E>) -> Option<Taken<T, R, E>> {
        let note = &mut self.notes[taken.place.index];
        let stays = note.generation == taken.place.generation || broken::is(Fault::BatchPutsBackLeaver);
        if stays && (!self.closed || broken::is(Fault::BatchOpenWhenClosed)) {
            note.queued = Some(taken.rank);
            self.insert(taken);
            None
        } else {
            self.settle(taken.place, None);
            Some(taken)
        }
    }

    /// Takes out all that are queued, and settles them.
    pub(super) fn clear(&mut self) -> VecDeque<Taken<T, R, E>> {
        let queue = std::mem::take(&mut self.queue);
        for queued in &queue {
            self.settle(queued.place, None);
        }
        (self.rows, self.bytes) = (0, 0);
        self.recount();
        queue
    }

    fn note(&mut self, member: Option<usize>, rank: Rank) -> Place {
        let index = self.free.pop().unwrap_or_else(|| {
            self.notes.push(Note { generation: 0, member: None, queued: None });
            self.notes.len() - 1
        });
        let note = &mut self.notes[index];
        note.member = member;
        note.queued = Some(rank);
        Place { index, generation: note.generation }
    }

    /// The request is answered, or its waiter has left; whoever comes first. Gives where it was in the queue.
    pub(super) fn settle(&mut self, place: Place, now: Option<u64>) -> Option<Option<Rank>> {
        let note = &mut self.notes[place.index];
        if note.generation != place.generation {
            return None;
        }
        note.generation += 1;
        let (member, queued) = (note.member, note.queued.take());
        self.free.push(place.index);
        if let Some(member) = member
            && !broken::is(Fault::BatchForgetsWaiter)
        {
            self.member(member, now, |member| member.waiting -= 1);
        }
        Some(queued)
    }

    fn insert(&mut self, taken: Taken<T, R, E>) {
        self.rows += taken.ticket.rows as u128;
        self.bytes += taken.ticket.bytes as u128;
        self.oldest = Some(self.oldest.map_or(taken.ticket.pushed_at, |at| at.min(taken.ticket.pushed_at)));
        self.pushes.add(taken.ticket.pushed_at, taken.place);
        if taken.ticket.deadline != u64::MAX {
            self.deadline = self.deadline.min(taken.ticket.deadline);
            self.deadlines.add(taken.ticket.deadline, taken.place);
        }
        // Nearly always at the end.
        let index = match self.queue.back() {
            Some(last) if last.rank > taken.rank => {
                self.queue.partition_point(|queued| queued.rank < taken.rank)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(index, taken);
        if self.pushes.is_mostly_gone(self.queue.len()) {
            self.pushes.rebuild(self.queue.iter().map(|queued| (queued.ticket.pushed_at, queued.place)));
        }
        if self.deadlines.is_mostly_gone(self.queue.len()) {
            let urgent = self.queue.iter().filter(|queued| queued.ticket.deadline != u64::MAX);
            self.deadlines.rebuild(urgent.map(|queued| (queued.ticket.deadline, queued.place)));
        }
    }

    fn remove(&mut self, index: usize) -> Option<Taken<T, R, E>> {
        let taken = self.queue.remove(index)?;
        self.rows -= taken.ticket.rows as u128;
        self.bytes -= taken.ticket.bytes as u128;
        Some(taken)
    }

    pub(super) fn fits(&self, requests: usize, rows: usize, bytes: usize) -> usize {
        let (mut rows_so_far, mut bytes_so_far) = (0_usize, 0_usize);
        let within = self.queue.iter().take(requests).take_while(|queued| {
            rows_so_far = rows_so_far.saturating_add(queued.ticket.rows);
            bytes_so_far = bytes_so_far.saturating_add(queued.ticket.bytes);
            rows_so_far <= rows && bytes_so_far <= bytes
        });
        within.count().max(self.queue.len().min(1))
    }

    pub(super) fn remove_ranked(&mut self, rank: Rank) -> Option<Taken<T, R, E>> {
        let index = self.queue.binary_search_by_key(&rank, |queued| queued.rank).ok()?;
        let taken = self.remove(index);
        self.recount();
        taken
    }

    /// After removals.
    fn recount(&mut self) {
        if self.queue.is_empty() {
            // Most cuts take all.
            self.pushes.clear();
            self.deadlines.clear();
        }
        let notes = &self.notes;
        let is_queued = |place: &Place| {
            let note = &notes[place.index];
            note.generation == place.generation && note.queued.is_some()
        };
        self.oldest = self.pushes.first(is_queued);
        self.deadline = self.deadlines.first(is_queued).unwrap_or(u64::MAX);
    }
}
