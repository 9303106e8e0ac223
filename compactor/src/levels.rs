//! Which blocks to downsample next: a pure function of the blocks of one set of external labels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cairn_model::Labels;
use ulid::Ulid;

use crate::downsample::{FIVE_MINUTES_MS, ONE_HOUR_MS};
use crate::plan::{GroupKey, PlanBlock};

/// Raw blocks that span so much become 5 m blocks; Thanos' figure.
pub const FROM_RAW: Duration = Duration::from_secs(40 * 3600);
/// 5 m blocks that span so much become 1 h blocks; Thanos' figure.
pub const FROM_5M: Duration = Duration::from_secs(240 * 3600);

/// A block to downsample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downsampling {
    /// The block.
    pub ulid: Ulid,
    /// Resolution to make.
    pub resolution_ms: i64,
}

/// Blocks that span enough, are not marked against it, and have an ancestor that no block of the coarser resolution
/// has. Raw first, so that one pass makes both levels when both are due.
pub fn due(
    groups: &BTreeMap<GroupKey, Vec<PlanBlock>>,
    from_raw: Duration,
    from_5m: Duration,
) -> Vec<Downsampling> {
    let mut out = Vec::new();
    for (from_ms, to_ms, span) in [(0, FIVE_MINUTES_MS, from_raw), (FIVE_MINUTES_MS, ONE_HOUR_MS, from_5m)] {
        for (key, blocks) in groups.iter().filter(|(k, _)| k.resolution_ms == from_ms) {
            let made = sources_of(groups, &key.labels, to_ms);
            for b in blocks {
                let wide = i128::from(b.max_ms) - i128::from(b.min_ms) >= span.as_millis() as i128;
                let missing = b.sources.iter().any(|s| !made.contains(s));
                if wide && missing && !b.no_downsample {
                    out.push(Downsampling { ulid: b.ulid, resolution_ms: to_ms });
                }
            }
        }
    }
    out
}

fn sources_of(
    groups: &BTreeMap<GroupKey, Vec<PlanBlock>>,
    labels: &Labels,
    resolution_ms: i64,
) -> BTreeSet<Ulid> {
    let key = GroupKey { resolution_ms, labels: labels.clone() };
    groups.get(&key).into_iter().flatten().flat_map(|b| b.sources.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;

    fn block(n: u128, hours: i64, sources: &[u128]) -> PlanBlock {
        PlanBlock {
            ulid: Ulid::from_parts(1, n),
            min_ms: 0,
            max_ms: hours * H,
            index_bytes: 0,
            sources: sources.iter().map(|s| Ulid::from_parts(0, *s)).collect(),
            no_compact: false,
            no_downsample: false,
            foreign: false,
        }
    }

    fn due_numbers(raw: Vec<PlanBlock>, five: Vec<PlanBlock>) -> Vec<(u128, i64)> {
        let key = |resolution_ms| GroupKey { resolution_ms, labels: Labels::empty() };
        let groups = BTreeMap::from([(key(0), raw), (key(FIVE_MINUTES_MS), five)]);
        due(&groups, FROM_RAW, FROM_5M).iter().map(|d| (d.ulid.random(), d.resolution_ms)).collect()
    }

    #[test]
    fn wide_blocks_with_ancestors_that_are_missing_above_are_due() {
        assert_eq!(due_numbers(vec![block(1, 39, &[1]), block(2, 40, &[2])], vec![]), [(2, FIVE_MINUTES_MS)]);
        assert_eq!(due_numbers(vec![block(2, 48, &[1, 2])], vec![block(3, 48, &[1, 2])]), []);
        let late = due_numbers(vec![block(4, 48, &[1, 2, 9])], vec![block(3, 48, &[1, 2])]);
        assert_eq!(late, [(4, FIVE_MINUTES_MS)], "late data makes its window due again");
        assert_eq!(due_numbers(vec![], vec![block(5, 240, &[1])]), [(5, ONE_HOUR_MS)]);
    }

    #[test]
    fn a_marked_block_is_left_out() {
        let mut b = block(1, 48, &[1]);
        b.no_downsample = true;
        assert_eq!(due_numbers(vec![b], vec![]), []);
    }
}
