//! Taking a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cairn_runtime::Disk;
use hashbrown::HashMap;
use tracing::{info, warn};

use super::{Mark, SNAPSHOT_DIR};
use crate::db::journal::{GenerationKey, closed_windows, metadata_records};
use crate::db::{Db, HEAD_DIR};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::series::TenantNo;
use crate::head::state::SLICE;
use crate::head::tenant::Tenant;
use crate::snapshot::file::{self, SectionKind, SnapshotWriter};
use crate::snapshot::manifest::{Manifest, PartitionFiles};
use crate::wal::log::Outcome;
use crate::wal::record::{Control, ControlKind, RecordView, encode_controls};

/// Payload of a section, about.
const SECTION_BYTES: usize = 256 << 10;

/// After a failure none is taken for this long.
const PAUSE: Duration = Duration::from_secs(60);

/// Exemplars of a record.
const RECORD_EXEMPLARS: usize = 4096;

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
        let (head, disk, name) =
            (self.head.clone(), self.runtime.disk.clone(), file::name(mark.segment, mark.id));
        let copying = self.runtime.cpu.run_behind({
            let dir = dir.clone();
            move || copy(&head, &disk, &dir, &name, &controls)
        });
        let panicked = |_| TsdbError::corrupt("head snapshot", 0, "taking it ended by a panic");
        let writer = copying.await.map_err(panicked)??;
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
        let finishing = self.runtime.cpu.run_behind(move || {
            let len = writer.finish(&manifest)?;
            remove_others(&*disk, &dir, &file::name(manifest.segment, manifest.id))?;
            Ok::<_, TsdbError>(len)
        });
        let bytes = finishing.await.map_err(panicked)??;
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
    async fn settle_head_files(&self) -> Result<Vec<PartitionFiles>, TsdbError> {
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
        let dir = self.options.dir.join(HEAD_DIR);
        self.runtime.disk.sync_dir(&dir).map_err(TsdbError::io("sync", &dir))?;
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

fn by_number(head: &Head) -> Vec<Arc<Tenant>> {
    let mut tenants = head.tenants.all();
    tenants.sort_by_key(|t| t.number);
    tenants
}

/// Writes everything but the manifest.
fn copy(
    head: &Head,
    disk: &Arc<dyn Disk>,
    dir: &Path,
    name: &str,
    controls: &[Control],
) -> Result<SnapshotWriter, TsdbError> {
    let mut writer = SnapshotWriter::create(disk.clone(), dir, name)?;
    let mut payload = Vec::new();
    encode_controls(&mut payload, controls);
    writer.section(SectionKind::Controls, (0, 0), &payload)?;
    for index in 0..head.partitions.len() {
        copy_series(head, index, &mut writer)?;
        // After the series, so that every pair that one of them has is there.
        for tenant in by_number(head) {
            copy_labels(head, index, tenant.number, &mut writer)?;
        }
    }
    for tenant in by_number(head) {
        for record in metadata_records(&tenant).chain(exemplar_records(head, &tenant)) {
            writer.section(SectionKind::Record, (0, tenant.number), &record)?;
        }
    }
    Ok(writer)
}

fn copy_series(head: &Head, index: usize, writer: &mut SnapshotWriter) -> Result<(), TsdbError> {
    let partition = &head.partitions[index];
    let (mut payload, mut next) = (Vec::with_capacity(SECTION_BYTES + SECTION_BYTES / 4), 0);
    let end = partition.read().slots_end();
    while next < end {
        let slice = next..end.min(next + SLICE as u32);
        next = slice.end;
        partition.read().freeze_series(slice, &mut payload);
        if payload.len() >= SECTION_BYTES || next == end {
            writer.section(SectionKind::Series, (index as u16, 0), &payload)?;
            payload.clear();
        }
    }
    Ok(())
}

fn copy_labels(
    head: &Head,
    index: usize,
    tenant: TenantNo,
    writer: &mut SnapshotWriter,
) -> Result<(), TsdbError> {
    let (partition, place) = (&head.partitions[index], (index as u16, tenant));
    // Pairs that are added from here on belong to series that the snapshot does not have, as do names.
    let end = partition.read().pairs_end(tenant);
    let mut payload = Vec::new();
    if !partition.read().freeze_index(tenant, &mut payload) {
        return Ok(());
    }
    writer.section(SectionKind::Index, place, &payload)?;
    let mut next = 0;
    while next < end {
        payload.clear();
        while next < end && payload.len() < SECTION_BYTES {
            let slice = next..end.min(next + SLICE as u32);
            next = slice.end;
            partition.read().freeze_pairs(tenant, slice, &mut payload);
        }
        writer.section(SectionKind::Pairs, place, &payload)?;
    }
    Ok(())
}

/// The exemplars of a tenant as records of the log, in order of arrival.
fn exemplar_records(head: &Head, tenant: &Tenant) -> impl Iterator<Item = Vec<u8>> {
    let kept = tenant.exemplars.lock().in_range(i64::MIN, i64::MAX).cloned().collect::<Vec<_>>();
    let record = |part: &[(u64, _)]| {
        let (mut ids, mut index_of) = (Vec::new(), HashMap::new());
        let mut exemplars = Vec::new();
        for (reference, exemplar) in part {
            let Some(id) = head.log_id_of(*reference) else { continue };
            let index = *index_of.entry(id).or_insert_with(|| {
                ids.push(id as i64);
                ids.len() as u32 - 1
            });
            exemplars.push((index, exemplar));
        }
        let tenant = tenant.id.as_str();
        let mut raw = Vec::new();
        RecordView { tenant, ids: &ids, exemplars: &exemplars, ..RecordView::default() }.encode(&mut raw);
        raw
    };
    kept.chunks(RECORD_EXEMPLARS).map(record).collect::<Vec<_>>().into_iter()
}
