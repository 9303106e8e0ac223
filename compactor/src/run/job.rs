//! One job through the commit protocol: found done, or finished where another began, or done here.
//!
//! Invariant: nothing is fetched for a job that somebody has committed, and none begins that the local disk cannot hold.

use std::io;
use std::path::{Path, PathBuf};

use cairn_bucket::commit::Committed;
use cairn_bucket::ship::{Source, describe};
use cairn_bucket::{BlockSource, BucketView, Job, fresh_ulid};
use cairn_runtime::{Disk, Shutdown};
use cairn_tsdb::block::BlockReader;
use cairn_tsdb::meta::BlockMeta;
use tracing::warn;
use ulid::Ulid;

use super::Compactor;
use crate::download::download;
use crate::downsample::downsample_block;
use crate::error::{CompactError, Result};
use crate::merge::{MergeStats, merge_blocks};

/// What else changes a compaction's output goes here; a new way of merging gets a new text, so that old records do
/// not stand for it.
pub(super) const PARAMETERS: &str = "v1";

/// What makes the output of the inputs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// One block of all of them.
    Merge,
    /// The only one, at this resolution in milliseconds.
    Downsample(i64),
}

/// A job with what is needed to do it.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub job: &'a Job,
    /// Blocks it is made of.
    pub inputs: &'a [Ulid],
    /// The bucket as this pass sees it.
    pub view: &'a BucketView,
    pub shutdown: &'a Shutdown,
    pub work: Work,
}

impl Compactor {
    /// Has the task's job committed: finds it done, or finishes what another began, or does it.
    pub(super) async fn carry_out(&self, task: Task<'_>) -> Result<Committed> {
        let job = task.job;
        match self.committer.resume(job).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(error) => {
                warn!(job = %job.key(), %error, "the committed block cannot be finished; making it anew")
            }
        }
        let dir = self.config.work_dir.join(job.key().as_str());
        let outcome = self.work(task, &dir).await;
        if let Err(error) = self.runtime.disk.remove_dir_all(&dir) {
            warn!(dir = %dir.display(), %error, "work folder stays until the next start");
        }
        outcome
    }

    async fn work(&self, task: Task<'_>, dir: &Path) -> Result<Committed> {
        let Task { job, inputs, view, shutdown, work } = task;
        let local = |source| CompactError::Local { path: dir.display().to_string(), source };
        empty_dir(&*self.runtime.disk, dir).map_err(local)?;
        self.check_space(inputs, view, dir)?;
        for ulid in inputs {
            if shutdown.has_begun() {
                return Err(CompactError::ShuttingDown);
            }
            let missing =
                || CompactError::BadBlock { ulid: *ulid, reason: "it is gone from the bucket".into() };
            download(&self.bucket, &self.runtime, *ulid, view.blocks.get(ulid).ok_or_else(missing)?, dir)
                .await?;
        }
        let made = self.make(inputs.to_vec(), work, dir.to_owned(), shutdown.clone()).await?;
        let Some((folder, meta)) = made else {
            return Ok(self.committer.commit(job, None).await?);
        };
        let make_meta = describe(&meta, job, Source::Compactor, self.runtime.clock.now_ms())?;
        let source = BlockSource::from_dir(self.runtime.disk.as_ref(), &folder, make_meta)?;
        self.metrics.samples.inc_by(meta.stats.num_samples);
        Ok(self.committer.commit(job, Some(&source)).await?)
    }

    /// Inputs and output must fit beside one another.
    fn check_space(&self, inputs: &[Ulid], view: &BucketView, dir: &Path) -> Result<()> {
        let local = |source| CompactError::Local { path: dir.display().to_string(), source };
        let size = |u: &Ulid| view.blocks.get(u).map_or(0, |b| b.files.values().sum::<u64>());
        let needed_bytes = inputs.iter().map(size).sum::<u64>() * 2;
        let free_bytes = self.runtime.disk.free_bytes(dir).map_err(local)?;
        if free_bytes < needed_bytes {
            let (blocks, path) = (inputs.len(), dir.display().to_string());
            return Err(CompactError::DiskFull { blocks, path, free_bytes, needed_bytes });
        }
        Ok(())
    }

    /// Makes the output block on the CPU pool; gives its folder and description, or `None` when it is empty.
    async fn make(
        &self,
        inputs: Vec<Ulid>,
        work: Work,
        dir: PathBuf,
        shutdown: Shutdown,
    ) -> Result<Option<(PathBuf, BlockMeta)>> {
        let (disk, out) = (self.runtime.disk.clone(), fresh_ulid(&self.runtime));
        let made = self.runtime.cpu.run_behind(move || {
            let open = |ulid: &Ulid| {
                BlockReader::open(disk.as_ref(), &dir.join(ulid.to_string()))
                    .map_err(|e| CompactError::BadBlock { ulid: *ulid, reason: e.to_string() })
            };
            let readers = inputs.iter().map(open).collect::<Result<Vec<_>>>()?;
            let parent = dir.join("out");
            let local = |source| CompactError::Local { path: parent.display().to_string(), source };
            disk.create_dir_all(&parent).map_err(local)?;
            let stop = || shutdown.has_begun();
            let meta = match work {
                Work::Merge => merge_blocks(disk.as_ref(), &readers, &parent, out, &stop)?
                    .map(|(meta, stats)| (meta, Some(stats))),
                Work::Downsample(resolution_ms) => {
                    downsample_block(disk.as_ref(), &readers[0], resolution_ms, &parent, out, &stop)?
                        .map(|meta| (meta, None))
                }
            };
            Ok::<_, CompactError>(meta.map(|(meta, stats)| (parent.join(out.to_string()), meta, stats)))
        });
        let made = made.await.map_err(|_| CompactError::Panicked)??;
        Ok(made.map(|(folder, meta, stats)| {
            self.count(stats.unwrap_or_default());
            (folder, meta)
        }))
    }

    fn count(&self, stats: MergeStats) {
        let by = |outcome: &str, n: u64| self.metrics.chunks.with_label_values(&[outcome]).inc_by(n);
        by("passed_through", stats.passed_through);
        by("equal", stats.equal);
        by("decoded", stats.decoded);
        if stats.decoded > 0 {
            self.metrics.vertical.inc();
        }
    }
}

/// Makes `dir` a folder with nothing in it.
pub(super) fn empty_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.exists(dir)? {
        disk.remove_dir_all(dir)?;
    }
    disk.create_dir_all(dir)
}
