//! Taking a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cairn_runtime::Disk;
use tracing::{info, warn};

use super::{Mark, SNAPSHOT_DIR};
use crate::db::journal::{GenerationKey, closed_windows};
use crate::db::{Db, HEAD_DIR};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::tenant::Tenant;
use crate::snapshot::file;
use crate::snapshot::manifest::{Manifest, PartitionFiles};
use crate::wal::log::Outcome;
use crate::wal::record::{Control, ControlKind};

/// After a failure none is taken for this long.
const PAUSE: Duration = Duration::from_secs(60);

/// What is noted while the log's fence is held.
struct Fenced {
    mark: Mark,
    /// Resolves when the mark is durable.
    outcome: Outcome,
    controls: Vec<Control>,
    contents: Vec<(u64, GenerationKey)>,
}

impl Db {
    /// Takes a snapshot when one is due and the disk has room for it. A failure is logged, and it is tried again after a
    /// while: what a snapshot takes of a disk that is nearly full, the log has not.
    pub(in crate::db) async fn snapshot_if_due(&self) {
        let now_ms = self.runtime.clock.monotonic().as_millis() as u64;
        if now_ms < self.no_snapshot_before_ms.load(Ordering::Relaxed)
            || !self.debt.is_due(self.options.replay_budget, self.head.series() as u64)
        {
            return;
        }
        let taken = match self.has_room() {
            Ok(true) => self.take_snapshot().await,
            Ok(false) => Err(TsdbError::Invalid {
                object: "head snapshot".to_owned(),
                what: "the disk has too little room for it and the log: free some".to_owned(),
            }),
            Err(e) => Err(e),
        };
        if let Err(e) = taken {
            self.metrics.snapshots_failed.inc();
            self.no_snapshot_before_ms.store(now_ms + PAUSE.as_millis() as u64, Ordering::Relaxed);
            warn!(error = %e, "no head snapshot was taken; a start will replay more of the log");
        }
    }

    /// Whether a snapshot leaves the log as much room as it takes itself. It is smaller than the head.
    fn has_room(&self) -> Result<bool, TsdbError> {
        let dir = self.options.dir.join(SNAPSHOT_DIR);
        let free = self.runtime.disk.free_bytes(&dir).map_err(TsdbError::io("ask for the room of", &dir))?;
        Ok(free / 2 > self.head.heap_bytes().sum() as u64)
    }

    /// Takes a snapshot; `false` when a window is being closed, cut or released, or the log is being replayed.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; the snapshot before stays.
    pub async fn take_snapshot(&self) -> Result<bool, TsdbError> {
        let Ok(_sealing) = self.sealing.try_lock() else { return Ok(false) };
        // A window that is closed in memory only would be taken for closed by the next start, and the log says otherwise.
        if self.early.is_replaying() || self.is_closing() || !self.unfenced.lock().is_empty() {
            return Ok(false);
        }
        let begun = self.runtime.clock.monotonic();
        let owed = self.debt.get();
        let fenced = self.set_mark();
        self.journal.log().drive();
        let Fenced { mark, outcome, controls, contents } = fenced;
        let dir = self.options.dir.join(SNAPSHOT_DIR);
        let writer = self.begin_file(&dir, file::name(mark.segment, mark.id), controls).await?;
        let writer = self.copy_head(writer).await?;
        let partitions = self.settle_head_files().await?;
        match outcome.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(lost_mark(e.to_string())),
            Err(_) => return Err(lost_mark("the log is closed".to_owned())),
        }
        if self.is_closing() {
            return Ok(false);
        }
        let manifest = self.manifest(mark, contents, partitions);
        let disk = self.runtime.disk.clone();
        let finishing = self.behind(move || {
            let len = writer.finish(&manifest)?;
            remove_others(&*disk, &dir, &file::name(manifest.segment, manifest.id))?;
            Ok(len)
        });
        let bytes = finishing.await?;
        self.debt.pay(owed);
        self.metrics.snapshots_taken.inc();
        self.metrics.snapshot_bytes.set(bytes as i64);
        let took_ms = (self.runtime.clock.monotonic() - begun).as_millis() as u64;
        info!(series = self.head.series(), bytes, took_ms, "head snapshot taken");
        Ok(true)
    }

    fn set_mark(&self) -> Fenced {
        let fence = self.journal.fence();
        let segment = fence.segment(&self.head);
        let id = self.next_snapshot_id();
        let mark = Mark { id, segment };
        let control = Control {
            what: ControlKind::Mark,
            tenant: String::new(),
            window_ms: id as i64,
            length_ms: 0,
            generation: 0,
        };
        let outcome = fence.submit_controls(&[control], segment);
        let (controls, contents) = (closed_windows(&self.head), self.journal.contents());
        Fenced { mark, outcome, controls, contents }
    }

    /// Rising from snapshot to snapshot, whatever the clock does.
    fn next_snapshot_id(&self) -> u64 {
        let now = self.runtime.clock.now_ms().max(0) as u64;
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.last_snapshot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        now.max(last.unwrap_or_default() + 1)
    }

    /// Removes all snapshots: the next start replays the whole log.
    pub(in crate::db) fn remove_snapshots(&self) {
        if let Err(e) = remove_others(&*self.runtime.disk, &self.options.dir.join(SNAPSHOT_DIR), "") {
            warn!(error = %e, "cannot remove a head snapshot that must not be used: remove the file by hand");
        }
    }

    /// Ends the files that are being filled, so that all full chunks so far are on disk. Gives the files.
    pub(in crate::db) async fn settle_head_files(&self) -> Result<Vec<PartitionFiles>, TsdbError> {
        let mut ends = Vec::new();
        for partition in &self.head.partitions {
            let mut partition = partition.write();
            partition.chunks.full.cut_file();
            ends.push(partition.chunks.full.next_file());
        }
        self.write_head_files().await;
        let mut all = Vec::new();
        for (partition, end) in self.head.partitions.iter().zip(ends) {
            let files = partition.read().chunks.full.on_disk(end);
            if files.first + (files.files.len() as u32) < end {
                let what = "a head-chunk file could not be written, see the line before".to_owned();
                return Err(TsdbError::Invalid { object: "head snapshot".to_owned(), what });
            }
            all.push(files);
        }
        // The files are synced; that their names survive a power cut is not known.
        self.sync_dir(self.options.dir.join(HEAD_DIR)).await?;
        Ok(all)
    }

    fn manifest(
        &self,
        mark: Mark,
        contents: Vec<(u64, GenerationKey)>,
        partitions: Vec<PartitionFiles>,
    ) -> Manifest {
        let flat = |(segment, (tenant, window, generation))| (segment, tenant, window, generation);
        Manifest {
            id: mark.id,
            segment: mark.segment,
            window_ms: self.head.options.window_ms as u64,
            key_seed: self.head.partitions[0].read().identity().key_seed,
            next_log_id: self.head.log_ids().load(Ordering::Relaxed),
            newest_ms: self.head.newest_ms(),
            tenants: by_number(&self.head).iter().map(|t| t.id.as_str().to_owned()).collect(),
            contents: contents.into_iter().map(flat).collect(),
            partitions,
        }
    }
}

fn lost_mark(why: String) -> TsdbError {
    TsdbError::Invalid {
        object: "head snapshot".to_owned(),
        what: format!("its mark is not in the log: {why}"),
    }
}

/// Removes all snapshots but `kept`.
pub(super) fn remove_others(disk: &dyn Disk, dir: &Path, kept: &str) -> Result<(), TsdbError> {
    for other in file::list(disk, dir)?.into_iter().filter(|name| name != kept) {
        let path = dir.join(other);
        disk.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
    }
    Ok(())
}

/// All tenants by their numbers.
pub(super) fn by_number(head: &Head) -> Vec<Arc<Tenant>> {
    let mut tenants = head.tenants.all();
    tenants.sort_by_key(|t| t.number);
    tenants
}
