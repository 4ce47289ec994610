//! Latencies as histograms: recorded by each worker, merged, never averaged.

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::result::{Distribution, Quantiles};

/// The longest latency that is told apart, in nanoseconds: a minute.
pub const LONGEST: u64 = 60_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;
/// The longest text of an encoded histogram; a full one of ours has a tenth of it.
const MAX_ENCODED: usize = 1 << 20;

/// Nanoseconds from 1 to a minute with three digits. It grows with what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    values: hdrhistogram::Histogram<u64>,
    beyond: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let mut values = hdrhistogram::Histogram::new_with_bounds(1, 1_000_000, DIGITS)
            .expect("the bounds are constants that fit together");
        values.auto(true);
        Self { values, beyond: 0 }
    }
}

impl Histogram {
    /// Records a latency in nanoseconds; one beyond a minute counts as a minute.
    pub fn record(&mut self, nanos: u64) {
        if nanos > LONGEST {
            self.beyond += 1;
        }
        // Fails only where a value lies outside and the histogram may not grow.
        let recorded = self.values.record(nanos.clamp(1, LONGEST));
        debug_assert!(recorded.is_ok(), "the histogram grows");
    }

    /// Adds everything that another histogram holds.
    pub fn merge(&mut self, other: &Self) {
        self.beyond += other.beyond;
        // Fails only where a value lies outside and the histogram may not grow.
        let merged = self.values.add(&other.values);
        debug_assert!(merged.is_ok(), "histograms of one kind can be merged");
    }

    pub fn count(&self) -> u64 {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value, in nanoseconds, that the part `quantile` (0 to 1) of all values does not exceed.
    pub fn at(&self, quantile: f64) -> u64 {
        self.values.value_at_quantile(quantile).min(self.values.max())
    }

    /// All figures; `None` when nothing was recorded.
    pub fn distribution(&self) -> Option<Distribution> {
        if self.is_empty() {
            return None;
        }
        Some(Distribution {
            count: self.count(),
            min_us: micros(self.values.min()),
            mean_us: rounded(self.values.mean() / 1e3),
            stdev_us: rounded(self.values.stdev() / 1e3),
            p50_us: micros(self.at(0.5)),
            p90_us: micros(self.at(0.9)),
            p95_us: micros(self.at(0.95)),
            p99_us: micros(self.at(0.99)),
            p99_9_us: micros(self.at(0.999)),
            p99_99_us: micros(self.at(0.9999)),
            max_us: micros(self.values.max()),
            beyond: self.beyond,
            histogram: self.encode(),
        })
    }

    /// The figures of one second; `None` when nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        if self.is_empty() {
            return None;
        }
        Some(Quantiles {
            count: self.count(),
            mean_us: rounded(self.values.mean() / 1e3),
            p50_us: micros(self.at(0.5)),
            p90_us: micros(self.at(0.9)),
            p99_us: micros(self.at(0.99)),
            p99_9_us: micros(self.at(0.999)),
            max_us: micros(self.values.max()),
        })
    }

    /// HdrHistogram V2, deflated, as base64.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.values, &mut bytes)
            .expect("a histogram of a few thousand buckets fits into memory");
        BASE64_STANDARD.encode(bytes)
    }

    /// The inverse of [`encode`](Self::encode). How many values lay beyond a minute is not part of it.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn decode(text: &str) -> Result<Self, String> {
        if text.len() > MAX_ENCODED {
            return Err(format!("a histogram of {} characters; at most {MAX_ENCODED}", text.len()));
        }
        let bytes =
            BASE64_STANDARD.decode(text).map_err(|error| format!("a histogram is not base64: {error}"))?;
        let decoded: hdrhistogram::Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("not a histogram: {error}"))?;
        let mut histogram = Self::default();
        histogram.values.add(&decoded).map_err(|error| format!("not a histogram of ours: {error}"))?;
        Ok(histogram)
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// To a nanosecond: what comes after it is noise in a document.
fn rounded(micros: f64) -> f64 {
    (micros * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_gives_the_percentiles_of_everything() {
        let (mut fast, mut slow) = (Histogram::default(), Histogram::default());
        (0..9_900).for_each(|_| fast.record(100_000));
        (0..100).for_each(|_| slow.record(200_000_000));
        fast.merge(&slow);
        let all = fast.distribution().unwrap();
        assert_eq!(all.count, 10_000);
        assert!((99.0..101.0).contains(&all.p50_us) && (99.0..101.0).contains(&all.p99_us));
        // The mean of two p99.9 would be 100,050.
        assert!((199_800.0..200_200.0).contains(&all.p99_9_us), "{}", all.p99_9_us);
    }

    #[test]
    fn values_are_exact_to_three_digits_from_a_nanosecond_to_a_minute() {
        for value in [1, 2, 999, 1_234, 987_654, 5_000_000_000, LONGEST] {
            let mut histogram = Histogram::default();
            histogram.record(value);
            let error = histogram.at(0.5).abs_diff(value) as f64 / value as f64;
            assert!(error <= 0.001, "{value}: {}", histogram.at(0.5));
        }
    }

    #[test]
    fn a_value_beyond_a_minute_is_counted_as_such() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        let all = histogram.distribution().unwrap();
        assert_eq!((all.count, all.beyond), (1, 1));
        assert!(all.max_us <= 60_100_000.0);
    }

    #[test]
    fn a_histogram_survives_its_text_and_garbage_is_refused() {
        let mut histogram = Histogram::default();
        (1..10_000u64).for_each(|value| histogram.record(value * value));
        let again = Histogram::decode(&histogram.encode()).unwrap();
        assert_eq!(again.values, histogram.values);
        assert!(histogram.encode().len() < MAX_ENCODED / 10);
        assert!(Histogram::decode("!").unwrap_err().contains("base64"));
        assert!(Histogram::decode("AAAA").is_err());
        assert!(Histogram::decode(&"A".repeat(MAX_ENCODED + 1)).unwrap_err().contains("at most"));
    }

    #[test]
    fn nothing_recorded_is_no_distribution() {
        assert_eq!(Histogram::default().distribution(), None);
    }
}
