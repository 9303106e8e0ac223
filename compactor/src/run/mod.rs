//! The compactor at work: looks at the bucket, does what is due, and looks again.
//!
//! A pass: clean, mark garbage, compact until nothing is due, downsample, retain. Each part runs whatever became of
//! the others, and one block or group that fails does not stop the rest.
//!
//! Work on a plan goes through the commit protocol with the job (sources, resolution, parameters): a plan that
//! another worker has committed is found before any byte is fetched, and sources are marked for deletion only after
//! the record was read and its block seen whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_bucket::clean::Cleaner;
use cairn_bucket::commit::Committed;
use cairn_bucket::marks::{self, NoCompactReason};
use cairn_bucket::ship::{Source, describe};
use cairn_bucket::{BlockSource, Bucket, BucketView, Committer, Created, Fetcher, Job, fresh_ulid};
use cairn_runtime::{Runtime, Shutdown};
use cairn_tsdb::block::BlockReader;
use cairn_tsdb::meta::BlockMeta;
use tracing::{error, info, warn};
use ulid::Ulid;

use crate::download::download;
use crate::downsample::downsample_block;
use crate::error::{CompactError, Result};
use crate::levels::{self, Downsampling};
use crate::merge::{MergeStats, merge_blocks};
use crate::metrics::CompactMetrics;
use crate::plan::{self, Decision, GroupKey, PlanConfig};
use crate::retention::{Retention, expired};

/// Plans of one pass; the next pass goes on. Keeps marks, retention and cleaning from waiting for ever.
const MAX_PLANS_PER_PASS: usize = 10_000;
/// What else changes a compaction's output goes here; a new way of merging gets a new text, so that old records do
/// not stand for it.
const PARAMETERS: &str = "v1";

/// How the compactor works.
#[derive(Debug, Clone)]
pub struct CompactorConfig {
    /// Where blocks are worked on; emptied at start.
    pub work_dir: PathBuf,
    /// How plans are made.
    pub plan: PlanConfig,
    /// How long resolutions are kept.
    pub retention: Retention,
    /// Whether to downsample at all.
    pub downsampling: bool,
    /// Raw blocks that span so much are downsampled to 5 m.
    pub from_raw: Duration,
    /// 5 m blocks that span so much are downsampled to 1 h.
    pub from_5m: Duration,
    /// From a deletion mark to the deletion.
    pub delete_delay: Duration,
    /// Pause between passes.
    pub wait_interval: Duration,
}

impl CompactorConfig {
    /// Thanos' figures, working in `work_dir`.
    pub fn new(work_dir: PathBuf) -> Self {
        CompactorConfig {
            work_dir,
            plan: PlanConfig::default(),
            retention: Retention::default(),
            downsampling: true,
            from_raw: levels::FROM_RAW,
            from_5m: levels::FROM_5M,
            delete_delay: cairn_bucket::clean::DELETE_DELAY,
            wait_interval: Duration::from_secs(300),
        }
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Blocks made by merging, or found made by others.
    pub compactions: usize,
    /// Blocks made by downsampling, or found made by others.
    pub downsamplings: usize,
    /// Blocks marked for deletion.
    pub marked: usize,
    /// Folders removed.
    pub removed: usize,
    /// Damaged blocks set aside.
    pub quarantined: usize,
    /// Things that failed and will be tried again.
    pub failures: usize,
}

/// The compactor of one bucket.
pub struct Compactor {
    bucket: Bucket,
    committer: Committer,
    fetcher: Fetcher,
    cleaner: Cleaner,
    runtime: Runtime,
    config: CompactorConfig,
    metrics: CompactMetrics,
}

impl Compactor {
    /// A compactor that has done nothing yet.
    ///
    /// # Errors
    /// [`CompactError::Config`] for settings that would lose data, [`CompactError::Local`] when the work folder
    /// cannot be made empty.
    pub fn new(bucket: Bucket, runtime: Runtime, config: CompactorConfig) -> Result<Self> {
        config.plan.validate().map_err(CompactError::Config)?;
        if config.downsampling {
            config.retention.validate(config.from_raw, config.from_5m).map_err(CompactError::Config)?;
        }
        let local = |source| CompactError::Local { path: config.work_dir.display().to_string(), source };
        if runtime.disk.exists(&config.work_dir).map_err(local)? {
            runtime.disk.remove_dir_all(&config.work_dir).map_err(local)?;
        }
        runtime.disk.create_dir_all(&config.work_dir).map_err(local)?;
        Ok(Compactor {
            committer: Committer::new(bucket.clone(), runtime.clone()),
            fetcher: Fetcher::new(bucket.clone()),
            cleaner: Cleaner::new(bucket.clone(), config.delete_delay, &runtime.metrics),
            metrics: CompactMetrics::new(&runtime.metrics),
            bucket,
            runtime,
            config,
        })
    }

    /// Passes until `shutdown` begins.
    pub async fn run(&self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let report = self.pass(&shutdown).await;
            info!(?report, "compaction pass ended");
            tokio::select! {
                () = shutdown.begun() => {}
                () = self.runtime.clock.sleep(self.config.wait_interval) => {}
            }
        }
    }

    /// One pass. Failures are logged, counted and in the report; nothing stops for them.
    pub async fn pass(&self, shutdown: &Shutdown) -> PassReport {
        let mut report = PassReport::default();
        let mut failed = BTreeSet::new();
        let outcome = self.parts(shutdown, &mut report, &mut failed).await;
        if let Err(error) = outcome {
            match error {
                CompactError::ShuttingDown => {
                    info!("compaction stops for shutdown; the work goes on at the next start")
                }
                error => {
                    error!(%error, "compaction pass cannot see the bucket; it will be tried again");
                    report.failures += 1;
                }
            }
        }
        self.metrics.iterations.inc();
        if report.failures > 0 {
            self.metrics.iteration_failures.inc();
        }
        report
    }

    async fn parts(
        &self,
        shutdown: &Shutdown,
        report: &mut PassReport,
        failed: &mut BTreeSet<GroupKey>,
    ) -> Result<()> {
        let view = self.fetcher.look().await?;
        for (block, reason) in &view.broken {
            warn!(%block, reason, "block is left alone: its meta.json cannot be used");
        }
        match self.cleaner.clean(&view, self.runtime.clock.now_ms()).await {
            Ok(removed) => report.removed = removed.len(),
            Err(error) => self.note_failure(report, "cleaning", &error.into()),
        }
        for _ in 0..MAX_PLANS_PER_PASS {
            let view = self.fetcher.look().await?;
            self.collect_garbage(&view, report).await;
            if !self.compact_one(&view, shutdown, report, failed).await? {
                break;
            }
        }
        if self.config.downsampling {
            self.downsample_all(shutdown, report).await?;
        }
        self.retain(report).await
    }

    fn note_failure(&self, report: &mut PassReport, what: &str, error: &CompactError) {
        error!(what, %error, "failed; it will be tried again");
        report.failures += 1;
    }

    // -- garbage and retention

    /// Marks blocks that another block contains, once that one's record was read and it was seen whole.
    async fn collect_garbage(&self, view: &BucketView, report: &mut PassReport) {
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

    async fn retain(&self, report: &mut PassReport) -> Result<()> {
        let view = self.fetcher.look().await?;
        let groups = plan::group(&view);
        for ulid in expired(&groups, &self.config.retention, self.runtime.clock.now_ms()) {
            self.mark_deleted(ulid, "past its retention", "retention", report).await;
        }
        Ok(())
    }

    async fn mark_deleted(&self, ulid: Ulid, details: &str, reason: &str, report: &mut PassReport) {
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

    async fn set_aside(&self, ulid: Ulid, reason: NoCompactReason, details: &str, report: &mut PassReport) {
        match marks::mark_no_compact(&self.bucket, ulid, reason, details, self.runtime.clock.now_ms()).await {
            Ok(_) => {
                warn!(block = %ulid, details, "block set aside: marked against compaction");
                self.metrics.marked.with_label_values(&["no-compact-mark.json", reason.as_str()]).inc();
                report.quarantined += 1;
            }
            Err(error) => self.note_failure(report, "marking", &error.into()),
        }
    }

    // -- compaction

    /// Carries out the first plan of the first group that has one. `false` when there is none.
    async fn compact_one(
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
        match self.carry_out(&job, inputs, view, shutdown, Work::Merge).await {
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

    // -- downsampling

    async fn downsample_all(&self, shutdown: &Shutdown, report: &mut PassReport) -> Result<()> {
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
        match self.carry_out(&job, &[d.ulid], view, shutdown, Work::Downsample(d.resolution_ms)).await {
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

    // -- one job

    /// Has `job` committed: finds it done, or finishes what another began, or does it.
    async fn carry_out(
        &self,
        job: &Job,
        inputs: &[Ulid],
        view: &BucketView,
        shutdown: &Shutdown,
        work: Work,
    ) -> Result<Committed> {
        match self.committer.resume(job).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(error) => {
                warn!(job = %job.key(), %error, "the committed block cannot be finished; making it anew")
            }
        }
        let dir = self.config.work_dir.join(job.key().as_str());
        let outcome = self.work(job, inputs, view, shutdown, work, &dir).await;
        if let Err(error) = self.runtime.disk.remove_dir_all(&dir) {
            warn!(dir = %dir.display(), %error, "work folder stays until the next start");
        }
        outcome
    }

    async fn work(
        &self,
        job: &Job,
        inputs: &[Ulid],
        view: &BucketView,
        shutdown: &Shutdown,
        work: Work,
        dir: &Path,
    ) -> Result<Committed> {
        let local = |source| CompactError::Local { path: dir.display().to_string(), source };
        if self.runtime.disk.exists(dir).map_err(local)? {
            self.runtime.disk.remove_dir_all(dir).map_err(local)?;
        }
        self.runtime.disk.create_dir_all(dir).map_err(local)?;
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

#[derive(Debug, Clone, Copy)]
enum Work {
    Merge,
    Downsample(i64),
}
