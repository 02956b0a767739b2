//! [`Parameter`]: something the user may choose, and [`Values`]: what was chosen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use asynchrotron::batch::BatchPolicy;
use asynchrotron::{OnError, Result};

use crate::error::{unknown, usage};

/// Something the user may choose. Tables of these are the only place where names, defaults and meanings are written:
/// flags, configuration files and `list` follow them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    /// In kebab case; files may also write snake case.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As the user would write it; empty: nothing.
    pub(crate) default: &'static str,
    /// Empty: none.
    pub(crate) unit: &'static str,
    pub(crate) doc: &'static str,
}

impl Parameter {
    /// How the requests of an algorithm form batches.
    pub(crate) const fn batches(name: &'static str) -> Self {
        let doc = "how its requests form batches; nothing: as --batch";
        Parameter { name, kind: Kind::Batches, default: "", unit: "", doc }
    }

    pub(crate) const fn number(
        name: &'static str,
        default: &'static str,
        unit: &'static str,
        doc: &'static str,
    ) -> Self {
        Parameter { name, kind: Kind::Number, default, unit, doc }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Count,
    Number,
    Flag,
    Text,
    Choice(&'static [&'static str]),
    Policy,
    Batches,
    /// A time and a length.
    Window,
}

const BATCHES: &str = "auto, off, greedy, size=N, delay=N:US, adaptive, adaptive=PRICE or fixed=N";

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Count(u64),
    Number(f64),
    Flag(bool),
    Text(String),
}

impl Kind {
    pub(crate) fn expected(self) -> String {
        match self {
            Kind::Count => "a whole number, 0 or more".into(),
            Kind::Number => "a finite number".into(),
            Kind::Flag => "true or false".into(),
            Kind::Text => "text".into(),
            Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
            Kind::Batches => BATCHES.into(),
            Kind::Window => "START:LENGTH, in seconds, or as in 500ms:20ms".into(),
            Kind::Policy => "stop, skip, quarantine=DIR, retry=N, or retry=N,skip and the like".into(),
        }
    }

    fn value_of_text(self, text: &str) -> Option<Value> {
        match self {
            Kind::Count => text.parse().ok().map(Value::Count),
            Kind::Number => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Number),
            Kind::Flag => text.parse().ok().map(Value::Flag),
            Kind::Text => (!text.is_empty()).then(|| Value::Text(text.into())),
            Kind::Choice(choices) => choices.contains(&text).then(|| Value::Text(text.into())),
            Kind::Batches => {
                (text == "auto" || text.parse::<BatchPolicy>().is_ok()).then(|| Value::Text(text.into()))
            }
            Kind::Window => window(text).map(|_| Value::Text(text.into())),
            Kind::Policy => text.parse::<OnError>().ok().map(|_| Value::Text(text.into())),
        }
    }

    fn value_of_toml(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (_, toml::Value::String(text)) => self.value_of_text(text),
            (Kind::Count, toml::Value::Integer(number)) => u64::try_from(*number).ok().map(Value::Count),
            (Kind::Number, toml::Value::Integer(number)) => Some(Value::Number(*number as f64)),
            (Kind::Number, toml::Value::Float(number)) => {
                Some(Value::Number(*number)).filter(|_| number.is_finite())
            }
            (Kind::Flag, toml::Value::Boolean(flag)) => Some(Value::Flag(*flag)),
            _ => None,
        }
    }
}

/// Reads `START:LENGTH`.
pub(crate) fn window(text: &str) -> Option<(Duration, Duration)> {
    let (start, length) = text.split_once(':')?;
    Some((duration(start)?, duration(length)?))
}

/// In seconds, if no unit is given.
fn duration(text: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let unit = units.into_iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
    let (number, scale) = unit.unwrap_or((text, 1.0));
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * scale).ok()
}

impl Value {
    fn to_toml(&self) -> toml::Value {
        match self {
            // TOML has no unsigned 64-bit integers; what does not fit is read back from text.
            Value::Count(count) => i64::try_from(*count)
                .map_or_else(|_| toml::Value::String(count.to_string()), toml::Value::Integer),
            Value::Number(number) => toml::Value::Float(*number),
            Value::Flag(flag) => toml::Value::Boolean(*flag),
            Value::Text(text) => toml::Value::String(text.clone()),
        }
    }
}

/// The values of a table of parameters.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// What the table is called in error messages: "parameter of the chain clue".
    what: String,
    declared: &'static [Parameter],
    values: BTreeMap<&'static str, Value>,
}

impl Values {
    pub(crate) fn defaults(what: impl Into<String>, declared: &'static [Parameter]) -> Self {
        let default =
            |parameter: &Parameter| Some((parameter.name, parameter.kind.value_of_text(parameter.default)?));
        Values { what: what.into(), declared, values: declared.iter().filter_map(default).collect() }
    }

    fn find(&self, key: &str) -> Result<&'static Parameter> {
        let name = key.replace('_', "-");
        let found = self.declared.iter().find(|parameter| parameter.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.declared.iter().map(|parameter| parameter.name).collect();
            unknown(&self.what, key, &known)
        })
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    fn set(
        &mut self,
        parameter: &Parameter,
        value: Option<Value>,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        let Parameter { name, kind, .. } = parameter;
        let value = value.ok_or_else(|| usage!("{name}: expected {}, found {found}", kind.expected()))?;
        self.values.insert(name, value);
        Ok(())
    }

    pub(crate) fn set_text(&mut self, key: &str, text: &str) -> Result<()> {
        let parameter = self.find(key)?;
        self.set(parameter, parameter.kind.value_of_text(text), format_args!("`{text}`"))
    }

    pub(crate) fn set_toml(&mut self, key: &str, value: &toml::Value) -> Result<()> {
        let parameter = self.find(key)?;
        self.set(parameter, parameter.kind.value_of_toml(value), value)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        assert!(self.declared.iter().any(|parameter| parameter.name == name), "`{name}` is not in the table");
        self.values.get(name)
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| if let Value::Count(count) = value { Some(*count) } else { None })
    }

    /// # Panics
    /// If the table gives it no default.
    pub(crate) fn number(&self, name: &str) -> f32 {
        match self.get(name) {
            Some(Value::Number(number)) => *number as f32,
            other => panic!("`{name}` is declared as a number with a default, and is {other:?}"),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// The parameters that say how batches form.
    pub(crate) fn names_of_batches(&self) -> Vec<&'static str> {
        let batches = self.declared.iter().filter(|parameter| matches!(parameter.kind, Kind::Batches));
        batches.map(|parameter| parameter.name).collect()
    }

    /// One line of TOML for each value, with its meaning as a comment where `explained`.
    pub(crate) fn to_toml(&self, explained: bool, left_out: &[&str]) -> String {
        let mut toml = String::new();
        for parameter in self.declared.iter().filter(|parameter| !left_out.contains(&parameter.name)) {
            let name = parameter.name;
            let line = match self.values.get(name) {
                Some(value) => format!("{name} = {}", value.to_toml()),
                None if explained => format!("# {name} ="),
                None => continue,
            };
            let _ = match (explained, parameter.unit) {
                (false, _) => writeln!(toml, "{line}"),
                (true, "") => writeln!(toml, "{line:<28}  # {}", parameter.doc),
                (true, unit) => writeln!(toml, "{line:<28}  # {} [{unit}]", parameter.doc),
            };
        }
        toml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Parameter] = &[
        Parameter { name: "n-max", kind: Kind::Count, default: "3", unit: "", doc: "" },
        Parameter { name: "radius", kind: Kind::Number, default: "1.5", unit: "cm", doc: "" },
        Parameter { name: "fast", kind: Kind::Flag, default: "", unit: "", doc: "" },
        Parameter { name: "how", kind: Kind::Choice(&["a", "b"]), default: "a", unit: "", doc: "" },
    ];

    #[test]
    fn a_window_of_time_is_read_in_any_unit() {
        let window =
            |text| super::window(text).map(|(start, length)| (start.as_micros(), length.as_micros()));
        assert_eq!(window("2:0.5"), Some((2_000_000, 500_000)));
        assert_eq!(window("1s:250ms"), Some((1_000_000, 250_000)));
        assert_eq!(window("0:40us"), Some((0, 40)));
        for wrong in ["2", "2:", ":1", "-1:1", "1:x", "1h:1", "inf:1"] {
            assert_eq!(window(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_are_checked_against_their_declaration() {
        let mut values = Values::defaults("parameter", TABLE);
        values.set_text("n_max", "18446744073709551615").unwrap();
        values.set_toml("radius", &toml::Value::Integer(2)).unwrap();
        assert_eq!((values.count("n-max"), values.number("radius")), (Some(u64::MAX), 2.0));
        assert_eq!(values.to_toml(false, &["how"]), "n-max = \"18446744073709551615\"\nradius = 2.0\n");
        let wrong = [
            ("n-max", "-1"),
            ("n-max", "1.5"),
            ("radius", "nan"),
            ("radius", ""),
            ("fast", "yes"),
            ("how", "c"),
        ];
        for (key, text) in wrong {
            let error = values.set_text(key, text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: expected ")) && error.contains(text), "{error}");
        }
    }
}
