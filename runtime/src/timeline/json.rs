//! [`ChromeJson`]: the format that Chrome invented, an array with a record a line.

use super::item::{Arguments, Encoder, Item, Step, Track, Value};

/// Writes a record a line. The array needs no end to be read, so a file that is cut short is worth as much as it holds.
#[derive(Default)]
pub(super) struct ChromeJson {
    is_begun: bool,
}

impl Encoder for ChromeJson {
    fn put(&mut self, item: &Item<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(if std::mem::replace(&mut self.is_begun, true) { b",\n" } else { b"[\n" });
        match *item {
            Item::Process { pid, name } => {
                metadata(out, "process_name", Track { pid, tid: pid });
                text_argument(out, "name", name);
                out.extend_from_slice(b",\n");
                metadata(out, "process_sort_index", Track { pid, tid: pid });
                count_argument(out, "sort_index", pid.into());
            }
            Item::Thread { track, name } => {
                metadata(out, "thread_name", track);
                text_argument(out, "name", name);
                out.extend_from_slice(b",\n");
                metadata(out, "thread_sort_index", track);
                count_argument(out, "sort_index", track.tid.into());
            }
            Item::Slice { track, begin, end, category, name, number, arguments } => {
                head(out, "X", track, begin);
                out.extend_from_slice(b",\"dur\":");
                microseconds(out, end.saturating_sub(begin));
                named(out, category, name, number);
                self::arguments(out, arguments);
            }
            Item::Begin { track, at, category, name, arguments } => {
                head(out, "B", track, at);
                named(out, category, name, None);
                self::arguments(out, arguments);
            }
            Item::End { track, at } => {
                head(out, "E", track, at);
                out.push(b'}');
            }
            Item::Instant { track, at, category, name, arguments } => {
                head(out, "i", track, at);
                out.extend_from_slice(if track == super::item::JOB {
                    b",\"s\":\"p\""
                } else {
                    b",\"s\":\"t\""
                });
                named(out, category, name, None);
                self::arguments(out, arguments);
            }
            Item::Flow { track, at, id, step } => {
                let phase = match step {
                    Step::Start => "s",
                    Step::Next => "t",
                    Step::End => "f",
                };
                head(out, phase, track, at);
                out.extend_from_slice(b",\"cat\":\"flow\",\"name\":\"request\",\"id\":");
                count(out, id);
                // Else it would bind to the next slice on the track.
                out.extend_from_slice(if step == Step::End { b",\"bp\":\"e\"}" } else { b"}" });
            }
            Item::Counter { pid, at, name, value } => {
                head(out, "C", Track { pid, tid: pid }, at);
                named(out, "counter", name, None);
                self::arguments(out, &[("value", Value::Number(value))]);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_begun { b"\n]\n" } else { b"[\n]\n" });
    }
}

fn metadata(out: &mut Vec<u8>, what: &str, Track { pid, tid }: Track) {
    out.extend_from_slice(b"{\"ph\":\"M\",\"pid\":");
    count(out, pid.into());
    // The tracks of slots are lanes of one group, of workers threads of one process: names of groups have no thread.
    if what.starts_with("thread") {
        out.extend_from_slice(b",\"tid\":");
        count(out, tid.into());
    }
    out.extend_from_slice(b",\"name\":");
    text(out, what);
}

fn text_argument(out: &mut Vec<u8>, key: &str, value: &str) {
    arguments(out, &[(key, Value::Text(value))]);
}

fn count_argument(out: &mut Vec<u8>, key: &str, value: u64) {
    arguments(out, &[(key, Value::Count(value))]);
}

fn head(out: &mut Vec<u8>, phase: &str, Track { pid, tid }: Track, at: u64) {
    out.extend_from_slice(b"{\"ph\":\"");
    out.extend_from_slice(phase.as_bytes());
    out.extend_from_slice(b"\",\"pid\":");
    count(out, pid.into());
    out.extend_from_slice(b",\"tid\":");
    count(out, tid.into());
    out.extend_from_slice(b",\"ts\":");
    microseconds(out, at);
}

fn named(out: &mut Vec<u8>, category: &str, name: &str, number: Option<u64>) {
    out.extend_from_slice(b",\"cat\":");
    text(out, category);
    out.extend_from_slice(b",\"name\":");
    text(out, name);
    if let Some(number) = number {
        out.pop(); // the quote
        out.push(b' ');
        count(out, number);
        out.push(b'"');
    }
}

/// Ends the record.
fn arguments(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    if arguments.is_empty() {
        return out.push(b'}');
    }
    out.extend_from_slice(b",\"args\":{");
    for (i, (key, value)) in arguments.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        text(out, key);
        out.push(b':');
        match *value {
            Value::Count(value) => count(out, value),
            Value::Number(value) if value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 => {
                if value < 0.0 {
                    out.push(b'-');
                }
                count(out, value.abs() as u64);
            }
            // JSON knows no infinity.
            Value::Number(value) if !value.is_finite() => text(out, &value.to_string()),
            Value::Number(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Value::Text(value) => text(out, value),
            Value::Flag(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        }
    }
    out.extend_from_slice(b"}}");
}

fn text(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("writing text into memory cannot fail");
    }
}

fn count(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// With all nanoseconds: as floating-point numbers they would lose them after some hours.
fn microseconds(out: &mut Vec<u8>, ns: u64) {
    count(out, ns / 1000);
    let rest = ns % 1000;
    out.extend_from_slice(&[
        b'.',
        b'0' + (rest / 100) as u8,
        b'0' + (rest / 10 % 10) as u8,
        b'0' + (rest % 10) as u8,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::item::EVENTS;
    use serde_json::{Value as Json, json};

    fn written(items: &[Item<'_>]) -> Vec<Json> {
        let (mut encoder, mut out) = (ChromeJson::default(), Vec::new());
        items.iter().for_each(|item| encoder.put(item, &mut out));
        encoder.finish(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    const TRACK: Track = Track { pid: EVENTS, tid: 1000 };

    #[test]
    fn slices_have_times_to_the_nanosecond_and_arguments_of_their_own_types() {
        let arguments = [
            ("event", Value::Count(17)),
            ("share", Value::Number(0.5)),
            ("cause", Value::Text("a \"quoted\"\nline")),
            ("failed", Value::Flag(true)),
        ];
        let (category, number) = ("event", Some(17));
        let slice = Item::Slice {
            track: TRACK,
            begin: 1_002_003,
            end: 1_002_010,
            category,
            name: "event",
            number,
            arguments: &arguments,
        };
        let [slice] = <[Json; 1]>::try_from(written(&[slice])).unwrap();
        let args = json!({"event": 17, "share": 0.5, "cause": "a \"quoted\"\nline", "failed": true});
        assert_eq!(
            slice,
            json!({
                "ph": "X", "pid": 2, "tid": 1000, "ts": 1002.003, "dur": 0.007, "cat": "event", "name": "event 17", "args": args
            })
        );
    }

    #[test]
    fn names_of_tracks_come_with_their_order() {
        let records = written(&[
            Item::Process { pid: EVENTS, name: "events" },
            Item::Thread { track: TRACK, name: "slot 0" },
        ]);
        let names: Vec<&str> = records.iter().map(|record| record["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["process_name", "process_sort_index", "thread_name", "thread_sort_index"]);
        assert_eq!(records[3]["args"]["sort_index"], 1000);
    }

    #[test]
    fn arrows_end_on_the_slice_around_them_and_counters_hold_numbers() {
        let flow = |step| Item::Flow { track: TRACK, at: 5, id: 3, step };
        let counter = Item::Counter { pid: EVENTS, at: 5, name: "in flight", value: 2.0 };
        let records = written(&[flow(Step::Start), flow(Step::Next), flow(Step::End), counter]);
        let phases: Vec<&str> = records.iter().map(|record| record["ph"].as_str().unwrap()).collect();
        assert_eq!(phases, ["s", "t", "f", "C"]);
        assert_eq!((&records[2]["bp"], &records[3]["args"]["value"]), (&json!("e"), &json!(2)));
    }

    #[test]
    fn an_empty_timeline_is_an_empty_array() {
        assert!(written(&[]).is_empty());
    }
}
