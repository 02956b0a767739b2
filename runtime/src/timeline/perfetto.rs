//! [`PerfettoProtobuf`]: Perfetto's own format, a sequence of `TracePacket`s.
//!
//! The numbers of fields are those of Perfetto's published `.proto` files; what is used of them fits into a few lines, so no
//! library is needed. Names are sent once and referred to by number.

use std::collections::{HashMap, HashSet};

use super::item::{Arguments, Encoder, Item, JOB, Step, Track, Value};

/// Fields of `TracePacket`.
mod packet {
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const INTERNED: u32 = 12;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
}

/// Fields of `TrackEvent`.
mod track_event {
    pub(super) const CATEGORY: u32 = 3;
    pub(super) const ANNOTATION: u32 = 4;
    pub(super) const TYPE: u32 = 9;
    pub(super) const NAME: u32 = 10;
    pub(super) const TRACK: u32 = 11;
    pub(super) const PLAIN_NAME: u32 = 23;
    pub(super) const VALUE: u32 = 44;
    pub(super) const FLOW: u32 = 47;
    pub(super) const LAST_FLOW: u32 = 48;
    pub(super) const BEGIN: u64 = 1;
    pub(super) const END: u64 = 2;
    pub(super) const INSTANT: u64 = 3;
    pub(super) const COUNTER: u64 = 4;
}

/// Fields of `TrackDescriptor`.
mod descriptor {
    pub(super) const UUID: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const PROCESS: u32 = 3;
    pub(super) const THREAD: u32 = 4;
    pub(super) const PARENT: u32 = 5;
    pub(super) const COUNTER: u32 = 8;
    pub(super) const ORDERING: u32 = 11;
    pub(super) const RANK: u32 = 12;
    /// Children in the order of their ranks.
    pub(super) const EXPLICIT: u64 = 3;
}

/// What an interned text is: its field in `InternedData`.
#[derive(Clone, Copy)]
enum Kind {
    Category = 1,
    Name = 2,
    Annotation = 3,
}

#[derive(Clone, Copy)]
struct Named<'a> {
    category: &'a str,
    name: &'a str,
    number: Option<u64>,
}

#[derive(Default)]
pub(super) struct PerfettoProtobuf {
    /// By kind.
    texts: [HashMap<String, u64>; 3],
    counters: HashMap<String, u64>,
    tracks: HashSet<Track>,
    is_begun: bool,
}

impl Encoder for PerfettoProtobuf {
    fn put(&mut self, item: &Item<'_>, out: &mut Vec<u8>) {
        match *item {
            Item::Process { pid, name } => {
                let mut process = Vec::new();
                number(&mut process, 1, pid.into());
                bytes(&mut process, 6, name.as_bytes());
                describe(
                    out,
                    &[(descriptor::UUID, group(pid)), (descriptor::RANK, pid.into())],
                    &[(descriptor::PROCESS, &process)],
                );
            }
            Item::Thread { track, name } => self.thread(out, track, name),
            Item::Slice { track, begin, end, category, name, number, arguments } => {
                let named = Named { category, name, number };
                self.event(out, (track, begin), track_event::BEGIN, Some(named), arguments, None);
                self.event(out, (track, end), track_event::END, None, &[], None);
            }
            Item::Begin { track, at, category, name, arguments } => {
                let named = Named { category, name, number: None };
                self.event(out, (track, at), track_event::BEGIN, Some(named), arguments, None);
            }
            Item::End { track, at } => self.event(out, (track, at), track_event::END, None, &[], None),
            Item::Instant { track, at, category, name, arguments } => {
                let named = Named { category, name, number: None };
                self.event(out, (track, at), track_event::INSTANT, Some(named), arguments, None);
            }
            // An arrow needs something to lead from: slices are written before it is known what leaves them.
            Item::Flow { track, at, id, step } => {
                let named = Some(Named { category: "flow", name: "request", number: None });
                self.event(out, (track, at), track_event::INSTANT, named, &[], Some((id, step)));
            }
            Item::Counter { pid, at, name, value } => self.count(out, pid, at, name, value),
        }
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}
}

impl PerfettoProtobuf {
    fn thread(&mut self, out: &mut Vec<u8>, track: Track, name: &str) {
        self.tracks.insert(track);
        let mut thread = Vec::new();
        number(&mut thread, 1, track.pid.into());
        number(&mut thread, 2, track.tid.into());
        bytes(&mut thread, 5, name.as_bytes());
        let numbers = [
            (descriptor::UUID, uuid(track)),
            (descriptor::PARENT, group(track.pid)),
            (descriptor::RANK, track.tid.into()),
        ];
        describe(out, &numbers, &[(descriptor::THREAD, &thread)]);
    }

    fn event(
        &mut self,
        out: &mut Vec<u8>,
        (track, at): (Track, u64),
        kind: u64,
        named: Option<Named<'_>>,
        arguments: Arguments<'_>,
        flow: Option<(u64, Step)>,
    ) {
        if !self.tracks.contains(&track) {
            self.thread(out, track, if track == JOB { "job" } else { "unnamed" });
        }
        let (mut event, mut interned) = (Vec::new(), Vec::new());
        number(&mut event, track_event::TYPE, kind);
        number(&mut event, track_event::TRACK, uuid(track));
        if let Some(Named { category, name, number: counted }) = named {
            let category = self.intern(Kind::Category, category, &mut interned);
            number(&mut event, track_event::CATEGORY, category);
            match counted {
                // Every event has a name of its own: too many to be kept.
                Some(counted) => {
                    bytes(&mut event, track_event::PLAIN_NAME, format!("{name} {counted}").as_bytes());
                }
                None => number(&mut event, track_event::NAME, self.intern(Kind::Name, name, &mut interned)),
            }
        }
        for (key, value) in arguments {
            let mut annotation = Vec::new();
            number(&mut annotation, 1, self.intern(Kind::Annotation, key, &mut interned));
            match *value {
                Value::Flag(flag) => number(&mut annotation, 2, flag.into()),
                Value::Count(count) => number(&mut annotation, 3, count),
                Value::Number(value) => fixed(&mut annotation, 5, value.to_bits()),
                Value::Text(text) => bytes(&mut annotation, 6, text.as_bytes()),
            }
            bytes(&mut event, track_event::ANNOTATION, &annotation);
        }
        match flow {
            Some((id, Step::End)) => fixed(&mut event, track_event::LAST_FLOW, id),
            Some((id, _)) => fixed(&mut event, track_event::FLOW, id),
            None => {}
        }
        self.packet(out, at, &event, &interned);
    }

    fn count(&mut self, out: &mut Vec<u8>, pid: u32, at: u64, name: &str, value: f64) {
        let next = self.counters.len() as u64;
        let uuid = match self.counters.get(name) {
            Some(&uuid) => uuid,
            None => {
                let uuid = (1 << 40) + next;
                self.counters.insert(name.to_owned(), uuid);
                // Below the slots or lanes of the group.
                let numbers = [
                    (descriptor::UUID, uuid),
                    (descriptor::PARENT, group(pid)),
                    (descriptor::RANK, (1 << 30) + next),
                ];
                describe(out, &numbers, &[(descriptor::NAME, name.as_bytes()), (descriptor::COUNTER, &[])]);
                uuid
            }
        };
        let mut event = Vec::new();
        number(&mut event, track_event::TYPE, track_event::COUNTER);
        number(&mut event, track_event::TRACK, uuid);
        fixed(&mut event, track_event::VALUE, value.to_bits());
        self.packet(out, at, &event, &[]);
    }

    fn packet(&mut self, out: &mut Vec<u8>, at: u64, event: &[u8], interned: &[u8]) {
        let mut packet = Vec::with_capacity(event.len() + interned.len() + 32);
        number(&mut packet, packet::TIMESTAMP, at);
        number(&mut packet, packet::SEQUENCE, 1);
        // Interned texts are valid from the first packet on, and every one may refer to them.
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        number(&mut packet, packet::SEQUENCE_FLAGS, if is_first { 1 } else { 2 });
        if !interned.is_empty() {
            bytes(&mut packet, packet::INTERNED, interned);
        }
        bytes(&mut packet, packet::TRACK_EVENT, event);
        bytes(out, 1, &packet);
    }

    /// The number of a text; the text itself too, if it is new.
    fn intern(&mut self, kind: Kind, text: &str, interned: &mut Vec<u8>) -> u64 {
        let texts = &mut self.texts[kind as usize - 1];
        if let Some(&known) = texts.get(text) {
            return known;
        }
        let next = texts.len() as u64 + 1;
        texts.insert(text.to_owned(), next);
        let mut entry = Vec::new();
        number(&mut entry, 1, next);
        bytes(&mut entry, 2, text.as_bytes());
        bytes(interned, kind as u32, &entry);
        next
    }
}

fn group(pid: u32) -> u64 {
    u64::from(pid)
}

fn uuid(Track { pid, tid }: Track) -> u64 {
    (u64::from(pid) << 32) | u64::from(tid)
}

/// A track: its place in the tree and among its siblings, and what it is.
fn describe(out: &mut Vec<u8>, numbers: &[(u32, u64)], parts: &[(u32, &[u8])]) {
    let mut track = Vec::new();
    numbers.iter().for_each(|&(field, value)| number(&mut track, field, value));
    parts.iter().for_each(|(field, part)| bytes(&mut track, *field, part));
    number(&mut track, descriptor::ORDERING, descriptor::EXPLICIT);
    let mut packet = Vec::new();
    number(&mut packet, packet::SEQUENCE, 1);
    bytes(&mut packet, packet::TRACK_DESCRIPTOR, &track);
    bytes(out, 1, &packet);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

/// A fixed64, or the bits of a double.
fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
