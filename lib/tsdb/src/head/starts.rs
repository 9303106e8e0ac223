//! Start timestamps of a series, as runs.
//!
//! A counter's start timestamp is the same for all its samples until it restarts, so a run costs 16 bytes however
//! many samples it has. A run holds from its first time until the next one begins.
//!
//! Invariant: times strictly rise, neighbours differ, and `at(t)` is what was last set for time `t`.

use cairn_model::TimestampMs;

/// Start timestamps by time.
#[derive(Debug, Clone, Default)]
pub struct Starts {
    /// `(from, start)`; before the first the start is unknown (0).
    runs: Vec<(TimestampMs, TimestampMs)>,
}

impl Starts {
    /// Notes that the sample at `t_ms` has the start timestamp `start_ms` (0 = unknown). Samples of other times keep
    /// theirs, when `t_ms` is not behind `newest_ms`, the newest sample of the series.
    pub fn set(&mut self, t_ms: TimestampMs, start_ms: TimestampMs, newest_ms: TimestampMs) {
        let behind = self.runs.partition_point(|r| r.0 <= t_ms);
        let present = if behind == 0 { 0 } else { self.runs[behind - 1].1 };
        if present == start_ms {
            return;
        }
        // Later samples, if there are any, keep what they had.
        if t_ms < newest_ms && self.runs.get(behind).is_none_or(|next| next.0 != t_ms + 1) {
            self.runs.insert(behind, (t_ms + 1, present));
        }
        if behind > 0 && self.runs[behind - 1].0 == t_ms {
            self.runs[behind - 1].1 = start_ms;
        } else {
            self.runs.insert(behind, (t_ms, start_ms));
        }
        self.runs.dedup_by_key(|r| r.1);
        if self.runs.first().is_some_and(|r| r.1 == 0) {
            self.runs.remove(0);
        }
    }

    /// The start timestamp of the sample at `t_ms`, 0 = unknown.
    pub fn at(&self, t_ms: TimestampMs) -> TimestampMs {
        match self.runs.partition_point(|r| r.0 <= t_ms) {
            0 => 0,
            n => self.runs[n - 1].1,
        }
    }

    /// `(from, start)` of all runs.
    pub fn runs(&self) -> &[(TimestampMs, TimestampMs)] {
        &self.runs
    }

    /// Start timestamps of their runs; `None` when those are not in order.
    pub fn from_runs(runs: Vec<(TimestampMs, TimestampMs)>) -> Option<Self> {
        let in_order = runs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 != w[1].1);
        in_order.then_some(Starts { runs })
    }

    /// Whether all are unknown.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forgets what holds only before `t_ms`.
    pub fn forget_before(&mut self, t_ms: TimestampMs) {
        let keep = self.runs.partition_point(|r| r.0 <= t_ms).saturating_sub(1);
        self.runs.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn every_sample_keeps_its_own(sets in prop::collection::vec((0i64..30, 0i64..3), 0..60)) {
            let (mut starts, mut model) = (Starts::default(), BTreeMap::new());
            for (t, s) in sets {
                let newest = model.keys().last().copied().unwrap_or(i64::MIN);
                starts.set(t, s, newest);
                model.insert(t, s);
                for (t, s) in &model {
                    prop_assert_eq!(starts.at(*t), *s, "at {}", t);
                }
                prop_assert!(starts.runs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 != w[1].1));
            }
        }
    }
}
