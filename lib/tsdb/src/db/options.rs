//! How a database is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::Labels;

use crate::head::windows::Timing;
use crate::head::{MemoryBounds, SeriesLimit};
use crate::wal::SyncMode;

/// How a database is opened. [`DbOptions::new`] gives the defaults.
#[derive(Clone)]
pub struct DbOptions {
    /// Its folder: `wal/`, `head/`, `snapshot/` and `blocks/` lie in it.
    pub dir: PathBuf,
    /// When the log syncs.
    pub wal_sync: SyncMode,
    /// The log begins a new segment at this size.
    pub wal_segment_bytes: u64,
    /// CPU time of replay that a start may need before a head snapshot is worth taking, by estimate; with many series more,
    /// so that snapshots stay cheap beside the writes. 0: at every round of [`crate::Db::maintain`] that has news.
    pub replay_budget: Duration,
    /// Length of windows and of blocks, at least a second. 2 h in production.
    pub block_duration: Duration,
    /// A window is closed this long after its end.
    pub close_after: Duration,
    /// Late samples of a closed window are cut at most this often.
    pub late_every: Duration,
    /// External labels beside `tenant_id`.
    pub external_labels: Labels,
    /// Partitions of the head, 0 = one a core of the computing pool.
    pub partitions: usize,
    /// Exemplars kept for each tenant.
    pub exemplars: usize,
    /// Most active series of a tenant, 0 = no limit; asked whenever a series is created.
    pub series_limit: SeriesLimit,
    /// How much memory there is.
    pub memory: MemoryBounds,
    /// `source` in the Thanos part of blocks.
    pub block_source: String,
}

impl DbOptions {
    /// The defaults of production for a database in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        DbOptions {
            dir: dir.into(),
            wal_sync: SyncMode::Always,
            wal_segment_bytes: 256 << 20,
            replay_budget: Duration::from_secs(1),
            block_duration: Duration::from_secs(2 * 3600),
            close_after: Duration::from_secs(30 * 60),
            late_every: Duration::from_secs(3600),
            external_labels: Labels::empty(),
            partitions: 0,
            exemplars: 100_000,
            series_limit: Arc::new(|_| 0),
            memory: MemoryBounds::default(),
            block_source: "receive".into(),
        }
    }

    /// When windows are closed.
    pub fn timing(&self) -> Timing {
        Timing {
            length_ms: self.block_duration.as_millis() as i64,
            close_after_ms: self.close_after.as_millis() as i64,
            late_every_ms: self.late_every.as_millis() as i64,
        }
    }
}
