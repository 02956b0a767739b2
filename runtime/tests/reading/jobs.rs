//! Small jobs, as files.
#![allow(unreachable_pub)]

use serde_json::json;

use crate::sample::{DEVICES, SLOTS, Sample, WORKERS};

/// Two events whose requests share a batch; every figure can be computed by hand.
pub fn two_events() -> Sample {
    let mut job = Sample::new(2, 2);
    job.name_track(DEVICES, 10, "emulated lane 0");

    job.event(0, 1, (0, 100_000));
    job.call(0, "prepare", 1, 2_000, &[("running", 22_001)]);
    let states = [
        ("running", 24_001),
        ("queued in batch", 40_000),
        ("awaiting lane", 45_000),
        ("on device", 70_000),
        ("ready", 80_000),
        ("running", 90_000),
    ];
    job.call(0, "clusterize", 1, 22_001, &states);
    job.delivery(0, "sinks", 1, (91_000, 99_000));
    job.poll(0, "prepare", 1, (2_000, 22_001));
    job.poll(0, "clusterize", 1, (22_001, 24_001));
    job.poll(0, "clusterize", 1, (80_000, 90_000));

    job.event(1, 2, (10_000, 150_000));
    job.call(10, "prepare", 2, 11_000, &[("running", 31_000)]);
    let states = [
        ("running", 32_000),
        ("queued in batch", 40_000),
        ("awaiting lane", 45_000),
        ("on device", 70_000),
        ("ready", 71_500),
        ("ready", 72_000),
        ("running", 130_000),
    ];
    job.call(10, "clusterize", 2, 31_000, &states);
    job.delivery(1, "awaiting turn", 2, (131_000, 139_000));
    job.delivery(1, "sinks", 2, (139_000, 149_500));
    job.poll(1, "prepare", 2, (11_000, 31_000));
    job.poll(1, "clusterize", 2, (31_000, 32_000));
    job.poll(1, "clusterize", 2, (72_000, 130_000));

    job.batch(0, 1, 2, (45_000, 70_000), ("best size", 40_000), 15_999);
    job.arrow("s", WORKERS, 100, 1, 23_001);
    job.arrow("t", DEVICES, 10, 1, 45_000);
    job.arrow("f", WORKERS, 100, 1, 81_000);
    job.arrow("s", WORKERS, 101, 2, 31_900);
    job.arrow("t", DEVICES, 10, 2, 45_000);
    job.arrow("f", WORKERS, 101, 2, 72_100);
    job.counter(SLOTS, "events in flight", &[(0, 1.0), (10_000, 2.0), (100_000, 1.0), (150_000, 0.0)]);
    job.counter(DEVICES, "queue depth clue", &[(23_001, 1.0), (31_900, 2.0), (40_000, 0.0)]);
    job.counter(DEVICES, "batch size clue", &[(40_000, 2.0)]);
    job.counter(DEVICES, "occupancy emulated", &[(45_000, 1.0), (70_000, 0.0)]);
    job.end(2);
    job
}

/// Durations of one event, in nanoseconds.
pub type Durations = [i64; 12];

/// Events in rounds: those of a round run side by side, one in each slot, and share a batch.
pub fn rounds(rounds: &[(Vec<Durations>, [i64; 3])], slots: u64, lanes: u64) -> Sample {
    let mut job = Sample::new(2 * slots, slots);
    for lane in 0..lanes {
        job.name_track(DEVICES, 10 + lane, &format!("emulated lane {lane}"));
    }
    let (mut begin, mut event) = (0, 0);
    let mut depth = Vec::new();
    for (round, (events, batch)) in rounds.iter().enumerate() {
        let lane = round as u64 % lanes;
        let submitted = |d: &Durations| begin + d[0] + d[1] + d[2] + d[3];
        let times = events.iter().map(submitted);
        let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
        let closed = last + batch[0];
        let (from, to) = (closed + batch[1], closed + batch[1] + batch[2]);
        let requests = events.len() as u64;
        job.batch(lane, round as u64, requests, (from, to), ("best size", closed), closed - first);
        let mut next = begin;
        for (slot, d) in events.iter().enumerate() {
            depth.push((submitted(d), 1.0));
            next =
                next.max(one_event(&mut job, slot as u64, slots, event, begin, (closed, from, to), lane, d));
            event += 1;
        }
        depth.push((closed, 0.0));
        begin = next;
    }
    job.counter(SLOTS, "events in flight", &[(0, 1.0)]);
    job.counter(DEVICES, "queue depth clue", &depth);
    job.counter(DEVICES, "batch size clue", &[(0, 0.0)]);
    job.counter(DEVICES, "occupancy emulated", &[(0, 0.0)]);
    job.end(event);
    job
}

/// One event of [`rounds`]; gives its end.
#[allow(clippy::too_many_arguments)]
fn one_event(
    job: &mut Sample,
    slot: u64,
    slots: u64,
    event: u64,
    begin: i64,
    (closed, from, to): (i64, i64, i64),
    lane: u64,
    d: &Durations,
) -> i64 {
    let begin = begin + d[0];
    let prepare = (begin + d[1], begin + d[1] + d[2]);
    let submitted = prepare.1 + d[3];
    let resumed = to + d[4];
    let end = resumed + d[5];
    // At the same time, on another worker.
    let other = slots + slot;
    let first = prepare.1 + d[6];
    let woken = first + d[7];
    let again = woken + d[8];
    let done = again + d[9];
    let delivered = end.max(done) + d[10];

    job.event(slot, event, (begin, delivered + d[11]));
    job.call(10 * slot, "prepare", event, prepare.0, &[("running", prepare.1)]);
    let states = [
        ("running", submitted),
        ("queued in batch", closed),
        ("awaiting lane", from),
        ("on device", to),
        ("ready", resumed),
        ("running", end),
    ];
    job.call(10 * slot, "clusterize", event, prepare.1, &states);
    let states = [("running", first), ("suspended", woken), ("ready", again), ("running", done)];
    job.call(10 * slot + 1, "assess", event, prepare.1, &states);
    job.delivery(slot, "awaiting turn", event, (end.max(done), delivered));
    job.delivery(slot, "sinks", event, (delivered, delivered + d[11]));
    job.poll(slot, "prepare", event, prepare);
    job.poll(slot, "clusterize", event, (prepare.1, submitted));
    job.poll(slot, "clusterize", event, (resumed, end));
    job.poll(other, "assess", event, (prepare.1, first));
    job.poll(other, "assess", event, (again, done));
    job.arrow("s", WORKERS, 100 + slot, event, submitted);
    job.arrow("t", DEVICES, 10 + lane, event, from);
    job.arrow("f", WORKERS, 100 + slot, event, resumed);
    delivered + d[11]
}

/// Workers that take `find_pulses` of each event in turn: it is ready until one of them is free.
pub fn computing(threads: u64, slots: u64, events: u64, takes: i64) -> Sample {
    let mut job = Sample::new(threads, slots);
    let mut workers = vec![0; threads as usize];
    let mut free = vec![0; slots as usize];
    for event in 0..events {
        let slot = (0..slots).min_by_key(|&slot| free[slot as usize]).unwrap();
        let worker = (0..threads).min_by_key(|&worker| workers[worker as usize]).unwrap();
        let begin = free[slot as usize];
        let runs = begin.max(workers[worker as usize]);
        let end = runs + takes;
        job.event(slot, event, (begin, end));
        job.call(10 * slot, "find_pulses", event, begin, &[("ready", runs), ("running", end)]);
        job.poll(worker, "find_pulses", event, (runs, end));
        workers[worker as usize] = end;
        free[slot as usize] = end;
    }
    job.counter(SLOTS, "events in flight", &[(0, 1.0)]);
    job.end(events);
    job
}

/// Each slot's events go to a device of one lane, alone; workers have hardly anything to do.
pub struct OnDevice {
    pub slots: u64,
    pub events: u64,
    /// From the poll to the closing of the batch.
    pub held: i64,
    /// A batch.
    pub takes: i64,
    /// From one batch to the next.
    pub pause: i64,
    pub closed: &'static str,
}

impl OnDevice {
    pub fn job(&self) -> Sample {
        let Self { slots, events, held, takes, pause, closed } = *self;
        let mut job = Sample::new(2, slots);
        job.name_track(DEVICES, 10, "emulated lane 0");
        let (mut free, mut lane) = (vec![0; slots as usize], 0);
        for event in 0..events {
            let slot = (0..slots).min_by_key(|&slot| free[slot as usize]).unwrap();
            let begin = free[slot as usize];
            let polled = begin + 100;
            let closes = (polled + held).max(lane);
            let (from, to) = (closes, closes + takes);
            lane = to + pause;
            let end = to + 100;
            job.event(slot, event, (begin, end));
            let states =
                [("running", polled), ("queued in batch", closes), ("on device", to), ("running", end)];
            job.call(10 * slot, "clusterize", event, begin, &states);
            job.batch(0, event, 1, (from, to), (closed, closes), closes - polled);
            job.poll(slot % 2, "clusterize", event, (begin, polled));
            free[slot as usize] = end;
        }
        for name in ["queue depth clue", "batch size clue", "occupancy emulated"] {
            job.counter(DEVICES, name, &[(0, 1.0)]);
        }
        job.counter(SLOTS, "events in flight", &[(0, 1.0)]);
        job.end(events);
        job
    }
}

/// A demand from inside: `outer` waits until `inner`, which it demanded, is there.
pub fn demanded_inside() -> Sample {
    let mut job = Sample::new(1, 1);
    job.event(0, 7, (0, 50_000));
    let states = [("running", 10_000), ("suspended", 30_000), ("ready", 31_000), ("running", 50_000)];
    job.call(0, "outer", 7, 0, &states);
    job.call(1, "first", 7, 10_500, &[("ready", 12_000), ("running", 20_000)]);
    job.call(1, "inner", 7, 20_000, &[("running", 29_500)]);
    job.slice(2, 1000, "delivery", "unheard of", (50_000, 50_000), json!({"event": 7}));
    job.counter(SLOTS, "events in flight", &[(0, 1.0)]);
    job.end(1);
    job
}
