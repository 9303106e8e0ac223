//! The bucket as the rest of the crate sees it: few operations, bounded reads, counted.
//!
//! What an error of a write means: the object may or may not be there. Only [`Bucket::create`]'s two answers are
//! certain.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_runtime::{Clock, Metrics, Runtime};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};
use ulid::Ulid;

use crate::digest::{Hasher, Sha256};
use crate::error::{BucketError, Result};

/// Largest object that is read at once: `meta.json`, marks, commit records. A meta of 10,000 sources has 2 MiB.
pub const MAX_SMALL_OBJECT_BYTES: u64 = 64 << 20;
/// A request without a byte for so long has failed; Thanos' `response_header_timeout`.
pub const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Parts of one multipart upload that are on the way at once; bounds memory at parts × this for unmapped sources.
const PARTS_IN_FLIGHT: usize = 4;
/// Bytes of one ranged read while an object is digested: little, because it happens while samples come in.
const DIGEST_READ_BYTES: u64 = 1 << 20;
/// Deletes of one folder that are on the way at once.
const DELETES_IN_FLIGHT: usize = 8;

/// What a conditional create found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new, with our content.
    New,
    /// There is an object of that name: perhaps ours, when an earlier answer was lost.
    AlreadyThere,
}

/// How a [`Bucket`] behaves.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// For messages and metrics.
    pub name: String,
    /// Larger objects are uploaded in parts of this size; `None` never splits.
    pub part_bytes: Option<u64>,
    /// Set on every object.
    pub attributes: Attributes,
    /// The store has no create-if-absent: look, then write. Unsafe.
    pub imitate_create: bool,
}

impl BucketSettings {
    /// The usual settings for a bucket of that name.
    pub fn named(name: &str) -> Self {
        BucketSettings {
            name: name.to_owned(),
            part_bytes: Some(64 << 20),
            attributes: Attributes::new(),
            imitate_create: false,
        }
    }
}

/// An object store with the operations that cairn needs. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    settings: Arc<BucketSettings>,
    clock: Arc<dyn Clock>,
    metrics: BucketMetrics,
}

/// Counts operations under Thanos' names.
#[derive(Clone)]
struct BucketMetrics {
    operations: IntCounterVec,
    failures: IntCounterVec,
    duration: HistogramVec,
    last_upload: GaugeVec,
    fetched: IntCounterVec,
}

impl BucketMetrics {
    fn new(m: &Metrics) -> Self {
        const BY: &[&str] = &["bucket", "operation"];
        BucketMetrics {
            operations: m.counter_vec(
                "thanos_objstore_bucket_operations_total",
                "Operations against the bucket.",
                BY,
            ),
            failures: m.counter_vec(
                "thanos_objstore_bucket_operation_failures_total",
                "Operations against the bucket that failed; an absent object is no failure.",
                BY,
            ),
            duration: m.histogram_vec(
                "thanos_objstore_bucket_operation_duration_seconds",
                "Duration of operations against the bucket.",
                cairn_runtime::metrics::LATENCY_BUCKETS_S,
                BY,
            ),
            last_upload: m.float_gauge_vec(
                "thanos_objstore_bucket_last_successful_upload_time",
                "Unix time of the last upload that succeeded.",
                &["bucket"],
            ),
            fetched: m.counter_vec(
                "cairn_objstore_fetched_bytes_total",
                "Bytes read from the bucket.",
                &["bucket"],
            ),
        }
    }
}

/// A ULID of now.
pub fn fresh_ulid(runtime: &Runtime) -> Ulid {
    Ulid::from_parts(runtime.clock.now_ms().max(0).cast_unsigned(), runtime.rng.next_u128())
}

impl Bucket {
    /// A bucket over `store`. One a registry: its metrics are registered here.
    pub fn new(store: Arc<dyn ObjectStore>, settings: BucketSettings, runtime: &Runtime) -> Self {
        let metrics = BucketMetrics::new(&runtime.metrics);
        Bucket { store, settings: Arc::new(settings), clock: runtime.clock.clone(), metrics }
    }

    /// The same bucket, metrics and settings over another store: a cache or a fault injector around the first.
    pub fn over(&self, store: Arc<dyn ObjectStore>) -> Self {
        Bucket { store, ..self.clone() }
    }

    /// The bucket's name, for messages.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The whole object, or `None` when there is none.
    ///
    /// # Errors
    /// [`BucketError::TooLarge`] above [`MAX_SMALL_OBJECT_BYTES`]; [`BucketError::Store`].
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        self.counted("get", async {
            let found = match self.store.get(path).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                other => other.map_err(BucketError::store("read", path))?,
            };
            if found.meta.size > MAX_SMALL_OBJECT_BYTES {
                return Err(BucketError::TooLarge {
                    object: path.to_string(),
                    size_bytes: found.meta.size,
                    limit_bytes: MAX_SMALL_OBJECT_BYTES,
                });
            }
            let bytes = found.bytes().await.map_err(BucketError::store("read", path))?;
            self.count_fetched(bytes.len());
            Ok(Some(bytes))
        })
        .await
    }

    /// Exactly the bytes `start .. end` of an object.
    ///
    /// # Errors
    /// [`BucketError::Missing`], [`BucketError::Malformed`] when the object ends before `end`,
    /// [`BucketError::Store`].
    pub async fn get_range(&self, path: &Path, start: u64, end: u64) -> Result<Bytes> {
        self.counted("get_range", async {
            let options = GetOptions { range: Some(GetRange::Bounded(start..end)), ..GetOptions::default() };
            let found = match self.store.get_opts(path, options).await {
                Err(object_store::Error::NotFound { .. }) => {
                    return Err(BucketError::Missing { object: path.to_string() });
                }
                other => other.map_err(BucketError::store("read", path))?,
            };
            let bytes = found.bytes().await.map_err(BucketError::store("read", path))?;
            self.count_fetched(bytes.len());
            if bytes.len() as u64 != end - start {
                return Err(BucketError::Malformed {
                    object: path.to_string(),
                    reason: format!("asked for bytes {start}..{end}, got {}", bytes.len()),
                });
            }
            Ok(bytes)
        })
        .await
    }

    /// Size of an object, or `None` when there is none.
    pub async fn size(&self, path: &Path) -> Result<Option<u64>> {
        self.counted("attributes", async {
            match self.store.head(path).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(BucketError::store("read attributes of", path)(e)),
            }
        })
        .await
    }

    /// Size and digest of an object by reading all of it, or `None` when there is none.
    pub async fn digest(&self, path: &Path) -> Result<Option<(u64, Sha256)>> {
        let Some(size) = self.size(path).await? else { return Ok(None) };
        let (mut hasher, mut at) = (Hasher::new(), 0);
        while at < size {
            let end = size.min(at + DIGEST_READ_BYTES);
            match self.get_range(path, at, end).await {
                Ok(bytes) => hasher.update(&bytes),
                Err(BucketError::Missing { .. }) => return Ok(None),
                Err(e) => return Err(e),
            }
            at = end;
        }
        Ok(Some((size, hasher.finish())))
    }

    /// Creates an object that must not exist yet. Atomic: readers see all of it or nothing, and of two creators
    /// one finds [`Created::AlreadyThere`]. After an error the object may be there.
    pub async fn create(&self, path: &Path, content: Bytes) -> Result<Created> {
        if self.settings.imitate_create && self.size(path).await?.is_some() {
            return Ok(Created::AlreadyThere);
        }
        let mode = if self.settings.imitate_create { PutMode::Overwrite } else { PutMode::Create };
        self.counted("upload", async {
            let options =
                PutOptions { mode, attributes: self.settings.attributes.clone(), ..PutOptions::default() };
            match self.store.put_opts(path, content.into(), options).await {
                Ok(_) => Ok(Created::New),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(Created::AlreadyThere)
                }
                Err(e) => Err(BucketError::store("create", path)(e)),
            }
        })
        .await
    }

    /// Writes an object, replacing one of that name. In parts when it is large.
    pub async fn put(&self, path: &Path, content: Bytes) -> Result<()> {
        self.counted("upload", async {
            let attributes = self.settings.attributes.clone();
            match self.settings.part_bytes {
                Some(part) if content.len() as u64 > part => {
                    self.put_parts(path, content, part as usize, attributes).await
                }
                _ => {
                    let options = PutOptions { attributes, ..PutOptions::default() };
                    self.store.put_opts(path, content.into(), options).await.map(|_| ())
                }
            }
            .map_err(BucketError::store("upload", path))
        })
        .await?;
        let now_s = self.clock.now_ms() as f64 / 1e3;
        self.metrics.last_upload.with_label_values(&[self.name()]).set(now_s);
        Ok(())
    }

    async fn put_parts(
        &self,
        path: &Path,
        content: Bytes,
        part_bytes: usize,
        attributes: Attributes,
    ) -> object_store::Result<()> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let mut upload = self.store.put_multipart_opts(path, options).await?;
        let ranges = (0..content.len()).step_by(part_bytes);
        let mut parts = Vec::new();
        for start in ranges {
            let part = content.slice(start..content.len().min(start + part_bytes));
            parts.push(upload.put_part(PutPayload::from_bytes(part)));
        }
        let sent = stream::iter(parts).buffered(PARTS_IN_FLIGHT).try_collect::<Vec<()>>().await;
        let done = match sent {
            Ok(_) => upload.complete().await.map(|_| ()),
            Err(e) => Err(e),
        };
        if done.is_err() {
            // Parts left behind cost money only; the store's lifecycle rule collects what this cannot.
            let _ = upload.abort().await;
        }
        done
    }

    /// Removes an object. That it is not there is fine.
    pub async fn delete(&self, path: &Path) -> Result<()> {
        self.counted("delete", async {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(BucketError::store("delete", path)(e)),
            }
        })
        .await
    }

    /// Removes objects, some at once.
    pub async fn delete_all(&self, paths: Vec<Path>) -> Result<()> {
        stream::iter(paths)
            .map(|p| async move { self.delete(&p).await })
            .buffer_unordered(DELETES_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// All objects below `prefix`, in no particular order. A store may list late what was written lately.
    pub fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.metrics.operations.with_label_values(&[self.name(), "iter"]).inc();
        let failures = self.metrics.failures.with_label_values(&[self.name(), "iter"]);
        let shown = prefix.map_or_else(|| "bucket".to_owned(), Path::to_string);
        self.store
            .list(prefix)
            .map_err(move |e| {
                failures.inc();
                BucketError::store("list", &shown)(e)
            })
            .boxed()
    }

    fn count_fetched(&self, bytes: usize) {
        self.metrics.fetched.with_label_values(&[self.name()]).inc_by(bytes as u64);
    }

    async fn counted<T>(&self, operation: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let labels = [self.name(), operation];
        self.metrics.operations.with_label_values(&labels).inc();
        let start = self.clock.monotonic();
        let outcome = work.await;
        let took = self.clock.monotonic().saturating_sub(start);
        self.metrics.duration.with_label_values(&labels).observe(took.as_secs_f64());
        if outcome.is_err() {
            self.metrics.failures.with_label_values(&labels).inc();
        }
        outcome
    }
}
