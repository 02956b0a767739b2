//! [`decide`]: whether a batch is closed now. A pure function of what is known, so that it can be tested, simulated and
//! replayed; it is asked again whenever something has changed.

use std::fmt;

use asynchrotron_sync::View;

use super::cost::Cost;
use super::policy::{BatchConfig, BatchPolicy};

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseReason {
    /// It had the size of the policy, or reached a limit in requests, rows or bytes.
    Full,
    /// Waiting longer would not have paid ([`Adaptive`](BatchPolicy::Adaptive)).
    Best,
    /// A lane was free ([`Greedy`](BatchPolicy::Greedy), and `Adaptive` while it knows nothing yet).
    LaneFree,
    /// No event in flight could still join it.
    NobodyElse,
    /// The same, after the last event was read.
    Drain,
    /// It was held for as long as it may be.
    Age,
    /// An event's deadline was near.
    Deadline,
}

impl CloseReason {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Full, Self::Best, Self::LaneFree, Self::NobodyElse, Self::Drain, Self::Age, Self::Deadline];

    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Best => "best size",
            Self::LaneFree => "lane free",
            Self::NobodyElse => "nobody else",
            Self::Drain => "drain",
            Self::Age => "age",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of the device and of those who come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Knowledge {
    /// `None` before the first batch has ended.
    pub(crate) cost: Option<Cost>,
    /// The mean time in which someone who can come does.
    pub(crate) approach_ns: f64,
    /// Requests per nanosecond lately; 0 if that is not known.
    pub(crate) rate: f64,
}

/// Where things stand. Times are nanoseconds of one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) queue: View,
    /// Lanes that would take a batch now.
    pub(crate) lanes_free: usize,
    /// Lanes that others hold: one may become free without anybody here noticing.
    pub(crate) lanes_foreign: usize,
    /// All lanes.
    pub(crate) lanes: usize,
    /// Requests in batches that were closed and have not ended.
    pub(crate) on_lanes: usize,
    /// Since when there has been both a request and a free lane.
    pub(crate) held_since: u64,
    /// How many requests there were then.
    pub(crate) held_with: usize,
    /// Whether all events have been read.
    pub(crate) drains: bool,
    /// Under [`Fixed`](BatchPolicy::Fixed): the group in front.
    pub(crate) group: Option<Group>,
    pub(crate) now: u64,
}

/// Requests of one group of a fixed composition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) requests: usize,
    /// Whether all have come that can.
    pub(crate) is_complete: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Action {
    /// Nothing, until something changes.
    Wait,
    /// Nothing, until something changes or this time has come.
    WaitUntil(u64),
    /// Get in line for a lane, and ask again with the lane in hand.
    AwaitLane,
    /// Cut so many requests, or as many of them as the limits allow, for a free lane.
    Close(usize, CloseReason),
}

/// Whether a batch is closed now.
pub(crate) fn decide(config: &BatchConfig, knowledge: &Knowledge, state: &State) -> Action {
    let State { queue, lanes_free, lanes_foreign, drains, now, .. } = *state;
    if queue.queued == 0 {
        return Action::Wait;
    }
    if let BatchPolicy::Fixed(size) = config.policy {
        return match state.group {
            None => Action::Wait,
            Some(_) if lanes_free == 0 => no_lane(lanes_foreign),
            Some(Group { requests, is_complete: true }) if requests >= size => {
                Action::Close(requests, CloseReason::Full)
            }
            Some(Group { requests, is_complete: true }) => Action::Close(requests, nobody_else(drains)),
            // Groups of two batchers can wait for each other's events, where some ask the one first and some the other. Then
            // nothing moves any more, and after a while the one in front goes as it is.
            // Who can still come may wait for one of those in the queue, in a way that nobody here knows of; but is more
            // likely to take its time.
            Some(Group { requests, .. }) if queue.running == 0 => {
                let patience = config.patience.as_nanos() as f64;
                let patience = if queue.coming == 0 { patience } else { HOPELESS * patience };
                hold(requests, later(queue.oldest.unwrap_or(now), patience), u64::MAX, now)
            }
            Some(_) => Action::Wait,
        };
    }
    if lanes_free == 0 {
        return no_lane(lanes_foreign);
    }
    let most = config.requests_limit();
    if queue.queued >= most || queue.rows >= config.rows_limit() || queue.bytes >= config.bytes_max {
        let part = equal_part(config, knowledge, state).map_or(most, |(equal, _)| at_most(equal, &queue));
        return Action::Close(most.min(part), CloseReason::Full);
    }
    let latest = match knowledge.cost {
        _ if queue.deadline == u64::MAX => u64::MAX,
        // Twice, because on the way back there is a worker to wait for, too.
        Some(cost) => queue.deadline.saturating_sub(2 * cost.of(config.padded(queue.rows)) as u64),
        None => queue.oldest.unwrap_or(now).midpoint(queue.deadline),
    };
    let oldest = queue.oldest.unwrap_or(now);
    let patience = later(oldest, config.patience.as_nanos() as f64);
    let limit = match config.policy {
        BatchPolicy::Adaptive { price } => {
            return adaptive(config, knowledge, state, price, patience, latest);
        }
        _ if queue.coming == 0 => return Action::Close(most, nobody_else(drains)),
        BatchPolicy::Off | BatchPolicy::Greedy => return Action::Close(most, CloseReason::LaneFree),
        BatchPolicy::Size(_) | BatchPolicy::Fixed(_) => patience,
        BatchPolicy::Delay(_, delay) => patience.min(later(oldest, delay.as_nanos() as f64)),
    };
    hold(most, limit, latest, now)
}

/// Nothing until one of these times, which ends the wait.
fn hold(requests: usize, limit: u64, latest: u64, now: u64) -> Action {
    match () {
        () if now >= latest => Action::Close(requests, CloseReason::Deadline),
        () if now >= limit => Action::Close(requests, CloseReason::Age),
        () => Action::WaitUntil(limit.min(latest)),
    }
}

/// Two reasons to hold a batch: those who are about to come, and its [equal part](equal_part) while other lanes work. Two
/// reasons not to take all that is there: several lanes are free, or the next will soon be.
fn adaptive(
    config: &BatchConfig,
    knowledge: &Knowledge,
    state: &State,
    price: f64,
    patience: u64,
    latest: u64,
) -> Action {
    let queue = &state.queue;
    let (until, requests) =
        match (gather(config, knowledge, state, price), equal_part(config, knowledge, state)) {
            // Who has been held for long enough is not held again.
            (Action::Close(requests, reason @ CloseReason::Age), _) => {
                return Action::Close(requests, reason);
            }
            (Action::Close(requests, reason), None) => return Action::Close(requests, reason),
            (Action::Close(requests, reason), Some((equal, took))) => {
                // One less is as good.
                if queue.queued as f64 >= 0.98 * equal - 1.0 {
                    return Action::Close(requests.min(at_most(equal, queue)), reason);
                }
                // Those lanes end sooner, unless their batches are of another kind.
                (later(state.held_since, 4.0 * took), requests)
            }
            (Action::WaitUntil(time), _) => (time, config.requests_limit()),
            (action, _) => return action,
        };
    hold(requests, until.min(patience), latest, state.now)
}

/// What a single lane would do: wait for those who can come, as long as that pays.
fn gather(config: &BatchConfig, knowledge: &Knowledge, state: &State, price: f64) -> Action {
    let State { queue, lanes_free, drains, now, .. } = *state;
    // Several free lanes share what there is: each then ends sooner, and there is nobody to leave one to.
    let spread = queue.queued.div_ceil(lanes_free);
    if queue.coming == 0 {
        return Action::Close(spread, nobody_else(drains));
    }
    let Some(cost) = knowledge.cost else {
        return Action::Close(spread, CloseReason::LaneFree);
    };
    let share = share(config, state);
    if queue.queued >= share {
        return Action::Close(share, CloseReason::Best);
    }
    let worth_ns = cost.submission_ns / price;
    // A lane that is idle for a time t gains r·t requests, at the rate r at which they come, for the submission that it is about to
    // pay: n₀ + r·t requests take t + a + b·n. Their number per time grows with t as long as r·a > n₀.
    let joining = queue.coming as f64 * worth_ns / knowledge.approach_ns.max(1.0);
    if state.held_with as f64 >= joining {
        return Action::Close(config.requests_limit(), CloseReason::Best);
    }
    let limit = later(state.held_since, 2.0 * worth_ns);
    if now >= limit {
        Action::Close(config.requests_limit(), CloseReason::Age)
    } else {
        Action::WaitUntil(limit)
    }
}

/// What a lane takes, if its equal part is so many: a little more, so that it catches up with what has gathered; or half of
/// all, where a lot has.
fn at_most(equal: f64, queue: &View) -> usize {
    (1.1 * equal).max(0.5 * queue.queued as f64).ceil() as usize
}

/// While other lanes work: the size of a batch if all lanes have equal ones, in requests, and what it takes; `None` if
/// that does not matter.
///
/// Lanes that take whatever is there when they become free get out of step: one takes what came during a long batch, the
/// next, free a moment later, nearly nothing, and so it stays. At a rate λ, L lanes that share the load equally and work
/// for a part ρ of the time have batches of n = λ·c(n) / (ρ·L), which is λ·a / (ρ·L − λ·b); but no more than a part of
/// the requests that there are. So a smaller batch is held while other lanes work: either requests come at that rate, and
/// soon fill it, or they come back from those lanes. And a larger one leaves some to the next lane. With little to do, n is less
/// than 1, and nothing is held.
fn equal_part(config: &BatchConfig, knowledge: &Knowledge, state: &State) -> Option<(f64, f64)> {
    let State { queue, lanes, on_lanes, drains, .. } = *state;
    let cost = knowledge.cost?;
    let is_adaptive = matches!(config.policy, BatchPolicy::Adaptive { .. });
    if !is_adaptive || lanes < 2 || queue.running == 0 || queue.queued == 0 || drains || knowledge.rate <= 0.0
    {
        return None;
    }
    let row_ns = cost.row_ns * queue.rows as f64 / queue.queued as f64;
    // Of the time of all lanes, what is left for submissions.
    let left = BUSY * lanes as f64 - knowledge.rate * row_ns;
    let part = (queue.queued + queue.coming + on_lanes) as f64 / lanes as f64;
    let limit = part.min(config.requests_limit() as f64);
    let equal = if left > 0.0 { (knowledge.rate * cost.submission_ns / left).min(limit) } else { limit };
    Some((equal, cost.submission_ns + row_ns * equal))
}

/// For which part of the time lanes are to work. At 1, nothing would be left to catch up with what has gathered; much less,
/// and batches, and with them latencies, become long. Between 0.95 and 0.98 it hardly matters (`bench batch`).
const BUSY: f64 = 0.97;

/// Under `Fixed`: an event that can come, and has not for so many times the patience, is not waited for any more.
const HOPELESS: f64 = 60.0;

/// What each free lane would get if all who can come were here; rounded up to what fills an allowed size, as far as there
/// are requests to fill it.
fn share(config: &BatchConfig, state: &State) -> usize {
    let State { queue, lanes_free, .. } = *state;
    let all = queue.queued + queue.coming;
    let share = all.div_ceil(lanes_free).min(config.requests_limit());
    if config.sizes.is_empty() || queue.rows == 0 {
        return share;
    }
    let rows_each = queue.rows as f64 / queue.queued as f64;
    let rows = (share as f64 * rows_each) as usize;
    let filled = (config.padded(rows).max(rows) as f64 / rows_each) as usize;
    filled.clamp(share, all.max(share)).min(config.requests_limit())
}

/// As a reason.
pub(super) fn nobody_else(drains: bool) -> CloseReason {
    if drains { CloseReason::Drain } else { CloseReason::NobodyElse }
}

fn no_lane(foreign: usize) -> Action {
    if foreign > 0 { Action::AwaitLane } else { Action::Wait }
}

/// Adds a length that may be infinite.
fn later(time: u64, ns: f64) -> u64 {
    time.saturating_add(ns.min(u64::MAX as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn policies() -> impl Strategy<Value = BatchPolicy> {
        prop_oneof![
            Just(BatchPolicy::Off),
            Just(BatchPolicy::Greedy),
            (1..100_usize).prop_map(BatchPolicy::Size),
            (1..100_usize, 0..1000_u64).prop_map(|(n, us)| BatchPolicy::Delay(n, Duration::from_micros(us))),
            (0.0..10.0_f64).prop_map(|price| BatchPolicy::Adaptive { price }),
            (1..100_usize).prop_map(BatchPolicy::Fixed),
        ]
    }

    fn configs() -> impl Strategy<Value = BatchConfig> {
        let sizes = proptest::collection::vec(1..500_usize, 0..3);
        (policies(), 1..200_usize, 1..1000_usize, 1..10_000_usize, sizes).prop_map(
            |(policy, requests_max, rows_max, bytes_max, sizes)| BatchConfig {
                policy,
                requests_max,
                rows_max,
                bytes_max,
                sizes,
                ..BatchConfig::default()
            },
        )
    }

    prop_compose! {
        fn states()(
            queued in 0..120_usize, rows_each in 0..20_usize, coming in 0..50_usize,
            lanes_free in 0..4_usize, lanes_foreign in 0..2_usize, running in 0..3_usize, drains: bool,
            now in 1_000_000..2_000_000_000_u64, age in 0..3_000_000_u64, deadline in 0..8_000_000_u64,
        ) -> State {
            let rows = queued * rows_each;
            let oldest = (queued > 0).then_some(now.saturating_sub(age));
            // A deadline in every second case.
            let deadline = if deadline % 2 == 0 { u64::MAX } else { now - 1_000_000 + deadline };
            let queue = View { queued, rows, bytes: 4 * rows, oldest, deadline, coming, running, ..View::default() };
            let lanes = lanes_free + lanes_foreign + running;
            let group = (queued > 0).then_some(Group { requests: queued.div_ceil(2), is_complete: age % 2 == 0 });
            let held_since = now.saturating_sub(age);
            let (on_lanes, held_with) = (10 * running, queued.div_ceil(3));
            State { queue, lanes_free, lanes_foreign, lanes, on_lanes, held_since, held_with, drains, group, now }
        }
    }

    prop_compose! {
        fn knowledge()(known: bool, a in 0.0..1e6_f64, b in 0.0..1e4_f64, approach_ns in 0.0..1e6_f64,
            rate in 0.0..0.01_f64,
        ) -> Knowledge {
            Knowledge { cost: known.then_some(Cost { submission_ns: a, row_ns: b }), approach_ns, rate }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_closed_without_a_request_and_a_free_lane(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            let action = decide(&config, &knowledge, &state);
            if state.queue.queued == 0 {
                prop_assert_eq!(action, Action::Wait);
            } else if state.lanes_free == 0 {
                prop_assert!(matches!(action, Action::Wait | Action::AwaitLane), "{:?}", action);
            }
        }

        #[test]
        fn what_is_closed_is_not_empty_and_within_the_limit(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            if let Action::Close(requests, _) = decide(&config, &knowledge, &state) {
                let fixed = matches!(config.policy, BatchPolicy::Fixed(_));
                prop_assert!(requests >= 1 && (fixed || requests <= config.requests_limit()));
            }
        }

        #[test]
        fn nobody_is_waited_for_who_cannot_come(
            config in configs(), knowledge in knowledge(), mut state in states(),
        ) {
            // Adaptive may hold a small batch while other lanes work.
            (state.queue.coming, state.queue.running) = (0, 0);
            state.group = state.group.map(|group| Group { is_complete: true, ..group });
            let action = decide(&config, &knowledge, &state);
            if state.queue.queued > 0 && state.lanes_free > 0 {
                prop_assert!(matches!(action, Action::Close(..)), "{:?}", action);
            }
        }

        #[test]
        fn every_wait_for_a_time_ends_at_that_time(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            if let Action::WaitUntil(time) = decide(&config, &knowledge, &state) {
                prop_assert!(time > state.now);
                let then = State { now: time, ..state };
                prop_assert!(matches!(decide(&config, &knowledge, &then), Action::Close(..)));
            }
        }

        #[test]
        fn whoever_waits_with_a_free_lane_waits_for_a_time_or_for_a_fixed_group(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            if state.queue.queued > 0 && state.lanes_free > 0 {
                let action = decide(&config, &knowledge, &state);
                let fixed = matches!(config.policy, BatchPolicy::Fixed(_));
                prop_assert!(fixed || matches!(action, Action::Close(..) | Action::WaitUntil(_)), "{:?}", action);
            }
        }

        #[test]
        fn one_more_request_never_makes_it_wait_longer(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            // Somebody who could come did. Rows of allowed sizes may be worth filling up, so they are left out; so are other
            // lanes that work, whose equal part depends on how many there are.
            let config = BatchConfig { sizes: Vec::new(), ..config };
            let mut state = state;
            state.queue.running = 0;
            if matches!(decide(&config, &knowledge, &state), Action::Close(..)) && state.queue.coming > 0 {
                let mut after = state;
                after.queue.queued += 1;
                after.queue.coming -= 1;
                after.group = after.group.map(|group| Group { requests: group.requests + 1, ..group });
                prop_assert!(matches!(decide(&config, &knowledge, &after), Action::Close(..)));
            }
        }

        #[test]
        fn a_deadline_is_kept_where_it_can_be(
            config in configs(), knowledge in knowledge(), state in states(),
        ) {
            let fixed = matches!(config.policy, BatchPolicy::Fixed(_));
            if let (false, Action::WaitUntil(time), Some(cost)) =
                (fixed, decide(&config, &knowledge, &state), knowledge.cost)
                && state.queue.deadline != u64::MAX
            {
                let took = cost.of(config.padded(state.queue.rows)) as u64;
                prop_assert!(time.saturating_add(took) <= state.queue.deadline);
            }
        }
    }

    /// One lane, a = 50 µs, b = 1 µs, and requests that come within a microsecond once they can.
    fn at(queued: usize, coming: usize, lanes_free: usize, approach_ns: f64) -> Action {
        let queue =
            View { queued, rows: queued, coming, oldest: Some(1000), deadline: u64::MAX, ..View::default() };
        let state =
            State { queue, lanes_free, held_since: 1000, held_with: queued, now: 1000, ..State::default() };
        let cost = Some(Cost { submission_ns: 50_000.0, row_ns: 1000.0 });
        decide(&BatchConfig::default(), &Knowledge { cost, approach_ns, rate: 0.0 }, &state)
    }

    #[test]
    fn adaptive_waits_for_those_who_come_soon_and_for_no_others() {
        assert_eq!(at(1, 7, 1, 1000.0), Action::WaitUntil(101_000));
        assert_eq!(at(8, 0, 1, 1000.0), Action::Close(8, CloseReason::NobodyElse));
        // Seven that take 10 ms each: within 50 µs hardly one of them.
        assert_eq!(at(1, 7, 1, 1e7), Action::Close(4096, CloseReason::Best));
    }

    #[test]
    fn adaptive_shares_among_free_lanes() {
        assert_eq!(at(1, 7, 4, 1000.0), Action::WaitUntil(101_000));
        assert_eq!(at(2, 6, 4, 1000.0), Action::Close(2, CloseReason::Best));
        assert_eq!(at(7, 0, 4, 1000.0), Action::Close(2, CloseReason::NobodyElse));
    }

    /// Four lanes of which three work, at a rate at which equal batches have 50 requests.
    fn beside_others(queued: usize, on_lanes: usize) -> Action {
        let queue = View {
            queued,
            rows: queued,
            oldest: Some(1000),
            deadline: u64::MAX,
            running: 3,
            ..View::default()
        };
        let state = State {
            queue,
            lanes_free: 1,
            lanes: 4,
            on_lanes,
            held_since: 1000,
            now: 1000,
            ..State::default()
        };
        let cost = Some(Cost { submission_ns: 50_000.0, row_ns: 1000.0 });
        // 50 = λ·50 µs / (3.88 − λ·1 µs)
        decide(&BatchConfig::default(), &Knowledge { cost, approach_ns: 0.0, rate: 0.001_939 }, &state)
    }

    #[test]
    fn adaptive_keeps_the_batches_of_lanes_equal() {
        // At most four times what a batch of 50 takes.
        let action = beside_others(20, 1000);
        assert!(matches!(action, Action::WaitUntil(400_000..=401_000)), "{action:?}");
        assert_eq!(beside_others(49, 1000), Action::Close(49, CloseReason::NobodyElse));
        assert_eq!(beside_others(80, 1000), Action::Close(55, CloseReason::NobodyElse));
        assert_eq!(beside_others(200, 1000), Action::Close(100, CloseReason::NobodyElse));
        // There are only eight: two for each.
        assert_eq!(beside_others(2, 6), Action::Close(2, CloseReason::NobodyElse));
    }

    #[test]
    fn a_batch_that_reaches_a_limit_is_not_held_for_those_who_can_come() {
        let config =
            BatchConfig { requests_max: 8, rows_max: 100, bytes_max: 1000, ..BatchConfig::default() };
        for policy in ["size=50", "delay=50:500", "adaptive=0"] {
            let config = config.clone().with_policy(policy.parse().unwrap());
            let knowledge = Knowledge {
                cost: Some(Cost { submission_ns: 50_000.0, row_ns: 1000.0 }),
                ..Knowledge::default()
            };
            let is_full = |queued, rows, bytes| {
                let (oldest, deadline) = (Some(1000), u64::MAX);
                let queue = View { queued, rows, bytes, coming: 5, oldest, deadline, ..View::default() };
                let state = State { queue, lanes_free: 1, held_since: 1000, now: 1000, ..State::default() };
                matches!(decide(&config, &knowledge, &state), Action::Close(_, CloseReason::Full))
            };
            assert!(!is_full(7, 99, 999), "{policy}");
            assert!(is_full(8, 0, 0) && is_full(1, 100, 0) && is_full(1, 0, 1000), "{policy}");
        }
    }

    #[test]
    fn a_fixed_group_is_waited_for_longer_while_somebody_can_come_but_not_for_ever() {
        let config = BatchConfig::default().with_policy(BatchPolicy::Fixed(5));
        let action = |coming, running, now| {
            let queue = View { queued: 3, oldest: Some(1000), coming, running, ..View::default() };
            let group = Some(Group { requests: 2, is_complete: false });
            let state = State { queue, lanes_free: 1, group, now, ..State::default() };
            decide(&config, &Knowledge::default(), &state)
        };
        let (patience, hopeless) = (1000 + 1_000_000_000, 1000 + 60_000_000_000);
        assert_eq!(action(0, 0, 2000), Action::WaitUntil(patience));
        assert_eq!(action(0, 0, patience), Action::Close(2, CloseReason::Age));
        assert_eq!(action(1, 0, patience), Action::WaitUntil(hopeless));
        assert_eq!(action(1, 0, hopeless), Action::Close(2, CloseReason::Age));
        assert_eq!(action(1, 1, hopeless), Action::Wait);
    }

    #[test]
    fn adaptive_fills_allowed_sizes_up() {
        let config = BatchConfig { sizes: vec![4, 16], ..BatchConfig::default() };
        let queue = View { queued: 6, rows: 6, coming: 20, deadline: u64::MAX, ..View::default() };
        let state = State { queue, lanes_free: 4, ..State::default() };
        assert_eq!(share(&config, &state), 16);
    }
}
