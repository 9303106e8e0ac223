//! Shipping: a closed window that the storage engine has written as a local block goes to the bucket, once.
//!
//! The block in the bucket has a ULID of its own (each attempt has one), the window's range, counts and labels of
//! the local block, `source: receive`, and the job's key under `thanos.extensions.cairn`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::datetime::rfc3339_ms;
use cairn_runtime::Runtime;
use cairn_tsdb::meta::{BlockFile, BlockMeta, FileHash};
use prometheus::IntCounter;
use tracing::warn;
use ulid::Ulid;

use crate::commit::{BlockSource, Committed, Committer, FileRecord, Job};
use crate::error::{BucketError, Result};
use crate::layout;

/// Takes finished local blocks to the bucket. The storage engine's view of shipping.
#[async_trait]
pub trait Ship: Send + Sync {
    /// Commits the block in folder `block_dir`, which `meta` describes, as the outcome of `job`; returns when the
    /// bucket's copy was verified after its `meta.json`. `None` commits that the job has nothing. May be repeated.
    ///
    /// # Errors
    /// Any [`BucketError`]; the local block must be kept, and a later call goes on.
    async fn ship(&self, block: Option<(&Path, &BlockMeta)>, job: &Job) -> Result<Committed>;
}

/// The shipper over a bucket. Cheap to clone.
#[derive(Clone)]
pub struct Shipper {
    committer: Committer,
    runtime: Runtime,
    uploads: IntCounter,
    failures: IntCounter,
}

impl Shipper {
    /// Ships with `committer`.
    pub fn new(committer: Committer, runtime: Runtime) -> Self {
        let m = &runtime.metrics;
        let uploads = m.counter("thanos_shipper_uploads_total", "Blocks that are in the bucket, verified.");
        let failures =
            m.counter("thanos_shipper_upload_failures_total", "Shipments that failed; they are repeated.");
        Shipper { committer, uploads, failures, runtime }
    }

    /// The committer, for those who want to verify before they let go of a local block.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }
}

#[async_trait]
impl Ship for Shipper {
    async fn ship(&self, block: Option<(&Path, &BlockMeta)>, job: &Job) -> Result<Committed> {
        let source = match block {
            None => None,
            Some((dir, meta)) => {
                let upload_time_ms = self.runtime.clock.now_ms();
                Some(BlockSource::from_dir(
                    self.runtime.disk.as_ref(),
                    dir,
                    describe(meta, job, Source::Receive, upload_time_ms)?,
                )?)
            }
        };
        let outcome = self.committer.commit(job, source.as_ref()).await;
        match &outcome {
            Ok(_) => self.uploads.inc(),
            Err(error) => {
                warn!(job = %job.key(), %error, "shipping failed; the block stays here");
                self.failures.inc();
            }
        }
        outcome
    }
}

/// Who made a block, in Thanos' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A receiver's window.
    Receive,
    /// A compaction or downsampling.
    Compactor,
}

/// How the bucket's `meta.json` is made from the local block's. The same call gives the same text for the same ULID
/// and files, so that a repeated create finds its own bytes.
///
/// # Errors
/// [`BucketError::NotABlock`] for a block without external labels: Thanos refuses those.
pub fn describe(
    meta: &BlockMeta,
    job: &Job,
    source: Source,
    upload_time_ms: i64,
) -> Result<Arc<crate::commit::source::MakeMeta>> {
    let mut meta = meta.clone();
    let own = meta.ulid;
    let thanos = meta.thanos.get_or_insert_default();
    if thanos.labels.is_empty() {
        let reason = "it has no external labels; set --label".to_owned();
        return Err(BucketError::NotABlock { path: own.to_string(), reason });
    }
    thanos.version = 1;
    thanos.source = match source {
        Source::Receive => "receive",
        Source::Compactor => "compactor",
    }
    .to_owned();
    thanos.upload_time = Some(rfc3339_ms(upload_time_ms));
    let extensions = thanos.extensions.get_or_insert_with(|| serde_json::json!({}));
    if let Some(map) = extensions.as_object_mut() {
        map.insert("cairn".to_owned(), serde_json::json!({ "job": job.key().as_str() }));
    }
    Ok(Arc::new(move |ulid: Ulid, files: &[FileRecord]| {
        let mut meta = meta.clone();
        for source in meta.compaction.sources.iter_mut().filter(|s| **s == own) {
            *source = ulid;
        }
        meta.ulid = ulid;
        meta.stats.num_tombstones = 0;
        let thanos = meta.thanos.get_or_insert_default();
        thanos.files = files.iter().map(block_file).collect();
        thanos.files.push(BlockFile { rel_path: layout::META.to_owned(), ..BlockFile::default() });
        let segments = files.iter().filter_map(|f| f.rel_path.strip_prefix("chunks/"));
        thanos.segment_files = segments.map(str::to_owned).collect();
        String::from_utf8(meta.to_json()).expect("JSON is UTF-8")
    }))
}

fn block_file(f: &FileRecord) -> BlockFile {
    BlockFile {
        rel_path: f.rel_path.clone(),
        size_bytes: f.size_bytes,
        hash: Some(FileHash { hash_func: "SHA256".to_owned(), hash_string: f.sha256.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_the_bucket_block_and_is_the_same_each_time() {
        let labels = cairn_model::Labels::from_pairs([("tenant_id", "a")]).unwrap();
        let mut meta = BlockMeta::new(Ulid::from_parts(1, 1), 0, 7_200_000);
        meta.thanos = Some(cairn_tsdb::meta::ThanosMeta::raw(&labels, "x"));
        let job = Job::compact(&[Ulid::from_parts(9, 9)], 0, "");
        let make = describe(&meta, &job, Source::Receive, 5).unwrap();
        let files = [FileRecord {
            rel_path: "chunks/000001".into(),
            size_bytes: 9,
            sha256: crate::digest::Sha256::of(b"x"),
        }];
        let ulid = Ulid::from_parts(2, 2);
        let text = make(ulid, &files);
        assert_eq!(text, make(ulid, &files));
        let read = BlockMeta::read(text.as_bytes()).unwrap();
        assert_eq!((read.ulid, read.compaction.sources.as_slice()), (ulid, [ulid].as_slice()));
        let thanos = read.thanos.unwrap();
        assert_eq!(thanos.segment_files, ["000001"]);
        assert_eq!(thanos.extensions.unwrap()["cairn"]["job"], job.key().as_str());
        meta.thanos = None;
        assert!(describe(&meta, &job, Source::Receive, 5).is_err(), "Thanos refuses blocks without labels");
    }
}
