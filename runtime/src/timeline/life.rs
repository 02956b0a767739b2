//! [`Life`]: what one call of an algorithm did from its beginning to its end, without a gap.

/// What an algorithm is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StateKind {
    /// It runs on a worker.
    Running,
    /// It can go on, and waits for a worker; also while the device is done and nobody has noticed.
    Ready,
    /// It waits for something that is no request to a batcher: a product, a timer, a device.
    Suspended,
    /// Its request waits for its batch to be closed.
    Queued,
    /// Its batch is closed, and not on the device yet.
    AwaitingLane,
    OnDevice,
    /// Records were lost here.
    Lost,
}

impl StateKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Suspended => "suspended",
            Self::Queued => "queued in batch",
            Self::AwaitingLane => "awaiting lane",
            Self::OnDevice => "on device",
            Self::Lost => "lost",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) kind: StateKind,
    pub(super) begin: u64,
    pub(super) end: u64,
    /// The request that it is about, if any: an index into the requests of the event.
    pub(super) request: Option<usize>,
}

/// One poll: from when it waited, when it could go on, and when it ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct PollTimes {
    pub(super) paused: u64,
    pub(super) woken: u64,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// A request of an event to a batcher, on its way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) node: u32,
    pub(super) flow: u64,
    pub(super) batcher: u32,
    pub(super) rows: u32,
    pub(super) pushed: u64,
    /// More than one if its batch failed and was tried again in parts.
    pub(super) boardings: Vec<Boarding>,
    /// When the algorithm knew its answer; `u64::MAX` if it never did.
    pub(super) answered: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Boarding {
    pub(super) batch: u64,
    pub(super) closed: u64,
    pub(super) begin: u64,
    /// `u64::MAX` while the device has not ended it.
    pub(super) end: u64,
}

impl Request {
    /// What it is doing at times of its life, in order.
    fn changes(&self) -> impl Iterator<Item = (u64, Option<StateKind>)> {
        let boarded = self.boardings.iter().flat_map(|boarding| {
            [
                (boarding.closed, Some(StateKind::AwaitingLane)),
                (boarding.begin, Some(StateKind::OnDevice)),
                (boarding.end, Some(StateKind::Ready)),
            ]
        });
        // A part of a failed batch was closed with it: it waits for a lane from the end of the part before.
        let mut last = self.pushed;
        std::iter::once((self.pushed, Some(StateKind::Queued)))
            .chain(boarded)
            .chain([(self.answered, None)])
            .map(move |(at, kind)| {
                last = last.max(at);
                (last, kind)
            })
    }
}

/// One call of an algorithm in an event.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) node: u32,
    pub(super) polls: Vec<PollTimes>,
    /// When it was dropped, or what it has lived to if it is still there.
    pub(super) abandoned: Option<u64>,
    pub(super) failed: bool,
}

impl Call {
    pub(super) fn begin(&self) -> u64 {
        // Between the time when its inputs were there and its first poll it waited for a worker.
        self.polls
            .first()
            .map_or(0, |poll| if poll.woken != 0 { poll.woken.min(poll.begin) } else { poll.begin })
    }

    pub(super) fn end(&self) -> u64 {
        let last = self.polls.last().map_or(0, |poll| poll.end);
        self.abandoned.map_or(last, |abandoned| abandoned.max(last))
    }

    /// Its states: contiguous, from its begin to its end. `requests` are those of the event.
    pub(super) fn states(&self, requests: &[Request]) -> Vec<State> {
        let mut states = Partition { states: Vec::new(), now: self.begin() };
        for (index, poll) in self.polls.iter().enumerate() {
            if index > 0 {
                states.extend(StateKind::Lost, poll.paused, None);
                let woken = if poll.woken == 0 { poll.begin } else { poll.woken.min(poll.begin) };
                self.wait(&mut states, woken, requests);
            }
            states.extend(StateKind::Ready, poll.begin, None);
            states.extend(StateKind::Running, poll.end, None);
        }
        if let Some(abandoned) = self.abandoned {
            self.wait(&mut states, abandoned, requests);
        }
        states.states
    }

    /// What it waited for, from where the partition stands to a time.
    fn wait(&self, states: &mut Partition, until: u64, requests: &[Request]) {
        let begin = states.now;
        let mut changes: Vec<(u64, usize, Option<StateKind>)> = Vec::new();
        for (index, request) in requests.iter().enumerate().filter(|(_, request)| request.node == self.node) {
            if request.pushed < until && request.answered > begin {
                changes.extend(request.changes().map(|(at, kind)| (at, index, kind)));
            }
        }
        changes.sort_by_key(|&(at, ..)| at);
        // Of several requests at a time, the one that is furthest says what the algorithm waits for; one that is answered, or
        // only waits to be noticed, does not while others are on their way.
        let mut pending: Vec<(usize, StateKind)> = Vec::new();
        let furthest = |pending: &[(usize, StateKind)]| {
            let furthest = pending.iter().max_by_key(|(_, kind)| *kind);
            furthest.map_or((StateKind::Suspended, None), |&(request, kind)| (kind, Some(request)))
        };
        for (at, request, kind) in changes {
            if at > begin {
                let (kind, request) = furthest(&pending);
                states.extend(kind, at.min(until), request);
            }
            pending.retain(|(other, _)| *other != request);
            pending.extend(kind.map(|kind| (request, kind)));
        }
        let (kind, request) = furthest(&pending);
        states.extend(kind, until, request);
    }
}

struct Partition {
    states: Vec<State>,
    now: u64,
}

impl Partition {
    /// The state from now to a time; nothing if that is over.
    fn extend(&mut self, kind: StateKind, until: u64, request: Option<usize>) {
        if until <= self.now {
            return;
        }
        let begin = std::mem::replace(&mut self.now, until);
        // Whoever waits for a worker waits for it as others do, whatever came before.
        let request = request.filter(|_| kind > StateKind::Suspended);
        match self.states.last_mut() {
            Some(last) if last.kind == kind && last.request == request => last.end = until,
            _ => self.states.push(State { kind, begin, end: until, request }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn poll(paused: u64, woken: u64, begin: u64, end: u64) -> PollTimes {
        PollTimes { paused, woken, begin, end }
    }

    fn call(polls: Vec<PollTimes>) -> Call {
        Call { node: 0, polls, abandoned: None, failed: false }
    }

    fn request(pushed: u64, boardings: Vec<Boarding>, answered: u64) -> Request {
        Request { node: 0, flow: 1, batcher: 0, rows: 1, pushed, boardings, answered }
    }

    fn shown(states: &[State]) -> Vec<(&'static str, u64, u64)> {
        states.iter().map(|state| (state.kind.as_str(), state.begin, state.end)).collect()
    }

    #[test]
    fn a_request_is_followed_from_the_queue_to_the_device_and_back() {
        let boarding = Boarding { batch: 1, closed: 20, begin: 30, end: 40 };
        let states =
            call(vec![poll(0, 0, 0, 10), poll(10, 45, 50, 60)]).states(&[request(5, vec![boarding], 52)]);
        let expected = [
            ("running", 0, 10),
            ("queued in batch", 10, 20),
            ("awaiting lane", 20, 30),
            ("on device", 30, 40),
            ("ready", 40, 50),
            ("running", 50, 60),
        ];
        assert_eq!(shown(&states), expected);
    }

    #[test]
    fn a_part_of_a_failed_batch_waits_for_a_lane_again() {
        let boardings =
            [(30, 40), (45, 50)].map(|(begin, end)| Boarding { batch: 1, closed: 20, begin, end });
        let states =
            call(vec![poll(0, 0, 0, 10), poll(10, 50, 50, 60)]).states(&[request(5, boardings.to_vec(), 52)]);
        let expected = [
            ("running", 0, 10),
            ("queued in batch", 10, 20),
            ("awaiting lane", 20, 30),
            ("on device", 30, 40),
            ("awaiting lane", 40, 45),
            ("on device", 45, 50),
            ("running", 50, 60),
        ];
        assert_eq!(shown(&states), expected);
    }

    #[test]
    fn the_furthest_of_two_requests_is_shown() {
        let on_device = request(5, vec![Boarding { batch: 1, closed: 10, begin: 10, end: 30 }], 42);
        let queued = request(6, vec![Boarding { batch: 2, closed: 35, begin: 35, end: 40 }], 42);
        let states = call(vec![poll(0, 0, 0, 10), poll(10, 40, 41, 50)]).states(&[on_device, queued]);
        let expected = [
            ("running", 0, 10),
            ("on device", 10, 30),
            ("queued in batch", 30, 35),
            ("on device", 35, 40),
            ("ready", 40, 41),
            ("running", 41, 50),
        ];
        assert_eq!(shown(&states), expected);
    }

    #[test]
    fn what_is_no_request_is_a_suspension_and_what_was_lost_is_said() {
        let states = call(vec![poll(0, 3, 5, 10), poll(20, 30, 30, 40)]).states(&[]);
        let expected = [
            ("ready", 3, 5),
            ("running", 5, 10),
            ("lost", 10, 20),
            ("suspended", 20, 30),
            ("running", 30, 40),
        ];
        assert_eq!(shown(&states), expected);
    }

    #[test]
    fn an_algorithm_that_was_dropped_waited_to_the_end() {
        let mut dropped = call(vec![poll(0, 0, 0, 10)]);
        dropped.abandoned = Some(100);
        let states = dropped.states(&[request(5, vec![], u64::MAX)]);
        assert_eq!(shown(&states), [("running", 0, 10), ("queued in batch", 10, 100)]);
    }

    proptest! {
        #[test]
        fn states_fill_the_life_of_a_call_whatever_was_recorded(
            steps in proptest::collection::vec((0..50_u64, 0..50_u64, 0..50_u64, 0..50_u64), 1..8),
            requests in proptest::collection::vec((0..400_u64, proptest::collection::vec((0..400_u64, 0..100_u64, 0..100_u64), 0..3), 0..500_u64), 0..5),
            abandoned in proptest::option::of(0..500_u64),
        ) {
            let mut now = 0;
            let polls = steps.iter().enumerate().map(|(index, &(lost, wait, ready, run))| {
                let paused = if index == 0 { 0 } else { now + lost };
                let woken = if wait % 2 == 0 { 0 } else { paused + wait };
                let begin = paused.max(woken).max(now) + ready;
                now = begin + run;
                PollTimes { paused, woken, begin, end: now }
            });
            let mut call = call(polls.collect());
            call.abandoned = abandoned;
            let requests: Vec<Request> = requests.into_iter().map(|(pushed, boardings, answered)| {
                let boardings = boardings.into_iter().map(|(closed, wait, run)| {
                    Boarding { batch: 1, closed, begin: closed + wait, end: closed + wait + run }
                });
                request(pushed, boardings.collect(), pushed + answered)
            }).collect();
            let states = call.states(&requests);
            let mut now = call.begin();
            for state in &states {
                prop_assert!(state.begin == now && state.end > now, "{:?}", states);
                now = state.end;
            }
            prop_assert_eq!(now, call.end());
        }
    }
}
