//! The store: answers [`StoreApi`] from the bucket.
//!
//! A request is narrowed to blocks by tenant, external labels, time and resolution; their indexes say which series
//! match; the answers of all blocks are merged by labels; chunks are fetched batch by batch while the reader reads.
//! Chunks may overlap where blocks do: whoever merges stores resolves that.
//!
//! A damaged block is quarantined: named, counted, left out from then on. The answer in which it was found goes on
//! with the others and ends with an error that names the block, so that its reader knows it is partial.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use cairn_bucket::marks::{self, MarkKind};
use cairn_bucket::{Bucket, BucketView, Fetcher};
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::{Labels, NameSet};
use cairn_runtime::{Runtime, Shutdown};
use cairn_tsdb::index::IndexReader;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{error, info, warn};
use ulid::Ulid;

use crate::blocks::{BlockSet, Part};
use crate::failure::Failure;
use crate::fetch_chunks::as_store_error;
use crate::index_cache::IndexCache;
use crate::metrics::StoreMetrics;
use crate::resolution::useful;
use crate::select::{Selected, merge, select};

/// Indexes of one request that are opened at once.
const INDEXES_IN_FLIGHT: usize = 8;

/// How a store works.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where indexes are kept.
    pub cache_dir: PathBuf,
    /// Bytes of indexes that are kept.
    pub index_cache_bytes: u64,
    /// Pause between two looks at the bucket; Thanos' 15 min is too long for an all-in-one.
    pub sync_interval: Duration,
    /// Blocks marked for deletion are read for so long after their mark; Thanos' figure. Below the deletion's delay.
    pub ignore_marks_after: Duration,
    /// A request may touch so many series, 0 = no limit.
    pub max_series: usize,
    /// A request may fetch so many bytes of chunks, 0 = no limit.
    pub max_chunk_bytes: u64,
}

impl StoreConfig {
    /// The usual figures, with indexes in `cache_dir`.
    pub fn new(cache_dir: PathBuf) -> Self {
        StoreConfig {
            cache_dir,
            index_cache_bytes: 10 << 30,
            sync_interval: Duration::from_secs(60),
            ignore_marks_after: Duration::from_secs(24 * 3600),
            max_series: 0,
            max_chunk_bytes: 0,
        }
    }
}

/// Blocks of the bucket whose samples another store of the same reader answers, asked anew for each request.
pub type HeldElsewhere = Arc<dyn Fn() -> BTreeSet<Ulid> + Send + Sync>;

/// A store over a bucket. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) bucket: Bucket,
    pub(crate) runtime: Runtime,
    pub(crate) config: StoreConfig,
    pub(crate) metrics: StoreMetrics,
    fetcher: Fetcher,
    indexes: IndexCache,
    view: Mutex<BucketView>,
    blocks: RwLock<Arc<BlockSet>>,
    /// Damaged blocks with what is wrong with them.
    quarantine: Mutex<BTreeMap<Ulid, String>>,
    held_elsewhere: OnceLock<HeldElsewhere>,
    /// Whether blocks were ever listed.
    listed: watch::Sender<bool>,
}

impl BucketStore {
    /// A store that knows no block yet: see [`BucketStore::sync`].
    ///
    /// # Errors
    /// When the cache folder cannot be made.
    pub fn new(bucket: Bucket, runtime: Runtime, config: StoreConfig) -> std::io::Result<Self> {
        let indexes = IndexCache::new(
            bucket.clone(),
            runtime.clone(),
            config.cache_dir.clone(),
            config.index_cache_bytes,
        )?;
        let inner = Inner {
            fetcher: Fetcher::new(bucket.clone()),
            metrics: StoreMetrics::new(&runtime.metrics),
            bucket,
            runtime,
            config,
            indexes,
            view: Mutex::default(),
            blocks: RwLock::default(),
            quarantine: Mutex::default(),
            held_elsewhere: OnceLock::new(),
            listed: watch::Sender::new(false),
        };
        Ok(BucketStore { inner: Arc::new(inner) })
    }

    /// Leaves out blocks all of whose sources are in `held`. Whoever holds them must be asked before this store is, or
    /// a block that he lets go of in between is read by neither. Only the first call has an effect.
    pub fn leave_out(&self, held: HeldElsewhere) {
        let _ = self.inner.held_elsewhere.set(held);
    }

    /// Looks at the bucket now; requests begun later see what is there. Gives the number of blocks.
    ///
    /// # Errors
    /// When the bucket does not answer; the blocks stay as they were.
    pub async fn sync(&self) -> cairn_bucket::Result<usize> {
        let inner = &self.inner;
        let outcome = inner.look().await;
        inner.metrics.syncs.inc();
        match outcome {
            Ok(view) => {
                inner.metrics.last_sync.set(inner.runtime.clock.now_ms() as f64 / 1e3);
                inner.indexes.retain(|u| view.blocks.contains_key(u));
                inner.indexes.sweep(|u| view.blocks.contains_key(u));
                inner.quarantine.lock().retain(|u, _| view.blocks.contains_key(u));
                *inner.view.lock() = view;
                let blocks = inner.rebuild();
                inner.listed.send_replace(true);
                Ok(blocks)
            }
            Err(e) => {
                inner.metrics.sync_failures.inc();
                Err(e)
            }
        }
    }

    /// Looks at the bucket again and again until `shutdown` begins.
    pub async fn run(&self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            match self.sync().await {
                Ok(blocks) => info!(blocks, "bucket synced"),
                Err(error) => {
                    warn!(%error, "bucket cannot be synced; answers are from its last known blocks")
                }
            }
            tokio::select! {
                () = shutdown.begun() => {}
                () = self.inner.runtime.clock.sleep(self.inner.config.sync_interval) => {}
            }
        }
    }

    /// Whether blocks were ever listed.
    pub fn is_synced(&self) -> bool {
        *self.inner.listed.borrow()
    }

    /// Completes when blocks have been listed.
    pub async fn listed(&self) {
        // The sender lives as long as this store does.
        let _ = self.inner.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Whether the store lists the block and has not found it damaged: what a replica asks before it lets go of its
    /// own copy. A block that a larger one contains counts: the larger one answers for it.
    pub fn lists(&self, ulid: Ulid) -> bool {
        self.inner.view.lock().blocks.contains_key(&ulid) && !self.inner.quarantine.lock().contains_key(&ulid)
    }

    /// Damaged blocks with what is wrong with them.
    pub fn quarantined(&self) -> BTreeMap<Ulid, String> {
        self.inner.quarantine.lock().clone()
    }
}

impl Inner {
    async fn look(&self) -> cairn_bucket::Result<BucketView> {
        let mut view = self.fetcher.look().await?;
        let now_ms = self.runtime.clock.now_ms();
        let marked: Vec<Ulid> = view
            .blocks
            .iter()
            .filter(|(_, b)| b.marks.contains(&MarkKind::Deletion))
            .map(|(ulid, _)| *ulid)
            .collect();
        for ulid in marked {
            let age_ms = match marks::read_deletion_mark(&self.bucket, ulid).await {
                Ok(Some(mark)) => now_ms.saturating_sub(mark.deletion_time.saturating_mul(1000)),
                // Without a mark that can be used the block is as good as it was.
                Ok(None) | Err(_) => 0,
            };
            if age_ms >= self.config.ignore_marks_after.as_millis() as i64 {
                view.blocks.remove(&ulid);
            }
        }
        for (block, reason) in &view.broken {
            warn!(%block, reason, "block cannot be answered from");
        }
        Ok(view)
    }

    /// Makes the set of blocks anew from the last view and the quarantine; gives their number.
    fn rebuild(&self) -> usize {
        let damaged: BTreeSet<Ulid> = self.quarantine.lock().keys().copied().collect();
        let set = BlockSet::new(&self.view.lock(), &damaged);
        let n = set.iter().count();
        self.metrics.loaded.set(n as i64);
        self.metrics.quarantined.set(damaged.len() as i64);
        *self.blocks.write() = Arc::new(set);
        n
    }

    /// Notes a failure; a damaged block is left out from now on, and what it was made of answers in its place.
    pub(crate) fn note(&self, failure: &Failure) {
        let Failure::Corrupt { ulid, reason } = failure else { return };
        let known = self.quarantine.lock().insert(*ulid, reason.clone()).is_some();
        if !known {
            error!(block = %ulid, reason, "block is damaged and left out; restore it or mark it for deletion");
            self.metrics.quarantines.inc();
            self.rebuild();
        }
    }

    /// Opens the index of each part. Damaged blocks are noted and left out, with the failure.
    async fn open_indexes(
        &self,
        parts: Vec<Part>,
    ) -> Result<(Vec<(Part, Arc<IndexReader>)>, Vec<Failure>), StoreError> {
        let opened: Vec<(Part, Result<Arc<IndexReader>, Failure>)> = stream::iter(parts)
            .map(|part| async move {
                let index = self.indexes.get(&part.block).await;
                (part, index)
            })
            .buffered(INDEXES_IN_FLIGHT)
            .collect()
            .await;
        let (mut good, mut failures) = (Vec::with_capacity(opened.len()), Vec::new());
        for (part, index) in opened {
            match index {
                Ok(index) => good.push((part, index)),
                Err(f @ Failure::Corrupt { .. }) => {
                    self.note(&f);
                    failures.push(f);
                }
                Err(Failure::Passing(e)) => return Err(e),
            }
        }
        Ok((good, failures))
    }

    /// The blocks to ask, without those that are answered elsewhere.
    fn parts(&self, request: &LabelsRequest, max_resolution_ms: i64) -> Vec<Part> {
        let held = self.held_elsewhere.get().map(|held| held()).unwrap_or_default();
        let blocks = self.blocks.read().clone();
        let (tenants, matchers) = (&request.tenants, &request.matchers);
        let mut parts = blocks.parts(tenants, matchers, request.min_ms, request.max_ms, max_resolution_ms);
        parts.retain(|p| !p.block.is_made_of(&held));
        parts
    }

    /// Asks the index of each part on the CPU pool.
    async fn ask<T: Send + 'static>(
        &self,
        parts: Vec<Part>,
        mut question: impl FnMut(&Part, &IndexReader) -> Result<T, cairn_tsdb::TsdbError> + Send + 'static,
    ) -> Result<(Vec<(Part, T)>, Vec<Failure>), StoreError> {
        if parts.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let (opened, mut failures) = self.open_indexes(parts).await?;
        let answered = self.runtime.cpu.run(move || {
            let answer = |(part, index): (Part, Arc<IndexReader>)| {
                let ulid = part.block.ulid();
                match question(&part, &index) {
                    Ok(a) => Ok((part, a)),
                    Err(e) => Err(Failure::Corrupt { ulid, reason: e.to_string() }),
                }
            };
            opened.into_iter().map(answer).collect::<Vec<_>>()
        });
        let internal = |e: cairn_runtime::cpu::Panicked| StoreError::Unavailable {
            store: "bucket".into(),
            reason: e.to_string(),
        };
        let mut good = Vec::new();
        for outcome in answered.await.map_err(internal)? {
            match outcome {
                Ok(a) => good.push(a),
                Err(f) => {
                    self.note(&f);
                    failures.push(f);
                }
            }
        }
        Ok((good, failures))
    }

    /// What `add` finds in the index of each block of a request. A label request has no place for an error at its end,
    /// so damage becomes a warning.
    async fn names(
        &self,
        request: &LabelsRequest,
        add: impl Fn(&Part, &IndexReader, &mut NameSet) -> Result<(), cairn_tsdb::TsdbError> + Send + 'static,
    ) -> Result<Names, StoreError> {
        let found = Arc::new(Mutex::new(NameSet::new(request.limit, request.bounds.clone())));
        let into = found.clone();
        let parts = self.parts(request, i64::MAX);
        let (_, failures) = self.ask(parts, move |part, index| add(part, index, &mut into.lock())).await?;
        let found = std::mem::take(&mut *found.lock());
        Ok(Names {
            values: found.finish()?,
            warnings: failures.into_iter().map(|f| as_store_error(f).to_string()).collect(),
        })
    }
}

#[async_trait]
impl StoreApi for BucketStore {
    fn info(&self) -> StoreInfo {
        let blocks = self.inner.blocks.read().clone();
        let sets: BTreeSet<Labels> = blocks.iter().map(|b| b.external.labels().clone()).collect();
        StoreInfo {
            name: "bucket".to_owned(),
            // Without a block the range is empty: its end lies before its beginning.
            min_ms: blocks.iter().map(|b| b.meta.min_time).min().unwrap_or(i64::MAX),
            max_ms: blocks.iter().map(|b| b.meta.max_time.saturating_sub(1)).max().unwrap_or(i64::MIN),
            label_sets: sets.into_iter().collect(),
        }
    }

    fn gaps(&self) -> Vec<String> {
        if self.is_synced() {
            return Vec::new();
        }
        vec!["the bucket has not been listed yet, what it alone holds is missing".to_owned()]
    }

    async fn series(&self, mut request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        let inner = &self.inner;
        request.bounds.tighten_series(inner.config.max_series as u64);
        inner.metrics.requests.with_label_values(&["series"]).inc();
        let concerns = LabelsRequest {
            tenants: request.tenants.clone(),
            min_ms: request.min_ms,
            max_ms: request.max_ms,
            matchers: request.matchers.clone(),
            limit: request.limit,
            bounds: request.bounds.clone(),
        };
        let parts = inner.parts(&concerns, useful(request.max_resolution_ms, request.hints.range_ms));
        inner.metrics.blocks_queried.observe(parts.len() as f64);
        if parts.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let (limit, bounds, skip_chunks) = (request.limit, request.bounds.clone(), request.skip_chunks);
        let mut is_refused = false;
        let question = move |part: &Part, index: &IndexReader| {
            // What one block alone has too much of need not be looked for in the others.
            let found = if is_refused { Ok(Vec::new()) } else { select(part, index, &request)? };
            is_refused |= found.is_err();
            Ok(found)
        };
        let (selected, failures) = inner.ask(parts, question).await?;
        let selected = selected.into_iter().map(|(_, list)| list).collect::<Result<Vec<_>, _>>()?;
        let mut merged: Vec<Selected> = merge(selected);
        if skip_chunks && limit > 0 {
            merged.truncate(limit);
        }
        bounds.admit(merged.len(), 0, if skip_chunks { limit } else { 0 })?;
        if limit > 0 {
            merged.truncate(limit);
        }
        inner.metrics.series.inc_by(merged.len() as u64);
        let end = stream::iter(failures.into_iter().map(|f| Err(as_store_error(f))));
        if skip_chunks {
            let all = merged.into_iter().map(|s| Series { labels: s.labels, chunks: Vec::new() }).collect();
            return Ok(stream::iter([Ok(all)]).chain(end).boxed());
        }
        Ok(crate::answer::stream(self.inner.clone(), merged).chain(end).boxed())
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.inner.metrics.requests.with_label_values(&["label_names"]).inc();
        self.inner
            .names(&request, |part, index, found| {
                if index.label_names(&part.matchers, found)? {
                    let _ = part.block.external.labels().iter().try_for_each(|(n, _)| found.add(n));
                }
                Ok(())
            })
            .await
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.inner.metrics.requests.with_label_values(&["label_values"]).inc();
        let name = name.to_owned();
        self.inner
            .names(&request, move |part, index, found| {
                let Some(value) = part.block.external.labels().get(&name) else {
                    return index.label_values(&name, &part.matchers, found);
                };
                // An external label has its one value wherever the block has a matching series.
                if part.matchers.is_empty() || !index.select(&part.matchers)?.is_empty() {
                    let _ = found.add(value);
                }
                Ok(())
            })
            .await
    }
}

/// All series of an answer at once; for tests and tools.
///
/// # Errors
/// The first error of the answer.
pub async fn collect(store: &dyn StoreApi, request: SeriesRequest) -> Result<Vec<Series>, StoreError> {
    let batches: Vec<Vec<Series>> = store.series(request).await?.try_collect().await?;
    Ok(batches.into_iter().flatten().collect())
}
