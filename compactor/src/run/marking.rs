//! Blocks that are marked: those that a larger one contains, those past their retention, and those set aside as damaged.
//!
//! Invariant: a block that is contained in another is marked only once the other's record was read and it was seen whole.

use cairn_bucket::marks::{self, NoCompactReason};
use cairn_bucket::{BucketView, Created};
use tracing::{info, warn};
use ulid::Ulid;

use super::{Compactor, PassReport};
use crate::error::Result;
use crate::plan;
use crate::retention::expired;

impl Compactor {
    /// Marks blocks that another block contains, once that one's record was read and it was seen whole.
    pub(super) async fn collect_garbage(&self, view: &BucketView, report: &mut PassReport) {
        for blocks in plan::group(view).values() {
            for (old, new) in plan::garbage(blocks) {
                match self.vouched_for(view, new).await {
                    Ok(true) => {
                        self.mark_deleted(old, &format!("contained in {new}"), "garbage", report).await
                    }
                    Ok(false) => {}
                    Err(error) => self.note_failure(report, "garbage collection", &error),
                }
            }
        }
    }

    /// Whether `ulid` is the committed, sound block of the compaction job that its description names.
    async fn vouched_for(&self, view: &BucketView, ulid: Ulid) -> Result<bool> {
        let key = view
            .blocks
            .get(&ulid)
            .and_then(|b| b.meta.thanos.as_ref()?.extensions.as_ref()?.pointer("/cairn/job")?.as_str());
        let Some(key) = key.filter(|k| k.starts_with("compact-")) else { return Ok(false) };
        let Some(job) = self.committer.job_of(key).await? else { return Ok(false) };
        let record = self.committer.verified(&job).await?;
        Ok(record.is_some_and(|r| r.ulid == Some(ulid)))
    }

    pub(super) async fn retain(&self, report: &mut PassReport) -> Result<()> {
        let view = self.fetcher.look().await?;
        let groups = plan::group(&view);
        for ulid in expired(&groups, &self.config.retention, self.runtime.clock.now_ms()) {
            self.mark_deleted(ulid, "past its retention", "retention", report).await;
        }
        Ok(())
    }

    pub(super) async fn mark_deleted(
        &self,
        ulid: Ulid,
        details: &str,
        reason: &str,
        report: &mut PassReport,
    ) {
        match marks::mark_for_deletion(&self.bucket, ulid, details, self.runtime.clock.now_ms()).await {
            Ok(created) => {
                if created == Created::New {
                    info!(block = %ulid, details, "block marked for deletion");
                    self.metrics.marked.with_label_values(&["deletion-mark.json", reason]).inc();
                    report.marked += 1;
                }
            }
            Err(error) => self.note_failure(report, "marking", &error.into()),
        }
    }

    pub(super) async fn set_aside(
        &self,
        ulid: Ulid,
        reason: NoCompactReason,
        details: &str,
        report: &mut PassReport,
    ) {
        match marks::mark_no_compact(&self.bucket, ulid, reason, details, self.runtime.clock.now_ms()).await {
            Ok(_) => {
                warn!(block = %ulid, details, "block set aside: marked against compaction");
                self.metrics.marked.with_label_values(&["no-compact-mark.json", reason.as_str()]).inc();
                report.quarantined += 1;
            }
            Err(error) => self.note_failure(report, "marking", &error.into()),
        }
    }
}
