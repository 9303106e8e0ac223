//! Marks beside a block, byte-compatible with Thanos': what may not be done with it, or that it is to go.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::bucket::{Bucket, Created};
use crate::error::{BucketError, Result};
use crate::layout;

/// The version that all marks have.
const VERSION: u32 = 1;

/// Kinds of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// Delete the block once the delay is over.
    Deletion,
    /// Leave it out of compaction.
    NoCompact,
    /// Leave it out of downsampling.
    NoDownsample,
}

impl MarkKind {
    /// All kinds.
    pub const ALL: [MarkKind; 3] = [MarkKind::Deletion, MarkKind::NoCompact, MarkKind::NoDownsample];

    /// Name of the file in the block's folder.
    pub fn file_name(self) -> &'static str {
        match self {
            MarkKind::Deletion => "deletion-mark.json",
            MarkKind::NoCompact => "no-compact-mark.json",
            MarkKind::NoDownsample => "no-downsample-mark.json",
        }
    }

    /// The kind of a file in a block's folder.
    pub fn of_file(name: &str) -> Option<MarkKind> {
        MarkKind::ALL.into_iter().find(|k| k.file_name() == name)
    }
}

/// Why a block is left out of compaction; Thanos' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCompactReason {
    /// An operator decided so.
    Manual,
    /// The merged index would grow past its format's bounds.
    IndexSize,
    /// Its index or chunks cannot be trusted.
    OutOfOrderChunk,
}

impl NoCompactReason {
    /// The word in the mark.
    pub fn as_str(self) -> &'static str {
        match self {
            NoCompactReason::Manual => "manual",
            NoCompactReason::IndexSize => "index-size-exceeding",
            NoCompactReason::OutOfOrderChunk => "block-index-out-of-order-chunk",
        }
    }
}

/// `deletion-mark.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionMark {
    /// The block.
    pub id: String,
    /// 1.
    pub version: u32,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Unix time in seconds at which the mark was set.
    pub deletion_time: i64,
}

#[derive(Serialize)]
struct NoCompactMark<'a> {
    id: String,
    version: u32,
    details: &'a str,
    no_compact_time: i64,
    reason: &'a str,
}

/// Marks a block for deletion. An earlier mark stays, so the delay counts from the first.
pub async fn mark_for_deletion(bucket: &Bucket, ulid: Ulid, details: &str, now_ms: i64) -> Result<Created> {
    let mark = DeletionMark {
        id: ulid.to_string(),
        version: VERSION,
        details: details.to_owned(),
        deletion_time: now_ms.div_euclid(1000),
    };
    bucket.create(&path(ulid, MarkKind::Deletion), json(&mark)).await
}

/// Leaves a block out of compaction from now on. An earlier mark stays.
pub async fn mark_no_compact(
    bucket: &Bucket,
    ulid: Ulid,
    reason: NoCompactReason,
    details: &str,
    now_ms: i64,
) -> Result<Created> {
    let mark = NoCompactMark {
        id: ulid.to_string(),
        version: VERSION,
        details,
        no_compact_time: now_ms.div_euclid(1000),
        reason: reason.as_str(),
    };
    bucket.create(&path(ulid, MarkKind::NoCompact), json(&mark)).await
}

#[derive(Serialize)]
struct NoDownsampleMark<'a> {
    id: String,
    version: u32,
    details: &'a str,
    no_downsample_time: i64,
    reason: &'a str,
}

/// Leaves a block out of downsampling from now on. An earlier mark stays. Thanos knows one reason only, `manual`.
pub async fn mark_no_downsample(bucket: &Bucket, ulid: Ulid, details: &str, now_ms: i64) -> Result<Created> {
    let mark = NoDownsampleMark {
        id: ulid.to_string(),
        version: VERSION,
        details,
        no_downsample_time: now_ms.div_euclid(1000),
        reason: "manual",
    };
    bucket.create(&path(ulid, MarkKind::NoDownsample), json(&mark)).await
}

/// The deletion mark of a block, if it has one.
///
/// # Errors
/// [`BucketError::Malformed`] for a mark that is not one: nothing is deleted then.
pub async fn read_deletion_mark(bucket: &Bucket, ulid: Ulid) -> Result<Option<DeletionMark>> {
    let path = path(ulid, MarkKind::Deletion);
    let Some(bytes) = bucket.get(&path).await? else { return Ok(None) };
    let bad = |reason: String| BucketError::Malformed { object: path.to_string(), reason };
    let mark: DeletionMark = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if mark.version != VERSION {
        return Err(bad(format!("version {}, only {VERSION} is known", mark.version)));
    }
    Ok(Some(mark))
}

/// Path of a mark.
pub fn path(ulid: Ulid, kind: MarkKind) -> Path {
    layout::in_block(ulid, kind.file_name())
}

fn json(mark: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(mark).expect("marks are plain data");
    text.push(b'\n'); // as Go's encoder
    text.into()
}
