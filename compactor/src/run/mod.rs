//! The compactor at work: looks at the bucket, does what is due, and looks again.
//!
//! A pass: clean, mark garbage ([`marking`]), compact until nothing is due ([`compaction`]), downsample ([`downsampling`]),
//! retain. Each part runs whatever became of the others, and one block or group that fails does not stop the rest.
//!
//! Work on a plan goes through the commit protocol with the [`job`] (sources, resolution, parameters): a plan that
//! another worker has committed is found before any byte is fetched, and sources are marked for deletion only after
//! the record was read and its block seen whole.

mod compaction;
mod config;
mod downsampling;
mod job;
mod marking;

use std::collections::BTreeSet;

use cairn_bucket::clean::Cleaner;
use cairn_bucket::{Bucket, Committer, Fetcher};
use cairn_runtime::{Runtime, Shutdown};
use tracing::{error, info, warn};

pub use config::CompactorConfig;

use crate::error::{CompactError, Result};
use crate::metrics::CompactMetrics;
use crate::plan::GroupKey;

/// Plans of one pass; the next pass goes on. Keeps marks, retention and cleaning from waiting for ever.
const MAX_PLANS_PER_PASS: usize = 10_000;

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
        job::empty_dir(&*runtime.disk, &config.work_dir).map_err(local)?;
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
}
