//! What to compact next: a pure function of the blocks, the ranges and the time.
//!
//! Blocks are planned by *group* (external labels and resolution). In each group the smallest range comes first: a
//! window of that range, aligned to it, is compacted when at least two blocks lie wholly inside and it is
//! *settled*, that is, over for long enough that no more blocks are expected. So overlapping blocks, from several
//! upload groups, generations or replicas, are ordinary input of the same pass. A block that comes later makes its
//! window two blocks again, and is merged in.
//!
//! Left out: blocks marked for deletion or against compaction, downsampled blocks that overlap (their aggregates
//! cannot be merged; the one that is contained in the other goes away as garbage), and groups in which another
//! compactor software is at work.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_bucket::fetch::BucketView;
use cairn_bucket::layout;
use cairn_bucket::marks::MarkKind;
use cairn_model::Labels;
use ulid::Ulid;

/// Block ranges in hours; Thanos' levels.
pub const DEFAULT_RANGES_H: [u64; 4] = [2, 8, 48, 336];
/// A window is settled this long after its end: closed after 30 min, uploaded within the hour after; judgement.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(3 * 3600);
/// Sum of index sizes of one plan; Thanos' bound for an index of 64 GiB at most.
pub const DEFAULT_MAX_INDEX_BYTES: u64 = 64 << 30;
/// A foreign compactor's block counts as fresh for so long after its ULID's time.
pub const FOREIGN_FRESH: Duration = Duration::from_secs(48 * 3600);
/// Blocks of one plan; a wider window is merged in several passes.
const MAX_INPUTS: usize = 256;

/// How plans are made.
#[derive(Debug, Clone)]
pub struct PlanConfig {
    /// Block ranges in milliseconds, each a multiple of the one before; the first is what uploads have.
    pub ranges_ms: Vec<i64>,
    /// See [`DEFAULT_SETTLE`].
    pub settle_ms: i64,
    /// See [`DEFAULT_MAX_INDEX_BYTES`].
    pub max_index_bytes: u64,
    /// Plan also where another compactor software is at work.
    pub takeover: bool,
}

impl Default for PlanConfig {
    fn default() -> Self {
        PlanConfig {
            ranges_ms: DEFAULT_RANGES_H.iter().map(|h| (h * 3_600_000).cast_signed()).collect(),
            settle_ms: DEFAULT_SETTLE.as_millis() as i64,
            max_index_bytes: DEFAULT_MAX_INDEX_BYTES,
            takeover: false,
        }
    }
}

impl PlanConfig {
    /// Checks that ranges grow by whole factors.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn validate(&self) -> Result<(), String> {
        if self.ranges_ms.is_empty() || self.ranges_ms[0] <= 0 {
            return Err("block ranges: name at least one above zero".into());
        }
        match self.ranges_ms.windows(2).find(|w| w[1] <= w[0] || w[1] % w[0] != 0) {
            Some(w) => Err(format!("block ranges: {} ms must be a multiple of {} ms and larger", w[1], w[0])),
            None => Ok(()),
        }
    }
}

/// Blocks that may be merged with one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// Resolution of their samples, 0 = raw.
    pub resolution_ms: i64,
    /// Their external labels.
    pub labels: Labels,
}

impl std::fmt::Display for GroupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.resolution_ms, self.labels)
    }
}

/// What a planner knows of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanBlock {
    /// Its name.
    pub ulid: Ulid,
    /// Its range, half-open.
    pub min_ms: i64,
    /// End of the range.
    pub max_ms: i64,
    /// Size of its index.
    pub index_bytes: u64,
    /// Level-1 ancestors, sorted.
    pub sources: Vec<Ulid>,
    /// Marked against compaction.
    pub no_compact: bool,
    /// Marked against downsampling.
    pub no_downsample: bool,
    /// Made by a compactor that is not cairn.
    pub foreign: bool,
}

/// The blocks of a bucket by group, sorted by time; marked blocks left out.
pub fn group(view: &BucketView) -> BTreeMap<GroupKey, Vec<PlanBlock>> {
    let mut groups: BTreeMap<GroupKey, Vec<PlanBlock>> = BTreeMap::new();
    for (ulid, block) in &view.blocks {
        if block.marks.contains(&MarkKind::Deletion) {
            continue;
        }
        let meta = &block.meta;
        let thanos = meta.thanos.as_ref();
        let own = thanos.and_then(|t| t.extensions.as_ref()).is_some_and(|e| e.get("cairn").is_some());
        let key = GroupKey { resolution_ms: meta.resolution_ms(), labels: meta.external_labels() };
        let mut sources = meta.compaction.sources.clone();
        sources.sort_unstable();
        groups.entry(key).or_default().push(PlanBlock {
            ulid: *ulid,
            min_ms: meta.min_time,
            max_ms: meta.max_time,
            index_bytes: block.files.get(layout::INDEX).copied().unwrap_or(0),
            sources,
            no_compact: block.marks.contains(&MarkKind::NoCompact),
            no_downsample: block.marks.contains(&MarkKind::NoDownsample),
            foreign: !own && thanos.is_some_and(|t| t.source == "compactor"),
        });
    }
    for blocks in groups.values_mut() {
        blocks.sort_by_key(|b| (b.min_ms, b.max_ms, b.ulid));
    }
    groups
}

/// What to do with one group.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing now.
    Rest,
    /// Merge these, in order of time.
    Compact(Vec<Ulid>),
    /// Merging would outgrow the index; this block, the largest, is to be left out from now on.
    TooLarge(Ulid),
    /// Another compactor software made this block a short while ago.
    LeftAlone(Ulid),
}

/// The next thing to do in a group of blocks sorted by time.
pub fn decide(key: &GroupKey, blocks: &[PlanBlock], config: &PlanConfig, now_ms: i64) -> Decision {
    let fresh = |b: &&PlanBlock| {
        b.foreign && now_ms.saturating_sub_unsigned(b.ulid.timestamp_ms()) < FOREIGN_FRESH.as_millis() as i64
    };
    if let Some(b) = blocks.iter().find(fresh).filter(|_| !config.takeover) {
        return Decision::LeftAlone(b.ulid);
    }
    for range_ms in config.ranges_ms.iter().skip(1) {
        for window in windows(blocks, *range_ms) {
            let settled = window.end_ms.saturating_add(config.settle_ms) <= now_ms;
            if !settled || window.blocks.len() < 2 || (key.resolution_ms > 0 && overlap(&window.blocks)) {
                continue;
            }
            let inputs = &window.blocks[..window.blocks.len().min(MAX_INPUTS)];
            if inputs.iter().map(|b| b.index_bytes).sum::<u64>() > config.max_index_bytes {
                let largest = inputs.iter().max_by_key(|b| b.index_bytes).expect("two blocks or more");
                return Decision::TooLarge(largest.ulid);
            }
            return Decision::Compact(inputs.iter().map(|b| b.ulid).collect());
        }
    }
    Decision::Rest
}

struct Window<'a> {
    end_ms: i64,
    blocks: Vec<&'a PlanBlock>,
}

/// The aligned windows of `range_ms` with the blocks that lie wholly inside, oldest first.
fn windows(blocks: &[PlanBlock], range_ms: i64) -> impl Iterator<Item = Window<'_>> {
    let mut by_start: BTreeMap<i64, Vec<&PlanBlock>> = BTreeMap::new();
    for b in blocks.iter().filter(|b| !b.no_compact) {
        let start = b.min_ms.div_euclid(range_ms) * range_ms;
        if b.max_ms <= start.saturating_add(range_ms) {
            by_start.entry(start).or_default().push(b);
        }
    }
    by_start.into_iter().map(move |(start, blocks)| Window { end_ms: start.saturating_add(range_ms), blocks })
}

/// Whether any two of `blocks`, sorted by start, overlap.
fn overlap(blocks: &[&PlanBlock]) -> bool {
    let mut end = i64::MIN;
    blocks.iter().any(|b| {
        let overlaps = b.min_ms < end;
        end = end.max(b.max_ms);
        overlaps
    })
}

/// Blocks all of whose ancestors are in another block of their group: that one replaces them. Pairs of (garbage,
/// its replacement). Of two blocks with equal ancestors neither is garbage: nothing says which is better.
pub fn garbage(blocks: &[PlanBlock]) -> Vec<(Ulid, Ulid)> {
    let contains = |large: &PlanBlock, small: &PlanBlock| {
        large.sources.len() > small.sources.len()
            && small.sources.iter().all(|s| large.sources.binary_search(s).is_ok())
    };
    let mut pairs = Vec::new();
    for small in blocks.iter().filter(|b| !b.sources.is_empty()) {
        let replacements = blocks.iter().filter(|large| contains(large, small));
        if let Some(large) = replacements.max_by_key(|l| l.sources.len()) {
            pairs.push((small.ulid, large.ulid));
        }
    }
    pairs
}

#[cfg(test)]
mod tests;
