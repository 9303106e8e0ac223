//! Indexes of blocks on the local disk, mapped, least recently used out first.
//!
//! The whole index of a block is fetched at its first use. A file that is there from an earlier run is used when
//! its size is right and it opens; opening checks its tables' checksums.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_bucket::{Bucket, BucketError, layout};
use cairn_model::storage::StoreError;
use cairn_runtime::{OpenHow, Runtime};
use cairn_tsdb::TsdbError;
use cairn_tsdb::index::IndexReader;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::OnceCell;
use ulid::Ulid;

use crate::blocks::Block;
use crate::failure::Failure;

/// Bytes of one ranged read; bounds memory while an index comes in.
const READ_BYTES: u64 = 2 << 20;

/// The cache. Clones share it.
#[derive(Clone)]
pub struct IndexCache {
    bucket: Bucket,
    runtime: Runtime,
    dir: PathBuf,
    max_bytes: u64,
    state: Arc<Mutex<State>>,
    loads: IntCounter,
    bytes: IntGauge,
}

#[derive(Default)]
struct State {
    entries: HashMap<Ulid, Entry>,
    uses: u64,
}

struct Entry {
    cell: Arc<OnceCell<Arc<IndexReader>>>,
    bytes: u64,
    last_use: u64,
}

impl IndexCache {
    /// At most `max_bytes` in folder `dir`; an index in use stays readable after it is out.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(bucket: Bucket, runtime: Runtime, dir: PathBuf, max_bytes: u64) -> std::io::Result<Self> {
        runtime.disk.create_dir_all(&dir)?;
        let m = &runtime.metrics;
        let loads =
            m.counter("cairn_store_index_loads_total", "Indexes of blocks opened from disk or bucket.");
        let bytes = m.gauge("cairn_store_index_cache_bytes", "Bytes of indexes on the local disk.");
        Ok(IndexCache { bucket, runtime, dir, max_bytes, state: Arc::default(), loads, bytes })
    }

    /// The index of a block. Concurrent callers share one fetch.
    ///
    /// # Errors
    /// [`Failure::Corrupt`] when the index is not one, [`Failure::Passing`] when it cannot be had now.
    pub async fn get(&self, block: &Block) -> Result<Arc<IndexReader>, Failure> {
        let ulid = block.ulid();
        let size = block
            .index_bytes()
            .ok_or_else(|| Failure::Corrupt { ulid, reason: "it has no index in the bucket".to_owned() })?;
        let cell = self.use_entry(ulid, size);
        let opened = cell.get_or_try_init(|| self.open(ulid, size)).await;
        if opened.is_err() {
            self.state.lock().entries.remove(&ulid);
        }
        let index = opened?.clone();
        self.evict(ulid);
        Ok(index)
    }

    /// Forgets blocks that `keep` does not want, and removes their files.
    pub fn retain(&self, keep: impl Fn(&Ulid) -> bool) {
        let gone: Vec<Ulid> = self.state.lock().entries.keys().filter(|u| !keep(u)).copied().collect();
        gone.into_iter().for_each(|u| self.remove(u));
    }

    /// Removes files of earlier runs that belong to no block of the bucket.
    pub fn sweep(&self, known: impl Fn(&Ulid) -> bool) {
        let Ok(entries) = self.runtime.disk.list(&self.dir) else { return };
        for e in entries {
            if !layout::parse_ulid(&e.name).is_some_and(|u| known(&u)) {
                // A file that stays is tried again by the next sweep.
                let _ = self.runtime.disk.remove_file(&self.dir.join(&e.name));
            }
        }
    }

    fn use_entry(&self, ulid: Ulid, bytes: u64) -> Arc<OnceCell<Arc<IndexReader>>> {
        let mut s = self.state.lock();
        s.uses += 1;
        let last_use = s.uses;
        let entry = s.entries.entry(ulid).or_insert_with(|| Entry { cell: Arc::default(), bytes, last_use });
        entry.last_use = last_use;
        entry.cell.clone()
    }

    /// Takes the least recently used out until the bound holds; never `in_use`.
    fn evict(&self, in_use: Ulid) {
        loop {
            let victim = {
                let s = self.state.lock();
                let total: u64 = s.entries.values().map(|e| e.bytes).sum();
                self.bytes.set(total.cast_signed());
                if total <= self.max_bytes {
                    return;
                }
                let others = s.entries.iter().filter(|(u, e)| **u != in_use && e.cell.initialized());
                others.min_by_key(|(_, e)| e.last_use).map(|(u, _)| *u)
            };
            let Some(victim) = victim else { return };
            self.remove(victim);
        }
    }

    fn remove(&self, ulid: Ulid) {
        self.state.lock().entries.remove(&ulid);
        if let Err(error) = self.runtime.disk.remove_file(&self.dir.join(ulid.to_string())) {
            tracing::debug!(block = %ulid, %error, "cached index stays until the next sweep");
        }
    }

    async fn open(&self, ulid: Ulid, size: u64) -> Result<Arc<IndexReader>, Failure> {
        self.loads.inc();
        let path = self.dir.join(ulid.to_string());
        let cached = self.runtime.disk.map(&path).ok().filter(|b| b.len() as u64 == size);
        if let Some(bytes) = cached
            && let Ok(index) = IndexReader::open(layout::in_block(ulid, layout::INDEX).to_string(), bytes)
        {
            return Ok(Arc::new(index));
        }
        self.fetch(ulid, size).await?;
        let local = |e| Failure::Passing(local_error(&path, &e));
        let bytes = self.runtime.disk.map(&path).map_err(local)?;
        let object = layout::in_block(ulid, layout::INDEX).to_string();
        IndexReader::open(object, bytes)
            .map(Arc::new)
            .map_err(|e: TsdbError| Failure::Corrupt { ulid, reason: e.to_string() })
    }

    async fn fetch(&self, ulid: Ulid, size: u64) -> Result<(), Failure> {
        let path = self.dir.join(ulid.to_string());
        let partial = self.dir.join(format!("{ulid}.partial"));
        let local = |e| Failure::Passing(local_error(&path, &e));
        let file = Arc::new(self.runtime.disk.open(&partial, OpenHow::CreateOrWrite).map_err(local)?);
        file.set_len(0).map_err(local)?;
        let (object, mut at) = (layout::in_block(ulid, layout::INDEX), 0);
        while at < size {
            let end = size.min(at + READ_BYTES);
            let bytes = self.bucket.get_range(&object, at, end).await.map_err(|e| of_bucket(ulid, e))?;
            let to = file.clone();
            // A query waits for it, so it must not stand behind a compaction.
            let written = self.runtime.cpu.run_blocking(move || to.write_all_at(&bytes, at)).await;
            written
                .map_err(|e| Failure::Passing(local_error(&path, &std::io::Error::other(e))))?
                .map_err(local)?;
            at = end;
        }
        // The file is a cache: a crash may tear it, and opening it then finds that out.
        self.runtime.disk.rename(&partial, &path).map_err(local)
    }
}

/// An absent or short object is damage of the block; all else may pass.
pub(crate) fn of_bucket(ulid: Ulid, e: BucketError) -> Failure {
    match e {
        BucketError::Missing { .. } | BucketError::Malformed { .. } => {
            Failure::Corrupt { ulid, reason: e.to_string() }
        }
        e => Failure::Passing(StoreError::Unavailable { store: "bucket".to_owned(), reason: e.to_string() }),
    }
}

fn local_error(path: &std::path::Path, e: &std::io::Error) -> StoreError {
    StoreError::Read { object: path.display().to_string(), reason: e.to_string() }
}
