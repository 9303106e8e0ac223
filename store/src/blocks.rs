//! The blocks that a store answers from, and which of them a request concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_bucket::BucketView;
use cairn_bucket::fetch::FetchedBlock;
use cairn_bucket::layout;
use cairn_model::external::ExternalLabels;
use cairn_model::matcher::Matcher;
use cairn_model::tenant::{TENANT_LABEL, TenantScope};
use cairn_tsdb::meta::BlockMeta;
use ulid::Ulid;

use crate::resolution::{Extent, choose};

/// A block of the bucket.
#[derive(Debug)]
pub struct Block {
    /// Its description.
    pub meta: Arc<BlockMeta>,
    /// Its external labels.
    pub external: ExternalLabels,
    /// Sizes of its files by name.
    pub files: BTreeMap<String, u64>,
}

/// A block to ask, for `min_ms ..= max_ms`, with the matchers that its index must hold.
#[derive(Debug, Clone)]
pub struct Part {
    /// The block.
    pub block: Arc<Block>,
    /// Matchers without those on external labels.
    pub matchers: Vec<Matcher>,
    /// First time to ask for.
    pub min_ms: i64,
    /// Last time to ask for.
    pub max_ms: i64,
}

/// All blocks at one time. Replaced as a whole, so a request sees one state.
#[derive(Debug, Default)]
pub struct BlockSet {
    blocks: BTreeMap<Ulid, Arc<Block>>,
}

impl Block {
    fn new(fetched: &FetchedBlock) -> Self {
        Block {
            external: ExternalLabels::new(fetched.meta.external_labels()),
            meta: fetched.meta.clone(),
            files: fetched.files.clone(),
        }
    }

    /// Name of the block.
    pub fn ulid(&self) -> Ulid {
        self.meta.ulid
    }

    /// Whether it holds raw samples of blocks in `held` and nothing else.
    pub fn is_made_of(&self, held: &BTreeSet<Ulid>) -> bool {
        let sources = &self.meta.compaction.sources;
        !held.is_empty()
            && self.meta.resolution_ms() == 0
            && !sources.is_empty()
            && sources.iter().all(|s| held.contains(s))
    }

    /// Size of its index in bytes, if the list showed one.
    pub fn index_bytes(&self) -> Option<u64> {
        self.files.get(layout::INDEX).copied()
    }
}

impl BlockSet {
    /// The readable blocks of a view without those in `leave_out` and those that another of the rest contains. A
    /// block that is left out contains nothing, so what it was made of answers in its place.
    pub fn new(view: &BucketView, leave_out: &BTreeSet<Ulid>) -> Self {
        let mut blocks: BTreeMap<Ulid, Arc<Block>> = view
            .blocks
            .iter()
            .filter(|(ulid, _)| !leave_out.contains(ulid))
            .map(|(ulid, fetched)| (*ulid, Arc::new(Block::new(fetched))))
            .collect();
        let contained = contained(blocks.values().map(|b| b.meta.as_ref()));
        blocks.retain(|ulid, _| !contained.contains(ulid));
        BlockSet { blocks }
    }

    /// All blocks.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// The blocks to ask for `min_ms ..= max_ms` at `max_resolution_ms` or finer, by external labels.
    pub fn parts(
        &self,
        tenants: &TenantScope,
        matchers: &[Matcher],
        min_ms: i64,
        max_ms: i64,
        max_resolution_ms: i64,
    ) -> Vec<Part> {
        let mut groups: BTreeMap<&cairn_model::Labels, Vec<&Arc<Block>>> = BTreeMap::new();
        for b in self.blocks.values().filter(|b| b.meta.overlaps(min_ms, max_ms)) {
            let tenant = b.external.labels().get(TENANT_LABEL);
            if tenant.map_or(*tenants == TenantScope::All, |t| tenants.contains(t)) {
                groups.entry(b.external.labels()).or_default().push(b);
            }
        }
        let mut parts = Vec::new();
        for blocks in groups.values() {
            let Some(rest) = blocks[0].external.narrow(matchers) else { continue };
            let extents: Vec<Extent> = blocks
                .iter()
                .map(|b| Extent {
                    min_ms: b.meta.min_time,
                    max_ms: b.meta.max_time,
                    resolution_ms: b.meta.resolution_ms(),
                })
                .collect();
            parts.extend(choose(&extents, min_ms, max_ms, max_resolution_ms).into_iter().map(|c| Part {
                block: blocks[c.block].clone(),
                matchers: rest.clone(),
                min_ms: c.min_ms,
                max_ms: c.max_ms,
            }));
        }
        parts
    }
}

/// Blocks all of whose ancestors are in another block with the same labels and resolution: between a compaction and
/// the deletion of its sources both are there, and reading one is enough.
fn contained<'a>(metas: impl Iterator<Item = &'a BlockMeta>) -> BTreeSet<Ulid> {
    type Group = (i64, cairn_model::Labels);
    let mut groups: BTreeMap<Group, Vec<(Ulid, BTreeSet<Ulid>)>> = BTreeMap::new();
    for m in metas {
        let sources = m.compaction.sources.iter().copied().collect();
        groups.entry((m.resolution_ms(), m.external_labels())).or_default().push((m.ulid, sources));
    }
    let mut out = BTreeSet::new();
    for blocks in groups.values() {
        for (ulid, sources) in blocks.iter().filter(|(_, s)| !s.is_empty()) {
            if blocks.iter().any(|(_, large)| large.len() > sources.len() && sources.is_subset(large)) {
                out.insert(*ulid);
            }
        }
    }
    out
}
