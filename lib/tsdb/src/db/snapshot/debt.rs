//! What a start would have to replay, estimated as work is logged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::head::partition::Verdicts;

/// CPU time of replaying a float of a known series. Judgement from starts of a million series from a snapshot: 1.3 to 1.7 s
/// of CPU time in all, with 6.3 million floats behind the mark.
const FLOAT_NS: u64 = 190;
/// The same of a native histogram, about.
const HISTOGRAM_NS: u64 = 1_000;
/// The same of a definition, with its series where that is new. Judgement, on the safe side: a start without a snapshot takes
/// 2.4 to 2.5 s with a million of them and seven million floats.
const DEFINITION_NS: u64 = 1_600;
/// CPU time of taking a series into a snapshot, measured 110 ns, and of loading it, which was not measured apart.
const SNAPSHOT_SERIES_NS: u64 = 400;

/// A snapshot is due when the replay costs this many times what the snapshot does: many series make snapshots rarer.
const WORTH: u64 = 2;

/// CPU time, in nanoseconds, that a replay of the log behind the newest snapshot would take.
#[derive(Default)]
pub struct ReplayDebt(AtomicU64);

impl ReplayDebt {
    /// A request was logged.
    pub fn note(&self, v: &Verdicts) {
        self.add(v.floats, v.histograms, v.define.len() as u64);
    }

    /// So much was logged.
    pub fn add(&self, floats: u64, histograms: u64, definitions: u64) {
        let ns = floats * FLOAT_NS + histograms * HISTOGRAM_NS + definitions * DEFINITION_NS;
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    /// What is owed now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A snapshot was taken that pays `ns`.
    pub fn pay(&self, ns: u64) {
        self.0.fetch_sub(ns, Ordering::Relaxed);
    }

    /// Whether a snapshot of `series` series is worth its cost, when a start may replay for `budget` anyway.
    pub fn is_due(&self, budget: Duration, series: u64) -> bool {
        let worth = (series * SNAPSHOT_SERIES_NS * WORTH).max(budget.as_nanos() as u64);
        let owed = self.get();
        owed > 0 && owed >= worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_when_the_replay_costs_more_than_allowed_and_several_times_the_snapshot() {
        let debt = ReplayDebt::default();
        let second = Duration::from_secs(1);
        assert!(!debt.is_due(Duration::ZERO, 0), "nothing was logged");
        debt.add(5_263_157, 0, 0);
        assert!(!debt.is_due(second, 100));
        debt.add(1, 0, 0);
        assert!(debt.is_due(second, 100));
        assert!(!debt.is_due(second, 2_000_000), "its series cost 1.6 s");
        let owed = debt.get();
        debt.add(0, 3, 2);
        debt.pay(owed);
        assert_eq!(debt.get(), 3 * HISTOGRAM_NS + 2 * DEFINITION_NS);
    }
}
