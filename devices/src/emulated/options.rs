//! The options in a device's name: `emulated:lanes=2,row-ns=0.5`.

use std::str::FromStr;
use std::time::Duration;

use super::EmulatedConfig;

type Set = fn(&mut EmulatedConfig, &str) -> Result<(), String>;

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of this kind"))
}

/// Finite and not negative.
fn amount(text: &str) -> Result<f64, String> {
    let amount = number::<f64>(text)?;
    if amount.is_finite() && amount >= 0.0 { Ok(amount) } else { Err(format!("`{text}` is not an amount")) }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

fn share(text: &str) -> Result<f64, String> {
    amount(text)
        .and_then(|share| if share <= 1.0 { Ok(share) } else { Err(format!("`{text}` is more than 1")) })
}

fn lanes(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 20;
    match number(text)? {
        lanes @ 1..=MOST => Ok(lanes),
        _ => Err(format!("`{text}` is not between 1 and {MOST}")),
    }
}

const OPTIONS: &[(&str, Set)] = &[
    ("lanes", |config, text| lanes(text).map(|lanes| config.lanes = lanes)),
    ("engines", |config, text| number(text).map(|engines| config.engines = engines)),
    ("submission-us", |config, text| {
        amount(text).map(|us| config.submission = Duration::from_nanos((1000.0 * us) as u64))
    }),
    ("row-ns", |config, text| amount(text).map(|ns| config.per_row_ns = ns)),
    ("gb-per-s", |config, text| amount(text).map(|gb| config.bytes_per_s = 1e9 * gb)),
    ("jitter", |config, text| share(text).map(|jitter| config.jitter = jitter)),
    ("memory-bytes", |config, text| number(text).map(|bytes| config.memory_bytes = Some(bytes))),
    ("compute", |config, text| flag(text).map(|compute| config.compute = compute)),
    ("seed", |config, text| number(text).map(|seed| config.seed = seed)),
    ("fail-nth", |config, text| number(text).map(|nth| config.faults.fail_nth = Some(nth))),
    ("fail-probability", |config, text| share(text).map(|share| config.faults.fail_probability = share)),
    ("sticky", |config, text| flag(text).map(|sticky| config.faults.sticky = sticky)),
    ("memory-rows", |config, text| {
        number(text).map(|rows| config.faults.out_of_memory_above_rows = Some(rows))
    }),
    ("hang-nth", |config, text| number(text).map(|nth| config.faults.hang_nth = Some(nth))),
    ("lose-lane-nth", |config, text| number(text).map(|nth| config.faults.lose_lane_nth = Some(nth))),
];

impl EmulatedConfig {
    /// This configuration, changed by options as they stand in a device's name: `lanes=2,submission-us=50,row-ns=0.5`.
    ///
    /// | key | field |
    /// |---|---|
    /// | `lanes`, `engines`, `jitter`, `compute`, `seed`, `memory-bytes` | of the same name |
    /// | `submission-us`, `row-ns`, `gb-per-s` | `submission`, `per_row_ns`, `bytes_per_s` |
    /// | `fail-nth`, `fail-probability`, `sticky`, `hang-nth`, `lose-lane-nth` | of the same name, of `faults` |
    /// | `memory-rows` | `out_of_memory_above_rows`, of `faults` |
    ///
    /// # Errors
    ///
    /// Says in one line which option is wrong, and which there are.
    pub fn with_options(mut self, options: &str) -> Result<Self, String> {
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let Some((key, text)) = option.split_once('=') else {
                return Err(format!("expected KEY=VALUE, found `{option}`; {}", known(option)));
            };
            let Some((_, set)) = OPTIONS.iter().find(|(known, _)| *known == key) else {
                return Err(format!("there is no option `{key}`; {}", known(key)));
            };
            set(&mut self, text).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(self)
    }
}

fn known(key: &str) -> String {
    let mut keys: Vec<&str> = OPTIONS.iter().map(|(key, _)| *key).collect();
    let all = keys.join(", ");
    keys.sort_by_key(|known| strsim::damerau_levenshtein(known, key));
    format!("did you mean `{}`? Known: {all}", keys[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Result<EmulatedConfig, String> {
        EmulatedConfig::default().with_options(options)
    }

    #[test]
    fn options_change_what_they_name_and_nothing_else() {
        let config =
            parse("lanes=2,submission-us=0.5,row-ns=0.25,gb-per-s=12,compute=false,fail-nth=3").unwrap();
        let mut expected = EmulatedConfig {
            lanes: 2,
            submission: Duration::from_nanos(500),
            per_row_ns: 0.25,
            bytes_per_s: 12e9,
            compute: false,
            ..EmulatedConfig::default()
        };
        expected.faults.fail_nth = Some(3);
        assert_eq!(config, expected);
        assert_eq!(parse(""), Ok(EmulatedConfig::default()));
    }

    #[test]
    fn a_wrong_option_is_told_with_what_is_possible() {
        let error = parse("lane=2").unwrap_err();
        assert!(
            error.starts_with("there is no option `lane`; did you mean `lanes`? Known: lanes, engines, ")
        );
        for (options, error) in [
            ("lanes=0", "lanes: `0` is not between 1 and 1048576"),
            ("row-ns=-1", "row-ns: `-1` is not an amount"),
            ("jitter=1.5", "jitter: `1.5` is more than 1"),
            ("sticky=maybe", "sticky: `maybe` is neither true nor false"),
            ("seed=x", "seed: `x` is not a number of this kind"),
        ] {
            assert_eq!(parse(options).unwrap_err(), error);
        }
    }
}
