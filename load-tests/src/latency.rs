//! Percentiles of request times, exact: every time is kept.

use serde_json::{Value, json};

/// Of one set of requests, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Half of the requests took at most this.
    pub p50: f64,
    /// 99 of 100 took at most this.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Percentiles {
    /// Of the given microseconds, which are sorted by this. Zeros when there are none.
    pub fn of(times_us: &mut [u32]) -> Self {
        times_us.sort_unstable();
        let at = |share: f64| {
            let rank = (share * times_us.len() as f64).ceil() as usize;
            times_us.get(rank.max(1) - 1).map_or(0.0, |us| f64::from(*us) / 1_000.0)
        };
        Self { p50: at(0.50), p99: at(0.99), max: at(1.0) }
    }

    /// `{p50, p99, max}`.
    pub fn json(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99, "max": self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times: Vec<u32> = (1..=200).rev().map(|n| n * 1_000).collect();
        assert_eq!(Percentiles::of(&mut times), Percentiles { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Percentiles::of(&mut [7_500]), Percentiles { p50: 7.5, p99: 7.5, max: 7.5 });
        assert_eq!(Percentiles::of(&mut []), Percentiles { p50: 0.0, p99: 0.0, max: 0.0 });
    }
}
