//! One compaction: the first plan of the first group that has one.
//!
//! Invariant: inputs are marked only after their output is committed; a damaged input is set aside, and its group goes on
//! without it.

use std::collections::BTreeSet;

use cairn_bucket::marks::NoCompactReason;
use cairn_bucket::{BucketView, Job};
use cairn_runtime::Shutdown;
use tracing::{info, warn};
use ulid::Ulid;

use super::job::{PARAMETERS, Task, Work};
use super::{Compactor, PassReport};
use crate::error::{CompactError, Result};
use crate::plan::{self, Decision, GroupKey};

impl Compactor {
    /// Carries out the first plan of the first group that has one. `false` when there is none.
    pub(super) async fn compact_one(
        &self,
        view: &BucketView,
        shutdown: &Shutdown,
        report: &mut PassReport,
        failed: &mut BTreeSet<GroupKey>,
    ) -> Result<bool> {
        let now_ms = self.runtime.clock.now_ms();
        let (mut next, mut due, mut left_alone) = (None, 0, 0);
        for (key, blocks) in plan::group(view) {
            if failed.contains(&key) {
                continue;
            }
            match plan::decide(&key, &blocks, &self.config.plan, now_ms) {
                Decision::Rest => {}
                Decision::LeftAlone(block) => {
                    left_alone += 1;
                    if next.is_none() {
                        warn!(group = %key, %block, "another compactor made this block a short while ago; the group is left alone. Stop that compactor, then use --compact.takeover");
                    }
                }
                decision => {
                    due += 1;
                    next.get_or_insert((key, decision));
                }
            }
        }
        self.metrics.todo_compactions.set(due);
        self.metrics.left_alone.set(left_alone);
        let Some((key, decision)) = next else { return Ok(false) };
        match decision {
            Decision::TooLarge(ulid) => {
                let details = "the merged index would be too large";
                self.set_aside(ulid, NoCompactReason::IndexSize, details, report).await;
            }
            Decision::Compact(inputs) => {
                let failures = report.failures;
                self.compact(&key, &inputs, view, shutdown, report).await?;
                if report.failures > failures {
                    // The others of this group wait for the next pass: their plans would meet the same.
                    failed.insert(key);
                }
            }
            Decision::Rest | Decision::LeftAlone(_) => {}
        }
        Ok(true)
    }

    async fn compact(
        &self,
        key: &GroupKey,
        inputs: &[Ulid],
        view: &BucketView,
        shutdown: &Shutdown,
        report: &mut PassReport,
    ) -> Result<()> {
        info!(group = %key, blocks = inputs.len(), due = self.metrics.todo_compactions.get(), "compacting");
        let job = Job::compact(inputs, key.resolution_ms, PARAMETERS);
        let task = Task { job: &job, inputs, view, shutdown, work: Work::Merge };
        match self.carry_out(task).await {
            Ok(_) => {
                self.metrics.group_compactions.inc();
                report.compactions += 1;
                for ulid in inputs {
                    self.mark_deleted(*ulid, "merged into a larger block", "compaction", report).await;
                }
            }
            Err(CompactError::ShuttingDown) => return Err(CompactError::ShuttingDown),
            Err(CompactError::BadBlock { ulid, reason }) => {
                self.metrics.quarantined.inc();
                self.set_aside(ulid, NoCompactReason::OutOfOrderChunk, &reason, report).await;
            }
            Err(error) => {
                self.metrics.group_failures.inc();
                self.note_failure(report, "compaction", &error);
            }
        }
        Ok(())
    }
}
