//! The database of one node: head, log and local blocks as one.
//!
//! [`Db::open`] replays the log ([`replay`]), with [`Db::begin`] writes are taken meanwhile ([`early`]); [`Db::append`] applies a batch to the head and answers when the
//! [`journal`] has it on disk ([`append`]); [`Db::head_store`] and [`Db::blocks`] answer readers; [`seal`] closes
//! windows, cuts them into blocks ([`cut`]) and releases them; [`snapshot`] spares a start most of the log; [`maintain`] is
//! the housekeeping that a background task calls; [`memory`] is asked before samples are taken. [`options`] and
//! [`metrics`] are what they say.
//!
//! Invariant: an acknowledged sample is in the log, or in a verified block.

pub mod append;
pub mod cut;
pub mod early;
mod join;
pub mod journal;
pub mod maintain;
mod memory;
pub mod metrics;
pub mod options;
pub mod replay;
pub mod seal;
pub mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use cairn_model::storage::StoreApi;
use cairn_model::{Labels, TenantId};
use cairn_runtime::disk::DiskLock;
use cairn_runtime::{OpenHow, Runtime};
use parking_lot::Mutex;

use crate::block::BlockStore;
use crate::error::TsdbError;
use crate::head::series::{TenantNo, WindowNo};
use crate::head::{Head, HeadOptions, HeadStore};
use crate::wal::{Log, LogOptions};

use append::{Scratch, Stall};
use early::Early;
use journal::Journal;
use maintain::PendingRelease;
use metrics::DbMetrics;
use snapshot::SNAPSHOT_DIR;
use snapshot::debt::ReplayDebt;

pub use options::DbOptions;
pub use replay::ReplayReport;
pub use seal::WindowId;

/// Folder of the log below the database's.
pub const WAL_DIR: &str = "wal";
/// Folder of head-chunk files.
pub const HEAD_DIR: &str = "head";
/// Folder of local blocks.
pub const BLOCKS_DIR: &str = "blocks";
/// Name of the lock file.
pub const LOCK_FILE: &str = "lock";

/// The storage engine of one node. Shared by everyone who reads or writes.
pub struct Db {
    pub(crate) options: DbOptions,
    pub(crate) runtime: Runtime,
    pub(crate) head: Arc<Head>,
    pub(crate) journal: Journal,
    pub(crate) blocks: BlockStore,
    pub(crate) metrics: DbMetrics,
    #[allow(clippy::vec_box)] // requests move it around
    pub(crate) scratch: Mutex<Vec<Box<Scratch>>>,
    pub(crate) stall: Stall,
    pub(crate) sealing: tokio::sync::Mutex<()>,
    /// Held while head-chunk files are written or let go of, for which there is one at a time. Taken after `sealing`.
    pub(crate) head_files: tokio::sync::Mutex<()>,
    /// Windows that are closed in memory and whose fence is not durable yet, with the generation.
    pub(crate) unfenced: Mutex<BTreeMap<(TenantNo, WindowNo), u32>>,
    /// Blocks that this process cut, or found to hold all of their generation, until that is released.
    pub(crate) cuts: Mutex<BTreeMap<WindowId, ulid::Ulid>>,
    pub(crate) pending_releases: Mutex<Vec<PendingRelease>>,
    pub(crate) reported: Mutex<crate::wal::writer::Counts>,
    pub(crate) report: OnceLock<ReplayReport>,
    pub(crate) early: Early,
    /// What a start would have to replay behind the newest snapshot.
    pub(crate) debt: ReplayDebt,
    /// Number of the newest snapshot.
    last_snapshot: AtomicU64,
    /// No snapshot is tried before this monotonic time.
    no_snapshot_before_ms: AtomicU64,
    closing: AtomicBool,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

impl Db {
    /// Opens the database in `options.dir` and replays its log: [`Db::begin`], then [`Db::replay`].
    ///
    /// # Errors
    /// As both.
    pub async fn open(options: DbOptions, runtime: Runtime) -> Result<Arc<Db>, TsdbError> {
        let db = Db::begin(options, runtime).await?;
        db.replay().await?;
        Ok(db)
    }

    /// Opens the database in `options.dir` for writes. Folders are made as needed. [`Db::replay`] must follow, and until
    /// it has ended nothing is answered from the head, closed or cut.
    ///
    /// # Errors
    /// [`TsdbError::Io`] when another process has the folder or the disk fails; [`TsdbError::Invalid`] when the
    /// block duration is below a second. Damage in the log is no error: see [`Db::replay_report`].
    pub async fn begin(options: DbOptions, runtime: Runtime) -> Result<Arc<Db>, TsdbError> {
        if options.block_duration < Duration::from_secs(1) {
            let what = format!("block duration of {:?} is below one second", options.block_duration);
            return Err(TsdbError::Invalid { object: options.dir.display().to_string(), what });
        }
        let disk = &runtime.disk;
        for dir in [WAL_DIR, HEAD_DIR, SNAPSHOT_DIR, BLOCKS_DIR] {
            let path = options.dir.join(dir);
            disk.create_dir_all(&path).map_err(TsdbError::io("create", &path))?;
        }
        // The folders' own names too, up to the first that was there before.
        for dir in options.dir.ancestors().take(3).filter(|d| !d.as_os_str().is_empty()) {
            disk.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
        }
        let lock_path = options.dir.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).map_err(TsdbError::io("lock", &lock_path))?;
        crate::block::remove_unfinished(&**disk, &options.dir.join(BLOCKS_DIR))?;
        let blocks = BlockStore::open(&runtime, &options.dir.join(BLOCKS_DIR))?;

        let head = Arc::new(Head::new(Self::head_options(&options, &runtime), &runtime.rng));
        let metrics = DbMetrics::new(&runtime.metrics);
        let wal = options.dir.join(WAL_DIR);
        settle_files(&*runtime.disk, &wal, &options.dir.join(BLOCKS_DIR))?;
        let snapshot = snapshot::load::find(&*runtime.disk, &options.dir, &head)?.map(Arc::new);
        let used =
            |partition, number| snapshot.as_ref().is_some_and(|s| s.names_head_file(partition, number));
        maintain::remove_head_files(&*runtime.disk, &options.dir.join(HEAD_DIR), used)?;
        // Before the first write: what is logged from now on must not share a number with a series of the snapshot.
        let next_log_id = snapshot.as_ref().map_or(1, |s| s.manifest().next_log_id);
        head.log_ids().fetch_max(next_log_id, Ordering::Relaxed);
        let last_snapshot = snapshot.as_ref().map_or(0, |s| s.mark().id);
        let plan = replay::plan(&head, &wal, snapshot.clone(), &runtime).await?;

        let log_options = LogOptions { dir: wal.clone(), sync: options.wal_sync };
        let newest = plan.report().newest_segment;
        let log = Log::open(&log_options, newest, &runtime).map_err(TsdbError::io("open", &wal))?;
        let journal = Journal::new(log, options.wal_segment_bytes);
        let db = Db {
            options,
            runtime,
            head,
            journal,
            blocks,
            metrics,
            scratch: Mutex::default(),
            stall: Stall::default(),
            sealing: tokio::sync::Mutex::default(),
            head_files: tokio::sync::Mutex::default(),
            unfenced: Mutex::default(),
            cuts: Mutex::default(),
            pending_releases: Mutex::default(),
            reported: Mutex::default(),
            report: OnceLock::new(),
            early: Early::new(plan, snapshot),
            debt: ReplayDebt::default(),
            last_snapshot: AtomicU64::new(last_snapshot),
            no_snapshot_before_ms: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        };
        db.update_metrics();
        Ok(Arc::new(db))
    }

    fn head_options(options: &DbOptions, runtime: &Runtime) -> HeadOptions {
        let partitions = match options.partitions {
            0 => runtime.cpu.parallelism(),
            n => n,
        };
        HeadOptions {
            window_ms: options.block_duration.as_millis() as i64,
            partitions: partitions.clamp(1, 256),
            external_labels: options.external_labels.clone(),
            exemplars: options.exemplars,
            series_limit: options.series_limit.clone(),
        }
    }

    /// The head for readers.
    pub fn head_store(&self) -> Arc<dyn StoreApi> {
        Arc::new(HeadStore::new(self.head.clone(), self.runtime.cpu.clone()))
    }

    /// The local blocks.
    pub fn blocks(&self) -> BlockStore {
        self.blocks.clone()
    }

    /// Folder of the local blocks.
    pub fn blocks_dir(&self) -> PathBuf {
        self.options.dir.join(BLOCKS_DIR)
    }

    /// What the replay at start found; nothing before it has ended.
    pub fn replay_report(&self) -> &ReplayReport {
        static NOTHING: LazyLock<ReplayReport> = LazyLock::new(ReplayReport::default);
        self.report.get().unwrap_or(&NOTHING)
    }

    /// External labels of a tenant's data.
    pub fn external_labels(&self, tenant: &TenantId) -> Labels {
        cairn_model::external::ExternalLabels::for_tenant(tenant, &self.options.external_labels)
            .labels()
            .clone()
    }

    /// Active series of a tenant.
    pub fn tenant_series(&self, tenant: &TenantId) -> u64 {
        self.head.tenants.get(tenant).map_or(0, |t| t.series())
    }

    /// Tenants with data in the head, by name.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.head.tenants.all().iter().map(|t| t.id.clone()).collect()
    }

    /// Active series of all tenants.
    pub fn series(&self) -> usize {
        self.head.series()
    }

    /// Own memory of the head in bytes, about; mapped files are not in it.
    pub fn head_bytes(&self) -> usize {
        self.head.heap_bytes().sum()
    }

    /// Makes the names in `dir` durable.
    async fn sync_dir(&self, dir: PathBuf) -> Result<(), TsdbError> {
        let (disk, object) = (self.runtime.disk.clone(), dir.display().to_string());
        let syncing =
            self.runtime.cpu.run_blocking(move || disk.sync_dir(&dir).map_err(TsdbError::io("sync", &dir)));
        syncing.await.map_err(|_| TsdbError::corrupt(object, 0, "syncing the folder ended by a panic"))?
    }

    /// Takes no more writes, syncs the log and gives the folder free. Repeating it changes nothing.
    pub fn shutdown(&self) {
        if !self.closing.swap(true, Ordering::SeqCst) {
            self.journal.log().close();
            self.update_metrics();
            *self.lock.lock() = None;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// What a process that was killed had written may be in the system's memory only. What is read now is acted upon, so it
/// must not vanish with the power later.
fn settle_files(disk: &dyn cairn_runtime::Disk, wal: &Path, blocks: &Path) -> Result<(), TsdbError> {
    let newest = crate::wal::log::list(disk, wal).map_err(TsdbError::io("list", wal))?.last();
    if let Some(((_, id), _)) = newest {
        let path = wal.join(id.file_name());
        let file = disk.open(&path, OpenHow::Write).map_err(replay::unreadable("open", &path))?;
        file.sync_data().map_err(replay::unreadable("sync", &path))?;
    }
    for dir in [wal, blocks] {
        disk.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
    }
    Ok(())
}

impl Drop for Db {
    fn drop(&mut self) {
        self.shutdown();
    }
}
