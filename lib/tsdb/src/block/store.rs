//! The local blocks of a node as one [`StoreApi`].
//!
//! [`BlockStore::reload`] takes in folders that appeared and drops those that went. A read prunes by time, tenant
//! and external labels, selects in every block, and merges the blocks' series by labels, batch by batch
//! ([`super::answer`]).
//!
//! A block that was shipped has a copy elsewhere ([`BlockStore::note_copy`]). Who reads there leaves out
//! [`BlockStore::copies`], so that no sample is read twice; he must ask this store first.
//!
//! Invariant: a block that is not sound is set aside, counted and named; the others go on answering. An answer that
//! lost a block which others left out says so, and [`StoreApi::gaps`] names what is set aside and has no copy. A block
//! that the *disk* would not give is tried again at every read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use cairn_model::external::ExternalLabels;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::{TENANT_LABEL, TenantScope};
use cairn_model::{Labels, Matcher, NameSet};
use cairn_runtime::{CpuPool, Disk, Metrics, Runtime};
use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use prometheus::IntGauge;
use tracing::{error, info, warn};
use ulid::Ulid;

use super::BlockReader;
use super::answer::{Cursor, Merge, Unopened};
use crate::error::TsdbError;
use crate::meta::BlockMeta;

/// Series of a batch of an answer.
const BATCH_SERIES: usize = 4096;

/// The local blocks.
#[derive(Clone)]
pub struct BlockStore {
    disk: Arc<dyn Disk>,
    cpu: CpuPool,
    dir: PathBuf,
    state: Arc<RwLock<State>>,
    /// Held while the folder is listed and the state changed: of two at once, one would forget what the other found.
    loading: Arc<Mutex<()>>,
    metrics: Option<BlockMetrics>,
}

/// What the store says of itself. Where the meaning is Prometheus', so is the name.
#[derive(Clone)]
struct BlockMetrics {
    loaded: IntGauge,
    quarantined: IntGauge,
    bytes: IntGauge,
}

impl BlockMetrics {
    fn new(m: &Metrics) -> Self {
        BlockMetrics {
            loaded: m.gauge("prometheus_tsdb_blocks_loaded", "Local blocks that answer reads."),
            quarantined: m.gauge("cairn_tsdb_blocks_quarantined", "Local blocks set aside as not sound."),
            bytes: m.gauge(
                "prometheus_tsdb_storage_blocks_bytes",
                "Bytes of the local blocks that answer reads.",
            ),
        }
    }
}

#[derive(Default)]
struct State {
    blocks: BTreeMap<Ulid, Arc<OpenBlock>>,
    quarantined: BTreeMap<Ulid, Quarantined>,
}

/// A block that answers.
pub(super) struct OpenBlock {
    pub(super) reader: BlockReader,
    pub(super) external: ExternalLabels,
    /// The name that its copy has in another store.
    copy: OnceLock<Ulid>,
}

impl OpenBlock {
    /// What an answer says that had to do without the block, when whoever has its copy was told to leave it out.
    pub(super) fn loss(&self, reason: String) -> Option<StoreError> {
        let object = format!("local block {}", self.reader.meta().ulid);
        self.copy.get().map(|_| StoreError::Read { object, reason })
    }
}

/// A block that was set aside.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Its folder.
    pub folder: PathBuf,
    /// What is wrong, with object and offset.
    pub reason: String,
    /// Whether the disk failed rather than the block: it may be sound.
    pub unread: bool,
    /// Whether another store has a copy, and answers from it.
    pub copied: bool,
}

impl BlockStore {
    /// Opens all blocks below `dir`, which exists, on the disk of `runtime`; reads run on its computing threads.
    ///
    /// # Errors
    /// [`TsdbError::Io`] when the folder cannot be listed. A block that is not sound is no error.
    pub fn open(runtime: &Runtime, dir: &Path) -> Result<Self, TsdbError> {
        let store = BlockStore {
            disk: runtime.disk.clone(),
            cpu: runtime.cpu.clone(),
            dir: dir.to_owned(),
            state: Arc::default(),
            loading: Arc::default(),
            metrics: Some(BlockMetrics::new(&runtime.metrics)),
        };
        store.reload()?;
        Ok(store)
    }

    /// Opens all blocks below `dir` of `disk` without the rest of a runtime: for tools and tests. Reads run on the
    /// caller's thread.
    ///
    /// # Errors
    /// As [`BlockStore::open`].
    pub fn open_inline(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, TsdbError> {
        let (cpu, dir) = (CpuPool::inline(), dir.to_owned());
        let store =
            BlockStore { disk, cpu, dir, state: Arc::default(), loading: Arc::default(), metrics: None };
        store.reload()?;
        Ok(store)
    }

    /// Takes in new blocks and forgets those whose folder went. Reads that have begun keep what they saw. Call it
    /// after a block was written or removed.
    ///
    /// # Errors
    /// [`TsdbError::Io`] when the folder cannot be listed.
    pub fn reload(&self) -> Result<(), TsdbError> {
        let _loading = self.loading.lock();
        let entries = self.disk.list(&self.dir).map_err(TsdbError::io("list", &self.dir))?;
        let found: Vec<Ulid> =
            entries.iter().filter(|e| e.is_dir).filter_map(|e| Ulid::from_str(&e.name).ok()).collect();
        let (mut opened, mut broken) = (Vec::new(), Vec::new());
        for ulid in &found {
            let known = {
                let state = self.state.read();
                state.blocks.contains_key(ulid) || state.quarantined.get(ulid).is_some_and(|q| !q.unread)
            };
            if known {
                continue;
            }
            match BlockReader::open(&*self.disk, &self.dir.join(ulid.to_string())) {
                Ok(reader) => {
                    let external = ExternalLabels::new(reader.meta().external_labels());
                    opened.push((*ulid, Arc::new(OpenBlock { reader, external, copy: OnceLock::new() })));
                }
                Err(e) => broken.push((*ulid, e)),
            }
        }
        let mut state = self.state.write();
        state.blocks.retain(|ulid, _| found.contains(ulid));
        state.blocks.extend(opened);
        let State { blocks, quarantined } = &mut *state;
        quarantined.retain(|ulid, _| found.contains(ulid) && !blocks.contains_key(ulid));
        drop(state);
        broken.iter().for_each(|(ulid, e)| self.quarantine(*ulid, e));
        self.show();
        info!(dir = %self.dir.display(), blocks = self.len(), "local blocks loaded");
        Ok(())
    }

    /// How many blocks answer.
    pub fn len(&self) -> usize {
        self.state.read().blocks.len()
    }

    /// Whether no block answers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Descriptions of the blocks that answer, oldest first.
    pub fn metas(&self) -> Vec<BlockMeta> {
        self.metas_where(|_| true)
    }

    /// Descriptions for which `wanted` holds, oldest first.
    pub fn metas_where(&self, wanted: impl Fn(&BlockMeta) -> bool) -> Vec<BlockMeta> {
        let state = self.state.read();
        let metas = state.blocks.values().map(|b| b.reader.meta());
        metas.filter(|m| wanted(m)).cloned().collect()
    }

    /// Blocks that were set aside, with the reasons.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.state.read().quarantined.values().cloned().collect()
    }

    /// Bytes of the blocks that answer.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.read();
        state.blocks.values().map(|b| b.reader.size_bytes()).sum()
    }

    /// The block `ulid` lies under the name `copy` in another store too.
    pub fn note_copy(&self, ulid: Ulid, copy: Ulid) {
        let mut state = self.state.write();
        if let Some(block) = state.blocks.get(&ulid) {
            // Shipping is repeatable; the first copy stays one.
            let _ = block.copy.set(copy);
        }
        if let Some(aside) = state.quarantined.get_mut(&ulid) {
            aside.copied = true;
        }
    }

    /// The copies of the blocks that answer now: a request that this store was given before is answered from all of
    /// them.
    pub fn copies(&self) -> BTreeSet<Ulid> {
        self.state.read().blocks.values().filter_map(|b| b.copy.get().copied()).collect()
    }

    pub(super) fn quarantine(&self, ulid: Ulid, e: &TsdbError) {
        let (folder, reason) = (self.dir.join(ulid.to_string()), e.to_string());
        let unread = is_of_the_disk(e);
        let mut state = self.state.write();
        let copied = state.blocks.remove(&ulid).is_some_and(|b| b.copy.get().is_some());
        state.quarantined.entry(ulid).or_insert_with(|| {
            error!(block = %ulid, folder = %folder.display(), reason, unread, "block set aside: its data is not answered from here");
            Quarantined { folder, reason, unread, copied }
        });
        drop(state);
        self.show();
    }

    /// Brings the metrics up to date.
    fn show(&self) {
        if let Some(m) = &self.metrics {
            m.bytes.set(self.size_bytes() as i64);
            let state = self.state.read();
            m.loaded.set(state.blocks.len() as i64);
            m.quarantined.set(state.quarantined.len() as i64);
        }
    }

    /// Blocks that may hold anything of a request, each with the matchers left for its index.
    fn relevant(
        &self,
        tenants: &TenantScope,
        min_ms: i64,
        max_ms: i64,
        matchers: &[Matcher],
    ) -> Vec<(Arc<OpenBlock>, Vec<Matcher>)> {
        self.retry_unread();
        let state = self.state.read();
        let visible = |b: &&Arc<OpenBlock>| {
            let tenant = b.external.labels().get(TENANT_LABEL);
            b.reader.meta().overlaps(min_ms, max_ms)
                && (*tenants == TenantScope::All || tenant.is_some_and(|t| tenants.contains(t)))
        };
        let blocks = state.blocks.values().filter(visible);
        blocks.filter_map(|b| b.external.narrow(matchers).map(|rest| (b.clone(), rest))).collect()
    }

    /// Asks the disk again for blocks that it would not give.
    fn retry_unread(&self) {
        let any = self.state.read().quarantined.values().any(|q| q.unread);
        // Whoever comes while another asks is answered with what there is.
        let idle = self.loading.try_lock().is_some();
        if any
            && idle
            && let Err(e) = self.reload()
        {
            warn!(error = %e, "cannot ask again for local blocks that could not be read");
        }
    }

    /// Runs `f` on the pool.
    async fn compute<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |e: cairn_runtime::cpu::Panicked| StoreError::Read {
            object: self.dir.display().to_string(),
            reason: e.to_string(),
        };
        self.cpu.run(f).await.map_err(failed)
    }

    /// Asks every relevant block; one that is not sound is set aside and left out, with a warning where nobody else
    /// answers for it.
    fn ask(
        &self,
        blocks: &[(Arc<OpenBlock>, Vec<Matcher>)],
        mut question: impl FnMut(&Arc<OpenBlock>, &[Matcher]) -> Result<(), TsdbError>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for (block, matchers) in blocks {
            if let Err(e) = question(block, matchers) {
                self.quarantine(block.reader.meta().ulid, &e);
                warnings.extend(block.loss(e.to_string()).map(|loss| loss.to_string()));
            }
        }
        warnings
    }
}

/// Whether the error says nothing of the block's own bytes. A file that is not there does.
fn is_of_the_disk(e: &TsdbError) -> bool {
    matches!(e, TsdbError::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound)
}

#[async_trait]
impl StoreApi for BlockStore {
    fn info(&self) -> StoreInfo {
        let state = self.state.read();
        let metas = || state.blocks.values().map(|b| b.reader.meta());
        let mut label_sets: Vec<Labels> =
            state.blocks.values().map(|b| b.external.labels().clone()).collect();
        label_sets.sort();
        label_sets.dedup();
        StoreInfo {
            name: "local blocks".to_owned(),
            // Without a block the range is empty: its end lies before its beginning.
            min_ms: metas().map(|m| m.min_time).min().unwrap_or(i64::MAX),
            max_ms: metas().map(|m| m.max_time.saturating_sub(1)).max().unwrap_or(i64::MIN),
            label_sets,
        }
    }

    fn gaps(&self) -> Vec<String> {
        let state = self.state.read();
        state
            .quarantined
            .values()
            .filter(|q| !q.copied)
            .map(|q| format!("block set aside: {}", q.reason))
            .collect()
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        let mut blocks = self.relevant(&request.tenants, request.min_ms, request.max_ms, &request.matchers);
        blocks.retain(|(b, _)| b.reader.meta().resolution_ms() <= request.max_resolution_ms);
        if blocks.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        // The first batch comes with the cursors: most answers are one batch.
        let store = self.clone();
        let begun = self.compute(move || {
            let request = Arc::new(request);
            let open = |i: usize| Cursor::open(&blocks[i].0, &blocks[i].1, &request);
            let (mut cursors, mut lost) = (Vec::new(), Vec::new());
            for (opened, (block, _)) in store.cpu.share(blocks.len(), open).into_iter().zip(&blocks) {
                match opened {
                    Ok(cursor) => cursors.push(cursor),
                    Err(Unopened::Broken(e)) => {
                        store.quarantine(block.reader.meta().ulid, &e);
                        lost.extend(block.loss(e.to_string()));
                    }
                    Err(Unopened::Refused(e)) => return Err(e),
                }
            }
            Ok(next_batch(Merge::new(store, request, cursors, lost)))
        });
        let (first, merge) = begun.await??;
        let others = futures::stream::unfold(merge, |left| async move {
            match left {
                Left::Series(merge) => {
                    let store = merge.store().clone();
                    match store.compute(move || next_batch(merge)).await {
                        Ok((batch, left)) => Some((Ok(batch), left)),
                        Err(e) => Some((Err(e), Left::Losses(Vec::new()))),
                    }
                }
                Left::Losses(mut lost) => lost.pop().map(|e| (Err(e), Left::Losses(lost))),
            }
        });
        let batches = futures::stream::iter([Ok(first)]).chain(others);
        Ok(batches.boxed())
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        let blocks = self.relevant(&request.tenants, request.min_ms, request.max_ms, &request.matchers);
        let store = self.clone();
        self.compute(move || {
            let mut found = NameSet::new(request.limit, request.bounds);
            let warnings = store.ask(&blocks, |b, matchers| {
                if b.reader.index().label_names(matchers, &mut found)? {
                    let _ = b.external.labels().iter().try_for_each(|(n, _)| found.add(n));
                }
                Ok(())
            });
            Ok(Names { values: found.finish()?, warnings })
        })
        .await?
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        let blocks = self.relevant(&request.tenants, request.min_ms, request.max_ms, &request.matchers);
        let (store, name) = (self.clone(), name.to_owned());
        self.compute(move || {
            let mut found = NameSet::new(request.limit, request.bounds);
            let warnings = store.ask(&blocks, |b, matchers| {
                let Some(value) = b.external.labels().get(&name) else {
                    return b.reader.index().label_values(&name, matchers, &mut found);
                };
                // An external label has its one value wherever the block has a matching series.
                if matchers.is_empty() || !b.reader.index().select(matchers)?.is_empty() {
                    let _ = found.add(value);
                }
                Ok(())
            });
            Ok(Names { values: found.finish()?, warnings })
        })
        .await?
    }
}

/// What is still to come of an answer.
enum Left {
    Series(Merge),
    /// What it had to do without, one by one.
    Losses(Vec<StoreError>),
}

/// The next series of an answer; fewer than a batch are its last.
fn next_batch(mut merge: Merge) -> (Vec<Series>, Left) {
    let batch: Vec<Series> = merge.by_ref().take(BATCH_SERIES).collect();
    let left =
        if batch.len() < BATCH_SERIES { Left::Losses(merge.into_losses()) } else { Left::Series(merge) };
    (batch, left)
}
