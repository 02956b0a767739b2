//! [`Record`]: one line of the file, with as little copied as possible.
//!
//! A user's own spans are in the file, too, with whatever arguments they have; so any argument may be anything.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) ph: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) name: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) cat: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) pid: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) tid: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) ts: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) dur: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) id: Datum<'a>,
    #[serde(borrow, default)]
    pub(super) args: Arguments<'a>,
}

impl Record<'_> {
    /// When it is, or begins.
    pub(super) fn ts_ns(&self) -> i64 {
        self.ts.nanoseconds().unwrap_or(0)
    }

    pub(super) fn end_ns(&self) -> i64 {
        self.ts_ns().saturating_add(self.dur.nanoseconds().unwrap_or(0))
    }
}

/// A number, a text, or something that is of no interest.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Datum<'a> {
    #[default]
    None,
    Whole(u64),
    Real(f64),
    Text(Cow<'a, str>),
    Truth(bool),
}

impl Datum<'_> {
    pub(super) fn whole(&self) -> Option<u64> {
        match *self {
            Datum::Whole(whole) => Some(whole),
            Datum::Real(real) if real >= 0.0 && real.fract() == 0.0 => Some(real as u64),
            _ => None,
        }
    }

    pub(super) fn real(&self) -> Option<f64> {
        match *self {
            Datum::Whole(whole) => Some(whole as f64),
            Datum::Real(real) => Some(real),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Datum::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn truth(&self) -> bool {
        *self == Datum::Truth(true)
    }

    /// Of a time in microseconds with three decimals. Doubles hold those exactly enough for a hundred days.
    pub(super) fn nanoseconds(&self) -> Option<i64> {
        match *self {
            Datum::Whole(us) => i64::try_from(us).ok()?.checked_mul(1000),
            Datum::Real(us) => Some((us * 1e3).round() as i64),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Datum<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DatumVisitor)
    }
}

struct DatumVisitor;

impl<'de> Visitor<'de> for DatumVisitor {
    type Value = Datum<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Datum<'de>, E> {
        Ok(Datum::Truth(truth))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Datum<'de>, E> {
        Ok(Datum::Whole(whole))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Datum<'de>, E> {
        Ok(u64::try_from(whole).map_or(Datum::Real(whole as f64), Datum::Whole))
    }

    fn visit_f64<E>(self, real: f64) -> Result<Datum<'de>, E> {
        Ok(Datum::Real(real))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Datum<'de>, E> {
        Ok(Datum::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Datum<'de>, E> {
        Ok(Datum::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Datum<'de>, E> {
        Ok(Datum::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Datum<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Datum::None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Datum<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Datum::None)
    }
}

/// The arguments of a record: few, so a search from the front is as good as anything.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a>(Vec<(Cow<'a, str>, Datum<'a>)>);

impl<'a> Arguments<'a> {
    pub(super) fn get(&self, name: &str) -> &Datum<'a> {
        self.0.iter().find(|(key, _)| key == name).map_or(&Datum::None, |(_, datum)| datum)
    }

    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        self.get(name).whole()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).text()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Arguments<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ArgumentsVisitor)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Arguments<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arguments<'de>, A::Error> {
        let mut all = Vec::with_capacity(map.size_hint().unwrap_or(4));
        while let Some(key) = map.next_key::<Key<'de>>()? {
            all.push((key.0, map.next_value()?));
        }
        Ok(Arguments(all))
    }
}

/// `Cow` alone would always be copied.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_to_the_nanosecond_and_arguments_may_be_anything() {
        let line = r#"{"ph":"X","pid":2,"tid":"x","ts":123456789012.345,"dur":7,"name":"a\"b","id":null,
            "args":{"event":17,"deep":{"a":[1,{}]},"rows":-3,"failed":true,"text":"plain"},"other":[1]}"#;
        let record: Record<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(record.ts_ns(), 123_456_789_012_345);
        assert_eq!(record.end_ns(), 123_456_789_019_345);
        assert_eq!(record.name.text(), Some("a\"b"));
        assert_eq!((record.pid.whole(), record.tid.whole(), &record.id), (Some(2), None, &Datum::None));
        let arguments = &record.args;
        assert_eq!((arguments.whole("event"), arguments.whole("rows")), (Some(17), None));
        assert_eq!((arguments.get("rows").real(), arguments.get("deep")), (Some(-3.0), &Datum::None));
        assert!(arguments.get("failed").truth() && !arguments.get("text").truth());
        assert!(matches!(arguments.get("text"), Datum::Text(Cow::Borrowed("plain"))), "nothing is copied");
    }
}
