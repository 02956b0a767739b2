//! [`Item`]: a piece of a timeline, in whatever format it is written.

/// A line of the picture: a thread of a process, to Perfetto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Track {
    pub(super) pid: u32,
    pub(super) tid: u32,
}

/// The groups of tracks, in the order of the picture.
pub(super) const WORKERS: u32 = 1;
pub(super) const EVENTS: u32 = 2;
pub(super) const DEVICES: u32 = 3;

/// Where records that belong to the whole job go.
pub(super) const JOB: Track = Track { pid: WORKERS, tid: WORKERS };

/// Perfetto takes thread 0 of process 1 for its thread 1: numbers begin well above.
pub(super) const WORKERS_FROM: u32 = 100;
pub(super) const OTHERS_FROM: u32 = 1000;
pub(super) const SLOTS_FROM: u32 = 1000;
pub(super) const LANES_FROM: u32 = 10;

/// The number of a worker, from the name of its thread.
pub(super) fn worker(thread: &str) -> Option<u32> {
    thread.strip_prefix("worker-")?.parse().ok().filter(|&number| number < OTHERS_FROM - WORKERS_FROM)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Count(u64),
    Number(f64),
    Text(&'a str),
    Flag(bool),
}

pub(super) type Arguments<'a> = &'a [(&'a str, Value<'a>)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    Next,
    End,
}

/// A piece of a timeline. Times are nanoseconds since the file's origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    /// The name of a group of tracks.
    Process {
        pid: u32,
        name: &'a str,
    },
    /// The name of a track.
    Thread {
        track: Track,
        name: &'a str,
    },
    /// Something with a beginning and an end. A number is written behind the name.
    Slice {
        track: Track,
        begin: u64,
        end: u64,
        category: &'a str,
        name: &'a str,
        number: Option<u64>,
        arguments: Arguments<'a>,
    },
    /// The same in two pieces.
    Begin {
        track: Track,
        at: u64,
        category: &'a str,
        name: &'a str,
        arguments: Arguments<'a>,
    },
    End {
        track: Track,
        at: u64,
    },
    Instant {
        track: Track,
        at: u64,
        category: &'a str,
        name: &'a str,
        arguments: Arguments<'a>,
    },
    /// An arrow leaves, passes or reaches the slice that is open on the track at that time.
    Flow {
        track: Track,
        at: u64,
        id: u64,
        step: Step,
    },
    Counter {
        pid: u32,
        at: u64,
        name: &'a str,
        value: f64,
    },
}

/// How items are written.
pub(super) trait Encoder: Send {
    /// Appends an item to `out`.
    fn put(&mut self, item: &Item<'_>, out: &mut Vec<u8>);

    /// Appends what a complete file ends with.
    fn finish(&mut self, out: &mut Vec<u8>);
}
