//! [`BatchPolicy`] and [`BatchConfig`]: what the user chooses of a batcher.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// When a batch is closed. Whatever the policy: never while no lane is free, and at once when nobody else can join it (but
/// `Adaptive`, see there).
///
/// | policy | text | closes a batch |
/// |---|---|---|
/// | `Off` | `off` | never waits: each request goes alone |
/// | `Greedy` | `greedy` | as soon as a lane is free |
/// | `Size` | `size=N` | of N requests |
/// | `Delay` | `delay=N:US` | of N requests, or when its oldest has waited for so many microseconds |
/// | `Adaptive` | `adaptive`, `adaptive=W` | when waiting for those who can still come stops to pay |
/// | `Fixed` | `fixed=N` | of the events kN … kN+N−1, for some k, that come: the event number alone decides |
///
/// ```
/// use asynchrotron::batch::BatchPolicy;
///
/// assert_eq!("size=64".parse::<BatchPolicy>()?, BatchPolicy::Size(64));
/// assert_eq!("adaptive".parse::<BatchPolicy>()?, BatchPolicy::Adaptive { price: 1.0 });
/// assert!("size=0".parse::<BatchPolicy>().is_err());
/// # Ok::<(), asynchrotron::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BatchPolicy {
    /// Each request goes alone, straight from the algorithm that makes it.
    Off,
    /// Whatever is there goes as soon as a lane is free.
    Greedy,
    /// So many requests.
    Size(usize),
    /// So many requests, or when the oldest has waited for so long.
    Delay(usize, Duration),
    /// Waits for others as long as that is expected to pay. A submission costs the device a + b·rows, fitted as it goes; a
    /// batch that somebody misses costs one more a. So a batch is held while, at the rate at which they come, more requests
    /// would join within a / price than there were at first, and for twice that time at most. Where there are several
    /// lanes, their batches are kept equal: while others work, a lane that is free does not take a batch that is much smaller,
    /// and leaves some of a larger one to the next.
    Adaptive {
        /// What a moment of waiting costs, in moments of the device. 1 weighs them alike. Towards 0, only the device's time
        /// counts: a batch is held as long as anybody can come. Large: nothing is held, as in `Greedy`.
        price: f64,
    },
    /// The requests of the events kN … kN+N−1, without those that never come. Which requests share a batch then depends on
    /// the numbers of the events alone: for validation, bit by bit, of devices whose results depend on it. Events must come
    /// in ascending order. The job gets as many slots as this needs. No batch is closed before all of its events have come or
    /// passed, unless nothing has moved for as long as the [patience](BatchConfig::patience) lasts: then it is counted as
    /// closed for its [age](crate::batch::CloseReason::Age).
    Fixed(usize),
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self::Adaptive { price: 1.0 }
    }
}

impl fmt::Display for BatchPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Greedy => f.write_str("greedy"),
            Self::Size(n) => write!(f, "size={n}"),
            Self::Delay(n, delay) => write!(f, "delay={n}:{}", delay.as_micros()),
            Self::Adaptive { price: 1.0 } => f.write_str("adaptive"),
            Self::Adaptive { price } => write!(f, "adaptive={price}"),
            Self::Fixed(n) => write!(f, "fixed={n}"),
        }
    }
}

impl FromStr for BatchPolicy {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let count = |text: &str| -> Result<usize, anyhow::Error> {
            let count = text.parse().with_context(|| format!("`{text}` is not a number of requests"))?;
            ensure!(count > 0, "a batch holds one request at least");
            Ok(count)
        };
        Ok(match (name, value) {
            ("off", None) => Self::Off,
            ("greedy", None) => Self::Greedy,
            ("adaptive", None) => Self::default(),
            ("adaptive", Some(price)) => {
                let price: f64 = price.parse().with_context(|| format!("`{price}` is not a price"))?;
                ensure!(price.is_finite() && price >= 0.0, "the price is a finite number, 0 or more");
                Self::Adaptive { price }
            }
            ("size", Some(n)) => Self::Size(count(n)?),
            ("fixed", Some(n)) => Self::Fixed(count(n)?),
            ("delay", Some(value)) => {
                let (n, us) = value.split_once(':').context("delay=N:US needs a number and microseconds")?;
                let us = us.parse().with_context(|| format!("`{us}` is not a number of microseconds"))?;
                Self::Delay(count(n)?, Duration::from_micros(us))
            }
            _ => bail!("expected off, greedy, size=N, delay=N:US, adaptive, adaptive=PRICE or fixed=N"),
        })
    }
}

/// How a batcher forms batches.
///
/// ```
/// use asynchrotron::batch::{BatchConfig, BatchPolicy};
///
/// let config = BatchConfig { policy: BatchPolicy::Size(64), rows_max: 100_000, ..BatchConfig::default() };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchConfig {
    /// When a batch is closed.
    pub policy: BatchPolicy,
    /// Requests in a batch at most.
    pub requests_max: usize,
    /// Rows in a batch at most. A request that has more goes alone.
    pub rows_max: usize,
    /// Bytes in a batch at most. A request that has more goes alone.
    pub bytes_max: usize,
    /// The numbers of rows that the device takes, if it does not take any: a batch is padded up to the next. A request
    /// that has more than the largest goes alone, without padding.
    pub sizes: Vec<usize>,
    /// The longest time that a batch is held, whatever the policy waits for; under `Fixed`, while no batch runs, and sixty
    /// times as long while an event in flight may still ask. It matters only where an algorithm waits for something that another
    /// event does: under `Fixed`, also where some events ask one batcher first and some another, or where the source or an event
    /// is slower than that.
    pub patience: Duration,
}

impl Default for BatchConfig {
    /// Adaptive; 4096 requests, any number of rows and bytes, any size; a second.
    fn default() -> Self {
        Self {
            policy: BatchPolicy::default(),
            requests_max: 4096,
            rows_max: usize::MAX,
            bytes_max: usize::MAX,
            sizes: Vec::new(),
            patience: Duration::from_secs(1),
        }
    }
}

impl BatchConfig {
    /// These settings with another policy.
    #[must_use]
    pub fn with_policy(self, policy: BatchPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Rows in a batch at most, padding considered.
    pub(crate) fn rows_limit(&self) -> usize {
        self.sizes.iter().copied().max().map_or(self.rows_max, |largest| largest.min(self.rows_max))
    }

    /// The rows that a batch takes on the device.
    pub(crate) fn padded(&self, rows: usize) -> usize {
        self.sizes.iter().copied().filter(|&size| size >= rows).min().unwrap_or(rows)
    }

    /// Requests in a batch at most.
    pub(crate) fn requests_limit(&self) -> usize {
        match self.policy {
            BatchPolicy::Off => 1,
            BatchPolicy::Size(n) | BatchPolicy::Delay(n, _) => n.min(self.requests_max),
            BatchPolicy::Fixed(n) => n,
            BatchPolicy::Greedy | BatchPolicy::Adaptive { .. } => self.requests_max,
        }
        .max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_as_they_are_read() {
        for text in ["off", "greedy", "size=8", "delay=64:250", "adaptive", "adaptive=0.25", "fixed=49"] {
            assert_eq!(text.parse::<BatchPolicy>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_policy_is_refused_and_says_what_was_expected() {
        let wrong = ["", "Off", "size", "size=", "size=0", "size=-1", "delay=3", "delay=3:", "delay=0:5"];
        for text in wrong.into_iter().chain(["adaptive=-1", "adaptive=nan", "fixed=x", "greedy=1"]) {
            assert!(text.parse::<BatchPolicy>().is_err(), "{text}");
        }
        let error = "bigger".parse::<BatchPolicy>().unwrap_err();
        assert!(error.to_string().contains("expected off, greedy"), "{error}");
    }

    #[test]
    fn sizes_pad_up_and_limit_rows() {
        let config = BatchConfig { sizes: vec![64, 16, 256], ..BatchConfig::default() };
        assert_eq!([0, 16, 17, 256, 300].map(|rows| config.padded(rows)), [16, 16, 64, 256, 300]);
        assert_eq!(config.rows_limit(), 256);
    }
}
