//! What may be removed from the bucket, decided purely, then done.
//!
//! Three kinds of folders go: blocks whose deletion mark is old enough; folders of superseded records, for as long
//! as anything is in them; and orphans, folders without `meta.json` that no attempt can still be writing. The
//! newest ULID of a job is never an orphan, whatever it looks like.
//!
//! Order inside a folder: the job's retired marker, so that nobody makes the block again; `meta.json`, so that no
//! reader sees a block with holes; the rest; the deletion mark last, so that a crash half-way is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use prometheus::IntCounterVec;
use tracing::{info, warn};
use ulid::Ulid;

use crate::bucket::Bucket;
use crate::commit::CommitRecord;
use crate::error::Result;
use crate::fetch::BucketView;
use crate::layout;
use crate::marks::{self, MarkKind};

/// Folders without `meta.json` are orphans when nothing was written to them for so long; Thanos' figure.
pub const ORPHAN_AGE: Duration = Duration::from_secs(48 * 3600);
/// From a deletion mark to the deletion, unless configured; Thanos' figure. Readers drop marked blocks well before.
pub const DELETE_DELAY: Duration = Duration::from_secs(48 * 3600);
/// Records that are read at once.
const RECORDS_IN_FLIGHT: usize = 16;

/// ULIDs by what the commit records say of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordedUlids {
    /// Of the newest record of a job that is not retired, with the job's key.
    pub newest: BTreeMap<Ulid, String>,
    /// Of records that others superseded, or of retired jobs.
    pub superseded: BTreeSet<Ulid>,
}

/// Why a folder is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Removal {
    /// Its deletion mark is old enough.
    Marked,
    /// Another record took its place.
    Superseded,
    /// It has no `meta.json` and nobody can be writing it.
    Orphan,
}

impl Removal {
    fn as_str(self) -> &'static str {
        match self {
            Removal::Marked => "marked",
            Removal::Superseded => "superseded",
            Removal::Orphan => "orphan",
        }
    }
}

/// What the decision rests on, beside the view.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the records say; `None` when they could not all be read: then no orphan is removed.
    pub recorded: Option<RecordedUlids>,
    /// Times of the deletion marks that could be read, Unix milliseconds.
    pub marked_ms: BTreeMap<Ulid, i64>,
}

/// Which folders go now, and why. Pure.
pub fn plan(
    view: &BucketView,
    evidence: &Evidence,
    now_ms: i64,
    delete_delay: Duration,
) -> BTreeMap<Ulid, Removal> {
    let older = |since_ms: i64, age: Duration| now_ms.saturating_sub(since_ms) >= age.as_millis() as i64;
    let mut removals = BTreeMap::new();
    for (ulid, folder) in &view.folders {
        if let Some(at) = evidence.marked_ms.get(ulid) {
            if older(*at, delete_delay) {
                removals.insert(*ulid, Removal::Marked);
            }
            continue;
        }
        // A mark that could not be read says at least that someone wants the block gone: not ours to judge.
        if folder.marks.contains(&MarkKind::Deletion) {
            continue;
        }
        let Some(recorded) = &evidence.recorded else { continue };
        if recorded.newest.contains_key(ulid) {
            continue;
        }
        if recorded.superseded.contains(ulid) {
            removals.insert(*ulid, Removal::Superseded);
        } else if !folder.has_meta() && older(folder.newest_ms, ORPHAN_AGE) {
            removals.insert(*ulid, Removal::Orphan);
        }
    }
    removals
}

/// Reads what [`plan`] needs. `view` must have been made before: a record that was created after the look names a
/// folder that the look may hold, so records are read last.
pub async fn gather(bucket: &Bucket, view: &BucketView) -> Result<Evidence> {
    let mut evidence = Evidence::default();
    let marked = view.folders.iter().filter(|(_, f)| f.marks.contains(&MarkKind::Deletion));
    for (ulid, _) in marked {
        match marks::read_deletion_mark(bucket, *ulid).await {
            Ok(Some(mark)) => {
                evidence.marked_ms.insert(*ulid, mark.deletion_time.saturating_mul(1000));
            }
            Ok(None) => {}
            Err(error) => warn!(block = %ulid, %error, "block is kept: its deletion mark cannot be used"),
        }
    }
    match recorded_ulids(bucket).await {
        Ok(recorded) => evidence.recorded = Some(recorded),
        Err(error) => warn!(%error, "orphans are kept: not all commit records could be read"),
    }
    Ok(evidence)
}

/// Reads all commit records. Lists them anew and then asks for the next number of each job, because a list may
/// miss the newest.
async fn recorded_ulids(bucket: &Bucket) -> Result<RecordedUlids> {
    let (mut keys, mut retired) = (BTreeSet::new(), BTreeSet::new());
    let mut objects = bucket.list(Some(&layout::records()));
    while let Some(object) = objects.try_next().await? {
        keys.extend(layout::parse_record(&object.location).map(|(key, _)| key));
        retired.extend(layout::parse_retired(&object.location));
    }
    let chains: Vec<(String, Vec<Option<Ulid>>)> = stream::iter(keys)
        .map(|key| async move {
            let mut chain = Vec::new();
            loop {
                let path = layout::record(&key, chain.len() as u32);
                let Some(bytes) = bucket.get(&path).await? else { break };
                chain.push(CommitRecord::from_json(path.as_ref(), &bytes)?.ulid);
            }
            Ok::<_, crate::BucketError>((key, chain))
        })
        .buffer_unordered(RECORDS_IN_FLIGHT)
        .try_collect()
        .await?;
    let mut recorded = RecordedUlids::default();
    for (key, mut chain) in chains {
        if !retired.contains(&key)
            && let Some(ulid) = chain.pop().flatten()
        {
            recorded.newest.insert(ulid, key);
        }
        recorded.superseded.extend(chain.into_iter().flatten());
    }
    // A ULID that a later record names again, or that two jobs name, is in use.
    recorded.superseded.retain(|u| !recorded.newest.contains_key(u));
    Ok(recorded)
}

/// Removes folders, and counts what was removed.
#[derive(Clone)]
pub struct Cleaner {
    bucket: Bucket,
    delete_delay: Duration,
    cleaned: prometheus::IntCounter,
    failures: prometheus::IntCounter,
    removed: IntCounterVec,
}

impl Cleaner {
    /// Removes marked blocks after `delete_delay`.
    pub fn new(bucket: Bucket, delete_delay: Duration, metrics: &cairn_runtime::Metrics) -> Self {
        Cleaner {
            bucket,
            delete_delay,
            cleaned: metrics.counter("thanos_compact_blocks_cleaned_total", "Blocks deleted in the bucket."),
            failures: metrics.counter(
                "thanos_compact_block_cleanup_failures_total",
                "Blocks that could not be deleted; they will be tried again.",
            ),
            removed: metrics.counter_vec(
                "cairn_bucket_folders_removed_total",
                "Folders removed from the bucket, by why.",
                &["reason"],
            ),
        }
    }

    /// Removes what may go now; gives what was removed. One folder that cannot be removed does not stop the others.
    ///
    /// # Errors
    /// When nothing can be decided.
    pub async fn clean(&self, view: &BucketView, now_ms: i64) -> Result<BTreeMap<Ulid, Removal>> {
        let evidence = self.bucket_evidence(view).await?;
        let mut removed = BTreeMap::new();
        for (ulid, why) in plan(view, &evidence, now_ms, self.delete_delay) {
            let job = evidence.recorded.as_ref().and_then(|r| r.newest.get(&ulid));
            if why == Removal::Marked && evidence.recorded.is_none() {
                // Without the records nobody can say which job must be retired first.
                continue;
            }
            match self.remove(ulid, view, job).await {
                Ok(()) => {
                    info!(block = %ulid, reason = why.as_str(), "folder removed");
                    self.cleaned.inc();
                    self.removed.with_label_values(&[why.as_str()]).inc();
                    removed.insert(ulid, why);
                }
                Err(error) => {
                    warn!(block = %ulid, %error, "folder cannot be removed now; the next pass tries again");
                    self.failures.inc();
                }
            }
        }
        Ok(removed)
    }

    async fn bucket_evidence(&self, view: &BucketView) -> Result<Evidence> {
        gather(&self.bucket, view).await
    }

    async fn remove(&self, ulid: Ulid, view: &BucketView, job: Option<&String>) -> Result<()> {
        if let Some(key) = job {
            self.bucket.create(&layout::retired(key), ulid.to_string().into()).await?;
        }
        self.bucket.delete(&layout::meta(ulid)).await?;
        let mark = MarkKind::Deletion.file_name();
        let names = view.folders.get(&ulid).into_iter().flat_map(|f| f.objects.keys());
        let rest = names.filter(|n| *n != layout::META && *n != mark);
        self.bucket.delete_all(rest.map(|n| layout::in_block(ulid, n)).collect()).await?;
        self.bucket.delete(&layout::in_block(ulid, mark)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Folder;
    use proptest::prelude::*;

    const HOUR_MS: i64 = 3_600_000;

    fn folder(age_h: i64, meta: bool, mark: bool) -> Folder {
        let mut f = Folder { newest_ms: 1_000 * HOUR_MS - age_h * HOUR_MS, ..Folder::default() };
        f.objects.insert("index".into(), 1);
        if meta {
            f.objects.insert(layout::META.into(), 1);
        }
        if mark {
            f.marks.insert(MarkKind::Deletion);
        }
        f
    }

    proptest! {
        #[test]
        fn only_what_nobody_needs_is_removed(
            folders in prop::collection::vec((0i64..200, any::<bool>(), any::<bool>(), 0u8..4, 0i64..200), 0..12),
            records_known in any::<bool>(),
        ) {
            let mut view = BucketView::default();
            let mut recorded = RecordedUlids::default();
            let mut evidence = Evidence::default();
            for (i, (age_h, meta, mark, said, marked_h)) in folders.iter().enumerate() {
                let ulid = Ulid::from_parts(1, i as u128);
                view.folders.insert(ulid, folder(*age_h, *meta, *mark));
                match said {
                    0 => { recorded.newest.insert(ulid, format!("job-{i}")); }
                    1 => { recorded.superseded.insert(ulid); }
                    _ => {}
                }
                if *mark && *marked_h > 20 {
                    evidence.marked_ms.insert(ulid, (1_000 - marked_h) * HOUR_MS);
                }
            }
            evidence.recorded = records_known.then_some(recorded.clone());
            let now_ms = 1_000 * HOUR_MS;
            let removals = plan(&view, &evidence, now_ms, DELETE_DELAY);
            for (i, (age_h, meta, mark, said, marked_h)) in folders.iter().enumerate() {
                let why = removals.get(&Ulid::from_parts(1, i as u128));
                let expected = if *mark {
                    (*marked_h >= 48).then_some(Removal::Marked)
                } else if !records_known || *said == 0 {
                    None
                } else if *said == 1 {
                    Some(Removal::Superseded)
                } else {
                    (!*meta && *age_h >= 48).then_some(Removal::Orphan)
                };
                prop_assert_eq!(why.copied(), expected, "folder {}", i);
            }
        }
    }
}
