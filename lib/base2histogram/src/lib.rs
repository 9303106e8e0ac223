//! Stands in for the crate of this name, with which openraft counts the sizes of batches that it replicates.
//!
//! The original makes tables for all its resolutions when the first histogram is made: 25 MB that no one reads, most of
//! what an idle cairn takes. This one counts by powers of two, so what openraft reports is the next lower power of two
//! (docs/adr/0010). It has what openraft needs to compile.

use std::fmt;
use std::marker::PhantomData;

/// Counts of values by their number of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    by_bits: [u64; 65],
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram { by_bits: [0; 65], slots: PhantomData }
    }
}

impl<T> Histogram<T> {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.by_bits[(u64::BITS - value.leading_zeros()) as usize] += 1;
    }

    /// Counts a value `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        self.by_bits[(u64::BITS - value.leading_zeros()) as usize] += times;
    }

    /// Values counted.
    pub fn total(&self) -> u64 {
        self.by_bits.iter().sum()
    }

    /// The least power of two (or 0) that `share` of the values have at most as many bits as; 0 without values.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.total() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.by_bits.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.and_then(|bits| bits.checked_sub(1)).map_or(0, |bits| 1 << bits)
    }

    /// Count and percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// Count and percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// 0.1 % are at most this.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p50, p90, p99, .. } = self;
        write!(f, "{samples} values, p50 {p50}, p90 {p90}, p99 {p99}")
    }
}

/// Several histograms as text, a line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a histogram.
    #[allow(clippy::should_implement_trait)] // openraft calls it so
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.0.push((name.to_owned(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_powers_of_two_below_the_values() {
        let mut h = Histogram::<()>::new();
        assert_eq!(h.percentile_stats().p99, 0);
        h.record_n(0, 10);
        h.record_n(5, 80);
        h.record_n(1000, 10);
        let stats = h.percentile_stats();
        assert_eq!((stats.samples, stats.p10, stats.p50, stats.p90, stats.p99), (100, 0, 4, 4, 512));
        assert_eq!(AsciiChart::new().add("a", h).to_string(), "a: 100 values, p50 4, p90 4, p99 512\n");
    }

    #[test]
    fn every_value_is_counted_once() {
        let mut h = Histogram::<()>::new();
        for value in [0, 1, 2, 3, u64::MAX, u64::MAX] {
            h.record(value);
        }
        assert_eq!((h.total(), h.by_bits[0], h.by_bits[1], h.by_bits[2], h.by_bits[64]), (6, 1, 1, 2, 2));
    }
}
