//! Downsampling of all that is due, each block tried once a pass.

use std::collections::BTreeSet;

use cairn_bucket::{BucketView, Job, marks};
use cairn_runtime::Shutdown;
use tracing::{info, warn};

use super::job::{PARAMETERS, Task, Work};
use super::{Compactor, MAX_PLANS_PER_PASS, PassReport};
use crate::error::{CompactError, Result};
use crate::levels::{self, Downsampling};
use crate::plan;

impl Compactor {
    pub(super) async fn downsample_all(&self, shutdown: &Shutdown, report: &mut PassReport) -> Result<()> {
        let mut tried = BTreeSet::new();
        for _ in 0..MAX_PLANS_PER_PASS {
            let view = self.fetcher.look().await?;
            let due = levels::due(&plan::group(&view), self.config.from_raw, self.config.from_5m);
            self.metrics.todo_downsamples.set(due.len() as i64);
            let Some(next) = due.into_iter().find(|d| tried.insert((d.ulid, d.resolution_ms))) else { break };
            self.downsample(&next, &view, shutdown, report).await?;
        }
        Ok(())
    }

    async fn downsample(
        &self,
        d: &Downsampling,
        view: &BucketView,
        shutdown: &Shutdown,
        report: &mut PassReport,
    ) -> Result<()> {
        info!(block = %d.ulid, resolution_ms = d.resolution_ms, "downsampling");
        let resolution = d.resolution_ms.to_string();
        let job = Job::compact(&[d.ulid], d.resolution_ms, PARAMETERS);
        let work = Work::Downsample(d.resolution_ms);
        let task = Task { job: &job, inputs: &[d.ulid], view, shutdown, work };
        match self.carry_out(task).await {
            Ok(_) => {
                self.metrics.downsamples.with_label_values(&[&resolution]).inc();
                report.downsamplings += 1;
            }
            Err(CompactError::ShuttingDown) => return Err(CompactError::ShuttingDown),
            Err(CompactError::BadBlock { ulid, reason }) => {
                self.metrics.quarantined.inc();
                let now_ms = self.runtime.clock.now_ms();
                match marks::mark_no_downsample(&self.bucket, ulid, &reason, now_ms).await {
                    Ok(_) => {
                        warn!(block = %ulid, reason, "block set aside: marked against downsampling");
                        let labels = ["no-downsample-mark.json", "manual"];
                        self.metrics.marked.with_label_values(&labels).inc();
                        report.quarantined += 1;
                    }
                    Err(error) => self.note_failure(report, "marking", &error.into()),
                }
            }
            Err(error) => {
                self.metrics.downsample_failures.with_label_values(&[&resolution]).inc();
                self.note_failure(report, "downsampling", &error);
            }
        }
        Ok(())
    }
}
