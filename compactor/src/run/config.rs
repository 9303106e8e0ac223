//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use crate::levels;
use crate::plan::PlanConfig;
use crate::retention::Retention;

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
