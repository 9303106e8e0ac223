//! Which blocks are past their time: a pure function, by resolution.

use std::collections::BTreeMap;
use std::time::Duration;

use ulid::Ulid;

use crate::downsample::{FIVE_MINUTES_MS, ONE_HOUR_MS};
use crate::plan::{GroupKey, PlanBlock};

/// How long each resolution is kept; zero = for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Raw samples.
    pub raw: Duration,
    /// 5 m aggregates.
    pub five_minutes: Duration,
    /// 1 h aggregates.
    pub one_hour: Duration,
}

impl Retention {
    /// Checks that no resolution goes before the next coarser one can have been made from it: blocks are downsampled
    /// when they span `from_raw`, then `from_5m`.
    ///
    /// # Errors
    /// Which setting is too short and what it must be.
    pub fn validate(&self, from_raw: Duration, from_5m: Duration) -> Result<(), String> {
        let check = |kept: Duration, needed: Duration, name: &str, next: &str| {
            if kept.is_zero() || kept >= needed {
                return Ok(());
            }
            let hours = needed.as_secs().div_ceil(3600);
            Err(format!(
                "--retention.resolution-{name} is shorter than the {hours}h that a block must span before it becomes \
                 {next}: raise it, or switch downsampling off"
            ))
        };
        check(self.raw, from_raw, "raw", "5m")?;
        check(self.five_minutes, from_5m, "5m", "1h")
    }

    fn of(&self, resolution_ms: i64) -> Duration {
        match resolution_ms {
            0 => self.raw,
            FIVE_MINUTES_MS => self.five_minutes,
            ONE_HOUR_MS => self.one_hour,
            _ => Duration::ZERO,
        }
    }
}

/// Blocks whose last time lies further back than their resolution is kept.
pub fn expired(groups: &BTreeMap<GroupKey, Vec<PlanBlock>>, retention: &Retention, now_ms: i64) -> Vec<Ulid> {
    let mut out = Vec::new();
    for (key, blocks) in groups {
        let kept = retention.of(key.resolution_ms);
        if kept.is_zero() {
            continue;
        }
        let edge_ms = now_ms.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        out.extend(blocks.iter().filter(|b| b.max_ms <= edge_ms).map(|b| b.ulid));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Labels;

    const H: Duration = Duration::from_secs(3600);

    #[test]
    fn blocks_go_when_their_last_time_is_past_their_resolutions_retention() {
        let block = |n: u128, max_h: i64| PlanBlock {
            ulid: Ulid::from_parts(1, n),
            min_ms: 0,
            max_ms: max_h * 3_600_000,
            index_bytes: 0,
            sources: vec![],
            no_compact: true,
            no_downsample: false,
            foreign: false,
        };
        let key = |resolution_ms| GroupKey { resolution_ms, labels: Labels::empty() };
        let groups = BTreeMap::from([
            (key(0), vec![block(1, 90), block(2, 91)]),
            (key(FIVE_MINUTES_MS), vec![block(3, 1)]),
            (key(ONE_HOUR_MS), vec![block(4, 50), block(5, 51)]),
        ]);
        let retention = Retention { raw: 10 * H, five_minutes: Duration::ZERO, one_hour: 50 * H };
        let gone: Vec<u128> =
            expired(&groups, &retention, 100 * 3_600_000).iter().map(Ulid::random).collect();
        assert_eq!(gone, [1, 4]);
        assert!(expired(&groups, &Retention::default(), i64::MAX).is_empty(), "zero keeps for ever");
    }

    #[test]
    fn raw_data_must_live_until_it_is_downsampled() {
        let r = Retention { raw: 39 * H, ..Retention::default() };
        let e = r.validate(40 * H, 240 * H).unwrap_err();
        assert!(e.contains("--retention.resolution-raw") && e.contains("40h"), "{e}");
        assert!(Retention { raw: 40 * H, ..r }.validate(40 * H, 240 * H).is_ok());
        assert!(
            Retention { raw: Duration::ZERO, five_minutes: 239 * H, one_hour: H }
                .validate(40 * H, 240 * H)
                .is_err()
        );
    }
}
